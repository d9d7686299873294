"""How large a file, a function and a list of parameters may be, and that a name stands for one class."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.support.places import ROOT

SOURCE = ROOT / "src" / "lastbit"
# What is limited in length beside the package; tests are as long as their cases.
FOLDERS = (SOURCE, ROOT / "src" / "pytest_lastbit", ROOT / "lab")

MOST_LINES = 400
MOST_LINES_OF_CODE = 60
MOST_PARAMETERS = 8

LONG_FILES = {
    # It is sent as one file into another interpreter's process, whose installation need not have LastBit.
    "oracles/tflite_worker.py",
}

# A builder with a name for each field of the operator that it writes.
BUILDERS = {"dense_subgraph"}

# Code that LLVM compiles: it takes registers, not objects.
MANY_PARAMETERS = {"engines/jit/hybrid_kernels.py", "engines/jit/hybrid_vectors.py"}


@cache
def trees() -> dict[Path, ast.Module]:
    """The package's files, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


def place(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.AST):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def lines_of_code(function: ast.FunctionDef) -> int:
    """From `def` to the last line, the docstring aside."""
    first = function.body[0]
    words = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - words


def parameters(function: ast.FunctionDef) -> int:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_verb(path: Path, function: ast.FunctionDef) -> bool:
    """A public verb, in Python or as a command: a name for each thing that a user may say."""
    folder, name = path.parent, function.name
    return (folder.parent.name == "verbs" and path.stem == "verb" and name == folder.name) or folder.name == "cli"


def test_no_file_is_long():
    files = [path for folder in FOLDERS for path in folder.rglob("*.py")]
    assert len(files) > 600
    long = {path for path in files if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES}
    assert long == {SOURCE / name for name in LONG_FILES}


def test_no_function_is_long():
    assert not [
        f"{place(path)}: {function.name} has {lines_of_code(function)} lines"
        for path, tree in trees().items()
        for function in functions(tree)
        if lines_of_code(function) > MOST_LINES_OF_CODE
    ]


def test_no_function_has_many_parameters():
    assert not [
        f"{place(path)}: {function.name} has {parameters(function)}"
        for path, tree in trees().items()
        for function in functions(tree)
        if parameters(function) > MOST_PARAMETERS
        and not is_verb(path, function)
        and function.name not in BUILDERS
        and place(path) not in MANY_PARAMETERS
    ]


def test_no_two_classes_have_one_name():
    places = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(place(path))
    assert not {name: found for name, found in places.items() if len(found) > 1}
