"""assert_bitexact: what a user's own test suite calls."""

import numpy as np
import pytest

import lastbit
from lab.cases.operators import Case, Operand
from lastbit.ops.dense.layer import dense_layer
from lastbit.runtimes import get_runtime
from lastbit.testing import assert_bitexact
from lastbit.verbs.demo.verb import demo_model, numpy_as_asked, numpy_right
from tests.support.models import make_dense_model

X = np.random.default_rng(3).integers(-128, 128, (1, 16, 48)).astype(np.int8)


def of_demo(function):
    """A function of x from one of the demo's NumPy codes."""
    layer = dense_layer(demo_model(), demo_model().operators[0])

    def compute(x):
        y = function(
            x.reshape(-1, 48),
            layer.weights_values,
            layer.input_scale,
            layer.input_zero_point,
            layer.weights_scale,
            layer.weights_zero_point,
            layer.output_scale,
            layer.output_zero_point,
        )
        return np.asarray(y).reshape(1, 16, 32)

    return compute


def test_a_right_implementation_passes_as_function_and_as_array():
    assert_bitexact(of_demo(numpy_right), demo_model(), X)
    assert_bitexact(lastbit.run(demo_model(), X, "tflm").output, demo_model(), X, runtime="tflm")


def test_one_wrong_element_is_counted_placed_and_worked_out():
    wrong = lastbit.run(demo_model(), X, "litert-xnnpack").output.copy()
    right = int(wrong[0, 5, 7])
    wrong[0, 5, 7] = right + 1 if right < 127 else right - 1
    with pytest.raises(AssertionError) as caught:
        assert_bitexact(wrong, demo_model(), X, "litert-xnnpack")
    text = str(caught.value)
    assert "another CPU" not in text
    assert "Mismatched elements: 1 / 512 (0.195%)" in text
    assert "Max absolute difference: 1" in text
    assert f"First at [0, 5, 7]: litert-xnnpack {right}, yours {wrong[0, 5, 7]}" in text
    assert "row 5, unit 7, rule float32-half_even: acc = " in text
    assert "effective_scale" in text


def test_the_questions_code_fails_on_its_dtype_and_on_every_value():
    with pytest.raises(AssertionError, match=r"found float64 array|found float32 array"):
        assert_bitexact(of_demo(numpy_as_asked), demo_model(), X)


def test_wrong_shape_and_dtype_are_said_before_any_value():
    model = make_dense_model()
    x = np.zeros((2, 7), np.int8)
    with pytest.raises(AssertionError, match=r"found int8 array of shape \[10\], wanted int8 of shape \[2, 5\]"):
        assert_bitexact(lastbit.run(model, x).output.ravel(), model, x)


@pytest.mark.parametrize("runtime", [None, "auto", "LiteRT"])
def test_where_no_runtime_is_named_the_failure_says_which_was_taken(runtime):
    named = () if runtime is None else (runtime,)
    right = lastbit.run(demo_model(), X).output
    assert_bitexact(right, demo_model(), X, *named)
    with pytest.raises(AssertionError) as caught:
        assert_bitexact(~right, demo_model(), X, *named)
    here = get_runtime("auto").name
    assert f"not bit-exact with {here} on" in str(caught.value)
    assert f"{here} was taken because no runtime is named; another CPU takes a different one." in str(caught.value)
    assert f"Name it in the test: runtime='{here}'" in str(caught.value)


def floor(x, weights, bias, s_x, s_w, s_y, z_x, z_y):
    """A layer as users write it, that rounds down; it asks for its numbers by name."""
    acc = (x.astype(np.int64) - z_x) @ weights.T.astype(np.int64) + bias
    return np.clip(np.floor(acc * (s_x * s_w / s_y)) + z_y, -128, 127).astype(np.int8)


def message(*args, **options):
    with pytest.raises(AssertionError) as caught:
        assert_bitexact(*args, **options)
    return str(caught.value)


def test_the_failure_names_the_mistake_in_an_array_and_in_code():
    model = make_dense_model()
    x = np.random.default_rng(5).integers(-128, 128, (4, 7)).astype(np.int8)
    layer = dense_layer(model, model.operators[0])
    scales = layer.input_scale, layer.weights_scale, layer.output_scale
    points = layer.input_zero_point, layer.output_zero_point
    array = floor(x, layer.weights_values, layer.bias_values, *scales, *points)
    for text in (
        message(array, model, x, "tflm"),
        message(lambda q: array, model, x, "tflm"),
        message(array, model, x, "tflm", op=0),
        message(floor, model, x, "tflm"),
        message(floor, model, x, "tflm", op=0),
        message(floor, model, runtime="tflm"),
        message({"output": array}, model, x, "tflm"),
    ):
        assert text.startswith(f"not bit-exact with tflm on {model.source}")
        assert "rounding_floor" in text
        assert "C:     " in text  # the line that is right


def test_code_of_a_layer_that_is_right_passes_and_an_unknown_parameter_can_be_named():
    def right(x, weights, bias, s_x, s_w, s_y, z_x, z_y):
        acc = (x.astype(np.int64) - z_x) @ weights.T.astype(np.int64) + bias
        return np.clip(np.rint(acc.astype(np.float32) * (s_x * s_w / s_y)) + z_y, -128, 127).astype(np.int8)

    assert_bitexact(right, make_dense_model(), runtime="litert-xnnpack")
    assert_bitexact(
        lambda x, weights, bias, a, s_w, s_y, z_x, z_y: right(x, weights, bias, a, s_w, s_y, z_x, z_y),
        make_dense_model(),
        runtime="litert-xnnpack",
        params={"a": "input_scale"},
    )


def test_any_operators_output_is_compared():
    case = Case("RELU", (Operand((1, 6), scale=0.02),), (Operand((1, 6), scale=0.02, zero_point=-128),), (), {})
    model, x = case.content(), np.arange(-3, 3, dtype=np.int8).reshape(1, 6)
    right = lastbit.run(model, x, "tflm").output
    assert_bitexact(right, model, x, "tflm", op=0)
    assert "Mismatched elements: 1 / 6" in message(right + np.int8([0, 0, 0, 0, 0, 1]), model, x, "tflm", op=0)


def test_an_output_without_its_input_is_refused():
    with pytest.raises(lastbit.InputError, match="x is missing"):
        assert_bitexact(np.zeros((1, 5), np.int8), make_dense_model(), runtime="tflm")
