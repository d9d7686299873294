"""Mistakes of convolutions: each prints what plain loops with this mistake print."""

import numpy as np
import pytest

from lastbit.layers.mistakes import MISTAKES, applicable, wrong_output
from lastbit.layers.mistakes.base import Case
from lastbit.layers.mistakes.pipeline import accumulate, accumulate_all, choose
from lastbit.layers.mistakes.windows import WINDOWS
from lastbit.model.errors import InputError
from lastbit.ops.prepare import prepare_operator
from lastbit.ops.products.as_dense import as_dense
from lastbit.rules.requantize.vector import requantize
from tests.support.convolution_models import make_convolution, random_images

OF_CONVOLUTIONS = {mistake.name for mistake in WINDOWS} | {
    name for name in MISTAKES if name.endswith("_in_image") or name == "output_channels_first"
}
SHAPES = {
    "plain": {},
    "strided": {"stride": 2, "image": (8, 8)},
    "dilated": {"dilation": 2, "image": (9, 8)},
    "dilated in columns": {"dilation": (1, 2), "image": (9, 8)},
    "valid": {"padding": "VALID"},
    "wide": {"kernel": (2, 5)},
    "even": {"kernel": (4, 2), "image": (7, 9)},
    "depthwise": {"op": "DEPTHWISE_CONV_2D"},
    "twice": {"op": "DEPTHWISE_CONV_2D", "units": 6, "stride": 2, "image": (6, 8)},
    "uint8": {"dtype": "uint8"},
    "uint8 depthwise": {"op": "DEPTHWISE_CONV_2D", "dtype": "uint8", "units": 3},
    "int16": {"dtype": "int16"},
}


def made(shape, runtime="litert-reference", **options):
    given = {"units": 3} if SHAPES[shape].get("op") else {}
    model = make_convolution(**given | SHAPES[shape] | options)
    return as_dense(prepare_operator(model, model.operators[0], runtime)), random_images(model, 2)


def loops(prepared, x, front=None, dilation=None, fill=None, kernel=None, group=None, border=None):
    """The layer as anybody writes it down, with what wrong code has otherwise."""
    layer, convolution = prepared.layer, prepared.layer.convolution
    axes = convolution.rows, convolution.columns
    lengths = x.shape[1:3]
    front = front or [axis.padding(n)[0] for axis, n in zip(axes, lengths, strict=True)]
    steps = dilation or [axis.dilation for axis in axes]
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    fill = zx if fill is None else fill
    sizes = [axis.size for axis in axes]
    depthwise = layer.operator.name == "DEPTHWISE_CONV_2D"
    stored = layer.stored_weights.data.astype(np.int64)
    w = kernel(stored) if kernel else np.moveaxis(stored, 3, 0).transpose(0, 2, 3, 1) if depthwise else stored
    height, width = (axis.outputs(n) for axis, n in zip(axes, lengths, strict=True))
    acc = np.zeros((len(x), height, width, layer.units), np.int64)
    for n, y, c, o in np.ndindex(acc.shape):
        total = int(layer.bias_values[o])
        for i, j in np.ndindex(*sizes):
            row, column = y * axes[0].stride - front[0] + i * steps[0], c * axes[1].stride - front[1] + j * steps[1]
            if border is not None:
                row, column = border(row, lengths[0]), border(column, lengths[1])
            inside = 0 <= row < lengths[0] and 0 <= column < lengths[1]
            for k in range(w.shape[3]):
                seen = k if not depthwise else (group or (lambda o: o // (layer.units // x.shape[3])))(o)
                value = int(x[n, row, column, seen]) if inside else fill
                total += (value - zx) * (int(w[o, i, j, k]) - zw)
        acc[n, y, c, o] = total
    return requantize(acc, prepared.requant)["output"]


def fronts(prepared, x, rule):
    convolution = prepared.layer.convolution
    return [rule(axis, n) for axis, n in zip((convolution.rows, convolution.columns), x.shape[1:3], strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_without_mistakes_it_is_the_runtimes_own_output(shape):
    prepared, x = made(shape)
    right = prepared.evaluate([x])["output"]
    assert (loops(prepared, x) == right).all()
    assert (wrong_output(prepared, x) == right).all()
    rows = prepared.layer.rows(x)
    assert (wrong_output(prepared, rows) == right.reshape(len(rows), -1)).all()


@pytest.mark.parametrize(
    ("name", "shape", "otherwise"),
    [
        ("padding_zero", "plain", {"fill": 0}),
        ("padding_zero", "uint8", {"fill": 0}),
        ("padding_lowest", "plain", {"fill": -128}),
        ("padding_same_wrong_side", "strided", {"front": lambda axis, n: axis.padding(n)[1]}),
        ("padding_same_wrong_side", "even", {"front": lambda axis, n: axis.padding(n)[1]}),
        ("padding_all_behind", "plain", {"front": lambda axis, n: 0}),
        ("padding_all_in_front", "plain", {"front": lambda axis, n: sum(axis.padding(n))}),
        ("stride_origin", "strided", {"front": lambda axis, n: (axis.size - 1) // 2}),
        ("dilation_ignored_in_taps", "dilated", {"dilation": (1, 1)}),
        ("dilation_ignored", "dilated", {"dilation": (1, 1), "front": lambda axis, n: (axis.size - 1) // 2}),
        ("kernel_flipped", "wide", {"kernel": lambda w: w[:, ::-1, ::-1]}),
        ("kernel_transposed", "plain", {"kernel": lambda w: w.transpose(0, 2, 1, 3)}),
        ("kernel_as_hwio", "plain", {"kernel": lambda w: w.reshape(3, 3, 3, 4).transpose(3, 0, 1, 2)}),
        ("kernel_as_oihw", "plain", {"kernel": lambda w: w.reshape(4, 3, 3, 3).transpose(0, 2, 3, 1)}),
        ("depthwise_layout", "depthwise", {"kernel": lambda w: w.reshape(3, 3, 3, 1)}),
        ("depthwise_multiplier_order", "twice", {"group": lambda o: o % 3}),
        ("padding_edge", "even", {"border": lambda place, length: min(max(place, 0), length - 1)}),
        ("padding_edge", "uint8", {"border": lambda place, length: min(max(place, 0), length - 1)}),
        ("padding_reflect", "dilated", {"border": lambda p, length: abs(p) if p < length else 2 * length - 2 - p}),
        ("padding_circular", "strided", {"border": lambda place, length: place % length}),
        ("last_row_and_column_as_padding", "plain", {"border": lambda p, length: -1 if p == length - 1 else p}),
        ("first_row_and_column_as_padding", "depthwise", {"border": lambda p, length: -1 if p == 0 else p}),
        ("dilation_ignored_in_rows", "dilated", {"dilation": (1, 2), "front": lambda axis, n: 1 if n == 9 else 2}),
        ("dilation_ignored_in_columns", "dilated", {"dilation": (2, 1), "front": lambda axis, n: 2 if n == 9 else 1}),
        ("dilation_ignored_in_taps_of_rows", "dilated", {"dilation": (1, 2)}),
        ("dilation_ignored_in_taps_of_columns", "dilated", {"dilation": (2, 1)}),
        ("dilations_swapped", "dilated in columns", {"dilation": (2, 1)}),
    ],
)
def test_a_mistake_prints_what_plain_loops_print(name, shape, otherwise):
    prepared, x = made(shape)
    if "front" in otherwise:
        otherwise = otherwise | {"front": fronts(prepared, x, otherwise["front"])}
    wrong = wrong_output(prepared, x, [name])
    assert (wrong == loops(prepared, x, **otherwise)).all()
    assert (wrong != prepared.evaluate([x])["output"]).any()


def test_images_in_another_layout_and_padding_that_adds_nothing():
    prepared, x = made("plain")
    n, h, w, c = x.shape
    assert (
        wrong_output(prepared, x, ["image_read_as_nchw"]) == loops(prepared, np.moveaxis(x.reshape(n, c, h, w), 1, -1))
    ).all()
    stored = np.moveaxis(x, -1, 1).reshape(x.shape)
    assert (wrong_output(prepared, x, ["image_stored_as_nchw"]) == loops(prepared, stored)).all()
    # With the zero point -5 taken for 0 everywhere, padding of 0 adds nothing: as for x + 5 and the right zero point.
    shifted = np.clip(x.astype(int) + prepared.layer.input_zero_point, -128, 127).astype(np.int8)
    inside = np.abs(x.astype(int)) < 120
    x, shifted = np.where(inside, x, 0).astype(np.int8), np.where(inside, shifted, -5).astype(np.int8)
    assert (wrong_output(prepared, x, ["input_zero_point_missing_in_image"]) == loops(prepared, shifted)).all()


def test_every_mistake_of_convolutions_shows_on_some_layer_and_applies_nowhere_else():
    silent = set(OF_CONVOLUTIONS)
    for shape in SHAPES:
        prepared, x = made(shape)
        right = prepared.evaluate([x])["output"]
        for mistake in applicable(prepared, images=True, families=True):
            if mistake.name in silent and not np.array_equal(wrong_output(prepared, x[:1], [mistake.name]), right[:1]):
                silent.discard(mistake.name)
    assert not silent


def test_many_rows_are_calculated_a_part_at_a_time(monkeypatch):
    for shape in ("strided", "twice", "uint8 depthwise"):
        prepared, x = made(shape)
        names = [["padding_zero", "bias_twice"], ["sum_wraps_int16"], ["calculated_in_real_numbers_float64"]]
        whole = [wrong_output(prepared, x, chosen) for chosen in names]
        with monkeypatch.context() as patch:
            patch.setattr("lastbit.layers.mistakes.base._VALUES", 200)
            assert len(Case.of(prepared, x).pieces()) >= 4
            for chosen, wanted in zip(names, whole, strict=True):
                assert (wrong_output(prepared, x, chosen) == wanted).all()


def test_a_mistake_about_images_wants_images():
    prepared, x = made("plain")
    with pytest.raises(InputError, match="about a convolution's images"):
        wrong_output(prepared, prepared.layer.rows(x), ["padding_zero"])


def test_some_rows_are_those_of_all():
    for shape in ("strided", "twice"):
        prepared, x = made(shape)
        images = Case.of(prepared, x)
        rows = Case.of(prepared, prepared.layer.rows(x))
        some = np.asarray([0, 5, 6, 11])
        chosen = choose(["kernel_flipped", "sum_wraps_int16"])
        wanted = accumulate_all(images, chosen).acc[some]
        assert (accumulate(images, images.everything(some), chosen).acc == wanted).all()
        assert (accumulate(rows, rows.everything(some), chosen).acc == wanted).all()
