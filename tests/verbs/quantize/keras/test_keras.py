"""Keras files against the real converter's results, and files that are not what they say."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lab.checks import keras_check
from lastbit.cli import main
from lastbit.model.errors import ModelError, UnsupportedError
from lastbit.verbs.quantize.keras import Folding, Newton, read_keras
from lastbit.verbs.quantize.keras.arithmetic import _approximation, rsqrt
from lastbit.verbs.quantize.keras.fuse import ConverterFails, fuse
from lastbit.verbs.quantize.keras.graph import Node, Pending
from lastbit.verbs.quantize.keras.worklist import Rewriter
from lastbit.verbs.quantize.verb import converter_named

h5py = pytest.importorskip("h5py")

GOLDEN = Path(__file__).parents[3] / "recorded" / "keras"
QUESTION = Path(str(resources.files("lastbit") / "data" / "question.keras"))
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


@pytest.mark.parametrize("version", ["2.15", "2.21"])
def test_small_models_in_which_one_rule_decides_are_the_converters(version: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        archive.extractall(tmp_path)
    models = sorted(tmp_path.glob(f"tf{version}.*.keras"))
    assert len(models) == 4
    counts: Counter[str] = Counter()
    for path in models:
        assert keras_check.check(path, like(path), converter_named(like(path)).folding, counts) == []
    assert counts["float constants"] >= 50


def test_padding_joins_a_convolution_only_where_a_converter_does_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        path = Path(archive.extract("tf2.21.paddings.keras", tmp_path))
    pads = {}
    for version in ("2.17", "2.18"):
        model = read_keras(path, converter_named(f"tflite@{version}").folding)
        pads[version] = [op.name for op in model.operators].count("PAD")
    assert pads == {"2.17": 8, "2.18": 4}


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


def edited(
    tmp_path: Path, config: Any = None, weights: Any = None, name: str = "x.keras", source: Path = QUESTION
) -> Path:
    """A file, the question's as a rule, with another configuration or other weights."""
    with zipfile.ZipFile(source) as old:
        members = {entry: old.read(entry) for entry in old.namelist()}
    if config is not None:
        found = json.loads(members["config.json"])
        members["config.json"] = json.dumps(config(found) or found).encode()
    if weights is not None:
        stream = io.BytesIO(members["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            weights(file)
        members["model.weights.h5"] = stream.getvalue()
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry, content in members.items():
            new.writestr(entry, content)
    return path


def dense(config: Any) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")["config"]


def test_all_layers_that_are_not_covered_are_listed(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        dense(config)["activation"] = "gelu"
        for kind in ("LSTM", "Lambda"):
            config["config"]["layers"].append({"class_name": kind, "config": {"name": kind.lower()}})

    path = edited(tmp_path, change)
    with pytest.raises(UnsupportedError) as error:
        read_keras(path)
    assert [reason.split(":")[0].split("(")[1] for reason in error.value.reasons] == ["Dense)", "LSTM)", "Lambda)"]
    result = CliRunner().invoke(main, ["quantize", str(path), "-o", str(tmp_path / "o.tflite"), "--ranges", "r.json"])
    assert result.exit_code == 3
    assert not (tmp_path / "o.tflite").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: dense(c).update(units=31), "wanted [48, 31]"),
        (lambda c: dense(c).update(units="many"), "configuration is damaged"),
        (lambda c: dense(c).update(units=-1), "wanted"),
        (lambda c: dense(c).update(units=10**12), "wanted"),
        (lambda c: dense(c).pop("units") and None, "configuration is damaged"),
        (lambda c: dense(c).update(use_bias=False), "2 weights in the file, wanted 1"),
        (lambda c: c["config"].update(layers=[]), "no layers"),
        (lambda c: c["config"].update(layers=[3]), "is not a layer"),
        (lambda c: c["config"]["layers"].append(c["config"]["layers"][-1]), "same name"),
        (lambda c: [c], "not a JSON object"),
    ],
)
def test_a_damaged_configuration_ends_in_one_message(tmp_path: Path, change: Any, text: str) -> None:
    with pytest.raises(ModelError) as error:
        read_keras(edited(tmp_path, change))
    assert text in str(error.value)


def deep(config: Any) -> None:
    inner: Any = {"class_name": "Sequential", "config": {"name": "last", "layers": []}}
    for number in range(60):
        inner = {"class_name": "Sequential", "config": {"name": f"m{number}", "layers": [inner]}}
    inner["inbound_nodes"] = [[["input_layer", 0, 0, {}]]]
    config["config"]["layers"].append(inner)


def history(config: Any) -> Any:
    """Where the nested model's input comes from."""
    return of(config, "backbone")["inbound_nodes"][0]["args"][0]["config"]["keras_history"]


def of(config: Any, name: str) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: of(c, "backbone")["config"]["layers"][1]["config"].update(strides=[1e400, 1]), "damaged"),
        (deep, "nested more than 50 deep"),
        (lambda c: of(c, "backbone")["config"].update(layers=[]), "the model 'backbone' has no layers"),
        (lambda c: of(c, "backbone")["config"].update(output_layers=[["nothing", 0, 0]]), "are not layers of it"),
        (lambda c: of(c, "backbone")["config"].update(input_layers=[]), "is fed 1 tensors, wanted 0"),
        (lambda c: c["config"].update(output_layers=[["backbone", 0, 3]]), "has no output 3"),
        (lambda c: c["config"].update(input_layers=[["concatenate", 0, 0]]), "is not an input layer"),
        (lambda c: c["config"].update(output_layers=[["a", 1, ""]]), "cannot be read as a Keras model"),
        (lambda c: history(c).pop(), "cannot be read as a Keras model"),
        (lambda c: history(c).__setitem__(1, float("inf")), "cannot be read as a Keras model"),
        (lambda c: of(c, "backbone").update(inbound_nodes=[[["backbone", 0, 0, {}]]]), "which the model does not"),
        (lambda c: of(c, "backbone")["config"]["layers"][1]["config"].update(filters=10**9), "wanted"),
        (lambda c: of(c, "backbone")["config"]["layers"][1]["config"].update(groups=7), "configuration is damaged"),
    ],
)
def test_a_damaged_nested_model_ends_in_one_message(tmp_path: Path, change: Any, text: str) -> None:
    with pytest.raises(ModelError) as error:
        read_keras(edited(tmp_path, change, source=GOLDEN / "tf2.21.nested_3011.keras"))
    assert text in str(error.value)


def replaced(file: Any, value: Any) -> None:
    group = file["layers/dense/vars"]
    del group["0"]
    if value is not None:
        group["0"] = value


def bomb(file: Any) -> None:
    replaced(file, None)
    file["layers/dense/vars"].create_dataset("0", (48, 10**7), "f4", chunks=(1, 1000))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda file: replaced(file, None), "1 weights in the file, wanted 2"),
        (lambda file: replaced(file, np.zeros((32, 48), np.float32)), "wanted [48, 32]"),
        (lambda file: replaced(file, np.zeros((48, 32))), "float64, wanted float32"),
        (lambda file: replaced(file, h5py.ExternalLink("/etc/passwd", "/x")), "no dataset"),
        (lambda file: replaced(file, h5py.SoftLink("/layers/dense/vars/1")), "no dataset"),
        (lambda file: file.__delitem__("layers/dense"), "no group"),
        (bomb, "wanted [48, 32]"),
    ],
)
def test_damaged_weights_end_in_one_message(tmp_path: Path, change: Any, text: str) -> None:
    with pytest.raises(ModelError) as error:
        read_keras(edited(tmp_path, weights=change))
    assert text in str(error.value)


def test_weights_that_the_file_does_not_hold_are_not_made(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda config: dense(config).update(units=10**7), bomb)
    with pytest.raises(ModelError, match="of which the file holds 0"):
        read_keras(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(QUESTION) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("config.json", old.read("config.json"))
        new.writestr("model.weights.h5", bytes(10**8))
    with pytest.raises(ModelError, match="unpacks from"):
        read_keras(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_another_file_ends_in_one_message(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.save"):
        read_keras(tmp_path / name)


def test_a_cut_file_ends_in_one_message(tmp_path: Path) -> None:
    for source in (QUESTION, GOLDEN / "tf2.12.mlp_0.h5"):
        content = source.read_bytes()
        path = tmp_path / source.name
        for size in range(0, len(content), len(content) // 23):
            path.write_bytes(content[:size])
            with pytest.raises(ModelError):
                read_keras(path)


def test_deep_nesting_and_missing_members_end_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    for members in ({"config.json": "[" * 100_000}, {"other": ""}, {"config.json": "{}"}):
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        with pytest.raises(ModelError):
            read_keras(path)


def test_weights_only_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = 1
    with pytest.raises(ModelError, match="weights only"):
        read_keras(tmp_path / "x.h5")


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
