"""Loading and running from Python: traces, inputs, refusals, imports."""

import subprocess
import sys

import numpy as np
import pytest

import lastbit
from lastbit.verbs.demo.verb import demo_model
from tests.support.models import make_dense_model


def test_run_gives_every_step_with_the_tensors_own_dtypes(rng):
    model = make_dense_model()
    x = rng.integers(-128, 128, (3, 7)).astype(np.int8)
    trace = lastbit.run(model, x)
    assert trace.output.dtype == np.int8
    assert trace.output.shape == (3, 5)
    assert trace.output is trace.outputs[0]
    w, b = model.tensors[1].data.astype(np.int64), model.tensors[2].data
    np.testing.assert_array_equal(trace[0].acc, (x.astype(np.int64) - 3) @ w.T + b)
    np.testing.assert_array_equal(trace[0].output, trace.output)
    assert trace.complete
    with pytest.raises(AttributeError, match="its steps are: dot, acc"):
        _ = trace[0].nothing


def test_a_batch_is_the_same_as_one_row_at_a_time(rng):
    model = demo_model()
    x = rng.integers(-128, 128, (4, 16, 48)).astype(np.int8)
    for runtime in lastbit.RUNTIMES:
        whole = lastbit.run(model, x, runtime).output
        single = np.concatenate([lastbit.run(model, row[None], runtime).output for row in x])
        np.testing.assert_array_equal(whole, single)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 7), np.uint8), "found dtype uint8, wanted int8"),
        (np.zeros((1, 8), np.int8), r"found shape \[1, 8\], wanted \[1, 7\]"),
        (np.zeros((0, 7), np.int8), "any batch size from 1"),
        (np.zeros((1, 7)), r"Real values must be quantized first \(scale 0.0199"),
        ({"nothing": np.zeros((1, 7), np.int8)}, "no value for input tensor 0 'input'; found keys: nothing"),
        ({"input": np.zeros((1, 7), np.int8), "more": 1}, "'more' matches no input"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_what_was_found_and_wanted(x, message):
    with pytest.raises(lastbit.InputError, match=message):
        lastbit.run(make_dense_model(), x)


def test_inputs_by_name_and_by_index_are_the_same(rng):
    model = make_dense_model()
    x = rng.integers(-128, 128, (1, 7)).astype(np.int8)
    wanted = lastbit.run(model, x).output
    for key in ("input", 0, "0"):
        np.testing.assert_array_equal(lastbit.run(model, {key: x}).output, wanted)


def test_real_values_are_quantized_only_on_request(rng):
    model = make_dense_model()
    x = np.float32([[0.0, 0.02, -0.02, 1.0, -10.0, 10.0, 0.031]])
    trace = lastbit.run(model, x, "tflm", quantize_input=True)
    np.testing.assert_array_equal(trace.tensors[0], [[3, 4, 2, 53, -128, 127, 5]])
    with pytest.raises(lastbit.InputError, match=r"the value at \[0, 2\] is nan; wanted finite"):
        lastbit.run(model, np.where(x == x[0, 2], np.float32(np.nan), x), "tflm", quantize_input=True)


def test_an_unknown_runtime_names_the_nearest():
    with pytest.raises(lastbit.RuntimeNameError, match=r"unknown runtime 'lite'\. Did you mean tflite or litert"):
        lastbit.run(make_dense_model(), np.zeros((1, 7), np.int8), "lite")


def test_a_layer_whose_scale_xnnpack_refuses_is_refused_there_and_only_there():
    model = make_dense_model(output_scale=0.02 * 0.005 / 256)
    x = np.zeros((1, 7), np.int8)
    with pytest.raises(lastbit.UnsupportedError, match="effective scale is 256 or more"):
        lastbit.run(model, x, "litert-xnnpack")
    for name in ("litert-builtin-x86", "litert-reference", "tflm"):
        lastbit.run(model, x, name)


def test_notebook_and_text_forms_are_escaped_and_short(rng):
    model = demo_model()
    trace = lastbit.run(model, rng.integers(-128, 128, (1, 16, 48)).astype(np.int8), "litert-xnnpack")
    assert "FULLY_CONNECTED" in model._repr_html_()
    assert "acc_scaled" in trace._repr_html_()
    assert "litert-xnnpack, 1 of 1 operators" in repr(trace)
    assert "rule float32-half_even" in repr(trace[0])


def test_import_is_light():
    """`import lastbit` loads no verb, and no public name anything heavy: tables come when they are used."""
    script = "import sys, lastbit; {}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    found = {}
    for name, use in {"import": "pass", "names": "[getattr(lastbit, name) for name in lastbit.__all__]"}.items():
        command = [sys.executable, "-c", script.format(use)]
        found[name] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"tflite", "flatbuffers", "rich", "click", "ai_edge_litert", "tflite_micro", "numba", "tensorflow", "torch"}
    assert not heavy & {*found["import"], *found["names"]}
    assert "numpy" in found["names"]
    assert "numpy" not in found["import"]


def test_the_public_names_are_few_and_all_there():
    assert len(lastbit.__all__) <= 36
    for name in lastbit.__all__:
        assert getattr(lastbit, name) is not None


@pytest.mark.parametrize("engine", ["reference", "numpy"])
def test_progress_is_told_before_each_operator(rng, engine):
    model, seen = make_dense_model(), []
    x = rng.integers(-128, 128, (2, 7)).astype(np.int8)
    lastbit.run(model, x, engine=engine, progress=lambda *told: seen.append(told))
    assert [told[:2] for told in seen] == [(0, 1)]
    assert engine != "reference" or seen[0][2] == model.operators[0].label
