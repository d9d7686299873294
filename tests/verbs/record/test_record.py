"""A recorder is made, runs where LastBit is not, and what it brings back is compared operator by operator."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from lab.cases.variables import streams
from lastbit.cli import main
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.tflite.synthesize import quant
from lastbit.verbs.record.compared import Recorded, first_differing
from lastbit.verbs.record.comparing import compare_recorded
from lastbit.verbs.record.diagnosed import diagnose_recorded
from lastbit.verbs.record.recording import read_recording
from lastbit.verbs.record.verb import record
from lastbit.verbs.run.verb import load
from tests.support.interpreters import XNNPACK, needs_all_interpreters
from tests.support.models import ModelBuilder


def network():
    """A dense layer, a RELU that rescales and a SOFTMAX."""
    rng = np.random.default_rng(4)
    build = ModelBuilder()
    x = build.tensor((2, 12), "int8", quant(0.05, 3))
    weights = build.constant(rng.integers(-127, 128, (8, 12)), "int8", quant(0.01))
    bias = build.constant(rng.integers(-900, 900, 8), "int32", quant(0.0005))
    dense = build.tensor((2, 8), "int8", quant(0.03, -4))
    build.operator("FULLY_CONNECTED", (x, weights, bias), (dense,))
    rectified = build.tensor((2, 8), "int8", quant(0.02, -128))
    build.operator("RELU", (dense,), (rectified,))
    output = build.tensor((2, 8), "int8", quant(1 / 256, -128))
    build.operator("SOFTMAX", (rectified,), (output,), beta=1.0)
    return build.model((x,), (output,))


def recorded_by(folder, model):
    """What record.py brings back, with the reference kernels."""
    return read_recording(run_recorder(folder, "--kernels", "reference"), model)


def recorded_here(folder, model, *arguments):
    """What record.py writes, run by this Python as a script of its own."""
    record(model, samples=3).write(str(folder))
    return run_recorder(folder, *arguments)


def run_recorder(folder, *arguments):
    """The file that record.py writes."""
    target = folder / "recording.npz"
    command = [sys.executable, "-I", str(folder / "record.py"), "-o", str(target), *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=300)
    return target


@needs_all_interpreters
def test_a_model_that_keeps_state_is_compared_as_a_stream(tmp_path):
    for stream in streams(np.random.default_rng(8), "int8", calls=5):
        model = stream.model()
        record(model, x=np.concatenate(stream.calls)).write(str(tmp_path / stream.name))
        recording = recorded_by(tmp_path / stream.name, model)
        report = compare_recorded(model, recording, ["litert-reference"])
        assert report.exit_code == 0
        reads = [op for op in report.runtimes[0].operators if op.operator.name == "READ_VARIABLE"]
        assert reads
        assert all(op.outputs == 5 * stream.calls[0].size for op in reads)
        index = reads[0].operator.outputs[0]
        samples = list(recording.samples)
        samples[3] = {**samples[3], index: ~samples[3][index]}
        other = replace(recording, samples=tuple(samples))
        assert compare_recorded(model, other, ["litert-reference"]).exit_code == 1


def changed(path, key, function):
    """The same recording with one tensor changed."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays[key] = function(arrays[key])
    target = path.with_name("changed.npz")
    np.savez_compressed(target, **arrays)
    return target


@needs_all_interpreters
@pytest.mark.parametrize(
    ("arguments", "runtime"),
    [
        ((), XNNPACK),
        (("--kernels", "reference"), "litert-reference"),
        (("--interpreter", "tflite-micro"), "tflm"),
    ],
)
def test_what_a_recorder_brings_back_is_what_the_runtime_prints(tmp_path, arguments, runtime):
    model = network()
    path = recorded_here(tmp_path, model, *arguments)
    recording = read_recording(path, model)
    report = compare_recorded(model, recording, [runtime])
    assert report.exit_code == 0
    assert [op.outputs for op in report.runtimes[0].operators] == [48, 48, 48]
    assert report.runtimes[0].end_outputs == 48
    with pytest.raises(UnsupportedError, match="nothing to diagnose"):
        first_differing(report)
    assert runtime in {r.runtime.name for r in compare_recorded(model, recording).runtimes if not r.differing}


@needs_all_interpreters
def test_an_operator_that_differs_is_found_and_diagnosed(tmp_path):
    model = network()
    (tmp_path / "model.tflite").write_bytes(bytes(model.content))
    path = recorded_here(tmp_path, model, "--kernels", "reference")
    file, dense = str(tmp_path / "model.tflite"), model.operators[0].outputs[0]
    bad = changed(changed(path, f"0/{dense}", lambda y: y + np.int8(1)), f"1/{dense}", lambda y: y + np.int8(1))
    bad = changed(bad, f"2/{dense}", lambda y: y + np.int8(1))
    report = compare_recorded(model, read_recording(bad, model), ["litert-reference"])
    assert report.exit_code == 1
    assert first_differing(report).operator.name == "FULLY_CONNECTED"
    run = CliRunner().invoke(
        main,
        [
            *("verify", file, "--runtime", "litert-reference"),
            "--recorded",
            str(bad),
            "--junit",
            str(tmp_path / "j.xml"),
        ],
    )
    assert run.exit_code == 1
    (suite,) = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "0")
    assert [case.get("name") for case in suite if len(case)] == [
        *("operator 0 FULLY_CONNECTED", "operator 1 RELU"),
    ]
    assert "48 of 48 outputs differ, by at most" in suite[0][0].get("message")
    streamed = CliRunner().invoke(main, ["verify", file, "--runtime", "tflm", "--recorded", str(bad), "--json"])
    assert json.loads(streamed.stdout)["schema"] == "lastbit.recorded/1"
    assert "first in operator 0 FULLY_CONNECTED" in " ".join(run.output.split())
    loaded = json.loads(CliRunner().invoke(main, ["identify", file, "--recorded", str(bad), "--json"]).output)
    assert loaded["schema"] == "lastbit.recorded/1"
    found = diagnose_recorded(file, str(bad), None, "litert-reference")
    assert found.exit_code == 1
    with np.load(bad) as arrays:
        np.savez(tmp_path / "less.npz", **{name: arrays[name] for name in arrays.files if name != f"1/{dense}"})
    less = read_recording(tmp_path / "less.npz", model)
    assert compare_recorded(model, less, ["litert-reference"]).runtimes[0].operators[0].reason
    with pytest.raises(InputError, match="is missing"):
        diagnose_recorded(file, str(tmp_path / "less.npz"), 0, "litert-reference")


INTERPRETER = """
#include <stdio.h>
#include <string.h>
#include "lastbit_record.h"
struct Tensor { union { char* raw; } data; size_t bytes; };
struct Interpreter {
  char in[24], out[3][16];
  Tensor given{{in}, 24}, made[3];
  size_t inputs_size() const { return 1; }
  size_t outputs_size() const { return OUTPUTS; }
  Tensor* input(size_t) { return &given; }
  Tensor* output(size_t i) { made[i] = {{out[i]}, 16}; return &made[i]; }
  int Invoke() { for (int i = 0; i < 3; ++i) memset(out[i], i + 1, 16); return 0; }
};
int main() { static Interpreter made; return lastbit_record(&made, printf); }
"""


def compiled(folder, outputs=3):
    """What lastbit_record prints with an interpreter that only fills its outputs with their numbers."""
    (folder / "main.cc").write_text(INTERPRETER)
    command = ["g++", "-std=c++14", "-Wall", "-Wextra", "-Werror", f"-DOUTPUTS={outputs}", "main.cc", "-o", "out"]
    subprocess.run(command, check=True, cwd=folder)
    return subprocess.run([str(folder / "out")], capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_function_for_micro_prints_what_is_read(tmp_path):
    model = network()
    record(model, samples=2).write(str(tmp_path))
    log, printed = tmp_path / "log.txt", compiled(tmp_path)
    with np.load(tmp_path / "inputs.npz") as file:
        given = [file[f"{number}/{model.inputs[0].index}"] for number in range(2)]
    boards = (
        ("boot\n" + printed.replace("LASTBIT", "[0.01] LASTBIT")).encode(),
        printed.replace("\n", "\r\nI (312) wifi: connected\r\n").encode(),
        printed.encode("utf-16"),
        (printed + printed[:500]).encode(),
    )
    for content in boards:
        log.write_bytes(content)
        recording = read_recording(log, model)
        for sample, array in zip(recording.samples, given, strict=True):
            assert np.array_equal(sample[model.inputs[0].index], array)
        assert [int(recording.samples[0][op.outputs[0]][0, 0]) for op in model.operators] == [1, 2, 3]
    lines = printed.splitlines(keepends=True)
    damaged = (
        ("".join(lines[:-1]), "ends early, in input 2 of 2"),
        ("".join(lines[1:]), "the start is missing"),
        ("".join(lines[:2] + lines[3:]), "the sum over all bytes differs"),
        (printed.replace("0303", "0304", 1), "line 5: the sum|the sum over all bytes differs"),
        (printed.replace("0303", "03 wifi 03", 1), "something else was printed in between"),
        (compiled(tmp_path, outputs=1), "the board says: the interpreter is not of lastbit_probe: it has 1 outputs"),
    )
    for text, problem in damaged:
        log.write_text(text)
        with pytest.raises(InputError, match=problem):
            read_recording(log, model)


def test_what_is_no_recording_is_refused(tmp_path):
    model = network()
    with pytest.raises(InputError, match=r"no such file\. Check the path"):
        read_recording(tmp_path / "none.npz", model)
    (tmp_path / "log.txt").write_text("nothing here")
    with pytest.raises(InputError, match="no line has"):
        read_recording(tmp_path / "log.txt", model)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="is not a recording"):
        read_recording(tmp_path / "other.npz", model)
    about = {"schema": "lastbit.recording/1", "model_sha256": "0" * 64, "samples": 1}
    about |= dict.fromkeys(("interpreter", "kernels", "cpu", "platform"), "")
    np.savez(tmp_path / "another.npz", about=np.asarray(json.dumps(about)))
    with pytest.raises(InputError, match="recorded with another model"):
        read_recording(tmp_path / "another.npz", model)
    with pytest.raises(InputError, match="samples is 0"):
        record(model, samples=0)


@needs_all_interpreters
def test_a_shape_that_the_file_does_not_know_is_the_interpreters(tmp_path):
    model = load(resources.files("lastbit") / "data" / "question.int8.tflite")
    record(model, samples=1).write(str(tmp_path))
    report = compare_recorded(model, recorded_by(tmp_path, model), ["litert-reference"])
    dense = next(op for op in report.runtimes[0].operators if op.operator.name == "FULLY_CONNECTED")
    assert (dense.outputs, dense.mismatches) == (512, 0)


@needs_all_interpreters
def test_a_recorded_tensor_is_never_taken_through_the_model(tmp_path):
    """The second layer's input has the shape and type of the model's, and is not it."""
    rng = np.random.default_rng(11)
    build = ModelBuilder()
    tensors = [build.tensor((1, 8), "int8", quant(scale, 0)) for scale in (0.05, 0.04, 0.03, 0.03)]
    for x, y in pairwise(tensors[:3]):
        weights = build.constant(rng.integers(-127, 128, (8, 8)), "int8", quant(0.004))
        bias = build.constant(rng.integers(-90, 90, 8), "int32", quant(0.0002))
        build.operator("FULLY_CONNECTED", (x, weights, bias), (y,))
    build.operator("ADD", (tensors[2], tensors[1]), (tensors[3],))
    model = build.model((tensors[0],), (tensors[3],))
    file, path = tmp_path / "model.tflite", recorded_here(tmp_path, model, "--kernels", "reference")
    file.write_bytes(bytes(model.content))
    found = diagnose_recorded(str(file), str(path), 1, "litert-reference")
    assert found.exit_code == 0
    second, added = (model.operators[i].outputs[0] for i in (1, 2))
    for index in (second, added):
        bad = changed(path, f"0/{index}", lambda y: y ^ np.int8(1))
        found = diagnose_recorded(str(file), str(bad), None, "litert-reference")
        assert found.exit_code == 1
        assert isinstance(found, Recorded) == (index == added)
    assert "ADD" in "".join(found.in_short())
