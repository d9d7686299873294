"""Names in a model's file never become paths, and what is read is never replaced."""

import errno
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit.model.graph import Subgraph
from lastbit.model.tflite import write
from tests.support.cli import invoke
from tests.support.models import make_dense_model

NAMES = ["../../out", "/etc/x", "C:\\x", "a/b", "", "about", "x" * 3000, "é\u202e", "3", "op0/acc"]


def renamed(name):
    """The dense model with this name for its input and its output."""
    graph = make_dense_model().subgraphs[0]
    ends = (*graph.inputs, *graph.outputs)
    tensors = tuple(replace(t, name=name) if t.index in ends else t for t in graph.tensors)
    return write(Subgraph("main", tensors, graph.operators, graph.inputs, graph.outputs))


@pytest.fixture
def here(tmp_path, monkeypatch, rng):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    np.save("x.npy", rng.integers(-128, 128, (4, 7)).astype(np.int8))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_entries_of_archives_come_from_indices_with_the_names_beside_them(here, name):
    Path("m.tflite").write_bytes(renamed(name))
    model, x = lastbit.load("m.tflite"), np.load("x.npy")
    trace = lastbit.run(model, x)
    index = model.outputs[0].index
    for extra in ([], ["--all"]):
        assert invoke("run", "m.tflite", "-i", "x.npy", "-o", "out.npz", *extra).exit_code == 0
        with zipfile.ZipFile("out.npz") as archive:
            members = set(archive.namelist())
        assert members == {f"{index}.npy", "about.npy", *(f"op0/{s}.npy" for s in trace[0].steps if extra)}
        with np.load("out.npz") as found:
            np.testing.assert_array_equal(found[str(index)], trace.output)
            about = json.loads(str(found["about"]))
        assert {"key": str(index), "tensor": index, "name": name, "dtype": "int8", "shape": [4, 5]} in about["arrays"]
    assert invoke("vectors", "m.tflite", "-o", "v", "--count", "2", "--random", "10", "--no-oracle").exit_code == 0
    for path in Path("v").glob("*.npz"):
        with zipfile.ZipFile(path) as archive:
            assert not [n for n in archive.namelist() if "/" in n or ".." in n or "\\" in n]
    assert sorted(p.name for p in here.iterdir()) == ["m.tflite", "out.npz", "v", "x.npy"]
    assert [p.name for p in here.parent.iterdir()] == ["b"]


def test_what_run_writes_is_read_again(here):
    Path("m.tflite").write_bytes(renamed("x"))
    assert invoke("run", "m.tflite", "-i", "x.npy", "-o", "out.npz").exit_code == 0
    Path("n.tflite").write_bytes(make_dense_model(units=3, depth=5).content)
    assert invoke("run", "n.tflite", "-i", "out.npz", "-o", "next.npy").exit_code == 0
    wanted = lastbit.run("n.tflite", lastbit.run("m.tflite", np.load("x.npy")).output).output
    np.testing.assert_array_equal(np.load("next.npy"), wanted)
    assert invoke("evaluate", "n.tflite", "--data", "out.npz").exit_code == 0


@pytest.mark.parametrize("model", ["op0_input.bin", "op0.npz", "op0.h"])
def test_vectors_never_replace_their_model(here, model):
    Path("v").mkdir()
    content = make_dense_model().content
    Path("v", model).write_bytes(content)
    result = invoke("vectors", f"v/{model}", "-o", "v", "--count", "2", "--random", "10", "--no-oracle")
    assert result.exit_code == 2
    assert f"v/{model}: is being read and would be replaced" in result.output
    assert Path("v", model).read_bytes() == content
    assert os.listdir("v") == [model]


@pytest.mark.parametrize("verb", ["run", "identify", "diagnose"])
def test_an_input_given_by_name_is_not_replaced(here, verb):
    model = make_dense_model()
    Path("m.tflite").write_bytes(model.content)
    np.save("y.npy", lastbit.run(model, np.load("x.npy")).output)
    before = Path("x.npy").read_bytes()
    given = ["m.tflite", "-i", "input=x.npy"]
    arguments = {"run": ["-o", "x.npy"]}.get(verb, ["--output", "y.npy", "--separating", "x.npy"])
    result = invoke(verb, *given, *arguments)
    assert result.exit_code == 2
    assert "x.npy: is being read and would be replaced" in result.output
    assert Path("x.npy").read_bytes() == before


@pytest.mark.parametrize("after", [0, 3])
def test_a_full_disk_says_what_is_there_and_what_is_not(here, monkeypatch, after):
    Path("m.tflite").write_bytes(make_dense_model().content)
    calls, fsync = [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = invoke("vectors", "m.tflite", "-o", "v", "--count", "2", "--random", "10", "--no-oracle")
    assert result.exit_code == 2
    there = sorted(os.listdir("v"))
    assert len(there) == after
    written, missing = result.stderr.splitlines()[-2:]
    assert "no space left on device" in result.stderr
    count = "No file is written." if not after else f"{after} of "
    assert written.startswith(count)
    assert all(str(Path("v", name)) in written for name in there)
    assert missing.startswith("Not written: ")
    assert not any(str(Path("v", name)) in missing.split(", ") for name in there)
    assert str(Path("v", "op0.npz")) in missing
