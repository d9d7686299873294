"""Files that are read: each command says which file, what it is, what is wanted and what to do, and ends with 2."""

import os
import shutil

import numpy as np
import pytest

from tests.support.cli import fill, invoke
from tests.support.places import ROOT

RECORDED = ["verify m.tflite --runtime tflm", "compare m.tflite --runtime tflm", "identify m.tflite"]
RECORDED = [f"{command} --recorded" for command in [*RECORDED, "diagnose m.tflite --runtime tflm"]]
ARRAYS = [
    "evaluate m.tflite --data",
    "evaluate m.tflite --data x.npy --labels",
    "identify m.tflite -i x.npy --output",
    "diagnose m.tflite -i x.npy --output",
    "run m.tflite -o y.npy -i",
    "verify m.tflite -i",
]
OTHERS = ["diff m.tflite", "inspect", "quantize f.tflite -o o.tflite --ranges", "diagnose m.tflite --code"]
SYSTEMS_OWN = ("No such file or directory", "Is a directory", "Errno", "File is not a zip file.\n")


@pytest.fixture
def _folder(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "src" / "lastbit" / "data" / "question.float.tflite", "f.tflite")
    os.mkdir("folder")
    np.savez("damaged.npz", x=np.zeros((4, 7), np.int8))
    with open("damaged.npz", "r+b") as file:
        file.truncate(60)
    open("empty.npy", "w").close()


def refused(command, name):
    result = invoke(*command.split(), name)
    assert result.exit_code == 2, (command, name, result.output)
    assert result.stdout == ""
    assert name in result.stderr
    assert not any(text in result.stderr for text in SYSTEMS_OWN), result.stderr
    return " ".join(result.stderr.split())


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("command", [*RECORDED, *ARRAYS, *OTHERS])
def test_a_missing_file_a_folder_and_a_damaged_file(command):
    missing = refused(command, "none.npz")
    assert "no such file" in missing
    assert "Check the path" in missing or "wanted FILE.py:FUNCTION" in missing
    assert "wanted" in refused(command, "folder")
    if command in (*RECORDED, *ARRAYS):
        damaged = refused(command, "damaged.npz")
        assert "copy it again" in damaged or "`lastbit record MODEL -o FOLDER`" in damaged
        assert "empty" in refused(command, "empty.npy")


@pytest.mark.usefixtures("_folder")
def test_ranges_that_are_no_json_say_what_they_should_be():
    with open("r.json", "w") as file:
        file.write("[1, ")
    assert "is not JSON" in refused("quantize f.tflite -o o.tflite --ranges", "r.json")
