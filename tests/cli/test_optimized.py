"""The command line under `python -OO`, which strips docstrings and assertions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.models import make_dense_model

HELPS = """
import json
from click.testing import CliRunner
from lastbit.cli import main
invoke = lambda *a: CliRunner().invoke(main, [*a, "--help"]).output
print(json.dumps({name: invoke(*filter(None, [name])) for name in ["", *main.commands]}))
"""


def helps(*options):
    done = subprocess.run(
        [sys.executable, *options, "-c", HELPS], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_help_texts_are_the_same():
    plain, optimized = helps(), helps("-OO")
    assert len(plain) > 14
    assert optimized == plain
    for name, text in plain.items():
        lines = [line for line in text.splitlines() if line.strip()]
        assert not lines[1].startswith("Options"), name


@pytest.mark.parametrize("verb", [["inspect"], ["run", "-i", "x.npy", "-o", "o.npz"], ["explain", "--seed", "1"]])
def test_verbs_print_the_same(tmp_path, verb):
    import numpy as np

    Path(tmp_path, "m.tflite").write_bytes(make_dense_model().content)
    np.save(tmp_path / "x.npy", np.zeros((2, 7), np.int8))
    command = ["-m", "lastbit", verb[0], "m.tflite", *verb[1:]]
    plain, optimized = (
        subprocess.run([sys.executable, *options, *command], capture_output=True, cwd=tmp_path, timeout=60)
        for options in ([], ["-OO"])
    )
    assert plain.returncode == 0
    assert (optimized.returncode, optimized.stdout, optimized.stderr) == (0, plain.stdout, plain.stderr)
