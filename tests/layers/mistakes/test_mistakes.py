"""The catalogue of mistakes: each is what wrong code really computes, and no more."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lastbit.layers.mistakes import MISTAKES, SLOTS, STAGES, applicable, wrong_output
from lastbit.layers.mistakes.base import Case
from lastbit.layers.mistakes.fixes import fixes
from lastbit.layers.mistakes.pipeline import Scaling, accumulate, finish, scale_params, unrounded_matrix, wrong_matrix
from lastbit.layers.mistakes.rounding import round_ratio
from lastbit.layers.mistakes.sums import Elements
from lastbit.layers.separating_inputs import all_rules, critical_accumulators, probe_subgraph
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.graph import Operator
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import INT32
from lastbit.ops.prepare import prepare_operator
from lastbit.rules.requantize.vector import requantize
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.diagnose.after_scaling import ScaleSets, Stage, suffixes
from lastbit.verbs.diagnose.before_scaling import Prefixes
from tests.layers.mistakes.test_windows import OF_CONVOLUTIONS
from tests.support.models import make_dense_model

X = np.random.default_rng(3).integers(-128, 128, (9, 7)).astype(np.int8)
MODEL = make_dense_model(per_channel=True, output_scale=0.15)


def layer(model=MODEL, runtime="litert-reference"):
    return prepare_operator(model, model.dense_operators[0], runtime)


def turned(dense):
    """A dense layer of a flat image, with a TRANSPOSE and a RESHAPE before it."""
    (own, *tensors), size = dense.tensors, len(dense.tensors)
    order, shape = (
        replace(own, index=size + i, shape=(len(v),), dtype=INT32, quant=None, data=np.asarray(v, np.int32))
        for i, v in enumerate(((0, 3, 1, 2), (1, 18)))
    )
    before = replace(own, index=size + 2, name="image")
    moved = replace(own, index=size + 3, shape=(1, 3, 3, 2))
    own = replace(own, shape=(1, 18), shape_signature=(1, 18))
    first = Operator(0, "TRANSPOSE", 1, (before.index, order.index), (moved.index,))
    second = Operator(1, "RESHAPE", 1, (moved.index, shape.index), (0,))
    operators = (first, second, replace(dense.operators[0], index=2))
    tensors = (own, *tensors, order, shape, before, moved)
    return load(write(replace(dense, tensors=tensors, operators=operators, inputs=(before.index,))))


def other_types():
    """Layers of the other integer families: (name, model, runtime, input)."""
    rng = np.random.default_rng(3)
    weights = rng.integers(-7, 8, (6, 10)).astype(np.int8)
    int4 = dense_subgraph(
        weights, input_quant=quant(0.05, -4), weights_quant=quant(np.linspace(0.02, 0.05, 6)), weights_dtype="int4",
        output_quant=quant(0.3, 7), bias=rng.integers(-90, 90, 6),
    )  # fmt: skip
    uint8 = dense_subgraph(
        (weights.astype(np.int16) + 130).astype(np.uint8), input_quant=quant(0.05, 120), weights_quant=quant(0.03, 131),
        output_quant=quant(0.3, 101), bias=rng.integers(-90, 90, 6), input_dtype="uint8", weights_dtype="uint8",
    )  # fmt: skip
    int16 = dense_subgraph(
        weights, input_quant=quant(0.001), weights_quant=quant(0.03), output_quant=quant(0.005),
        bias=rng.integers(-90, 90, 6), input_dtype="int16", bias_dtype="int64",
    )  # fmt: skip
    return [
        ("int4", load(write(int4)), "litert-xnnpack", rng.integers(-128, 128, (5, 10)).astype(np.int8)),
        ("uint8", load(write(uint8)), "litert-builtin-x86", rng.integers(0, 256, (5, 10)).astype(np.uint8)),
        ("int16", load(write(int16)), "tflm", rng.integers(-30000, 30000, (5, 10)).astype(np.int16)),
    ]


def test_every_mistake_is_told_and_fixed_in_one_line_each():
    assert list(SLOTS.values()) == sorted(SLOTS.values(), key=STAGES.index)
    for name, mistake in MISTAKES.items():
        assert name == mistake.name
        assert mistake.stage in STAGES
        for text in (mistake.why, mistake.fix_numpy, mistake.fix_c):
            assert text
            assert "\n" not in text
        assert not mistake.why.endswith(".")
        assert all(link.startswith("https://") for link in mistake.seen)


def test_the_stages_of_the_brief_all_have_mistakes():
    assert {mistake.stage for mistake in MISTAKES.values()} == set(STAGES)
    assert len(MISTAKES) > 100


@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"activation": "RELU6"}, {"bias": False}], ids=str)
def test_without_mistakes_the_output_is_the_runtimes_own(options):
    model = make_dense_model(**options)
    held = 0
    for name in RUNTIMES:
        try:
            prepared = layer(model, name)
        except UnsupportedError:  # not every runtime has every layer
            continue
        held += 1
        for x in (X, X[:1]):
            np.testing.assert_array_equal(wrong_output(prepared, x), prepared.evaluate([x])["output"], err_msg=name)
    assert held >= 4


@pytest.mark.parametrize(("name", "model", "runtime", "x"), other_types(), ids=["int4", "uint8", "int16"])
def test_other_element_types_have_mistakes_too(name, model, runtime, x):
    prepared = layer(model, runtime)
    right = prepared.evaluate([x])["output"]
    np.testing.assert_array_equal(wrong_output(prepared, x), right)
    own = {"int4": "weights_nibbles_swapped", "uint8": "weights_zero_point_missing", "int16": "sum_wraps_int32"}[name]
    usable = [mistake.name for mistake in applicable(prepared)]
    assert own in usable
    changed = [n for n in usable if not np.array_equal(wrong_output(prepared, x, [n]), right)]
    assert len(changed) > 0.6 * len(usable)


def test_every_mistake_changes_some_output_of_some_layer():
    rng = np.random.default_rng(5)
    layers = [(prepare_operator(m, m.operators[0], r), x) for _, m, r, x in other_types()]
    big = np.concatenate([X, rng.integers(-128, 128, (200, 7)).astype(np.int8)])
    for seed, options in enumerate([{"per_channel": True}, {"activation": "RELU"}, {"units": 4, "depth": 9}]):
        for scale in (0.15, 0.004, 0.5):
            model = make_dense_model(seed=seed, output_scale=scale, **options)
            wide = rng.integers(-128, 128, (200, 9)).astype(np.int8) if "depth" in options else big
            layers += [(layer(model, runtime), wide) for runtime in ("litert-reference", "tflm", "litert-builtin-x86")]
    ties = make_dense_model(output_scale=0.05)  # 0.02 * 0.005 / 0.05 is about 1/500
    flat = dense_subgraph(
        np.ones((4, 20), np.int8), input_quant=quant(0.5, 3), weights_quant=quant(2.0**-np.arange(4)),
        output_quant=quant(1.0, 5), bias=np.arange(4) * 70000,
    )  # fmt: skip
    image = dense_subgraph(
        rng.integers(-9, 9, (3, 18)).astype(np.int8), input_quant=quant(0.1, 3), weights_quant=quant(0.1),
        output_quant=quant(0.3, 5), input_shape=(1, 3, 2, 3),
    )  # fmt: skip
    for model, shape in (
        (ties, (300, 7)), (load(write(flat)), (300, 20)), (load(write(image)), (4, 3, 2, 3)), (turned(image), (4, 18)),
    ):  # fmt: skip
        layers += [
            (layer(model, runtime), rng.integers(-128, 128, shape).astype(np.int8))
            for runtime in ("litert-reference", "tflm", "litert-builtin-x86", "litert-xnnpack")
        ]
    shifted = dense_subgraph(
        rng.integers(-127, 128, (3, 9)).astype(np.int8), input_quant=quant(0.1, 3), weights_quant=quant(0.01, 60),
        output_quant=quant(0.9, 5),
    )  # fmt: skip
    steep = dense_subgraph(
        np.ones((3, 1), np.int8), input_quant=quant(1.0, 0), weights_quant=quant(2.7), output_quant=quant(1.0, 5)
    )
    huge = dense_subgraph(
        np.ones((40, 1), np.int8), input_quant=quant(0.013, 0), weights_quant=quant(0.0017), output_quant=quant(23.7),
        bias=rng.integers(-(10**8), 10**8, 40),
    )  # fmt: skip
    probed = layer(load(write(huge))).layer
    edges = critical_accumulators(all_rules(probed), 0, 400, rng)  # where float32 and float64 factors part
    edge = probe_subgraph(probed, [edges], [0])
    long = dense_subgraph(
        np.full((2, 900), 127, np.int8), input_quant=quant(0.001), weights_quant=quant(0.03),
        output_quant=quant(4.0), input_dtype="int16", bias_dtype="int64",
    )  # fmt: skip
    clipped = dense_subgraph(
        rng.integers(-128, -120, (3, 9)).astype(np.int8), input_quant=quant(0.1, 3), weights_quant=quant(0.01),
        output_quant=quant(0.07, -5), activation="RELU6",
    )  # fmt: skip
    deep = dense_subgraph(
        np.full((1, 2001), 127, np.int8), input_quant=quant(1.0), weights_quant=quant(1.0),
        output_quant=quant(1.0), bias=np.asarray([-(127 * 127 * 2001)]),
    )  # fmt: skip
    unsigned = other_types()[1]
    layers.append((layer(unsigned[1], unsigned[2]), rng.integers(0, 256, (50, 10)).astype(np.uint8)))
    for graph, runtime, x in (
        (clipped, "litert-reference", rng.integers(-128, 128, (50, 9)).astype(np.int8)),
        (deep, "litert-reference", np.full((1, 2001), 127, np.int8)),
        (shifted, "litert-reference", rng.integers(-128, 128, (50, 9)).astype(np.int8)),
        (steep, "tflm", rng.integers(-20, 20, (50, 1)).astype(np.int8)),
        (huge, "litert-reference", rng.integers(-128, 128, (50, 1)).astype(np.int8)),
        (edge, "litert-reference", np.zeros((1, 1), np.int8)),
        (long, "tflm", np.full((1, 900), 30000, np.int16)),
    ):
        layers.append((layer(load(write(graph)), runtime), x))
    silent = {m.name for m in MISTAKES.values() if m.slot != "whole" and not m.needs_real_input and not m.alone}
    silent -= OF_CONVOLUTIONS | {"scales_of_the_input_channel"}
    for prepared, x in layers:
        right = prepared.evaluate([x])["output"]
        for mistake in applicable(prepared):
            if mistake.name in silent and not np.array_equal(wrong_output(prepared, x, [mistake.name]), right):
                silent.discard(mistake.name)
    assert not silent


def numbers(model=MODEL):
    got = layer(model).layer
    return (
        got.weights_values, got.bias_values, got.input_scale, got.weights_scale, got.output_scale,
        got.input_zero_point, got.output_zero_point,
    )  # fmt: skip


def by_hand(name):
    """The same mistake written as a user would, in NumPy and without LastBit."""
    w, bias, s_x, s_w, s_y, zx, zy = numbers()
    wide = X.astype(np.int32)
    acc = (wide - zx) @ w.astype(np.int32).T + bias
    m = np.float64(s_x) * s_w.astype(np.float64) / np.float64(s_y)

    def away(v):
        return np.trunc(v + np.copysign(0.5, v))

    def store(v):
        return np.clip(v, -128, 127).astype(np.int8)

    with np.errstate(over="ignore"):
        match name:
            case "input_zero_point_missing":
                return store(zy + away((wide @ w.astype(np.int32).T + bias) * m))
            case "input_minus_zero_point_wraps_int8":
                narrow = X - np.int8(zx)
                return store(zy + away((narrow.astype(np.int32) @ w.astype(np.int32).T + bias) * m))
            case "product_wraps_int8":
                return store(zy + away((X @ w.T - zx * w.sum(axis=1) + bias) * m))
            case "each_product_wraps_int8":
                products = (X[:, None, :] * w).sum(axis=-1)
                return store(zy + away((products - zx * w.sum(axis=1) + bias) * m))
            case "bias_as_int16":
                return store(zy + away((acc - bias + bias.astype(np.int16)) * m))
            case "bias_as_int8":
                return store(zy + away((acc - bias + bias.astype(np.int8)) * m))
            case "bias_requantized_apart":
                return store(zy + away((acc - bias) * m) + away(bias * m))
            case "bias_real_on_integer_sum":
                real = bias * (np.float64(s_x) * s_w.astype(np.float64))
                return store(zy + away((acc - bias + real) * m))
            case "scales_first_for_all":
                return store(zy + away(acc * m[0]))
            case "scale_added":
                return store(zy + away(acc + m))
            case "scales_six_decimals":
                cut = [np.float64(f"{v:.6f}") for v in (s_x, s_y)]
                return store(zy + away(acc * (cut[0] * np.float64([f"{v:.6f}" for v in s_w]) / cut[1])))
            case "rounding_truncated":
                return store(zy + (acc * m).astype(np.int32))
            case "rounding_floor":
                return store(zy + np.floor(acc * m))
            case "half_added_then_truncated":
                return store(zy + (acc * m + 0.5).astype(np.int32))
            case "truncated_after_zero_point":
                return np.clip(acc * m + zy, -128, 127).astype(np.int8)
            case "output_zero_point_missing":
                return store(away(acc * m))
            case "output_wraps":
                return (zy + away(acc * m)).astype(np.int32).astype(np.int8)
            case "clamp_missing":
                return (zy + away(acc * m)).astype(np.int32)
            case "weights_as_in_out":
                turned = w.ravel().reshape(7, 5).astype(np.int32)
                return store(zy + away(((wide - zx) @ turned + bias) * m))
            case "weights_reversed":
                return store(zy + away(((wide - zx) @ w[:, ::-1].astype(np.int32).T + bias) * m))
            case "input_wrong_signedness":
                return store(zy + away(((X.view(np.uint8).astype(np.int32) - zx) @ w.astype(np.int32).T + bias) * m))
            case "output_column_major":
                return np.asarray(store(zy + away(acc * m)).ravel(order="F")).reshape(acc.shape)
            case "requantization_missing":
                return acc
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        "input_zero_point_missing", "input_minus_zero_point_wraps_int8", "product_wraps_int8",
        "each_product_wraps_int8", "bias_as_int16", "bias_as_int8", "bias_requantized_apart",
        "bias_real_on_integer_sum", "scales_first_for_all",
        "scale_added", "scales_six_decimals", "rounding_truncated", "rounding_floor", "half_added_then_truncated",
        "truncated_after_zero_point", "output_zero_point_missing", "output_wraps", "clamp_missing",
        "weights_as_in_out", "weights_reversed", "input_wrong_signedness", "output_column_major",
        "requantization_missing",
    ],
)  # fmt: skip
def test_a_mistake_is_what_the_wrong_numpy_code_prints(name):
    np.testing.assert_array_equal(wrong_output(layer(), X, [name]), by_hand(name))


def q31(acc, multiplier, shift, second):
    """The two-step form with one step changed, one Python integer at a time."""
    high = (acc * multiplier + 2**30) >> 31
    return second(high, -shift)


@pytest.mark.parametrize(
    ("name", "runtime", "second"),
    [
        ("second_step_not_rounded", "tflm", lambda v, r: v >> r),
        ("second_step_half_up", "tflm", lambda v, r: (v + (1 << r - 1)) >> r),
        ("second_step_half_away", "litert-builtin-x86", lambda v, r: (abs(v) + (1 << r - 1) >> r) * (-1) ** (v < 0)),
    ],
)
def test_mistakes_in_the_second_rounding_step(name, runtime, second):
    prepared = layer(MODEL, runtime)
    params = prepared.requant
    acc = prepared.evaluate([X])["acc"]
    wanted = [
        [
            int(np.clip(q31(int(a), int(q), int(s), second) - 5, -128, 127))
            for a, q, s in zip(row, params.multiplier, params.shift, strict=True)
        ]
        for row in acc
    ]
    np.testing.assert_array_equal(wrong_output(prepared, X, [name]), wanted)


def test_rounding_an_integer_over_a_power_of_two_is_rounding_its_value():
    numerators = np.arange(-40, 41)
    for bits in (0, 1, 2, 5):
        exact = numerators / 2.0**bits
        for tie, function in (
            ("floor", np.floor), ("ceil", np.ceil), ("truncate", np.trunc), ("half_even", np.rint),
            ("half_up", lambda v: np.floor(v + 0.5)), ("half_away", lambda v: np.trunc(v + np.copysign(0.5, v))),
        ):  # fmt: skip
            np.testing.assert_array_equal(round_ratio(numerators, np.asarray(bits), tie), function(exact), err_msg=tie)


def test_a_few_elements_are_calculated_as_all_are():
    names = ["input_minus_zero_point_wraps_int8", "each_product_wraps_int8", "bias_as_int8", "scales_next_unit"]
    chosen = {MISTAKES[n].slot: MISTAKES[n] for n in (*names, "second_step_not_rounded", "clamp_symmetric")}
    case = Case.of(layer(MODEL, "tflm"), X)
    row, unit = np.asarray([0, 3, 3, 8]), np.asarray([4, 0, 1, 2])
    grid = Elements(row, unit)
    start = accumulate(case, grid, chosen)
    scaling = Scaling(scale_params(case, grid, chosen), None, chosen["rounding"], case.zy)
    some = finish(case, scaling.with_late_bias(start.acc, start), chosen)
    np.testing.assert_array_equal(some, wrong_matrix(case, chosen)[row, unit])


def real_bias_layer():
    """A real bias of many accumulator steps, and one unit without a bias: (model, input)."""
    rng = np.random.default_rng(3)
    bias = np.concatenate([[0], rng.integers(-2000, 2000, 5)])
    graph = dense_subgraph(
        rng.integers(-127, 128, (6, 12)), input_quant=quant(0.3, -100),
        weights_quant=quant(np.linspace(0.1, 0.4, 6), np.zeros(6, int)), output_quant=quant(31.0, -7), bias=bias,
    )  # fmt: skip
    return load(write(graph)), rng.integers(-128, 128, (40, 12)).astype(np.int8)


@pytest.mark.parametrize("runtime", ["litert-reference", "litert-xnnpack", "litert-builtin-x86", "tflm", "cmsis-nn"])
def test_a_real_bias_on_an_integer_sum_is_scaled_as_real_numbers(runtime):
    model, x = real_bias_layer()
    prepared, name = layer(model, runtime), "bias_real_on_integer_sum"
    w, bias, s_x, s_w, _, zx, zy = numbers(model)
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T
    value = (acc + bias * (float(s_x) * s_w.astype(np.float64))) * prepared.requant.effective_scale.astype(np.float64)
    assert np.abs(value - np.floor(value) - 0.5).min() > 1e-9  # so every rule rounds it alike
    wanted = np.clip(np.rint(value) + zy, -128, 127)
    np.testing.assert_array_equal(wrong_output(prepared, x, [name]), wanted)
    assert (wanted != wrong_output(prepared, x, ["bias_missing"])).any()
    case, chosen = Case.of(prepared, x), {"bias": MISTAKES[name]}
    np.testing.assert_array_equal(unrounded_matrix(case, chosen), value + zy)
    floor = wrong_output(prepared, x, [name, "rounding_floor"])
    np.testing.assert_array_equal(floor, np.clip(np.floor(value) + zy, -128, 127))
    np.testing.assert_array_equal(
        wrong_output(prepared, x, [name, "scaling_missing"]),
        np.clip(np.rint(value / prepared.requant.effective_scale) + zy, -128, 127),
    )


def test_sets_of_mistakes_are_stacked_as_each_is_calculated():
    """Those with a real-valued bias, in float64, beside those without one, in the rule's own arithmetic."""
    model, x = real_bias_layer()
    for runtime in ("litert-xnnpack", "tflm"):
        case = Case.of(layer(model, runtime), x)
        grid = Elements(np.repeat(np.arange(20), 2), np.arange(40) % 6)
        prefixes, sets = Prefixes(case, grid, None), ScaleSets(case, grid)
        (plain,) = (s for s in suffixes(case, sets, 0, Stage()) if not s.chosen)
        for count in (1, 2):
            stack = prefixes.of(count)
            got = plain.apply(stack.accumulated, count)[:, 0]
            seen = set()
            for chosen, made in list(zip(stack.names, got, strict=True))[-60:]:
                np.testing.assert_array_equal(made, wrong_matrix(case, chosen)[grid.row, grid.unit])
                seen |= {mistake.name for mistake in chosen.values()}
            assert {"bias_missing", "bias_real_on_integer_sum"} <= seen


def test_mistakes_combine_in_any_order():
    names = ["bias_missing", "scales_first_for_all", "output_wraps"]
    outputs = [wrong_output(layer(), X, order) for order in itertools.permutations(names)]
    for output in outputs:
        np.testing.assert_array_equal(output, outputs[0])


def test_two_mistakes_of_one_slot_and_unknown_names_are_told():
    with pytest.raises(InputError, match=r"bias_twice and bias_missing cannot be made together"):
        wrong_output(layer(), X, ["bias_missing", "bias_twice"])
    with pytest.raises(InputError, match=r"there is no mistake 'bias_lost'; wanted one of: input_wrong_signedness"):
        wrong_output(layer(), X, ["bias_lost"])


def test_what_the_file_rules_out_is_not_tried():
    per_tensor = {m.name for m in applicable(layer(make_dense_model(bias=False)))}
    assert not {n for n in per_tensor if n.startswith(("bias_", "scales_first", "weights_nibbles"))}
    assert "activation_missing" not in per_tensor
    assert "activation_missing" in {m.name for m in applicable(layer(make_dense_model(activation="RELU")))}


def test_mistakes_in_quantizing_the_input_are_what_numpy_code_makes_of_it():
    rng = np.random.default_rng(3)
    prepared = layer()
    zx, s_x = prepared.layer.input_zero_point, np.float64(prepared.layer.input_scale)
    real = rng.uniform(-4, 4, (60, 7)).astype(np.float32)  # some lie outside the type's range
    steps = real / s_x
    x = np.clip(np.rint(steps) + zx, -128, 127).astype(np.int8)
    read = {
        "input_quantized_by_truncation": np.clip(steps + zx, -128, 127).astype(np.int8),
        "input_truncated_before_zero_point": np.clip(steps.astype(np.int32) + zx, -128, 127).astype(np.int8),
        "input_quantized_without_clamp": (np.rint(steps).astype(np.int32) + zx).astype(np.int8),
        "input_quantized_without_zero_point": np.clip(np.rint(steps), -128, 127).astype(np.int8),
        "input_cast_without_scale": real.astype(np.int8),
    }
    assert set(read) == {m.name for m in MISTAKES.values() if m.needs_real_input}
    for name, wrong_x in read.items():
        wanted = prepared.evaluate([wrong_x])["output"]
        np.testing.assert_array_equal(wrong_output(prepared, x, [name], real=real), wanted, err_msg=name)
        assert not np.array_equal(wanted, prepared.evaluate([x])["output"])
    with pytest.raises(InputError, match="about quantizing the input"):
        wrong_output(prepared, x, ["input_cast_without_scale"])


def test_real_numbers_in_place_of_integers_are_what_numpy_prints():
    rng = np.random.default_rng(3)
    model = make_dense_model(per_channel=True, output_scale=0.05)
    prepared, x = layer(model), rng.integers(-128, 128, (3000, 7)).astype(np.int8)
    got = prepared.layer
    kinds = {"calculated_in_real_numbers": np.float32, "calculated_in_real_numbers_float64": np.float64}
    for name, kind in kinds.items():
        real_x = (x.astype(kind) - got.input_zero_point) * kind(got.input_scale)
        real_w = got.weights_values.astype(kind) * got.weights_scale.astype(kind)[:, None]
        real_bias = got.bias_values.astype(kind) * (kind(got.input_scale) * got.weights_scale.astype(kind))
        value = (real_x @ real_w.T + real_bias) / kind(got.output_scale)
        wanted = np.clip(np.rint(value) + got.output_zero_point, -128, 127).astype(np.int8)
        np.testing.assert_array_equal(wrong_output(prepared, x, [name]), wanted)


def test_other_whole_layers_are_what_numpy_prints():
    rng = np.random.default_rng(4)
    w, s_w = rng.integers(-127, 128, (8, 8)), rng.uniform(0.002, 0.02, 8).astype(np.float32)
    graph = dense_subgraph(
        w.astype(np.int8), input_quant=quant(0.0745), weights_quant=quant(s_w), output_quant=quant(0.31, 7),
        bias=rng.integers(-900, 900, 8),
    )  # fmt: skip
    prepared, x = layer(load(write(graph))), rng.integers(-128, 128, (400, 8)).astype(np.int8)
    got = prepared.layer
    s_x, s_y, scales = np.float64(got.input_scale), np.float64(got.output_scale), s_w.astype(np.float64)
    acc = x.astype(np.int64) @ w.T + got.bias_values
    total = x.astype(np.int64) @ w.T
    wanted = {
        "bias_dequantized_by_weights_scale": (total * (s_x * scales) + got.bias_values * scales) / s_y,
        "bias_dequantized_by_input_scale": (total * (s_x * scales) + got.bias_values * s_x) / s_y,
        "bias_integer_on_real_sum": (total * (s_x * scales) + got.bias_values) / s_y,
        "weights_scale_along_depth": ((x * s_x) @ (w * scales).T + got.bias_values * (s_x * scales)) / s_y,
        "real_result_in_float16": (acc * (s_x * scales)).astype(np.float16).astype(np.float64) / s_y,
        "accumulator_never_reset": np.cumsum(acc, axis=1) * (s_x * scales / s_y),
    }
    for name, value in wanted.items():
        made = wrong_output(prepared, x, [name])
        np.testing.assert_array_equal(made, np.clip(np.rint(value) + 7, -128, 127), err_msg=name)
        assert (made != wrong_output(prepared, x)).any()


def test_each_of_a_family_changes_the_constants_as_its_name_says():
    model = load(
        write(
            dense_subgraph(
                np.ones((2, 3), np.int8), input_quant=quant(0.0745098039), weights_quant=quant(0.01782345678),
                output_quant=quant(0.15403123456), bias=np.asarray([5, 9]),
            )
        )
    )  # fmt: skip
    prepared = layer(model, "tflm")
    case = Case.of(prepared, np.zeros((1, 3), np.int8))
    right = scale_params(case, case.everything(), {})
    m = float(right.effective_scale[0])
    family = [mistake for mistake in applicable(prepared, families=True) if mistake.alone]
    assert len(family) > 100
    found = {}
    for mistake in family:
        if mistake.slot == "combine" or mistake.stage != "multiplier":
            continue
        params = scale_params(case, case.everything(), {mistake.slot: mistake})
        found[mistake.name] = params
        changed = [getattr(params, n) != getattr(right, n) for n in ("effective_scale", "multiplier", "shift")]
        assert any(np.any(c) for c in changed), mistake.name
    s_x, s_w, s_y = (float(np.float32(v)) for v in (0.0745098039, 0.01782345678, 0.15403123456))
    assert found["factor_15_fraction_bits"].effective_scale[0] == round(m * 2**15) / 2**15
    assert found["factor_three_digits"].effective_scale[0] == float(f"{m:.2e}")
    assert found["factor_one_over_integer"].effective_scale[0] == 1 / round(1 / m)
    assert np.isclose(found["input_scale_three_digits"].effective_scale[0], 0.0745 * s_w / s_y, 1e-14)
    assert np.isclose(found["output_scale_two_decimals"].effective_scale[0], s_x * s_w / 0.15, 1e-14)
    assert found["shift_3_too_far_left"].shift[0] == right.shift[0] + 3
    assert found["multiplier_12_bits"].multiplier[0] % 2**20 == 0
    wraps = MISTAKES["multiplication_wraps_int32_q26"].function
    acc, q = 41_000, round(0.001 * 2**26)
    held = (acc * q + 2**25 + 2**31) % 2**32 - 2**31 - 2**25
    assert wraps(np.asarray([acc]), np.asarray([0.001]))[0] == held / 2**26


def test_pairs_of_products_saturate_as_the_instruction_does():
    prepared = layer()
    w, zx = prepared.layer.weights_values.astype(np.int64), prepared.layer.input_zero_point
    up = X.astype(np.int64) + 128  # uint8 for the instruction, with an even depth
    products = np.concatenate([up[:, None, :] * w, np.zeros((len(X), len(w), 1), np.int64)], axis=-1)
    pairs = products.reshape(len(X), len(w), 4, 2).sum(axis=-1)
    assert (np.abs(pairs) > 32767).any()
    acc = np.clip(pairs, -32768, 32767).sum(axis=-1) - (128 + zx) * w.sum(axis=1) + prepared.layer.bias_values
    value = acc * prepared.requant.effective_scale
    wanted = np.clip(np.trunc(value + np.copysign(0.5, value)) - 5, -128, 127)
    np.testing.assert_array_equal(wrong_output(prepared, X, ["product_pairs_saturate_int16"]), wanted)


def test_the_right_line_of_each_rounding_is_what_the_rule_computes():
    """The fixes that are shown, run as they stand."""
    rng = np.random.default_rng(3)
    acc = np.concatenate([np.arange(-3000, 3000), rng.integers(-(10**6), 10**6, 4000)])
    seen = set()
    for name in ("litert-xnnpack", "litert-reference", "litert-builtin-x86", "tflm", "cmsis-nn-single-rounding"):
        prepared = layer(make_dense_model(output_scale=0.5), name)
        params = prepared.requant
        form = params.rule.requantize
        line = fixes(MISTAKES["rounding_floor"], params.rule)[0]
        shift = int(params.shift[0])
        given = {
            "np": np, "acc": acc, "zy": 0, "m": params.effective_scale, "q": int(params.multiplier[0]), "shift": shift,
            "L": max(shift, 0), "R": max(-shift, 0),
        }  # fmt: skip
        exec(line, given)
        wide = replace(params, output_zero_point=0, activation_min=-(2**30), activation_max=2**30, dtype=INT32)
        np.testing.assert_array_equal(given["y"], requantize(acc[:, None], wide)["output"].ravel(), err_msg=str(form))
        seen.add(line)
    assert len(seen) == 5
