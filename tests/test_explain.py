"""The verb explain: numbers that hold together, causes named rightly, inputs, errors and renderings."""

import itertools
import json
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.arith.requantize import RULES, activation_bounds, prepare_requantize, requantize
from lastbit.errors import InputError, RuntimeNameError, UnsupportedError
from lastbit.explain import explain
from lastbit.explain_differences import STEPS, Side, find_cause, five_steps
from lastbit.explain_element import decimal_text, make_element
from lastbit.explain_latex import escape_latex
from lastbit.model import Operator, Subgraph, Tensor
from lastbit.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from lastbit.tflite.reader import load
from lastbit.tflite.writer import write
from lastbit.types import DTYPES, QuantParams

INT8, INT32 = DTYPES[9], DTYPES[2]


def quant(scale, zero_point=0):
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return QuantParams(scales, np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy())


def flat(report):
    """The text on one line, so that tests do not depend on where it is broken."""
    return " ".join(str(report).split())


def dense_model(*layers, rows=1):
    """A .tflite file of dense layers in a row; each a dict of weights, bias, scales, zero points, activation."""
    tensors, operators = [], []

    def add(name, shape, dtype, quantization, data=None):
        tensors.append(Tensor(len(tensors), name, shape, shape, dtype, quantization, data))
        return len(tensors) - 1

    first = layers[0]
    depth = np.asarray(first["w"]).shape[1]
    at = add("x_in", (rows, depth), INT8, quant(first.get("sx", 1.0), first.get("zx", 0)))
    for number, layer in enumerate(layers):
        w = np.asarray(layer["w"], np.int8)
        sx, sw, sy = layer.get("sx", 1.0), layer.get("sw", 1.0), layer.get("sy", 1.0)
        weights = add(f"w_{number}", w.shape, INT8, quant(sw, layer.get("zw", 0)), w)
        inputs = [at, weights]
        if "b" in layer:
            b = np.asarray(layer["b"], np.int32)
            bias_scale = layer.get("sb", np.float32(sx) * np.asarray(sw, np.float32))
            inputs.append(add(f"b_{number}", b.shape, INT32, quant(bias_scale), b))
        else:
            inputs.append(-1)
        at = add(f"y_{number}", (rows, w.shape[0]), INT8, quant(sy, layer.get("zy", 0)))
        options = {
            "fused_activation_function": layer.get("activation", "NONE"),
            "weights_format": "DEFAULT",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": False,
            "quantized_bias_type": "float32",
        }
        operators.append(Operator(number, "FULLY_CONNECTED", 4, tuple(inputs), (at,), options))
    return write(Subgraph("main", tuple(tensors), tuple(operators), (0,), (at,)))


def scaling(accs, factor_scales, **more):
    """A layer whose accumulators are the biases, whatever the input is."""
    sx, sw, sy = factor_scales
    accs = np.asarray(accs)
    return dense_model({"w": np.zeros((accs.size, 1)), "b": accs, "sx": sx, "sw": sw, "sy": sy, **more})


def random_layer(rng, per_channel, activation="NONE"):
    units, depth = int(rng.integers(2, 7)), int(rng.integers(1, 40))
    return {
        "w": rng.integers(-127, 128, (units, depth)),
        "b": rng.integers(-5000, 5000, units),
        "sx": np.float32(rng.uniform(0.01, 0.1)),
        "zx": int(rng.integers(-128, 128)),
        "sw": rng.uniform(0.001, 0.02, units).astype(np.float32) if per_channel else np.float32(0.01),
        "zw": 0 if per_channel else int(rng.integers(-5, 6)),
        "sy": np.float32(rng.uniform(0.05, 0.5)),
        "zy": int(rng.integers(-128, 128)),
        "activation": activation,
    }


# The numbers hold together.


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_steps_lead_from_the_input_to_the_engines_output(runtime, per_channel):
    rng = np.random.default_rng(3)
    for activation in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        rows = 3
        model = load(dense_model(random_layer(rng, per_channel, activation), rows=rows))
        prepared = prepare_operator(model, model.operators[0], runtime)
        x = rng.integers(-128, 128, (rows, prepared.layer.depth)).astype(np.int8)
        trace = prepared.evaluate([x])
        for row, unit in itertools.product(range(rows), range(prepared.layer.units)):
            element = explain(model, x, at=(row, unit), runtime=runtime).element
            layer = element.layer
            zx, zw = layer.input_zero_point, layer.weights_zero_point
            expansion = element.dot - zw * sum(element.x) - zx * sum(element.w) + layer.depth * zx * zw
            assert expansion == sum(element.products)
            assert element.dot - zw * sum(element.x) + element.folded_bias == element.total
            assert element.acc == trace["acc"][row, unit]
            assert element.output == trace["output"][row, unit]
            assert element.output == element.steps[-1].value
            names = [step.name for step in element.steps]
            assert names[0] == "effective_scale"
            assert names[-3:] == ["acc_scaled", "with_zero_point", "output"]
            assert element.real_output == Fraction(float(layer.output_scale)) * (
                element.output - layer.output_zero_point
            )


def test_the_factor_is_stated_with_its_error():
    element = explain(scaling([1000], (1.0, 0.75, 1.0)), runtime="tflm").element
    assert element.multiplier_and_shift == (3 << 29, 0)
    assert element.frexp == (Fraction(3, 4), 0)
    assert element.real_factor == element.exact_scale == Fraction(3, 4)


def test_a_fraction_that_rounds_up_to_one_is_explained():
    close = scaling([100], (np.float32(1 + 2.0**-17), np.float32(1 - 2.0**-17), 1.0))  # 1 - 2^-34
    report = explain(close, runtime="tflm")
    assert report.element.multiplier_and_shift == (2**30, 1)
    assert "rounded up to 1, so it becomes 1/2 and the shift 0 + 1" in flat(report)


def test_a_factor_below_the_range_becomes_zero():
    report = explain(scaling([2**30], (2.0**-20, 2.0**-20, 1.0)), at=(0, 0), runtime="tflm")
    assert report.element.multiplier_and_shift == (0, 0)
    assert report.output == 0
    assert "the exponent is below -31" in str(report)


def test_an_accumulator_that_wraps_is_shown():
    model = dense_model({"w": [[127]], "b": [2**31 - 1], "zx": -128, "sw": 2.0**-20})
    x = np.full((1, 1), 127, np.int8)
    element = explain(model, x, runtime="litert-reference").element
    assert element.total == 2**31 - 1 + 255 * 127
    assert element.acc == element.total - 2**32
    text = flat(explain(model, x, runtime="litert-reference"))
    assert "acc = wrap32(sum)" in text
    assert f"which wraps to {element.acc}" in text
    assert r"\bmod 2^{32}" in explain(model, x).latex()


def test_engine_and_exact_arithmetic_are_held_against_each_other():
    model = load(scaling([5, 7], (1.0, 0.5, 1.0)))
    prepared = prepare_operator(model, model.operators[0], "tflm")
    x = np.zeros((1, 1), np.int8)
    trace = prepared.evaluate([x])
    trace["high_mul"] = trace["high_mul"] + 1
    with pytest.raises(RuntimeError, match=r"high_mul is 5 in the engine and 4 in exact.*please report"):
        make_element(RUNTIMES["tflm"], prepared, x, trace, 0, 1)


# Why runtimes differ.


def causes(report):
    return {other.name: other.cause for other in report.others if other.cause is not None}


def test_a_tie_is_named_as_the_cause():
    # 2^-4: acc = 40 and -40 are 2.5 and -2.5 in every rule, exactly.
    model = scaling([40, -40, 3], (0.5, 0.25, 2.0))
    report = explain(model, at=(0, 0))
    assert report.output == 2
    found = causes(report)
    assert set(found) == {"litert-builtin", "litert-reference", "tflm"}
    for cause in found.values():
        assert (cause.step, cause.tie) == ("last_rounding", True)
        assert cause.before == (Fraction(5, 2), Fraction(5, 2))
        assert cause.numbers == (2, 3)
    text = flat(report)
    assert "The first step that makes the difference: the last rounding, by its tie rule." in text
    assert "litert-xnnpack rounds half_even: 2.5 -> 2" in text
    assert "tflm rounds half_away: 2.5 -> 3" in text
    below = explain(model, at=(0, 1), runtime="litert-builtin")
    assert set(causes(below)) == {"litert-reference", "tflm"}
    assert all(cause.numbers == (-2, -3) for cause in causes(below).values())
    assert below.differing == 2
    assert below.size == 3


def test_the_accumulator_people_argue_about_is_a_tie_in_float32_only():
    scales = (
        np.float32(0.05296124517917633),
        np.float32(0.024093778803944588),
        np.float32(0.11484327912330627),
    )
    report = explain(scaling([585], scales, zy=-126))
    assert report.output == -120
    found = causes(report)
    assert set(found) == {"litert-builtin", "litert-reference", "tflm"}
    cause = found["litert-reference"]
    # XNNPACK's float32 scale is one float32 step below the nearest one, and that makes the tie.
    assert (cause.step, cause.tie) == ("scale_precision", False)
    at = STEPS.index("first_rounding")
    assert cause.here[at] == Fraction(13, 2) < cause.there[at]
    assert "the precision of the effective scale" in flat(report)


def test_double_rounding_is_named_as_the_cause():
    # acc * 0.59... * 2^-8 is 5.4998, which the first of two roundings takes to 5.5.
    scales = (
        np.float32(0.391015231609344482421875),
        np.float32(0.00027755965129472315),
        np.float32(0.046788316),
    )
    report = explain(scaling([2371], scales, sb=scales[0] * scales[1]), runtime="tflm")
    cause = causes(report)["litert-reference"]
    assert cause.step == "first_rounding"
    assert cause.here[STEPS.index("first_rounding")] == Fraction(11, 2)
    assert "high_mul rounded half_up: 5.5" in str(report)
    assert "an exact tie" in str(report)


def test_a_clamp_bound_is_named_as_the_cause():
    # 6 is 4.5 steps: half_away gives 5, half_even 4.
    scale = np.float32(6 / 4.5)
    report = explain(scaling([100], (scale, 1.0, scale), activation="RELU6"))
    assert report.output == 4
    for cause in causes(report).values():
        assert cause.step in ("last_rounding", "clamp")
        assert int(cause.there[-1]) == 5


def test_no_difference_is_said():
    report = explain(scaling([3], (1.0, 1.0, 1.0)))
    assert causes(report) == {}
    assert "No runtime prints another value for this element." in str(report)
    assert "Not the same in all runtimes: 0 of the layer's 1 output elements." in str(report)


dyadic = st.builds(lambda n, k: float(np.float32(n * 2.0**-k)), st.integers(1, 200), st.integers(0, 10))
plain = st.floats(2.0**-10, 8, width=32)
scale = st.one_of(dyadic, plain)


@settings(max_examples=150, deadline=None)
@given(scale, scale, scale, st.integers(-128, 127), st.sampled_from(["NONE", "RELU6"]), st.data())
def test_five_steps_are_every_rule_and_the_cause_decides(sx, sw, sy, zy, activation, data):
    if sx * sw / sy >= 256:
        return
    near = [int(Fraction(2 * n + 1, 2) * Fraction(sy) / (Fraction(sx) * Fraction(sw))) for n in range(-4, 5)]
    acc = data.draw(st.one_of(st.integers(-70000, 70000), st.sampled_from(near)))
    acc = max(-(2**31), min(2**31 - 1, acc))
    sides, outputs = {}, {}
    for name, rule in RULES.items():
        params = prepare_requantize(
            rule,
            input_scale=np.float32(sx),
            weights_scale=np.asarray([sw], np.float32),
            output_scale=np.float32(sy),
            output_zero_point=zy,
            activation=activation,
            dtype=INT8,
        )
        sides[name] = Side.of(params)
        outputs[name] = int(requantize(np.asarray([acc]), params)["output"][0])
        assert five_steps(acc, (sx, sw, sy), zy, (sides[name],) * 5)[-1] == outputs[name], name
    for here, there in itertools.permutations(RULES, 2):
        if outputs[here] == outputs[there]:
            continue
        cause = find_cause(acc, (sx, sw, sy), zy, sides[here], sides[there])
        done = STEPS.index(cause.step)
        before = (*(sides[there],) * done, *(sides[here],) * (5 - done))
        after = (*(sides[there],) * (done + 1), *(sides[here],) * (4 - done))
        assert five_steps(acc, (sx, sw, sy), zy, before)[-1] != outputs[there]
        assert five_steps(acc, (sx, sw, sy), zy, after)[-1] == outputs[there]


def test_refusing_runtimes_are_listed_with_their_reason():
    report = explain(scaling([3], (1.0, 512.0, 1.0)), runtime="litert-reference")
    (refused,) = [other for other in report.others if other.output is None]
    assert refused.name == "litert-xnnpack"
    assert "256 or more" in refused.refused
    assert "256 or more" in str(report)
    with pytest.raises(UnsupportedError, match="256 or more"):
        explain(scaling([3], (1.0, 512.0, 1.0)))


def test_a_layer_that_xnnpack_declines_shows_the_builtin_kernel():
    report = explain(dense_model({"w": [[3, 4]], "b": [1], "zw": 2}))
    assert report.element.prepared.kernel == "builtin"
    assert report.element.layer.weights_zero_point == 2


def test_a_zero_point_that_per_channel_kernels_ignore_is_pointed_out():
    model = dense_model({"w": [[3], [4]], "sw": [0.5, 0.25], "zw": [0, 7]})
    report = explain(model, at=(0, 1), runtime="litert-reference")
    assert report.element.layer.weights_zero_point == 0
    assert report.as_dict()["weights_zero_point_stored"] == 7
    assert "The file has weights zero point 7 here" in str(report)


# Which element.


def test_the_default_element_is_one_where_runtimes_differ():
    report = explain(scaling([9000, 3, 40, 16], (0.5, 0.25, 2.0)))
    assert (report.element.row, report.element.unit) == (0, 2)
    assert "runtimes differ and that is not clamped" in report.choice


def test_else_it_is_one_that_is_not_clamped():
    report = explain(scaling([9000, 0, 48], (0.5, 0.25, 2.0)))
    assert (report.element.row, report.element.unit) == (0, 2)
    assert "not clamped; runtimes agree" in report.choice
    clamped = explain(scaling([9000, -9000], (0.5, 0.25, 2.0)))
    assert (clamped.element.row, clamped.element.unit) == (0, 0)
    assert clamped.element.clamped
    assert "clamped to 127" in str(clamped)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ((0, 3), r"no output element \(0, 3\); wanted \(row, unit\) with row 0 to 0 and unit 0 to 2"),
        ((1, 0), r"no output element \(1, 0\)"),
        ((-1, 0), r"no output element \(-1, 0\)"),
        ((0,), r"found 1 numbers in at=\(0,\); wanted \(row, unit\)"),
    ],
)
def test_an_element_outside_the_layer(at, text):
    with pytest.raises(InputError, match=text):
        explain(scaling([1, 2, 3], (1.0, 1.0, 1.0)), at=at)


# Which layer and which input.


def two_layers(first_activation="NONE"):
    rng = np.random.default_rng(5)
    return dense_model(
        {"w": rng.integers(-9, 9, (4, 3)), "sw": 0.0625, "sy": 0.5, "activation": first_activation},
        {"w": rng.integers(-9, 9, (2, 4)), "sx": 0.5, "sw": 0.0625, "sy": 0.5},
    )


def test_the_input_goes_through_the_model():
    x = np.array([[1, -7, 100]], np.int8)
    model = load(two_layers())
    hidden = prepare_operator(model, model.operators[0], "tflm").evaluate([x])["output"]
    report = explain(model, x, op=1, runtime="tflm")
    assert list(report.element.x) == hidden[0].tolist()
    assert "computed on tflm from the given model input, through 1 operator to" in report.input_source
    assert list(explain(model, {"x_in": x}, op=1, runtime="tflm").element.x) == hidden[0].tolist()


def test_the_input_is_the_layers_own_where_it_fits_only_that():
    h = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8)
    model = load(two_layers())
    report = explain(model, h, op=1, at=(1, 0))
    assert report.element.x == (5, 6, 7, 8)
    assert report.input_source.startswith("given at the layer's own input, tensor 2 'y_0'")
    named = explain(model, {"y_0": h}, op=1, at=(0, 0))
    assert named.element.x == (1, 2, 3, 4)
    assert "given for the layer's own input" in named.input_source


def test_what_is_in_the_way_is_said():
    model = load(two_layers(first_activation="TANH"))
    h = np.array([[1, 2, 3, 4]], np.int8)
    report = explain(model, h, op=1)
    assert report.element.x == (1, 2, 3, 4)
    with pytest.raises(InputError) as caught:
        explain(model, np.zeros((1, 3), np.int8), op=1)
    text = str(caught.value)
    assert "the input (int8 [1, 3]) can be used neither at the model's input nor at the layer's" in text
    assert "model's input: wanted tensor 0 'x_in' int8 [1, 3]; it cannot be taken through the model" in text
    assert "operator 0 FULLY_CONNECTED: fused activation TANH" in text
    assert "input of operator 1 FULLY_CONNECTED: wanted tensor 2 'y_0' int8 [1, 4]" in text


def test_an_input_of_the_wrong_type():
    with pytest.raises(
        InputError, match=r"(?s)float32 \[1, 4\].*neither.*it does not fit the model.*found dtype"
    ):
        explain(two_layers(), np.zeros((1, 4), np.float32), op=1)
    with pytest.raises(InputError, match="found dtype float64, wanted int8"):
        explain(two_layers(), [[0.5, 1.0, 2.0]])
    with pytest.raises(InputError, match="a mapping"):
        explain(two_layers(), {"nothing": np.zeros((1, 4), np.int8)}, op=1)


def test_without_an_input_it_is_random_from_a_seed():
    model = load(two_layers())
    same = [explain(model, at=(0, 0)), explain(model, seed=0, at=(0, 0)), explain(model, seed=1, at=(0, 0))]
    assert same[0].element.x == same[1].element.x != same[2].element.x
    assert "random int8 from -128 to 127 (seed 0), put in at the layer's own input" in same[0].input_source
    with pytest.raises(InputError, match="both an input and a seed"):
        explain(model, np.zeros((1, 3), np.int8), seed=0)
    with pytest.raises(InputError, match="found seed -1; wanted 0 or more"):
        explain(model, seed=-1)


def test_which_operators_are_dense_is_said():
    model = load(two_layers())
    with pytest.raises(InputError, match="there is no operator 7"):
        explain(model, op=7)
    tanh = Operator(0, "TANH", 1, (0,), (2,), {})
    mixed = write(
        Subgraph("main", model.tensors, (tanh, model.operators[1]), (0,), model.subgraphs[0].outputs)
    )
    with pytest.raises(InputError, match=r"operator 0 TANH is no dense layer; .*which here are: 1"):
        explain(mixed, op=0)
    no_dense = write(Subgraph("main", model.tensors[:3], (tanh,), (0,), (2,)))
    with pytest.raises(
        InputError, match=r"no dense layer \(FULLY_CONNECTED\) to explain; found operators: TANH"
    ):
        explain(no_dense)
    with pytest.raises(RuntimeNameError, match="unknown runtime 'nonsense'"):
        explain(model, runtime="nonsense")


# Renderings.


@pytest.fixture(scope="module", params=list(RUNTIMES))
def report(request):
    layer = random_layer(np.random.default_rng(8), per_channel=True, activation="RELU")
    return explain(
        dense_model({**layer, "w": np.random.default_rng(1).integers(-127, 128, (len(layer["w"]), 50))}),
        runtime=request.param,
    )


def test_json_is_exact_and_reads_back(report):
    data = json.loads(report.json())
    assert data == json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert data["schema"] == "lastbit.explain/1"
    accumulation = data["accumulation"]
    zx = data["quantization"]["input"]["zero_point"]
    zw = data["quantization"]["weights"]["zero_point"]
    products = [
        (x - zx) * (w - zw) for x, w in zip(accumulation["input"], accumulation["weights"], strict=True)
    ]
    assert products == accumulation["products"]
    assert sum(products) + accumulation["bias"] == accumulation["acc"]
    for entry in data["quantization"].values():
        assert Fraction(entry["scale"]["decimal"]) == Fraction(float.fromhex(entry["scale"]["hex"]))
    for step in data["steps"]:
        exact, value, cut = (
            Fraction(step[key]["numerator"], step[key]["denominator"])
            for key in ("exact", "value", "cut_off")
        )
        assert exact - value == cut
    assert data["steps"][-1]["value"]["numerator"] == data["output"]
    assert data["runtimes"][0]["runtime"] == report.element.runtime.name
    assert {entry["runtime"] for entry in data["runtimes"]} == set(RUNTIMES)


def test_text_has_eight_sections_and_fits_a_terminal(report):
    text = str(report)
    assert re.findall(r"(?m)^(\d)\. ", text) == list("12345678")
    assert max(map(len, text.splitlines())) <= 100
    assert "offset" not in text
    assert f"all {report.element.layer.depth}" in text
    assert "38 more" in text
    assert report.element.prepared.rule in text
    assert "tie rule" in text


def test_products_left_out_are_summed(report):
    rows = re.findall(r"(?m)^ +(\d+)((?: +-?\d+){5}) *$", str(report))
    shown = sum(int(rest.split()[-1]) for _, rest in rows)
    (left_out,) = re.findall(r"(?m)^ +38 more +(-?\d+)", str(report))
    assert len(rows) == 12
    assert shown + int(left_out) == sum(report.element.products)


def test_latex_is_one_balanced_environment(report):
    latex = report.latex()
    assert latex.isascii()
    assert latex.count(r"\begin{align*}") == latex.count(r"\end{align*}") == 1
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    body = latex.split(r"\begin{align*}")[1].split(r"\end{align*}")[0].strip()
    lines = body.split("\n")
    assert all(line.endswith(r"\\") for line in lines[:-1])
    assert not lines[-1].endswith(r"\\")
    assert all(line.count("&") == 1 for line in lines)
    assert body.count("(") == body.count(")")
    for text in re.findall(r"\\text\{([^}]*)\}", body):
        assert not re.search(r"(?<!\\)[_%#$&]", text)
    assert f"= {report.output}" in body
    assert str(report.element.acc) in body


def test_latex_escapes_names():
    assert escape_latex("a_b{50%}\\#\n\u00e9") == r"a\_b\{50\%\}\textbackslash{}\#??"


def test_html_for_notebooks(report):
    html = report._repr_html_()
    assert "<h4>1. operator 0 FULLY_CONNECTED" in html
    assert "<table>" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(-3), "-3"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 3), "-0.33333..."),
        (Fraction(1, 10**9), "1e-9"),
        (Fraction(10**9 * 3 + 1, 3), "1000000000.3333333333"),
    ],
)
def test_decimal_text(value, text):
    if text.startswith("1000000000"):
        assert decimal_text(value, 20) == text + "..."
    else:
        assert decimal_text(value, 5) == text


def test_bounds_of_the_clamp_example():
    six = np.float32(6 / 4.5)
    assert activation_bounds("RELU6", six, 0, INT8, "half_even")[1] == 4
