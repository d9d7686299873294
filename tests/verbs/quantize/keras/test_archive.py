"""Keras files that are damaged, strange or not covered: one clear message each."""

from __future__ import annotations

import io
import json
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lastbit.cli import main
from lastbit.model.errors import ModelError, UnsupportedError
from lastbit.verbs.quantize.keras import read_keras

h5py = pytest.importorskip("h5py")

GOLDEN = Path(__file__).parents[3] / "recorded" / "keras"
QUESTION = Path(str(resources.files("lastbit") / "data" / "question.keras"))


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


def appended(config: Any, kind: str, name: str, **options: Any) -> None:
    layer = {"module": "keras.layers", "class_name": kind, "config": {"name": name, "trainable": True, **options}}
    config["config"]["layers"].append(layer)


def test_all_layers_that_are_not_covered_are_listed_behind_others_too(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        dense(config)["activation"] = "gelu"
        appended(config, "LSTM", "lstm")
        appended(config, "Lambda", "lambda")
        appended(config, "ReLU", "top", max_value=3.0)
        appended(config, "Dense", "held", units=3, activation={"class_name": "ReLU", "config": {"threshold": 1.0}})
        appended(config, "MaxPooling2D", "causal", pool_size=2, padding="causal")
        appended(config, "Dropout", "fine")

    path = edited(tmp_path, change)
    with pytest.raises(UnsupportedError) as error:
        read_keras(path)
    named = [reason.split("'")[1] for reason in error.value.reasons]
    assert named == ["dense", "lstm", "lambda", "top", "held", "causal"]
    assert "6 of 8 layers are not covered" in str(error.value)
    assert str(error.value).count("ZeroPadding2D") == 1
    result = CliRunner().invoke(main, ["quantize", str(path), "-o", str(tmp_path / "o.tflite"), "--ranges", "r.json"])
    assert result.exit_code == 3
    assert not (tmp_path / "o.tflite").exists()


@pytest.mark.parametrize(("module", "named"), [("keras.src.ops.numpy", None), (None, "mine>Dense")])
def test_a_class_of_the_same_name_is_no_layer_of_keras(tmp_path: Path, module: str | None, named: str | None) -> None:
    def change(config: Any) -> None:
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
        layer.update(module=module, registered_name=named)

    with pytest.raises(UnsupportedError, match=f"its class is from {module or named}"):
        read_keras(edited(tmp_path, change))


def test_an_axis_counted_from_the_front_is_refused_with_a_fixed_batch(tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "small.zip") as archive:
        path = Path(archive.extract("tf2.21.axis.keras", tmp_path))

    def change(config: Any) -> None:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "InputLayer":
                layer["config"]["batch_shape"][0] = 1

    with pytest.raises(UnsupportedError, match="its axis is 1 and the batch size is fixed"):
        read_keras(edited(tmp_path, change, source=path))


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


def test_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.keras").mkdir()
    with pytest.raises(ModelError, match="is a folder, wanted one file"):
        read_keras(tmp_path / "x.keras")


def test_weights_only_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = 1
    with pytest.raises(ModelError, match="weights only"):
        read_keras(tmp_path / "x.h5")
