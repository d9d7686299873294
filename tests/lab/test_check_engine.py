"""lab/reach/emulated/check_engine.py: it finds what differs, and runs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.support.places import ROOT

pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

COMMAND = [sys.executable, "-m", "lab", "check", "engine", "--parts", "sums"]


def test_the_kernels_of_this_cpu_hold():
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["outputs"]["sums"] == sum(summary["by_kernel"].values()) > 100_000
    assert summary["differ"] == 0


def test_an_output_that_differs_is_found(monkeypatch, capsys):
    from lab.reach.emulated.engine_cases import Comparison

    one = np.zeros((2, 3), np.float32)
    assert Comparison("", one, one.copy()).differing == 0
    other = one.copy()
    other[1, 1] = -0.0
    assert Comparison("", one, other).differing == 1
    assert Comparison("", one, other).example().startswith("at 4 ")
    assert Comparison("", one, one.astype(np.float64)).differing == 6
    assert Comparison("", one, one.reshape(3, 2)).differing == 6

    from lab.reach.emulated import check_engine

    monkeypatch.setattr(check_engine, "Watch", lambda isa: type("Watch", (), {"kernels": {}})())
    monkeypatch.setattr(check_engine, "PARTS", {"part": lambda rng, number: iter([Comparison("this", one, other)])})
    monkeypatch.setattr(sys, "argv", ["check_engine.py", "--parts", "part"])
    assert check_engine.main() == 1
    assert "DIFFERS part: this: at 4 " in capsys.readouterr().out
