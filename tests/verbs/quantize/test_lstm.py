"""UNIDIRECTIONAL_SEQUENCE_LSTM as TFLiteConverter's int8 has it (tests/recorded/quantize_lstm.zip)."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.checks.quantize_canonical import digests, ranges_of
from lastbit import UnsupportedError
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.verbs.quantize.converters import CONVERTERS, Quantizer
from lastbit.verbs.quantize.lstm import CELL, HIDDEN, LSTM, cell_state
from tests.support.places import ROOT

with zipfile.ZipFile(ROOT / "tests" / "recorded" / "quantize_lstm.zip") as archive:
    RESULTS = json.loads(archive.read("results.json"))["results"]
    MODELS = {name: archive.read(name) for name in archive.namelist() if name.endswith(".tflite")}
PLAIN = "000.tflite"


@pytest.mark.parametrize("like", RESULTS)
def test_every_scale_weight_and_option_is_the_converters(like):
    compared = 0
    for name, wanted in RESULTS[like].items():
        arguments = {"ranges": ranges_of(MODELS[name]), "like": like}
        if wanted is None:
            with pytest.raises(UnsupportedError, match="gives up"):
                lastbit.quantize(MODELS[name], **arguments)
            continue
        with np.errstate(all="ignore"):
            made = digests(bytes(lastbit.quantize(MODELS[name], **arguments).content), options=True)
        assert made == wanted, name
        compared += len(made)
    assert compared > 200


def test_every_version_of_the_converter_was_recorded():
    assert set(RESULTS) == {one.label for one in CONVERTERS if one.int8 is Quantizer.MLIR}


def quantized():
    content = MODELS[PLAIN]
    return load(bytes(lastbit.quantize(content, ranges=ranges_of(content)).content))


def test_the_states_are_variables_and_keep_their_types():
    made = quantized()
    (op,) = (op for op in made.operators if op.name == LSTM)
    hidden, cell = (made.tensors[op.inputs[position]] for position in (HIDDEN, CELL))
    assert (hidden.dtype.name, cell.dtype.name) == ("int8", "int16")
    assert hidden.is_variable
    assert cell.is_variable
    assert np.log2(float(cell.quant.scale[0])).is_integer()
    assert hidden.quant.scale.tolist() == made.tensors[op.outputs[0]].quant.scale.tolist()
    assert [made.tensors[i].dtype.name for i in op.intermediates] == ["float32"] * 4 + ["int8"]


@pytest.mark.parametrize(
    ("low", "high", "bound"), [(-3.0, 2.0, 4), (0.0, 4.0, 4), (-4.0000005, 0.0, 8), (0.1, 0.2, 0.25)]
)
def test_the_cell_states_scale_is_a_power_of_two(low, high, bound):
    assert cell_state(np.float32(low), np.float32(high)).scale == (bound / 32768,)


def test_the_story_of_each_scale():
    made, source = quantized(), load(MODELS[PLAIN])
    (op,) = (op for op in made.operators if op.name == LSTM)
    told = {}
    for name, index in {"hidden": op.inputs[HIDDEN], "cell": op.inputs[CELL], "bias": op.inputs[13]}.items():
        story = lastbit.explain_tensor(made, index, float_model=source, ranges=ranges_of(MODELS[PLAIN]))
        told[name] = story.as_dict()
        same = [one["scale"] for one in story.as_dict()["converters"] if one["label"].startswith("tflite")]
        assert same[0] == told[name]["scale"]
    assert (told["hidden"]["rule"], told["hidden"]["scale_of"]) == ("same scale as", op.outputs[0])
    assert told["cell"]["rule"] == "cell state"
    assert "a power of two" in json.dumps(told["cell"]["story"])
    # Each gate's bias goes with its own matrix.
    assert f"tensor {op.inputs[2]} " in json.dumps(told["bias"]["story"])


def test_a_projection_is_refused():
    model = load(MODELS[PLAIN])
    graph = model.subgraphs[0]
    operators = tuple(
        replace(op, inputs=(*op.inputs[:16], op.inputs[1], *op.inputs[17:])) if op.name == LSTM else op
        for op in graph.operators
    )
    other = load(write(replace(graph, operators=operators)))
    assert isinstance(other, Model)
    with pytest.raises(UnsupportedError) as told:
        lastbit.quantize(other, ranges=ranges_of(MODELS[PLAIN]))
    assert "has a projection, and LastBit covers it without" in told.value.reasons[0]


def test_files_equal_each_other():
    made = quantized()
    assert lastbit.diff(made, quantized()).equal
