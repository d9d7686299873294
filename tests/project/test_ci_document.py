"""docs/ci.md: its workflow is one that GitHub takes, and its commands run."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import lastbit
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model
from tests.support.places import ROOT

TEXT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
(WORKFLOW,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ +run: (.*)$", WORKFLOW, re.MULTILINE)


def test_the_workflow_follows_githubs_schema(tmp_path):
    (tmp_path / "workflow.yml").write_text(WORKFLOW, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", "workflow.yml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_installs_an_extra_that_there_is():
    (install,) = [command for command in COMMANDS if command.startswith("pip install")]
    assert install == "pip install './lastbit[tflm]'"
    assert '\ntflm = ["' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@needs_all_interpreters
@pytest.mark.parametrize("right", [True, False])
def test_its_commands_run(right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, x = make_dense_model(), np.random.default_rng(5).integers(-128, 128, (4, 7)).astype(np.int8)
    (tmp_path / "model.tflite").write_bytes(model.content)
    np.save("x.npy", x)
    output = lastbit.run(model, x, "tflm").output
    np.save("mine.npy", output if right else lastbit.run(model, x, "tflm")[0].acc.astype(np.int8))
    ran = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("lastbit ")]
    assert [args[0] for args in ran] == ["verify", "diagnose"]
    codes = {args[0]: invoke(*args).exit_code for args in ran}
    assert codes == {"verify": 0, "diagnose": 0 if right else 1}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("model.tflite", "x.npy", "mine.npy"),
        *("verify.xml", "verify.html", "mine.xml", "mine.html"),
    }


def test_its_settings_are_the_plugins():
    plugin = (ROOT / "src" / "pytest_lastbit" / "__init__.py").read_text(encoding="utf-8")
    for name in ("model", "runtime", "vectors"):
        assert f'    "{name}": "' in plugin
        assert f"| `lastbit_{name}` | `--lastbit-{name}` |" in TEXT
