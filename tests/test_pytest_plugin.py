"""The plugin for users' pytest suites, each time in a pytest of its own: this one has imported LastBit long ago."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit.verbs.vectors.formats import write_vectors
from tests.support.models import make_dense_model
from tests.support.places import ROOT

TESTS = """
import sys
import numpy as np
import pytest

def test_1_nothing_of_lastbit_is_imported_before_it_is_asked_for():
    assert "pytest_lastbit" in sys.modules
    assert not [name for name in sys.modules if name == "lastbit" or name.startswith("lastbit.")]

def layer(x, a):
    acc = (x.astype(np.int64) - a["input_zero_point"]) @ a["weights"].T.astype(np.int64) + a["bias"]
    return acc

def test_2_vectors_need_no_lastbit(lastbit_vector):
    about, arrays = lastbit_vector.about, lastbit_vector.arrays
    assert lastbit_vector.input.shape == (1, 7)
    acc = (lastbit_vector.input.astype(np.int64) - about["input_zero_point"]) @ arrays["weights"].T.astype(np.int64)
    assert (acc + arrays["bias"] == arrays["acc"]).all()
    assert lastbit_vector.output.shape == (1, 5)
    assert not [name for name in sys.modules if name == "lastbit" or name.startswith("lastbit.")]

def test_3_right(bitexact):
    assert bitexact.runtime == "tflm"
    x = np.zeros((2, 7), np.int8)
    bitexact(bitexact.run(x), x)
    bitexact(bitexact.run, x)

def test_4_wrong(bitexact):
    x = np.zeros((2, 7), np.int8)
    bitexact(~bitexact.run(x), x)

@pytest.mark.lastbit(runtime="litert-reference")
def test_5_one_test_has_another_runtime(bitexact):
    assert bitexact.runtime == "litert-reference"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    model = make_dense_model()
    (folder / "m.tflite").write_bytes(model.content)
    write_vectors(lastbit.vectors(model, "tflm", count=4, random=0, oracle=False), str(folder / "golden"), ("npz",))
    (folder / "test_mine.py").write_text(TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nlastbit_model = m.tflite\nlastbit_vectors = golden\n", encoding="utf-8"
    )
    return folder


def run(folder, *options):
    """A user's pytest with this plugin alone: named, so that its entry point need not be installed."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_lastbit", "-p", "no:cacheprovider", "-rA", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_suite_with_vectors_model_and_runtime(folder):
    result = run(folder, "--lastbit-runtime", "tflm")
    ends = {
        name: end
        for end, name in re.findall(r"^(PASSED|FAILED|ERROR) test_mine.py::(\S+)", result.stdout, re.MULTILINE)
    }
    vectors = [name for name in ends if name.startswith("test_2")]
    assert len(vectors) == len(np.load(folder / "golden" / "op0.npz")["input"])
    assert "test_2_vectors_need_no_lastbit[op0-0]" in vectors
    assert {name for name, end in ends.items() if end != "PASSED"} == {"test_4_wrong"}, result.stdout
    assert result.returncode == 1
    assert "not bit-exact with tflm on" in result.stdout
    assert "Mismatched elements: 10 / 10 (100%)" in result.stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-k", "test_3"], "not given. Use --lastbit-runtime"),
        (["-k", "test_3", "--lastbit-runtime", "tflm", "--lastbit-model", "no.tflite"], "there is no no.tflite in"),
        (["--lastbit-vectors", "m.tflite"], "m.tflite: it cannot be read"),
    ],
)
def test_what_is_missing_is_said(folder, options, why):
    result = run(folder, *options)
    assert result.returncode != 0
    assert why in result.stdout + result.stderr
    assert "INTERNALERROR" not in result.stdout + result.stderr


def test_pytest_finds_the_plugin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"lastbit": "pytest_lastbit"}
    assert "src/pytest_lastbit" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert Path(ROOT, "src", "pytest_lastbit", "__init__.py").exists()
