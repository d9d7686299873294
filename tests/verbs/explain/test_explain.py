"""The verb explain: numbers that hold together, which element, layer and input, and errors."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from lastbit import explain, load
from lastbit.model.errors import InputError, RuntimeNameError, UnsupportedError
from lastbit.model.graph import Operator, Subgraph
from lastbit.model.tflite import write
from lastbit.ops.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.explain.element import make_element
from tests.support.explain_models import dense_model, flat, random_layer, scaling, two_layers

# The numbers hold together.


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_steps_lead_from_the_input_to_the_engines_output(runtime, per_channel):
    rng = np.random.default_rng(3)
    for activation in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        rows = 3
        model = load(dense_model(random_layer(rng, per_channel, activation), rows=rows))
        if runtime.startswith("torch-fbgemm") and activation.startswith("RELU") and activation != "RELU":
            continue  # it has no such activations: see test_other_runtimes
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
        ((0, 0, 0, 0), r"no output element \(0, 0, 0, 0\); wanted \(row, unit\)"),
    ],
)
def test_an_element_outside_the_layer(at, text):
    with pytest.raises(InputError, match=text):
        explain(scaling([1, 2, 3], (1.0, 1.0, 1.0)), at=at)


# Which layer and which input.


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
    with pytest.raises(UnsupportedError) as caught:
        explain(model, np.zeros((1, 3), np.int8), op=1)
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert "the input (int8 [1, 3]) can be used neither at the model's input nor at the layer's" in text
    assert "model's input: wanted tensor 0 'x_in' int8 [1, 3]; it cannot be taken through the model" in text
    assert "operator 0 FULLY_CONNECTED: fused activation TANH" in text
    assert "input of operator 1 FULLY_CONNECTED: wanted tensor 2 'y_0' int8 [1, 4]" in text


def test_an_input_of_the_wrong_type():
    with pytest.raises(InputError, match=r"(?s)float32 \[1, 4\].*neither.*it does not fit the model.*found dtype"):
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
    mixed = write(Subgraph("main", model.tensors, (tanh, model.operators[1]), (0,), model.subgraphs[0].outputs))
    # Other operators are explained too, where they are asked for, or where there is no dense layer.
    assert "operator 0 TANH" in str(explain(mixed, op=0))
    assert "FULLY_CONNECTED" in str(explain(mixed))
    no_dense = write(Subgraph("main", model.tensors[:3], (tanh,), (0,), (2,)))
    assert "operator 0 TANH" in str(explain(no_dense))
    with pytest.raises(RuntimeNameError, match="unknown runtime 'nonsense'"):
        explain(model, runtime="nonsense")
