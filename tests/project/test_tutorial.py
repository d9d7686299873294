"""docs/tutorial.md: each command is run, in order, and prints what the page says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(line: str) -> str:
    """Run a line of a shell; what it prints."""
    command, _, note = line.partition("  # exit code ")
    words = shlex.split(command)
    if words[0] == "cp":
        shutil.copy(ROOT / words[1], words[2])
        return ""
    if words[0] == "python":
        return subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, text=True).stdout
    assert words[0] == "lastbit"
    result = invoke(*words[1:])
    assert result.exit_code == int(note or 0), (line, result.output)
    return result.stdout


@needs_all_interpreters
def test_the_tutorial(tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    printed = ""
    commands = 0
    for kind, text in BLOCKS:
        if kind == "python":
            Path(re.match(r"# (\w+\.py)\n", text)[1]).write_text(text, encoding="utf-8")
        elif kind == "sh":
            printed = "\n".join(run(line) for line in text.splitlines())
            commands += len(text.splitlines())
        else:
            folded = " ".join(printed.split())
            assert [line for line in text.splitlines() if " ".join(line.split()) not in folded] == [], printed
    assert commands >= 13
    assert Path("layer_c", "layer_op1.c").is_file()


def test_the_tutorial_names_the_commands_of_the_first_screen():
    shown = {
        line.split()[1] for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if "lastbit" in line
    }
    assert {"quantize", "inspect", "diagnose", "explain", "verify", "compare", "evaluate", "export", "vectors"} <= shown
