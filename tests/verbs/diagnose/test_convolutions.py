"""diagnose of convolutions: their mistakes are named, right outputs are right, and it says where wrong elements lie."""

import json

import numpy as np
import pytest

from lastbit.layers.mistakes import applicable, wrong_output
from lastbit.model.errors import UnsupportedError
from lastbit.ops.prepare import prepare_operator
from lastbit.ops.products.as_dense import as_dense
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.diagnose.samples import image_places
from lastbit.verbs.diagnose.separate import outputs
from lastbit.verbs.diagnose.target import Reproduction
from lastbit.verbs.diagnose.verb import diagnose
from tests.layers.mistakes.test_windows import SHAPES
from tests.support.cli import invoke
from tests.support.convolution_models import make_convolution, random_images
from tests.support.interpreters import needs_all_interpreters

SHAPED = ("strided", "dilated", "twice", "uint8")


def made(shape="strided", runtime="litert-reference", count=3, **options):
    model = make_convolution(**SHAPES[shape] | options)
    return model, as_dense(prepare_operator(model, model.operators[0], runtime)), random_images(model, count)


@pytest.mark.parametrize("shape", ["plain", "strided", "twice", "uint8 depthwise", "int16"])
def test_what_a_runtime_prints_is_right(shape):
    given = {"units": 6} if "op" in SHAPES[shape] else {}
    model = make_convolution(**SHAPES[shape] | given)
    x = random_images(model, 2)
    right = 0
    for name in RUNTIMES:
        try:
            entry = prepare_operator(model, model.operators[0], name)
        except UnsupportedError:
            continue
        report = diagnose(model, x, entry.evaluate([x])["output"], runtime=name)
        assert report.right
        assert name in report.explanation.runtimes
        right += 1
    assert right >= 3


@pytest.mark.parametrize("shape", SHAPED)
def test_mistakes_of_convolutions_are_named(shape):
    model, prepared, x = made(shape)
    right = prepared.evaluate([x])["output"]
    named = 0
    for mistake in applicable(prepared, images=True):
        if mistake.slot not in ("input", "windows", "weights", "layout") and not mistake.needs_images:
            continue
        wrong = wrong_output(prepared, x, [mistake.name])
        if np.array_equal(wrong, right):
            continue
        report = diagnose(model, x, wrong)
        assert report.explanation is not None, mistake.name
        if report.explanation.mistakes != (mistake.name,):
            fresh = random_images(model, 4, seed=8)
            injected = Reproduction((mistake.name,), ("litert-reference",), prepared)
            answered = Reproduction(report.explanation.mistakes, ("litert-reference",), prepared)
            told = mistake.name in {name for e in report.explanations for name in e.mistakes}
            assert told or np.array_equal(*(outputs(fresh, e, False) for e in (injected, answered))), mistake.name
        named += 1
    assert named >= 6


def test_a_function_is_called_with_images_and_the_stored_weights():
    model, _, _ = made("strided")
    shapes = set()

    def mine(x, filters, zx, zy, m, bias):
        shapes.add((x.shape[1:], filters.shape))
        padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))).astype(int) - zx  # with 0: it should be zx
        acc = np.zeros((len(x), 4, 4, len(filters)), int) + bias
        for i, j in np.ndindex(3, 3):
            acc += padded[:, i : i + 7 : 2, j : j + 7 : 2] @ filters[:, i, j].astype(int).T
        return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)

    report = diagnose(model, None, mine)
    assert [mistake.name for mistake in report.mistakes] == ["padding_zero"]
    assert shapes == {((8, 8, 3), (4, 3, 3, 3))}
    assert "in the last row and the last column" in str(report)
    assert "image 0, row 0, column 3, channel" in str(report)


def test_it_says_where_the_wrong_elements_lie():
    model, prepared, x = made("plain")
    right = prepared.evaluate([x])["output"]
    for at, wanted in (
        (np.s_[..., 3], "only in channel 3"),
        (np.s_[:, -1], "only in the last row"),
        (np.s_[:, :, 0], "only in the first column"),
        (np.s_[1], "only in image 1"),
        (np.s_[:, :2], "only in the first 2 rows"),
    ):
        wrong = right.copy()
        noise = np.random.default_rng(3).integers(1, 100, wrong[at].shape)
        wrong[at] = (wrong[at].astype(int) + noise + 128) % 256 - 128
        report = diagnose(model, x, wrong, runtime="litert-reference", most=1)
        assert report.verdict == "unexplained"
        assert wanted in report.places
        assert wanted in str(report)
        assert report.as_dict()["places"] == report.places
        assert wanted in str(report).split("The rest: ")[1]
        assert "only in rows" not in str(report)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_convolution_of_int16_with_its_factor_in_full_is_named_with_and_without_another_mistake(flipped):
    model, prepared, x = made("int16")
    layer = prepared.layer

    def mine(x):
        kernel = layer.stored_weights.data.astype(np.int64)
        kernel = kernel[:, ::-1, ::-1] if flipped else kernel
        padded = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (1, 1), (0, 0)))
        acc = np.tile(layer.bias_values, (*x.shape[:3], 1))
        for i, j in np.ndindex(3, 3):
            acc = acc + padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[:, i, j].T
        m = float(layer.input_scale) * layer.weights_scale.astype(np.float64) / float(layer.output_scale)
        return np.clip(np.floor(acc * m + 0.5), -32768, 32767).astype(np.int16)

    names = ["kernel_flipped"] * flipped + ["factor_not_in_16_bits"]
    assert [mistake.name for mistake in diagnose(model, None, mine).mistakes] == names
    assert (wrong_output(prepared, x, names) == mine(x)).all()


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        ([(-1, slice(None)), (slice(None), -1)], "only in the last row and the last column"),
        ([(slice(-2, None), slice(None)), (slice(None), 0)], "only in the last 2 rows and the first column"),
        (
            [(slice(None), slice(3)), (slice(None), slice(-2, None))],
            "only in the first 3 columns and the last 2 columns",
        ),
        ([(2, 2), (0, 0)], ""),
        ([(slice(None), slice(None))], ""),
        ([(4, 4)], ""),
    ],
)
def test_wrong_pixels_at_an_edge_are_told_as_rows_and_columns(wrong, wanted):
    _, prepared, x = made("valid", image=(11, 11))
    bad = np.zeros((1, 9, 9, 4), np.bool_)
    for rows, columns in wrong:
        bad[0, rows, columns, :] = True
    assert image_places(prepared.layer, x[:1], bad.reshape(-1, 4))[:1] == ([wanted] if wanted else [])


def test_other_layouts_and_shapes_are_told():
    model, prepared, x = made("strided", image=(8, 10))
    right = prepared.evaluate([x])["output"]
    moved = np.ascontiguousarray(np.moveaxis(right, -1, 1))
    assert diagnose(model, x, moved).verdict == "form"
    assert diagnose(model, x, moved.reshape(right.shape)).explanation.mistakes == ("output_channels_first",)
    assert diagnose(model, x, right[:2]).verdict == "form"
    valid = diagnose(model, x, right[:, :3, :4])
    assert valid.verdict == "unreadable"
    assert "the padding VALID gives; the layer's is SAME" in valid.problem
    assert "the stride 1 gives" in diagnose(model, x, np.zeros((3, 8, 10, 4), np.int8)).problem


def test_the_accumulators_say_at_which_step_it_goes_wrong():
    model, prepared, x = made("twice")
    steps = prepared.evaluate([x])
    wrong = wrong_output(prepared, x, ["padding_zero", "rounding_truncated"])
    report = diagnose(model, x, wrong, acc=steps["acc"], most=1)
    assert [part.status for part in report.parts] == ["right", "unexplained"]
    assert {m.name for m in diagnose(model, x, wrong).mistakes} == {"padding_zero", "rounding_truncated"}


@pytest.mark.parametrize("mistakes", [(), ("padding_zero",), ("bias_missing", "rounding_truncated")], ids=str)
def test_channels_that_follow_two_rules_are_searched_each_in_its_own(mistakes):
    model = make_convolution("DEPTHWISE_CONV_2D", (6, 7), 10, 10, power_of_two=True)
    prepared = as_dense(prepare_operator(model, model.operators[0], "litert-builtin"))
    (first, up), (last, away) = prepared.parts
    assert (first, last) == (slice(0, 8), slice(8, None))
    assert (up.requant.rule.name, away.requant.rule.name) == ("q31-half_up-half_up/dd", "q31-half_up-half_away/dd")
    x = random_images(model, 4)
    report = diagnose(model, x, wrong_output(prepared, x, mistakes), runtime="litert-builtin")
    assert tuple(m.name for m in report.mistakes) == mistakes
    if not mistakes:
        others = [name for name in ("litert-reference", "tflm") if name in report.explanation.runtimes]
        assert not others  # they round all channels alike, and these images have ties in both parts


def test_the_command(tmp_path):
    model, prepared, x = made("strided", count=2)
    paths = {name: str(tmp_path / f"{name}.npy") for name in ("x", "mine", "right", "inputs")}
    (tmp_path / "m.tflite").write_bytes(model.content)
    np.save(paths["x"], x)
    np.save(paths["mine"], wrong_output(prepared, x, ["padding_same_wrong_side"]))
    np.save(paths["right"], prepared.evaluate([x])["output"])
    given = ["diagnose", str(tmp_path / "m.tflite"), "-i", paths["x"], "--op", "0"]
    found = invoke(*given, "--output", paths["mine"], "--json")
    assert found.exit_code == 1
    answer = json.loads(found.output)
    assert answer["explanations"][0]["mistakes"][0]["name"] == "padding_same_wrong_side"
    assert len(answer["element"]["index"]) == 4
    assert invoke(*given, "--output", paths["right"]).exit_code == 0


@needs_all_interpreters
@pytest.mark.parametrize("name", [on_this_machine("litert-xnnpack"), "litert-builtin-x86", "litert-reference", "tflm"])
def test_what_a_real_interpreter_prints_is_right(name):
    for options in ({"stride": 2, "image": (8, 9)}, {"op": "DEPTHWISE_CONV_2D", "channels": 8, "units": 8}):
        model = make_convolution(**options)
        x = random_images(model)
        with open_oracle(RUNTIMES[name]) as oracle:
            printed = oracle.run(model.content, [[x]]).outputs[0][0]
        report = diagnose(model, x, printed, runtime=name)
        assert report.right, str(report)
