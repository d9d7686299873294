"""Keras files against the real converter's results, and files that are not what they say."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lab.checks import keras_check
from lastbit.cli import main
from lastbit.verbs.quantize.keras import Folding, Newton, read_keras
from lastbit.verbs.quantize.keras.arithmetic import _approximation, rsqrt
from lastbit.verbs.quantize.keras.fuse import ConverterFails, fuse
from lastbit.verbs.quantize.keras.graph import Node, Pending
from lastbit.verbs.quantize.keras.worklist import Rewriter
from lastbit.verbs.quantize.verb import converter_named
from tests.verbs.quantize.keras.test_archive import GOLDEN, QUESTION, edited

pytest.importorskip("h5py")

MODELS = sorted(path for path in GOLDEN.glob("tf*") if path.suffix in (".keras", ".h5"))


def like(path: Path) -> str:
    return "tflite@2." + path.name.split(".")[1]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_tensor_is_the_converters(path: Path) -> None:
    counts: Counter[str] = Counter()
    assert keras_check.check(path, like(path), converter_named(like(path)).folding, counts) == []
    assert counts["ranges constants"] >= 2
    assert counts["int8 tensors"] > counts["ranges constants"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("float.*.keras")), ids=lambda path: path.name)
def test_every_constant_of_a_model_with_a_fixed_batch_is_the_converters(path: Path) -> None:
    version = path.name.split(".")[2]
    model = read_keras(path, converter_named(f"tflite@2.{version}").folding)
    pairs = keras_check.Pairs(model, lastbit.load(path.with_suffix(".float.tflite")))
    found = list(pairs.differing())
    assert [text for _, _, text in found if text] == []
    assert sum(constant for _, constant, _ in found) >= 1


@pytest.mark.parametrize(("version", "number"), [("2.14", 2), ("2.15", 11), ("2.19", 2), ("2.21", 12)])
def test_small_models_in_which_one_rule_decides_are_the_converters(version: str, number: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        archive.extractall(tmp_path)
    models = sorted(tmp_path.glob(f"tf{version}.*.keras"))
    assert len(models) == number
    counts: Counter[str] = Counter()
    for path in models:
        assert keras_check.check(path, like(path), converter_named(like(path)).folding, counts) == []
    assert counts["float constants"] >= 5 * number


def test_padding_joins_a_convolution_only_where_a_converter_does_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        path = Path(archive.extract("tf2.21.paddings.keras", tmp_path))
    pads = {}
    for version in ("2.17", "2.18"):
        model = read_keras(path, converter_named(f"tflite@{version}").folding)
        pads[version] = [op.name for op in model.operators].count("PAD")
    assert pads == {"2.17": 5, "2.18": 3}


def test_a_dense_layer_behind_a_product_with_rows_of_one_value_is_refused(tmp_path: Path) -> None:

    twos = np.full((2, 6), 2, np.float32)
    fed = Node("INPUT", "x", [], (4, 1))
    product = Node("MUL", "wide", [fed], (4, 6), (twos[0],), {"fused_activation_function": "NONE"})
    dense = Node("FULLY_CONNECTED", "dense", [product], (4, 2), (twos, None), {"keep_num_dims": True})
    with pytest.raises(ConverterFails, match="'dense'"):
        fuse([fed, product, dense], [dense], Folding())


def test_a_factor_goes_into_a_layer_that_a_dead_operator_reads_only_up_to_2_15() -> None:
    model = GOLDEN / "float.tf2.15.norms.keras"
    weights = [read_keras(model, converter_named(f"tflite@{version}").folding).content for version in ("2.15", "2.16")]
    assert weights[0] != weights[1]


def test_the_other_newton_step_and_one_over_sqrt_are_refuted() -> None:
    values = np.geomspace(1e-3, 1e3, 800).astype(np.float32)
    one_over_sqrt = np.float32(1) / np.sqrt(values)
    results = [rsqrt(values, newton) for newton in Newton] + [one_over_sqrt]
    assert all((a != b).mean() > 0.1 for i, a in enumerate(results) for b in results[:i])
    for path in (GOLDEN / "tf2.12.mlp_0.h5", GOLDEN / "tf2.21.autoencoder_3.h5"):
        folding = converter_named(like(path)).folding
        (other,) = (newton for newton in Newton if newton is not folding.newton)
        assert keras_check.check(path, like(path), replace(folding, newton=other), Counter())


def test_the_other_optimizer_is_refuted() -> None:
    path = GOLDEN / "tf2.21.shared_3015.h5"
    folding = converter_named(like(path)).folding
    with pytest.raises(keras_check.Differs):
        keras_check.check(path, like(path), replace(folding, earlier=True), Counter())


def test_layers_of_a_nested_model_and_second_uses_have_names_of_their_own() -> None:
    model = read_keras(GOLDEN / "tf2.12.nested_3006.h5", converter_named("tflite@2.12").folding)
    names = [tensor.name for tensor in model.tensors if tensor.data is None]
    assert {"input_1", "backbone/activation", "sequential/dense", "sequential/dense#2", "concatenate"} <= set(names)


def test_several_inputs_and_outputs_keep_the_models_order() -> None:
    shared = read_keras(GOLDEN / "tf2.21.shared_3015.h5")
    assert list(shared.signatures[0].inputs) == [tensor.name for tensor in shared.inputs] == ["left", "right"]
    several = read_keras(GOLDEN / "tf2.21.several_outputs_3007.keras")
    assert list(several.signatures[0].outputs) == [t.name.partition(":")[0] for t in several.outputs]
    assert list(several.signatures[0].outputs) == ["classes", "score"]


def test_the_approximation_is_intels() -> None:
    first = (np.arange(0x3F800000 >> 13, 0x40800000 >> 13, dtype=np.uint32) << 13).view(np.float32)
    last = (first.view(np.uint32) | 0x1FFF).view(np.float32)
    digest = hashlib.sha256(_approximation(first).astype("<f4").tobytes()).hexdigest()
    assert digest == (GOLDEN / "rsqrt_intel.sha256").read_text().strip()
    assert np.array_equal(_approximation(first), _approximation(last))


def test_channels_left_over_have_two_roundings() -> None:
    values = np.full(15, 7, np.float32)
    found = rsqrt(values, Newton.RESIDUAL)
    assert len(set(found[:8].tolist())) == len(set(found[8:].tolist())) == 1
    assert found[8] == np.float32(1) / np.sqrt(np.float32(7)) != found[0]


def test_the_one_use_of_a_model_may_have_the_number_0_or_1(tmp_path: Path) -> None:
    changed = []

    def change(config: Any) -> None:
        calls = [call for layer in config["config"]["layers"] for call in layer["inbound_nodes"]]
        found = [call["args"][0]["config"]["keras_history"] for call in calls if isinstance(call["args"][0], dict)]
        used = [history for history in found if history[0] == "backbone"]
        changed.append((len(used), used[0][1]))
        used[0][1] = 1 - used[0][1]

    source = GOLDEN / "tf2.21.nested_3011.keras"
    assert read_keras(edited(tmp_path, change, source=source)).content == read_keras(source).content
    assert changed == [(2, 0)]


def test_an_input_that_nothing_reads_stays_float32_and_needs_no_range(tmp_path: Path) -> None:
    # As TFLiteConverter of TensorFlow 2.21.0 leaves it, with int8 inputs and outputs.
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        path = Path(archive.extract("tf2.21.unused_input.keras", tmp_path))
    names = [tensor.name for tensor in read_keras(path).inputs]
    model = lastbit.quantize(path, ranges={names[0]: (-1, 1), "dense_25": (-2, 2)}, io="int8")
    found = [(tensor.dtype.name, tensor.quant is None) for tensor in model.inputs]
    assert found == [("int8", False), ("float32", True)]


def test_the_question_from_keras_to_int8_without_tensorflow(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = random.normal(0, 1, (20, 16, 48)).astype(np.float32)
    np.save(tmp_path / "data.npy", data)
    out = tmp_path / "int8.tflite"
    result = CliRunner().invoke(
        main, ["quantize", str(QUESTION), "-o", str(out), "--data", str(tmp_path / "data.npy"), "--io", "int8"]
    )
    assert result.exit_code == 0, result.output
    model = lastbit.load(out)
    assert [op.name for op in model.operators] == ["RESHAPE", "FULLY_CONNECTED", "RESHAPE"]
    assert model.inputs[0].dtype.name == model.outputs[0].dtype.name == "int8"
    assert "tensorflow" not in sys.modules


def test_shapes_fit_an_open_and_a_fixed_batch(tmp_path: Path) -> None:
    def shapes(path: Path) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        model = read_keras(path)
        outputs = [(op.name, model.tensors[op.outputs[0]]) for op in model.operators]
        return [(name, tensor.shape, tensor.shape_signature) for name, tensor in outputs]

    def fixed(config: Any) -> None:
        config["config"]["layers"][0]["config"]["batch_shape"][0] = 4

    assert shapes(QUESTION)[:3] == [
        ("RESHAPE", (16, 48), (-1, 48)),
        ("FULLY_CONNECTED", (16, 32), (-1, 32)),
        ("RESHAPE", (1, 16, 32), (-1, 16, 32)),
    ]
    assert shapes(edited(tmp_path, fixed)) == [("FULLY_CONNECTED", (4, 16, 32), (4, 16, 32))]


@pytest.mark.parametrize(("padding", "left"), [("VALID", ["INPUT", "CONV_2D"]), ("SAME", ["INPUT", "ADD", "CONV_2D"])])
def test_a_number_that_is_added_before_a_convolution_goes_into_it_only_without_padding(
    padding: str, left: list[str]
) -> None:
    weights = np.full((2, 3, 3, 1), 2, np.float32)
    fed = Node("INPUT", "i", [], (4, 4, 1))
    added = Node("ADD", "n", [fed], (4, 4, 1), (np.ones(1, np.float32),), {"fused_activation_function": "NONE"})
    constants = (weights, np.zeros(2, np.float32))
    convolution = Node("CONV_2D", "c", [added], (2, 2, 2), constants, {"padding": padding})
    nodes, _ = fuse([fed, added, convolution], [convolution], Folding())
    assert [node.op for node in nodes] == left
    bias = nodes[-1].constants[1]
    assert bias is not None
    assert bias.tolist() == ([18, 18] if padding == "VALID" else [0, 0])


@pytest.mark.parametrize(("zeros", "reads"), [(1, "FULLY_CONNECTED"), (2, "RESHAPE")])
def test_a_single_zero_is_dropped_before_reshapes_are_looked_at_and_several_are_not(zeros: int, reads: str) -> None:
    plain = {"fused_activation_function": "NONE"}
    dense = {**plain, "keep_num_dims": False}
    fed = Node("INPUT", "x", [], (4,), rows=3)
    first = Node("FULLY_CONNECTED", "a", [fed], (zeros,), (np.full((zeros, 4), 2, np.float32), None), dense, rows=3)
    back = Node("RESHAPE", "a", [first], (3, zeros), (np.array([1, 3, zeros], np.int32),))
    added = Node("ADD", "a", [back], (3, zeros), (np.zeros(zeros, np.float32),), plain)
    flat = Node("RESHAPE", "b", [added], (zeros,), (np.array([3, zeros], np.int32),), rows=3)
    second = Node("FULLY_CONNECTED", "b", [flat], (5,), (np.full((5, zeros), 2, np.float32), None), dense, rows=3)
    last = Node("RESHAPE", "b", [second], (3, 5), (np.array([1, 3, 5], np.int32),))
    nodes, _ = fuse([fed, first, back, added, flat, second, last], [last], Folding(earlier=True, keeps_dims=False))
    (layer,) = (node for node in nodes if node.op == "FULLY_CONNECTED" and node.shape[-1] == 5)
    assert layer.inputs[0].op == reads


def test_a_constant_waits_for_one_that_no_operator_has_any_more() -> None:
    first = Pending()
    between = Pending((first,))
    node = Node("FULLY_CONNECTED", "d", [], (1,), pending=(None, Pending((between,))))
    run = Rewriter([node], [node])
    assert run.fold(first)
    assert run.stack == [between]
