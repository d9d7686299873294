"""lastbit.dense: a layer from arrays, given by scales or by multiplier and shift."""

import importlib
import math
import re

import numpy as np
import pytest

import lastbit
from lastbit.layers.differences import steps_of
from lastbit.layers.step_tables import LayerTables
from lastbit.model.tflite import load, write
from lastbit.model.types import IntegerType
from lastbit.ops.dense.gemv_or_gemm import for_rows
from lastbit.ops.prepare import SCALES_UNKNOWN
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.runtimes import RUNTIMES
from lastbit.testing import assert_bitexact
from lastbit.verbs.vectors.formats import write_vectors
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import ROOT

W = np.random.default_rng(15).integers(-127, 128, (6, 20)).astype(np.int8)
B = np.random.default_rng(15).integers(-3000, 3000, 6)
PER_CHANNEL = np.random.default_rng(15).uniform(0.002, 0.01, 6)
SCALES = {"input": (0.02, 3), "weights_scale": 0.005, "output": (0.03, -5)}
# Runtimes that multiply with integers; the others need the real scale.
BY_INTEGERS = (
    *("litert-builtin-x86", "litert-builtin-portable", "litert-builtin-arm64", "litert-builtin-arm64-neon"),
    *("tflm", "cmsis-nn", "cmsis-nn-single-rounding"),
)

LAYERS = {
    "int8": ((W, B), SCALES),
    "int8 without a bias": ((W,), SCALES),
    "int8 per-channel, ReLU": ((W, B), SCALES | {"weights_scale": PER_CHANNEL, "activation": "RELU"}),
    "int8, ReLU6, three dimensions": ((W, B), SCALES | {"activation": "RELU6", "input_shape": (1, 4, 20)}),
    "uint8, weights with a zero point": (
        ((W.astype(np.int16) + 128).astype(np.uint8), B),
        {"input": (0.02, 120), "weights_scale": 0.005, "weights_zero_point": 131, "output": (0.03, 7)},
    ),
    "int4": ((np.clip(W // 16, -7, 7), B), SCALES | {"weights_dtype": "int4"}),
    "int16": ((W, B), {"input": (0.0005, 0), "weights_scale": 0.005, "output": (0.002, 0), "dtype": "int16"}),
    "hybrid": ((W, B / 1000), {"weights_scale": 0.005}),
}


def an_input(model, rows=9):
    rng = np.random.default_rng(15)
    tensor = model.inputs[0]
    shape = (rows, *tensor.shape[1:])
    if not isinstance(tensor.dtype, IntegerType):
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, shape, tensor.dtype.numpy, endpoint=True)


@needs_all_interpreters
@pytest.mark.parametrize("name", LAYERS)
def test_real_interpreters_run_the_layer_and_print_the_same(name):
    arrays, options = LAYERS[name]
    model = lastbit.dense(*arrays, **options)
    x = an_input(model)
    compared = 0
    for runtime in ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm"):
        here = on_this_machine(runtime)
        prepared = lastbit.prepare(model, here)
        if prepared.refusals:
            continue
        with open_oracle(here) as oracle:
            run = oracle.run(model.content, [[row[None]] for row in x])
        for row, (theirs,) in zip(x, run.outputs, strict=True):
            ours = lastbit.run(model, row[None], here).output
            assert ours.tobytes() == theirs.tobytes(), (name, here)
            assert ours.shape == theirs.shape
            compared += ours.size
    assert compared >= 2 * 9 * 6


def test_the_content_is_a_file_that_says_the_same():
    model = lastbit.dense(W, B, **SCALES | {"weights_scale": PER_CHANNEL, "activation": "RELU"})
    again = load(model.content)
    assert [t.name for t in again.tensors] == ["input", "weights", "bias", "output"]
    np.testing.assert_array_equal(again.tensors[1].quant.scale, PER_CHANNEL.astype(np.float32))
    np.testing.assert_array_equal(again.tensors[2].data, B)
    np.testing.assert_allclose(again.tensors[2].quant.scale, PER_CHANNEL * 0.02, rtol=1e-6)
    assert again.operators[0].options["fused_activation_function"] == "RELU"
    x = an_input(model)
    assert_bitexact(lastbit.run(again, x, "tflm").output, model, x, "tflm")
    assert repr(model).startswith("Model('<dense 20 -> 6>', 1 operators")


# --- by multiplier and shift ---


def given_and_scaled(factor, units, **options):
    """The same layer both ways. Scales of 1 and powers of two make the factor exact in every precision."""
    fraction, exponent = np.frexp(np.broadcast_to(np.asarray(factor, np.float64), units).copy())
    per_channel = np.ndim(factor) > 0
    multiplier, shift = np.rint(fraction * 2.0**31).astype(np.int64), exponent
    if not per_channel:
        multiplier, shift = int(multiplier[0]), int(shift[0])
    given = {"input": 3, "output": -5, "multiplier": multiplier, "shift": shift}
    scaled = {"input": (0.5, 3), "output": (2.0, -5), "weights_scale": np.asarray(factor) * 4}
    return lastbit.dense(W, B, **given, **options), lastbit.dense(W, B, **scaled, **options)


@pytest.mark.parametrize("runtime", BY_INTEGERS)
@pytest.mark.parametrize(
    "factor",
    [
        float(np.float32(0.0011)),
        float(np.float32(0.9)) * 2.0**-9,
        2.0**-10,  # ties
        PER_CHANNEL.astype(np.float32).astype(np.float64) / 4,
        float(np.float32(1.5)),  # shifts to the left, and saturates
    ],
)
def test_multiplier_and_shift_give_what_the_scales_give(runtime, factor):
    given, scaled = given_and_scaled(factor, 6)
    x = an_input(given, 64)
    ours, theirs = (lastbit.run(model, x, runtime)[0].steps for model in (given, scaled))
    assert set(ours) == set(theirs)
    for step, values in ours.items():
        np.testing.assert_array_equal(values, theirs[step], err_msg=step)
    for engine in ("numpy", "auto"):
        np.testing.assert_array_equal(lastbit.build(given, runtime, engine=engine)(x), ours["output"])
    # The slow twin works the same steps out, one element at a time.
    np.testing.assert_array_equal(
        [lastbit.explain(given, x[:3], at=at, runtime=runtime).output for at in range(18)], ours["output"][:3].ravel()
    )


def test_all_31_bits_of_the_multiplier_count():
    x, w = np.int8([[127] * 20]), np.full((2, 20), 127, np.int8)
    q = 2**30 + 1
    for last in (0, 1):
        layer = lastbit.dense(w, [7, 8], input=-128, output=0, multiplier=q + last, shift=-14)
        prepared = lastbit.prepare(layer, "tflm").operators[0]
        assert prepared.requant.multiplier.tolist() == [q + last]
        assert prepared.requant.shift.tolist() == [-14]
        acc = 255 * 127 * 20 + np.array([7, 8])
        wanted = [math.floor(((a * (q + last) + 2**30) >> 31) / 2**14 + 0.5) for a in acc.tolist()]
        assert lastbit.run(layer, x, "tflm").output.tolist() == [np.clip(wanted, -128, 127).tolist()]
        # No scale of 24 bits has this multiplier; rules that round the product of scales to float32 take it as it is.
        assert lastbit.prepare(layer, "litert-builtin-x86").operators[0].requant.multiplier.tolist() == [q + last]


def unnormalized(units, rng, most_shift):
    """Multipliers that no scale makes, each with a shift that gives outputs of some size; and with any."""
    ends = [0, 1, 2, 2**29, 2**30 - 1, 2**30, 2**31 - 1]
    multiplier = np.concatenate([ends, np.int64(2) ** rng.integers(1, 31, units - len(ends)) + 1])
    less = 31 - np.frexp(np.maximum(multiplier, 1).astype(np.float64))[1]
    shift = np.where(rng.random(units) < 0.8, less - rng.integers(4, 16, units), rng.integers(-31, most_shift, units))
    return multiplier, np.clip(shift, -31, most_shift)


@pytest.mark.parametrize("runtime", BY_INTEGERS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_every_multiplier_is_one_number_to_vector_exact_tables_and_engines(runtime, dtype):
    rng = np.random.default_rng([4, *map(ord, dtype)])
    compared = 0
    for most_shift in (14, 30):
        multiplier, shift = unnormalized(48, rng, most_shift)
        weights = rng.integers(-127, 128, (48, 5))
        kinds = {"dtype": dtype}
        if dtype == "uint8":
            weights, kinds = (weights + 128).astype(np.uint8), {"weights_zero_point": 131}
        bias = np.where(rng.random(48) < 0.7, rng.integers(-(2**14), 2**14, 48), rng.integers(-(2**30), 2**30, 48))
        zeros = (0, 0) if dtype == "int16" else (3, 5)
        for taken in range(0, 48, 16) if dtype == "uint8" else (slice(None), *range(0, 48, 24)):
            q, n = (values[taken] if isinstance(taken, slice) else int(values[taken]) for values in (multiplier, shift))
            layer = lastbit.dense(weights, bias, input=zeros[0], output=zeros[1], multiplier=q, shift=n, **kinds)
            prepared = lastbit.prepare(layer, runtime)
            if prepared.refusals:
                continue
            x = an_input(layer, 40)
            steps = lastbit.run(layer, x, runtime)[0].steps
            np.testing.assert_array_equal(prepared.operators[0].requant.multiplier, np.atleast_1d(q))
            for engine in ("numpy", "auto"):
                np.testing.assert_array_equal(lastbit.build(layer, runtime, engine=engine)(x), steps["output"])
            tables = LayerTables(prepared.operators[0], rows=40)
            for unit in range(48):
                table = tables.table(unit)
                if table is not None:
                    np.testing.assert_array_equal(table.at(steps["acc"][:, unit]), steps["output"][:, unit])
            several = for_rows(prepared.operators[0], 40)
            for row, unit in zip(rng.integers(0, 40, 12).tolist(), rng.integers(0, 48, 12).tolist(), strict=True):
                for step in steps_of(several, int(steps["acc"][row, unit]), unit):
                    if step.name in steps:
                        assert int(step.value) == steps[step.name][row, unit], (step.name, row, unit)
                compared += 1
    # CMSIS-NN's int16 kernel takes shifts up to 14 and one multiplier only; no kernel there has uint8.
    least = {"int8": 72, "uint8": 72 * runtime.startswith("litert"), "int16": 0 if runtime.startswith("litert") else 24}
    assert compared >= least[dtype]


def test_shifts_that_a_rule_is_not_made_for_are_refused_in_the_words_of_what_was_given():
    layer = lastbit.dense(W, B, input=0, output=0, multiplier=2**30, shift=20, dtype="int16")
    told = r"the given shift is 20; kernels of the rule q15_wrap-half_up/dd take -31 to 14"
    with pytest.raises(lastbit.UnsupportedError, match=told):
        lastbit.run(layer, an_input(layer), "cmsis-nn")


def test_half_the_multiplier_and_a_shift_more_rounds_in_other_places():
    """The factor is the same, 3/32; kernels that round twice lose other bits of the product."""
    whole, half = (
        lastbit.dense([[0]], [4], input=0, output=0, multiplier=q, shift=n) for q, n in ((3 << 29, -3), (3 << 28, -2))
    )
    assert whole.content != half.content
    x = np.int8([[0]])
    # 4 * 3/4 is 3, and 3/8 is 0. 4 * 3/8 is a tie, so 2, and 2/4 is a tie, so 1. One rounding: 3/8 is 0.
    for runtime, wanted in (("tflm", [0, 1]), ("cmsis-nn", [0, 1]), ("cmsis-nn-single-rounding", [0, 0])):
        assert [lastbit.run(model, x, runtime).output.item() for model in (whole, half)] == wanted
    report = lastbit.explain(half, x, runtime="tflm")
    assert [step["value"]["float"] for step in report.as_dict()["steps"]][:6] == [3 / 32, 3 << 28, -2, 4, 2, 1]


def test_the_layer_of_esp_nn_34():
    """espressif/esp-nn issue 34: 1280 -> 2, data of a linear congruential generator, multiplier 1355715584."""
    state = 12345

    def draw():
        nonlocal state
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (state >> 24) - 256 * (state >> 31)

    x = np.int8([[draw() for _ in range(1280)]])
    w = np.int8([[draw() for _ in range(1280)] for _ in range(2)])
    bias = np.array([draw() * 64 for _ in range(2)])
    q, n = 1355715584, -9  # the shift is not visible in the report
    layer = lastbit.dense(w, bias, input=3, output=-128, multiplier=[q, q], shift=[n, n])
    by_hand = []
    for unit in range(2):
        acc = sum((int(a) - 3) * int(b) for a, b in zip(x[0], w[unit], strict=True)) + int(bias[unit])
        by_hand.append(max(-128, min(127, -128 + round(acc * q / 2**40))))  # nothing here is near a tie
    for runtime in BY_INTEGERS:
        assert lastbit.run(layer, x, runtime).output.tolist() == [by_hand] == [[-128, -7]]
    swapped = np.int8([by_hand[::-1]])
    assert lastbit.diagnose(layer, x, swapped).exit_code == 1
    assert lastbit.diagnose(layer, x, np.int8([by_hand])).right


def test_runtimes_that_need_the_real_scale_refuse_with_the_reason():
    layer, _ = given_and_scaled(float(np.float32(0.0011)), 6)
    for runtime in RUNTIMES:
        refusals = lastbit.prepare(layer, runtime).refusals
        assert bool(refusals) == (runtime not in BY_INTEGERS)
        assert all("multiplies with the real factor s_x*s_w/s_y: give the scales" in why for why in refusals.values())


def test_every_verb_takes_a_layer_without_scales_or_says_what_it_lacks():
    layer, scaled = given_and_scaled(float(np.float32(0.0011)), 6)
    x = an_input(layer)
    y = lastbit.run(layer, x, "tflm").output
    report = lastbit.explain(layer, x, at=(0, 1), runtime="tflm")
    assert SCALES_UNKNOWN in report.as_dict()["notes"]
    assert str(report).count("refuse this layer: ") == 1  # one reason, one line, for all runtimes that have it
    tables = [lastbit.thresholds(model, "tflm")[0].table() for model in (layer, scaled)]
    np.testing.assert_array_equal(tables[0].starts, tables[1].starts)
    found = lastbit.vectors(layer, "tflm", random=0, count=8)
    assert found.exit_code == 0
    assert found.oracle is None
    assert_bitexact(found.layers[0].outputs, layer, found.layers[0].x, "tflm")
    assert lastbit.compare(layer, "tflm", "cmsis-nn").exit_code in (0, 3)
    assert lastbit.compare(layer, "tflm", "cmsis-nn-single-rounding").exit_code == 1
    assert {name for group in lastbit.identify(layer, x, y).groups for name in group} >= {"tflm", "cmsis-nn"}
    assert lastbit.evaluate(layer, x, runtimes=("tflm",)).complete
    assert lastbit.inspect(layer, 0).as_dict()["dense"]
    for needs_a_file in (
        lambda: lastbit.verify(layer, ["tflm"]),
        lambda: lastbit.prove(layer, "tflm"),
        lambda: write(layer.subgraphs[0]),
    ):
        with pytest.raises(lastbit.UnsupportedError, match=r"no \.tflite file can hold it, so no real interpreter"):
            needs_a_file()
    with pytest.raises(lastbit.InputError, match="scale is not known: quantize real values yourself"):
        lastbit.run(layer, x / 7, "tflm", quantize_input=True)


def test_no_verb_shows_a_scale_that_stands_for_another(tmp_path):
    """1 stands for the scales that are not known, and the factor for the weights': inside only."""
    layer = lastbit.dense(W, B, input=3, output=-5, multiplier=[2**29 + 1] * 6, shift=-7, activation_range=(-5, 90))
    x = an_input(layer)
    whole, one = lastbit.inspect(layer), lastbit.inspect(layer, 0)
    for tensor in whole.as_dict()["tensors"]:
        assert tensor["quantization"]["scale"] is None
    weights = one.as_dict()["dense"][0]["operands"]["weights"]["quantization"]
    assert (weights["multiplier"], weights["shift"]) == ([2**29 + 1] * 6, [-7] * 6)
    assert str(whole).count("not known  ") == 3
    assert whole.as_dict()["model"]["bytes"] is None
    assert "not a file, sha256 " in str(whole)
    assert "multiplier, shift" in str(one)
    assert "s_x*s_w/s_y; as multiplier" not in str(one)
    report = lastbit.explain(layer, x, at=(0, 1), runtime="tflm")
    data = report.as_dict()
    assert [entry["scale"] for entry in data["quantization"].values()] == [None] * 3
    made = data["multiplier"]
    assert [made[key] for key in ("exact_scale", "fraction", "exponent", "relative_error")] == [None] * 4
    assert (made["multiplier"], made["shift"], data["output_real"]) == (2**29 + 1, -7, None)
    for text in (str(report), report._repr_html_(), report.latex()):
        assert not re.search(r"s_[xwy] *(=|&=|\(|\* \()|real value|\b1\.0\b", text)
    assert "2. Zero points; multiplier and shift are given, so the scales are not known" in str(report)
    assert "[-5, 90], as given" in str(report)
    write_vectors(lastbit.vectors(layer, "tflm", random=0, count=4), str(tmp_path / "v"), ("json", "h", "mem"))
    for path in (tmp_path / "v").iterdir():
        assert not re.search("input_scale|weights_scale|output_scale", path.read_text(encoding="utf-8")), path
    with pytest.raises(lastbit.InputError, match="labels are wanted outputs in real units, and a layer given by"):
        lastbit.evaluate(layer, x, labels=np.zeros((9, 6), np.float32), runtimes=("tflm",))
    for needs_scales, told in (
        (lambda: lastbit.diff(layer, layer), "it has no scales, and diff compares those"),
        (lambda: lastbit.explain_tensor(layer, 1), "it has no scales, so there is nothing that they come from"),
    ):
        with pytest.raises(lastbit.UnsupportedError, match=told):
            needs_scales()
    with pytest.raises(lastbit.InputError, match="wants 's_x', and the layer has no input_scale; it is given by mult"):
        lastbit.diagnose(layer, x, lambda x, weights, s_x: x)


def test_diagnose_names_mistakes_with_multipliers_that_no_scale_makes():
    """Another unit's multiplier is taken as it is, too: normalized it would round in other places."""
    rng = np.random.default_rng(5)
    weights, bias = rng.integers(-127, 128, (6, 20)), rng.integers(-3000, 3000, 6)
    q, n = [3 << 27, 5 << 26, 7 << 26, 3 << 26, 9 << 25, 3 << 27], [-6, -7, -5, -6, -5, -8]
    layer = lastbit.dense(weights, bias, input=3, output=-5, multiplier=q, shift=n)
    x = an_input(layer, 40)
    first = lastbit.dense(weights, bias, input=3, output=-5, multiplier=q[0], shift=n[0])
    shifted = lastbit.dense(weights, bias, input=3, output=-5, multiplier=q, shift=np.add(n, 1))
    for wrong, name in ((first, "scales_first_for_all"), (shifted, "multiplier_taken_as_q30")):
        found = lastbit.diagnose(layer, x, lastbit.run(wrong, x, "tflm").output, runtime="tflm")
        assert tuple(found.explanations[0].mistakes) == (name,)
        assert "multiplier[unit], shift[unit]  # as given" in str(found)
        assert "s_x" not in str(found)


def test_clamp_bounds_are_given_where_there_is_no_scale():
    for bounds in ((-5, 20), (0, 0), (-128, 127)):
        layer = lastbit.dense(W, B, input=3, output=-5, multiplier=2**30, shift=-7, activation_range=bounds)
        wide = lastbit.dense(W, B, input=3, output=-5, multiplier=2**30, shift=-7)
        x = an_input(layer, 32)
        np.testing.assert_array_equal(
            lastbit.run(layer, x, "tflm").output, np.clip(lastbit.run(wide, x, "tflm").output, *bounds)
        )
    relu = lastbit.dense(W, B, input=3, output=-5, multiplier=2**30, shift=-7, activation="RELU")
    assert lastbit.run(relu, x, "tflm").output.min() == -5


def test_two_layers_without_scales_are_two_models():
    same, other = ({"input": 3, "output": -5, "multiplier": 2**30 + i, "shift": -7} for i in (0, 1))
    assert lastbit.dense(W, B, **same).content == lastbit.dense(W, B, **same).content
    assert lastbit.dense(W, B, **same).content != lastbit.dense(W, B, **other).content


MULTIPLIER = {"input": 3, "output": -5, "multiplier": 2**30, "shift": -7}


@pytest.mark.parametrize(
    ("arrays", "options", "told"),
    [
        ((W[0],), SCALES, r"weights: found shape \[20\]; wanted \[out, in\]"),
        ((W * 0.5,), SCALES, "weights: found float64 with values that are not whole; wanted int8"),
        ((W.astype(np.int32) * 9,), SCALES, r"weights: -\d+ to \d+ do not fit int8 \(-128 to 127\)"),
        ((W, B[:5]), SCALES, r"bias: found shape \[5\]; wanted \[6\]"),
        ((W, B), SCALES | {"input": 0.02}, r"input: found 0.02; wanted \(scale, zero point\)"),
        ((W, B), SCALES | {"input": (0.02, 300)}, "input's zero point: 300 do not fit int8"),
        ((W, B), SCALES | {"output": (0.0, 0)}, "output's scale: found 0.0; wanted float32 numbers above 0"),
        ((W, B), SCALES | {"output": (1e-60, 0)}, "output's scale: found 1e-60"),
        ((W, B), SCALES | {"weights_scale": [0.1, 0.2]}, r"weights_scale: found float64 of shape \[2\]; wanted one"),
        ((W, B), SCALES | {"weights_scale": PER_CHANNEL, "weights_zero_point": 1}, "found 1 with 6 scales; wanted 0"),
        ((W, B), SCALES | {"activation": "TANH"}, "activation: found 'TANH'; wanted one of NONE, RELU"),
        ((W, B), SCALES | {"activation_range": (0, 5)}, "is for a layer with a multiplier"),
        ((W, B), SCALES | {"dtype": "int32"}, "dtype: found 'int32'; wanted one of int8, uint8, int16"),
        ((W, B), SCALES | {"input": None}, "one of them is None"),
        ((W, B), SCALES | {"input_shape": (1, 19)}, r"found \(1, 19\); wanted \[..., 20\]"),
        ((W, B), SCALES | {"input_shape": 20}, r"found 20; wanted \[..., 20\]"),
        (([[1, 2], [3]],), SCALES, "weights: found sequences of different lengths"),
        ((W, [2**40] * 6), SCALES, "bias: 1099511627776 do not fit int32"),
        ((W, B), SCALES | {"input": ("a", 0)}, r"input: found \('a', 0\); wanted \(scale, zero point\)"),
        ((W, B), SCALES | {"input": (0.1, 0.5)}, "input's zero point: found float64 with values that are not whole"),
        ((W, B), SCALES | {"input": (np.nan, 0)}, "input's scale: found nan; wanted float32 numbers above 0"),
        ((W, B), MULTIPLIER | {"activation_range": 5}, "activation_range: found 5; wanted"),
        ((W, B), {"input": (0.1, 0), "output": (0.1, 0)}, "found neither weights_scale nor multiplier and shift"),
        ((W, B), MULTIPLIER | {"weights_scale": 0.1}, "found both a multiplier and scales"),
        ((W, B), MULTIPLIER | {"input": (0.02, 3)}, "beside a multiplier; wanted the zero point alone"),
        ((W, B), MULTIPLIER | {"shift": None}, "one of them is missing; give both"),
        ((W, B), MULTIPLIER | {"shift": 40}, "shift: found 40; wanted -31 to 30"),
        (
            (W, B),
            MULTIPLIER | {"multiplier": -1},
            r"multiplier: found -1; wanted 0 to 2\*\*31 - 1, as kernels assert",
        ),
        ((W, B), MULTIPLIER | {"multiplier": 2**31}, r"multiplier: found 2147483648; wanted 0 to 2\*\*31 - 1"),
        ((W, B), MULTIPLIER | {"multiplier": 0.5}, "multiplier: found float64"),
        ((W, B), MULTIPLIER | {"activation": "RELU6"}, r"need the output's scale; give activation_range=\(low, high\)"),
        ((W, B), MULTIPLIER | {"activation_range": (5, 0)}, "wanted \\(smallest, largest\\)"),
    ],
)
def test_what_does_not_fit_is_told(arrays, options, told):
    with pytest.raises(lastbit.InputError, match=told):
        lastbit.dense(*arrays, **options)


def test_the_page_for_those_without_a_file_runs(capsys):
    text = (ROOT / "docs" / "arrays.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(first, names)
    assert names["layer"].content[4:8] == b"TFL3"
    assert "element (row 0, unit 1), tflm" in capsys.readouterr().out
    exec(second, names)
    assert lastbit.run(names["layer"], names["x"], "cmsis-nn").output.shape == (2, 2)
    taking = {name for name in RUNTIMES if not lastbit.prepare(names["layer"], name).refusals}
    assert taking == set(BY_INTEGERS)
    assert "lastbit.dense(weights, bias, ...)" in invoke("--help").stdout
    assert "You have no .tflite?" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_completion_offers_public_names_only():
    assert dir(lastbit) == sorted(lastbit.__all__)
    assert "dense" in dir(lastbit)
    assert callable(lastbit.dense)
    # Modules are reached by import all the same, and a verb stays the function whatever is imported later.
    for module in ("verbs.explain.position", "verbs.vectors.formats", "verbs.dense"):
        importlib.import_module(f"lastbit.{module}")
    assert callable(lastbit.explain)
    assert callable(lastbit.vectors)
    assert not {"arith", "cli", "ops", "runtimes", "tflite"} & set(dir(lastbit))
