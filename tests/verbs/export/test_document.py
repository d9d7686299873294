"""The ten lines of docs/export.md, as they stand there: from a model to a self-test that passes on a board."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.reach.emulated.boards import missing
from tests.support.places import MODELS, needs_shared_models

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"


def lines():
    """The first listing of the document."""
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            found.append(line[4:])
        elif found:
            return found
    raise AssertionError("no listing")


@needs_shared_models
@pytest.mark.skipif(os.name != "posix", reason="the listing is for a POSIX shell")
def test_the_ten_lines_end_in_a_self_test_that_passes_on_a_board(tmp_path):
    if (why := missing()) is not None:
        pytest.skip(why)
    first, *rest = lines()
    assert first == "pip install lastbit"
    assert len(rest) == 9
    shutil.copy(MODELS / "mlt_kws_ref.tflite", tmp_path / "model.tflite")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(script):
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=tmp_path, env={**os.environ, "PATH": path}, check=False,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
        )  # fmt: skip
        return done.stdout.splitlines()

    assert run(rest)[-1] == "passed"
    code = tmp_path / "net.c"
    text = code.read_text(encoding="ascii")
    begin = text.index("{", text.index("_filter[")) + 1
    code.write_text(f"{text[:begin]} 1 + {text[begin:].lstrip()}", encoding="ascii")
    assert "passed" not in run(rest[-2:])
