"""The forum question, from its Keras file to the mistakes in its NumPy code, against recorded and real interpreters."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import lastbit
from lab.checks.keras_check import Pairs
from lastbit.ops.dense.layer import dense_layer
from lastbit.oracles import open_oracle
from lastbit.report.blocks import print_blocks
from lastbit.verbs.demo.verb import DEFAULT_SHOWN, RUNTIMES_SHOWN, demo, numpy_as_asked, numpy_right, random_data
from lastbit.verbs.quantize.keras import read_keras
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import ROOT

DATA = Path(str(resources.files("lastbit") / "data"))
QUESTION = DATA / "question.keras"
ABOUT = json.loads((DATA / "question.json").read_text(encoding="utf-8"))
MISTAKES = ("product_wraps_int8", "scales_first_for_all", "scale_added")


@pytest.fixture(scope="module")
def model():
    """The question's model in int8, from the ranges that the real converter measured."""
    pytest.importorskip("h5py")
    source = read_keras(QUESTION)
    ends = {48: ABOUT["ranges"]["input"], 32: ABOUT["ranges"]["output"]}
    ranges = {t.index: ends[t.shape[-1]] for t in source.tensors if t.data is None}
    return lastbit.quantize(source, ranges=ranges, io="int8")


@pytest.fixture(scope="module")
def numbers(model):
    """What the question took out of the file."""
    layer = dense_layer(model, model.dense_operators[0])
    scales = layer.input_scale, layer.weights_scale, layer.output_scale
    zero_points = layer.input_zero_point, layer.weights_zero_point, layer.output_zero_point
    (s_x, s_w, s_y), (z_x, z_w, z_y) = scales, zero_points
    return layer.weights_values, s_x, z_x, s_w, z_w, s_y, z_y


@pytest.fixture(scope="module")
def x(numbers):
    """The samples that calibrated nothing, as int8."""
    _, s_x, z_x, *_ = numbers
    return np.clip(np.rint(random_data()[100:] / s_x) + z_x, -128, 127).astype(np.int8)


def test_recorded_files_are_those_that_were_recorded():
    for name, digest in ABOUT["sha256"].items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest
    assert ABOUT["tensorflow"].startswith("2.21")
    assert ABOUT["keras"].startswith("3.")


def test_the_float_model_that_is_carried_is_made_of_the_keras_file():
    pytest.importorskip("h5py")
    assert (DATA / "question.float.tflite").read_bytes() == read_keras(QUESTION).content


def test_step_1_every_tensor_of_the_int8_file_is_the_converters(model):
    wanted = lastbit.load(DATA / "question.int8.tflite")
    # The converter calculates the shape of RESHAPE in the model; what follows from it is left out.
    found = list(Pairs(model, wanted).differing())
    assert len(found) >= 5
    assert [text for _, _, text in found if text] == []


def test_step_1_calibration_gives_the_converters_ranges():
    pytest.importorskip("h5py")
    source = read_keras(QUESTION)
    measured = lastbit.ranges(source, random_data()[:100])
    first, last = source.inputs[0].index, source.outputs[0].index
    np.testing.assert_array_equal(np.float32(measured[first]), np.float32(ABOUT["ranges"]["input"]))
    # The output's range has the last bits of the CPU's float kernels.
    np.testing.assert_allclose(np.float32(measured[last]), np.float32(ABOUT["ranges"]["output"]), rtol=1e-6)


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES_SHOWN)
def test_step_2_lastbit_is_the_interpreter(model, x, runtime):
    with open_oracle(runtime) as oracle:
        result = oracle.run(bytes(model.content), [[sample[None]] for sample in x], label="question")
    real = np.concatenate([sample[0] for sample in result.outputs])
    np.testing.assert_array_equal(lastbit.run(model, x, runtime).output, real)


def test_step_3_numpy_is_the_interpreter(model, x, numbers):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=bytes(model.content))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    real = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    right = numpy_right(x, *numbers)
    np.testing.assert_array_equal(right, real)


def test_step_4_the_questions_code_has_its_three_mistakes(model, x, numbers):
    by_function = lastbit.diagnose(model, None, numpy_as_asked, runtime=DEFAULT_SHOWN)
    by_arrays = lastbit.diagnose(model, x[:20], numpy_as_asked(x[:20], *numbers))
    for found in (by_function, by_arrays):
        assert tuple(mistake.name for mistake in found.mistakes) == MISTAKES


@needs_all_interpreters
def test_demo_is_equal_at_every_step_on_one_screen_or_two():
    report = demo()
    assert report.exit_code == 0
    assert (report.made.equal, report.made.tensors) == (5, 5)
    assert [entry[2] for entry in report.oracles.values()] == [0, 0, 0, 0]
    assert (report.asked, report.corrected, report.outputs) == (0, 102_400, 102_400)
    assert report.mistakes == MISTAKES
    assert report.between[DEFAULT_SHOWN, "tflm"] > 0
    assert json.loads(report.json())["schema"] == "lastbit.demo/2"
    stream = io.StringIO()
    print_blocks(report.blocks(), Console(file=stream, width=80, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 60
    assert max(len(line) for line in lines) <= 80


WITHOUT_H5PY = """
import sys
sys.modules["h5py"] = None
from lastbit.verbs.demo.verb import demo
from lastbit.model.extras import install_text
report = demo()
assert report.exit_code == 0, report
assert install_text("keras") in str(report)
assert "tensorflow" not in sys.modules
assert "keras" not in sys.modules
"""


@needs_all_interpreters
def test_demo_without_h5py_says_what_to_install():
    subprocess.run([sys.executable, "-c", WITHOUT_H5PY], check=True)


@needs_all_interpreters
def test_the_readmes_first_example_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert "numpy_as_asked" in code
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(f"{number}. {name} " in printed for number, name in enumerate(MISTAKES, 1))
