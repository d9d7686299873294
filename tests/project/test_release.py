"""What a release and new contributors rely on: schemas, pinned tools, versions that agree."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from lab.checks.release import differences
from tests.support.places import ROOT

DEV = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["dev"]
SCHEMAS = [
    (".github/workflows/test.yml", "vendor.github-workflows"),
    (".github/workflows/release.yml", "vendor.github-workflows"),
    (".github/ISSUE_TEMPLATE/wrong-number.yml", "vendor.github-issue-forms"),
    (".github/ISSUE_TEMPLATE/request.yml", "vendor.github-issue-forms"),
    (".github/ISSUE_TEMPLATE/config.yml", "vendor.github-issue-config"),
    ("CITATION.cff", "vendor.citation-file-format"),
]


@pytest.mark.parametrize(("name", "schema"), SCHEMAS)
def test_file_follows_its_schema(name, schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schemas_are_not_accepted_by_everything(tmp_path):
    wrong = tmp_path / "workflow.yml"
    wrong.write_text("on: [push]\njobs: {test: {steps: 3}}\n", encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(wrong)]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_pre_commit_has_the_ruff_and_mypy_of_ci():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for tool in ("ruff", "mypy"):
        pinned = set(re.findall(rf'"({tool}==[^"]+)"', hooks))
        assert pinned == {entry for entry in DEV if entry.startswith(f"{tool}==")}
        assert len(pinned) == 1


def test_the_workflow_runs_the_readmes_test_command_on_windows_too():
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "run: bash .ci/run" in workflow
    options = re.search(r"python (-m pytest .*)", ci)[1]
    assert rf".venv-test\Scripts\python {options}" in workflow


def test_version_changelog_and_citation_agree():
    assert differences(ROOT, None) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        ("CITATION.cff", "version: 0.1.0", "version: 0.0.9", "CITATION.cff names version 0.0.9"),
        ("CHANGELOG.md", "## 0.1.0 - ", "## 0.0.9 - ", "has no heading"),
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"', "wanted the tag v0.2.0"),
    ],
)
def test_each_disagreement_is_named(tmp_path, file, before, after, words):
    for name in ("CITATION.cff", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1), encoding="utf-8")
    assert any(words in line for line in differences(tmp_path, "v0.1.0"))


def test_an_unreleased_version_gets_no_tag():
    if "## 0.1.0 - unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        assert any("unreleased" in line for line in differences(ROOT, "v0.1.0"))


def test_changes_that_wait_are_files_that_a_release_can_take():
    names = sorted(path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md")
    for name in names:
        assert re.fullmatch(r"[+\w-]+\.(added|changed|deprecated|removed|fixed)\.md", name), name
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name in names:
        first = (ROOT / "changelog.d" / name).read_text(encoding="utf-8").split()[:3]
        assert " ".join(first) in " ".join(result.stdout.split())
