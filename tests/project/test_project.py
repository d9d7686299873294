"""The project itself: style, types, import direction, dependencies, and that its documents are true."""

import re
import subprocess
import sys
import tomllib

import pytest

import lastbit
from lab.pages import operator_tables, runtimes
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli"],
    ],
    ids=["lint", "format", "types", "imports"],
)
def test_tool_finds_nothing(command):
    module = command[0]
    if module == "importlinter.cli":
        arguments = ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    else:
        arguments = ["-m", *command]
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_neither_core_nor_all_pulls_tensorflow_or_torch():
    extras = PROJECT["project"]["optional-dependencies"]
    named = " ".join([*PROJECT["project"]["dependencies"], *extras["all"], *extras["dev"]])
    named += " ".join(" ".join(extras[name]) for name in ("litert", "tflm", "fast"))
    assert not re.search(r"tensorflow|torch", named.replace("tflite", ""))
    assert set(extras) >= {"litert", "tflm", "fast", "all", "dev"}


def test_no_address_of_any_registry_is_committed():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    lock_files = [name for name in files if name.endswith(".lock") or "requirements" in name]
    assert not lock_files


def test_ci_runs_the_readmes_test_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = next(line for line in ci.splitlines() if "pytest" in line)
    assert command in readme


def test_readme_is_short_and_has_the_words_people_search_for():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 180
    for words in ("off by one", "does not match the TFLite interpreter"):
        assert words in readme


def test_generated_tables_are_up_to_date():
    # The gallery's page is compared where its threads are diagnosed: tests/verbs/diagnose/test_gallery.py.
    command = [sys.executable, "-m", "lab", "pages", "update", "--check", "--except", "gallery"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_registered_tables_and_the_folders_agree():
    from lastbit.ops import OPERATORS
    from lastbit.oracles import ORACLES
    from lastbit.runtimes import INTERPRETERS, RUNTIMES

    package = ROOT / "src" / "lastbit"
    assert list(RUNTIMES) == list(ORACLES)
    # A file for each interpreter: all of its kinds of CPU stand there.
    named = {next(iter(interpreter.runtimes)).replace("-", "_") for interpreter in INTERPRETERS} - {
        "litert_builtin_x86"
    }
    named.add("litert_builtin")
    files = {p.stem for p in (package / "runtimes").glob("*.py") if "= Interpreter(" in p.read_text(encoding="utf-8")}
    assert named == files
    assert set(OPERATORS) == {name for names in operator_tables.operator_files().values() for name in names}
    for path, names in operator_tables.operator_files().items():
        assert len(names) > 1 or [path.stem.upper()] == names, path
    for path, text in operator_tables.tables().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: python -m lab pages operators"


def test_pages_of_runtimes_can_be_read_on_a_screen():
    for name, text in runtimes.pages().items():
        assert not runtimes.too_wide(text), name
        assert "## A worked element" in text
    assert {name for family in runtimes.FAMILIES for name in family.runtimes} == set(lastbit.RUNTIMES)
