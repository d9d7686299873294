"""Operators without outputs, outputs that are constants or inputs, tensors that nobody uses: no verb crashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lab.pages import files as files_page
from lastbit import build, load, run
from lastbit.cli import main
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.oracles import open_oracle
from tests.model.tflite.test_reader import BY_NAME, chain, changed
from tests.support.interpreters import interpreter_missing
from tests.support.places import MODELS, needs_shared_models

RECORDED = {entry["what"]: entry for entry in files_page.recorded()}
UNUSUAL = (
    "the only output is a constant",
    "a constant is an output",
    "the graph's input is an output",
    "no outputs",
    "no operators, the input is the output",
    "an operator without outputs",
    "nothing writes the graph's output",
)
VERBS = (
    ("inspect",),
    ("run", "-i", "x.npy", "-o", "out.npz", "--runtime", "tflm"),
    ("explain", "-i", "x.npy"),
    ("thresholds",),
    ("compare", "--runtime", "tflm", "--runtime", "litert-reference"),
    ("vectors", "-o", "vectors"),
    ("identify", "-i", "x.npy", "--output", "x.npy"),
    ("diagnose", "-i", "x.npy", "--output", "x.npy"),
    ("evaluate", "--data", "x.npy", "--runtime", "tflm", "--runtime", "litert-reference"),
    ("extract", "--op", "0", "-o", "one.tflite"),
    ("bench", "--seconds", "0.01"),
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize("what", UNUSUAL)
def test_no_verb_crashes(what, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(files_page.content_of(RECORDED[what]))
    np.save("x.npy", np.array([[-128, -7, 50, 127]], np.int8))
    result = CliRunner().invoke(main, [verb[0], "m.tflite", *verb[1:]])
    assert result.exit_code in (0, 1, 2, 3), result.output


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("engine", ["reference", "numpy"])
def test_a_constant_output_is_given_as_it_is(dtype, engine):
    graph = chain((0, 1))
    constant = np.array([[4, 3, 2, 1]], dtype)
    for index in (0, 1):
        graph = changed(graph, index, dtype=BY_NAME[dtype])
    if dtype == "float32":
        graph = changed(changed(graph, 0, quant=None), 1, quant=None)
    third = replace(graph.tensors[0], index=2, name="constant", data=constant)
    graph = replace(graph, tensors=(*graph.tensors, third), outputs=(2, 1))
    x = np.array([[-9, 9, -1, 1], [5, -5, 3, -3]], dtype)
    for outputs in ((2, 1), (1, 2), (2,)):
        model = load(write(replace(graph, outputs=outputs)))
        found = build(model, "tflm", engine=engine).outputs(x)
        for index, value in zip(outputs, found, strict=True):
            np.testing.assert_array_equal(value, constant if index == 2 else np.maximum(x, 0))


def test_an_output_that_nothing_writes_has_no_value():
    model = load(files_page.content_of(RECORDED["nothing writes the graph's output"]))
    with pytest.raises(UnsupportedError, match=r"outputs without a value(.|\n)*no operator writes it"):
        run(model, np.zeros((1, 4), np.int8), "tflm")


@pytest.mark.parametrize("more", [[], ["--all"], ["--engine", "reference"]])
def test_run_writes_every_output_or_fails(more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(files_page.content_of(RECORDED["nothing writes the graph's output"]))
    np.save("x.npy", np.array([[-128, -7, 50, 127]], np.int8))
    result = CliRunner().invoke(main, ["run", "m.tflite", "-i", "x.npy", "-o", "out.npz", "--runtime", "tflm", *more])
    assert result.exit_code == 3
    assert "no operator writes it" in result.output


@needs_shared_models
def test_variables_are_refused_operator_by_operator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(MODELS / "mww_v2_vad.tflite")
    for arguments in (["inspect", path], ["compare", path, "--runtime", "tflm", "--runtime", "litert-reference"]):
        assert CliRunner().invoke(main, arguments).exit_code in (0, 1, 3)


@pytest.mark.parametrize(
    ("dtype", "rows", "depth"), [("int8", 4, 5), ("uint8", 3, 7), ("int16", 1, 9)], ids=["int8", "uint8", "int16"]
)
@pytest.mark.parametrize("engine", ["reference", "numpy", "auto"])
def test_a_layer_whose_input_is_a_constant(dtype, rows, depth, engine, rng):
    weights_dtype = "uint8" if dtype == "uint8" else "int8"
    low, high = (1, 200) if dtype == "uint8" else (-100, 100)
    graph = dense_subgraph(
        rng.integers(low, high, (3, depth)).astype(weights_dtype),
        input_quant=quant(0.02, 7 if dtype == "uint8" else 0),
        weights_quant=quant(0.01, 100 if dtype == "uint8" else 0),
        output_quant=quant(0.05, 0),
        input_dtype=dtype,
        weights_dtype=weights_dtype,
        input_shape=(rows, depth),
    )
    unused, dense = graph.tensors[0], graph.operators[0]
    values = rng.integers(low, high, (rows, depth)).astype(dtype)
    constant = replace(unused, index=len(graph.tensors), name="constant", data=values)
    operator = replace(dense, inputs=(constant.index, *dense.inputs[1:]))
    content = write(replace(graph, tensors=(*graph.tensors, constant), operators=(operator,)))
    x = np.zeros((rows, depth), dtype)
    found = run(content, x, "litert-reference", engine=engine).output
    same = run(write(graph), values, "litert-reference").output
    assert np.array_equal(found, same)
    if not interpreter_missing("litert-reference"):
        with open_oracle("litert-reference") as oracle:
            assert np.array_equal(oracle.run(content, [[x]]).outputs[0][0], found)


def test_verify_and_vectors_of_a_layer_whose_input_is_a_constant(tmp_path, monkeypatch, rng):
    graph = dense_subgraph(
        rng.integers(-100, 100, (3, 5)).astype(np.int8),
        input_quant=quant(0.02),
        weights_quant=quant(0.01),
        output_quant=quant(0.05),
        input_shape=(4, 5),
    )
    constant = replace(graph.tensors[0], index=3, name="constant", data=np.arange(20).reshape(4, 5).astype(np.int8))
    dense = replace(graph.operators[0], inputs=(3, *graph.operators[0].inputs[1:]))
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(write(replace(graph, tensors=(*graph.tensors, constant), operators=(dense,))))
    runtime = ("--runtime", "litert-reference")
    if not interpreter_missing("litert-reference"):
        assert CliRunner().invoke(main, ["verify", "m.tflite", *runtime, "--samples", "2"]).exit_code == 0
    vectors = ["vectors", "m.tflite", "-o", "v", "--no-oracle", "--random", "5", *runtime]
    assert CliRunner().invoke(main, vectors).exit_code == 0
