"""What becomes of operators that only move values, compared with what real converters made of them.

tests/recorded/quantize_moves.zip and quantize_paddings.zip hold the models of lab/cases/quantize_moves.py and their
results (`python -m lab record quantize --moves` and `--paddings`).
"""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.checks.quantize_canonical import digests, ranges_of
from lastbit import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.verbs.quantize.verb import CONVERTERS
from tests.support.models import ModelBuilder
from tests.support.places import ROOT


def golden(name):
    with zipfile.ZipFile(ROOT / "tests" / "recorded" / name) as archive:
        results = json.loads(archive.read("results.json"))["results"]
        return results, {name: archive.read(name) for name in archive.namelist() if name.endswith(".tflite")}


RESULTS, MODELS = golden("quantize_moves.zip")
PADDINGS = golden("quantize_paddings.zip")
CASES = [(RESULTS, MODELS, key) for key in RESULTS] + [(*PADDINGS, key) for key in PADDINGS[0]]


@pytest.mark.parametrize(("results", "models", "key"), CASES, ids=[f"{len(case[1])}-{case[2]}" for case in CASES])
def test_every_model_of_moves_becomes_what_the_converter_makes_of_it(results, models, key):
    like, _, activations = key.partition("/")
    for name, wanted in results[key].items():
        content = models[name]
        arguments = {"ranges": ranges_of(content), "like": like, "activations": activations or "int8"}
        if wanted is None:
            with pytest.raises(UnsupportedError, match="gives up"):
                lastbit.quantize(content, **arguments)
            continue
        assert digests(bytes(lastbit.quantize(content, **arguments).content), options=True) == wanted, name


def test_every_version_was_asked_about_moves():
    versions = {converter.label for converter in CONVERTERS if converter.name == "tflite"}
    assert set(RESULTS) == versions | {"litert@2.3", "litert@2.3/int16"}
    assert len(MODELS) == 74 + 40  # and chains of seeds 0 to 39


def moved(*steps, shape=(2, 3, 4)):
    """A float32 model: LEAKY_RELU, then steps of (operator, output shape, constant operands, options)."""
    build = ModelBuilder()
    last = first = build.tensor(shape, "float32")
    for name, out, constants, options in (("LEAKY_RELU", shape, (), {"alpha": 0.125}), *steps):
        data = [np.asarray(constant) for constant in constants]
        inputs = [last, *(build.constant(d, "int32" if d.dtype.kind == "i" else "float32") for d in data)]
        last = build.operator(name, inputs, [build.tensor(out, "float32")], **options)
    return build.content([first], [last])


def reshape(*shape):
    return ("RESHAPE", shape, [np.array(shape, np.int32)], {"new_shape": shape})


def transpose(order, *shape):
    return ("TRANSPOSE", shape, [np.array(order, np.int32)], {})


def product(*second):
    return ("BATCH_MATMUL", (6, second[-1]), [np.ones(second, np.float32)], {})


def layer(*shape):
    return ("FULLY_CONNECTED", shape, [np.ones((shape[-1], 4), np.float32), np.ones(shape[-1], np.float32)], {})


def elementwise(name, value, *shape, activation="NONE"):
    return (name, (2, 3, 4), [np.full(shape, value, np.float32)], {"fused_activation_function": activation})


# What TensorFlow 2.12 to 2.21 were asked: operators behind LEAKY_RELU, versions, what is left of them.
MOVED = [
    ([reshape(6, 4), layer(6, 5)], "2.12 2.13 2.15 2.16 2.21", "FULLY_CONNECTED(6, 5)"),
    ([reshape(6, 4), layer(6, 5)], "2.14", "RESHAPE(6, 4) FULLY_CONNECTED(6, 5)"),
    ([reshape(1, 6, 4), layer(6, 5)], "2.12 2.14 2.15", "FULLY_CONNECTED(6, 5)"),
    ([layer(6, 5), reshape(2, 3, 5)], "2.12 2.14 2.17 2.21", "FULLY_CONNECTED(2, 3, 5)"),
    ([reshape(6, 4), layer(6, 5), reshape(2, 3, 5)], "2.12 2.15 2.17 2.21", "FULLY_CONNECTED(2, 3, 5)"),
    ([reshape(6, 4), layer(6, 5), reshape(3, 2, 5)], "2.12 2.15 2.17", "FULLY_CONNECTED(6, 5) RESHAPE(3, 2, 5)"),
    ([reshape(6, 4), layer(6, 5), reshape(3, 2, 5)], "2.18 2.21", "FULLY_CONNECTED(2, 3, 5) RESHAPE(3, 2, 5)"),
    ([reshape(6, 4), reshape(4, 6)], "2.12 2.14 2.21", "RESHAPE(4, 6)"),
    ([reshape(6, 4), reshape(2, 3, 4)], "2.12 2.14 2.21", ""),
    ([transpose([0, 2, 1], 2, 4, 3), transpose([1, 0, 2], 4, 2, 3)], "2.14 2.21", "TRANSPOSE(4, 2, 3)"),
    (
        [transpose([0, 2, 1], 2, 4, 3), transpose([1, 0, 2], 4, 2, 3)],
        "2.12 2.13",
        "TRANSPOSE(2, 4, 3) TRANSPOSE(4, 2, 3)",
    ),
    (
        [reshape(6, 4), product(4, 3), reshape(2, 3, 3)],
        "2.12 2.13",
        "RESHAPE(6, 4) BATCH_MATMUL(6, 3) RESHAPE(2, 3, 3)",
    ),
    ([reshape(6, 4), product(4, 3), reshape(2, 3, 3)], "2.14 2.16 2.21", "BATCH_MATMUL(2, 3, 3)"),
    ([reshape(6, 4), ("RELU", (6, 4), [], {})], "2.12 2.14 2.21", "RELU(2, 3, 4) RESHAPE(6, 4)"),
    ([elementwise("ADD", 0, 4)], "2.16 2.17", "ADD(2, 3, 4)"),
    ([elementwise("ADD", 0, 4)], "2.18 2.19 2.20 2.21", ""),
    ([elementwise("SUB", -0.0, 2, 3, 4)], "2.18 2.21", ""),
    ([elementwise("MUL", 1, 4)], "2.16 2.17", "MUL(2, 3, 4)"),
    ([elementwise("MUL", 1, 4)], "2.18 2.19 2.20 2.21", ""),
    ([elementwise("ADD", 0, 4, activation="RELU")], "2.17 2.18 2.21", "ADD(2, 3, 4)"),
    ([elementwise("MUL", 0, 4)], "2.17 2.18 2.21", "MUL(2, 3, 4)"),
]


@pytest.mark.parametrize(("steps", "versions", "wanted"), MOVED)
def test_reshapes_and_transposes_become_what_each_converter_makes_of_them(steps, versions, wanted):
    content = moved(*steps)
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    for version in versions.split():
        made = lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", io="int8")
        found = " ".join(f"{op.name}{made.tensors[op.outputs[0]].shape}" for op in made.operators[1:])
        assert found == wanted, version


def test_a_product_of_too_few_dimensions_is_refused_where_the_converter_refuses_it():
    second = ("BATCH_MATMUL", (1, 1, 4), [np.ones((1, 32, 4), np.float32)], {})
    content = moved(reshape(1, 1, 32), second, reshape(1, 4), shape=(1, 32))
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    for version in ("2.14", "2.15", "2.16"):
        with pytest.raises(UnsupportedError, match="merges RESHAPEs into a BATCH_MATMUL"):
            lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}")
    for version in ("2.13", "2.17", "2.21"):
        assert len(lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", io="int8").operators) == 4


SQUEEZED = [transpose([0, 1, 3, 2], 2, 1, 3, 4), ("SQUEEZE", (2, 3, 4), [], {"squeeze_dims": (1,)})]
SPLIT = [transpose([1, 0], 4, 6), reshape(4, 2, 3), transpose([0, 2, 1], 4, 3, 2)]


@pytest.mark.parametrize(
    ("shape", "steps", "versions", "wanted"),
    [
        ((2, 1, 4, 3), SQUEEZED, "2.16 2.19", "TRANSPOSE(2, 1, 3, 4) RESHAPE(2, 3, 4)"),
        ((2, 1, 4, 3), SQUEEZED, "2.20 2.21", "RESHAPE(2, 4, 3) TRANSPOSE(2, 3, 4)"),
        ((6, 4), SPLIT, "2.16 2.19", "TRANSPOSE(4, 6) RESHAPE(4, 2, 3) TRANSPOSE(4, 3, 2)"),
        ((6, 4), SPLIT, "2.20 2.21", "RESHAPE(2, 3, 4) TRANSPOSE(4, 3, 2)"),
    ],
)
def test_a_transpose_goes_behind_squeeze_and_reshape_from_2_20_on(shape, steps, versions, wanted):
    content = moved(*steps, shape=shape)
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    for version in versions.split():
        made = lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", io="int8")
        found = " ".join(f"{op.name}{made.tensors[op.outputs[0]].shape}" for op in made.operators[1:])
        assert found == wanted, version


def test_with_an_open_batch_a_dense_layer_keeps_its_inputs_dimensions_before_a_reshape():
    graph = load(moved(layer(3, 5), reshape(1, 15), shape=(1, 3, 4))).subgraphs[0]
    opened = [t if t.data is not None else replace(t, shape_signature=(-1, *t.shape[1:])) for t in graph.tensors]
    content = write(replace(graph, tensors=tuple(opened)))
    ranges = {t.index: (-1.0, 1.0) for t in graph.tensors if t.data is None}
    for version in ("2.18", "2.20", "2.21"):
        made = lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", io="int8")
        dense = made.tensors[made.operators[1].outputs[0]]
        assert made.operators[1].options["keep_num_dims"]
        assert (dense.shape, dense.shape_signature) == ((1, 3, 5), (-1, 3, 5))


@pytest.mark.parametrize(
    ("name", "shape", "constants"),
    [
        ("SPACE_TO_BATCH_ND", (6, 2, 4), [[3], [[0, 3]]]),
        ("MIRROR_PAD", (2, 5, 4), [[[0, 0], [1, 1], [0, 0]]]),
    ],
)
def test_with_int16_what_stays_float32_in_2_12_alone(name, shape, constants):
    content = moved((name, shape, [np.array(part, np.int32) for part in constants], {}))
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    for version, found in (("2.12", "DEQUANTIZE"), ("2.13", name), ("2.16", name)):
        made = lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", activations="int16")
        assert made.operators[2].name == found


@pytest.mark.parametrize("version", ["2.12", "2.16", "2.17", "2.21"])
def test_a_shape_of_known_size_becomes_a_constant(version):
    build = ModelBuilder()
    x = build.tensor((2, 3), "float32")
    act = build.operator("LEAKY_RELU", [x], [build.tensor((2, 3), "float32")], alpha=0.125)
    shape = build.operator("SHAPE", [act], [build.tensor((2,), "int32")], out_type="int32")
    content = build.content([x], [build.operator("RESHAPE", [act, shape], [build.tensor((2, 3), "float32")]), shape])
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.dtype.name == "float32"}
    made = lastbit.quantize(content, ranges=ranges, like=f"tflite@{version}", io="int8")
    assert [op.name for op in made.operators] == ["LEAKY_RELU"]
    assert made.outputs[1].data.tolist() == [2, 3]


def test_a_product_with_zeros_is_refused_where_the_converter_makes_a_constant_of_it():
    content = moved(elementwise("MUL", 0, 2, 3, 4))
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    with pytest.raises(UnsupportedError, match="multiplies with zeros only"):
        lastbit.quantize(content, ranges=ranges, like="tflite@2.18")
    assert len(lastbit.quantize(content, ranges=ranges, like="tflite@2.17", io="int8").operators) == 2


def test_int16_sums_need_no_scales_that_are_powers_of_two():
    content = moved(("ADD", (2, 3, 4), [np.ones(4, np.float32)], {}))
    ranges = {t.index: (-1.0, 1.0) for t in load(content).tensors if t.data is None}
    read = load(bytes(lastbit.quantize(content, ranges=ranges, activations="int16").content))
    assert [op.options["pot_scale_int16"] for op in read.operators if op.name == "ADD"] == [False]
