"""How the modules of the package hang together: no circles, and one place for each kind of thing."""

import ast
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

import lastbit
from lastbit.cli import main
from tests.support.places import ROOT

SOURCE = ROOT / "src" / "lastbit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path) -> dict[str, set[str]]:
    """Every module with those that it imports, wherever in the file and for whatever: functions, type checking too."""
    files = {module_of(path, root): path for path in root.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        found[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names if alias.name in files}
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                names = {f"{base}.{alias.name}" for alias in node.names}
                found[module] |= {name if name in files else base for name in names} & set(files)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which reaches every other of its group: Kosaraju's two walks."""
    order: list[str] = []
    seen: set[str] = set()

    def walk(start: str, edges: dict[str, set[str]], done: list[str]) -> None:
        stack = [(start, iter(sorted(edges[start])))]
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                done.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(sorted(edges[following]))))

    for node in sorted(graph):
        if node not in seen:
            walk(node, graph, order)
    back: dict[str, set[str]] = defaultdict(set)
    for node, others in graph.items():
        for other in others:
            back[other].add(node)
    seen.clear()
    groups = []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            walk(node, back, group)
            groups.append(sorted(group))
    return [group for group in groups if len(group) > 1] + [[node] for node in sorted(graph) if node in graph[node]]


def test_no_modules_import_each_other_in_a_circle():
    graph = imports(SOURCE)
    assert len(graph) > 250
    assert sum(map(len, graph.values())) > 1000
    assert circles(graph) == []


def test_a_circle_is_found(tmp_path):
    package = tmp_path / "made"
    (package / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "one": "from .inner.two import x",
        "inner/__init__": "",
        "inner/two": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import three",
        "inner/three": "def late():\n    from ..one import y",
        "inner/alone": "from ..one import y",
    }.items():
        (package / f"{name}.py").write_text(text)
    assert circles(imports(package)) == [["made.inner.three", "made.inner.two", "made.one"]]


def test_the_package_has_the_places_that_contributing_names():
    places = {path.name for path in SOURCE.iterdir() if path.name != "__pycache__" and not path.name.startswith("_")}
    named = "model arith rules runtimes ops engines oracles layers report verbs cli"
    assert places == {*named.split(), "testing.py", "data", "py.typed"}
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for place in named.split():
        assert f"| `{place}/` |" in contributing


def test_every_verb_is_a_folder_that_asks_in_one_file():
    for folder in (SOURCE / "verbs").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert (folder / "verb.py").is_file(), folder.name


def test_every_command_has_a_file_of_its_name():
    files = {path.stem for path in (SOURCE / "cli").glob("*.py")}
    for name, command in main.commands.items():
        assert command.callback.__module__ == f"lastbit.cli.{name.replace('-', '_')}"
    assert files - {name.replace("-", "_") for name in main.commands} == {
        *("__init__", "float_model", "group", "options", "outputs"),
    }


def test_arithmetic_and_rules_may_not_import_any_other_module_of_model():
    contract = CONTRACTS["Of model, arithmetic and rules take element types and errors only"]
    model = {path.stem for path in (SOURCE / "model").iterdir() if path.name != "__pycache__"} - {"__init__"}
    assert set(contract["forbidden_modules"]) == {f"lastbit.model.{name}" for name in model - {"types", "errors"}}


@pytest.mark.parametrize("name", sorted({*lastbit.__all__} - {"__version__"}))
def test_public_names_stand_where_type_checkers_look_for_them(name):
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    places = {alias.name: node.module for node in checked.body for alias in node.names}
    assert name in lastbit._PLACES[places[name]]
    assert getattr(lastbit, name) is not None
