"""Signatures: names for inputs and outputs that need not be the tensors' own."""

from __future__ import annotations

import json
from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from click.testing import CliRunner

from lastbit import inspect, load, run
from lastbit.cli import main
from lastbit.model.errors import InputError
from lastbit.model.tflite import write
from tests.model.tflite.test_reader import BY_NAME, chain

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", exc_type=ImportError)


def invoke(*arguments):
    return CliRunner().invoke(main, list(arguments))


def signed(*signatures, dtype="int8"):
    """RELU of tensor 0 into 1 and of 2 into 3, with signatures: (key, inputs, outputs, subgraph)."""
    graph = chain((0, 1), (2, 3))
    quantized = {"quant": None} if dtype == "float32" else {}
    tensors = tuple(replace(t, dtype=BY_NAME[dtype], **quantized) for t in graph.tensors)
    graph = replace(graph, tensors=tensors, inputs=(0, 2), outputs=(1, 3))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(write(graph)), 0))
    model.signatureDefs = []
    for key, inputs, outputs, subgraph in signatures:
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key, subgraph
        for attribute, names in (("inputs", inputs), ("outputs", outputs)):
            maps = []
            for name, index in names.items():
                one = schema.TensorMapT()
                one.name, one.tensorIndex = name, index
                maps.append(one)
            setattr(entry, attribute, maps)
        model.signatureDefs.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


SERVING = ("serving_default", {"left": 0, "right": 2}, {"sum": 1, "rest": 3}, 0)
TRAIN = ("train", {"a": 0, "b": 2}, {"loss": 1}, 0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_names_of_the_only_signature_are_taken(dtype):
    model = load(signed(SERVING, dtype=dtype))
    assert model.signatures[0].key == "serving_default"
    assert dict(model.signatures[0].inputs) == {"left": 0, "right": 2}
    left, right = (np.array([[sign * 3, -5, 7, 1]], dtype) for sign in (1, -1))
    outputs = run(model, {"right": right, "left": left}, "tflm").outputs
    np.testing.assert_array_equal(outputs[0], np.maximum(left, 0))
    np.testing.assert_array_equal(outputs[1], np.maximum(right, 0))
    assert "serving_default" in str(inspect(model))
    assert inspect(model).as_dict()["signatures"][0]["outputs"] == {"sum": 1, "rest": 3}


def test_several_signatures_are_chosen_by_name():
    model = load(signed(SERVING, TRAIN))
    x = np.zeros((1, 4), np.int8)
    with pytest.raises(InputError, match="no value for input tensor 0"):
        run(model, {"a": x, "b": x}, "tflm")
    assert len(run(model.with_signature("train"), {"a": x, "b": x}, "tflm").outputs) == 2
    with pytest.raises(InputError, match="no signature 'tain'; the model has: 'serving_default', 'train'"):
        model.with_signature("tain")


def test_signatures_of_other_subgraphs_and_tensors_that_are_not_there():
    model = load(signed(SERVING, ("broken", {"x": 99}, {}, 0), ("nowhere", {"x": 0}, {}, 7)))
    assert [signature.key for signature in model.signatures] == ["serving_default"]


def test_run_takes_and_writes_the_names(tmp_path):
    (tmp_path / "m.tflite").write_bytes(signed(SERVING, TRAIN))
    np.save(tmp_path / "x.npy", np.array([[1, -2, 3, -4]], np.int8))
    out = tmp_path / "y.npz"
    files = [f"{name}={tmp_path / 'x.npy'}" for name in ("a", "b")]
    result = invoke(
        "run", str(tmp_path / "m.tflite"), "-i", files[0], "-i", files[1], "-o", str(out), "--signature", "train"
    )
    assert result.exit_code == 0, result.output
    with np.load(out) as arrays:
        assert json.loads(str(arrays["about"]))["arrays"][0]["signature_name"] == "loss"
        np.testing.assert_array_equal(arrays["1"], [[1, 0, 3, 0]])
    result = invoke("run", str(tmp_path / "m.tflite"), "-i", files[0], "-o", str(out), "--signature", "none")
    assert result.exit_code == 2
    assert "'serving_default', 'train'" in result.output
