"""No code reads a name: with every one replaced by a random string, everything but the names stays.

Names of rules, of kinds of CPU (each is a runtime's), of variants of operators and of families of kernels, and the
words of every refusal; then those of operators' own rules.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lastbit
from lastbit.ops import OPERATORS
from lastbit.rules.floats.table import FLOAT_CHOICES, FLOAT_RULES
from lastbit.rules.hybrid.table import HYBRID_RULES
from lastbit.rules.requantize.table import CHOICES, CHOICES_AROUND_DENSE, RULES
from lastbit.runtimes.base import Family
from tests.support import everything_printed, operators_printed
from tests.support.places import ROOT

SOURCE = ROOT / "src" / "lastbit"
PROGRAM = Path(everything_printed.__file__)
RULE_NAMES = sorted({*RULES, *CHOICES, *CHOICES_AROUND_DENSE, *HYBRID_RULES, *FLOAT_RULES, *FLOAT_CHOICES})
RUNTIME_NAMES = sorted(lastbit.RUNTIMES)
VARIANTS = sorted({str(variant) for runtime in lastbit.RUNTIMES.values() for _, variant in runtime.rules})
FAMILIES = [family.value for family in Family]


def random_text(text: str) -> str:
    """Letters in the place of a text, as many, so that tables keep their widths; always the same ones."""
    return "".join(random.Random(text).choices("bcdfghjkmpqrstvwxz", k=len(text)))


# The same in the copy; and what stands for what in refusals, whose words are made when it runs.
SCRAMBLING = """
SCRAMBLED = {}

def random_text(text):
    import random
    return "".join(random.Random(text).choices("bcdfghjkmpqrstvwxz", k=len(text)))

def scrambled(text):
    if not text or text in SCRAMBLED:
        return text
    SCRAMBLED[random_text(text)] = text
    return random_text(text)
"""


def edited(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts that stand once in a file."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, (path, old)
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def scramble_refusals(package: Path) -> None:
    with (package / "model" / "errors.py").open("a", encoding="utf-8") as file:
        file.write(SCRAMBLING)
    edited(
        package / "runtimes" / "base.py",
        (
            "    kind: Refusal\n    reason: str\n",
            "    kind: Refusal\n    reason: str\n\n    def __post_init__(self):\n"
            "        from ..model.errors import scrambled\n"
            "        object.__setattr__(self, 'reason', scrambled(self.reason))\n",
        ),
    )
    edited(
        package / "ops" / "base.py",
        (
            "    return UnsupportedError(",
            "    from ..model.errors import scrambled\n    reason = scrambled(reason)\n    return UnsupportedError(",
        ),
    )


def scramble_variants(package: Path) -> None:
    """Variants print as other texts. What is written in the source is read as it is; files hold the other texts."""
    edited(
        package / "runtimes" / "variant.py",
        ("if str(found) != text:", "if plain(found) != text:"),
        (
            '        words = text.split(" ")\n',
            '        text = PLAIN.get(text, text)\n        words = text.split(" ")\n',
        ),
    )
    with (package / "runtimes" / "variant.py").open("a", encoding="utf-8") as file:
        file.write(
            "\nfrom ..model.errors import random_text\n"
            f"PLAIN = {{random_text(text): text for text in {VARIANTS!r}}}\n"
            "plain = Variant.__str__\n"
            "Variant.__str__ = lambda self: random_text(plain(self))\n"
        )


def scramble_families(package: Path) -> None:
    path = package / "runtimes" / "base.py"
    text = path.read_text(encoding="utf-8")
    start = text.index("class Family(StrEnum):")
    end = text.index("@dataclass", start)
    body = re.sub(r'= "(\w+)"', lambda found: f'= "{random_text(found[1])}"', text[start:end])
    path.write_text(text[:start] + body + text[end:], encoding="utf-8")


def renamed(text: str, new: dict[str, str]) -> str:
    """Python source in which every string that is a name is another one; f-strings and docstrings stay."""
    tree, lines = ast.parse(text), text.encode().splitlines(keepends=True)
    spots = [
        (node.lineno - 1, node.col_offset, node.end_col_offset, new[node.value])
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in new
    ]
    for line, start, end, name in sorted(spots, reverse=True):
        row = lines[line]
        if row[start:end].startswith((b'"', b"'")):
            quote = row[start : start + 1]
            lines[line] = row[:start] + quote + name.encode() + quote + row[end:]
    return b"".join(lines).decode()


def rename_in_files(package: Path, new: dict[str, str]) -> None:
    """Names in the package's JSON files, with a version behind them or without."""
    pattern = re.compile('"(' + "|".join(re.escape(name) for name in sorted(new, key=len, reverse=True)) + ')(?=["@])')
    for path in package.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(pattern.sub(lambda found: f'"{new[found[1]]}', text), encoding="utf-8")


def copied(folder: Path, new: dict[str, str]) -> None:
    """The package with other names in its source and in its files."""
    package = folder / "lastbit"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    scramble_families(package)  # some families have a runtime's name
    for path in package.rglob("*.py"):
        path.write_text(renamed(path.read_text(encoding="utf-8"), new), encoding="utf-8")
    rename_in_files(package, new | {text: random_text(text) for text in VARIANTS})
    scramble_refusals(package)
    scramble_variants(package)


def printed(folder: Path, out: Path, new: dict[str, str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "COLUMNS": "10000"}
    names = out.with_suffix(".names.json")
    names.write_text(json.dumps(new))
    command = [sys.executable, str(PROGRAM), str(out), str(names)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return out.read_text()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The package as it is and with other names, and what both print."""
    folder, out = tmp_path_factory.mktemp("renamed"), tmp_path_factory.mktemp("printed")
    new = {name: random_text(name) for name in (*RULE_NAMES, *RUNTIME_NAMES)}
    copied(folder, new)
    return (
        new,
        json.loads(printed(SOURCE.parent, out / "one.json", {})),
        json.loads(printed(folder, out / "two.json", new)),
    )


# These are words of other things too: element types, a command, a slot of the catalogue of mistakes, a kind of tensor.
OTHER_WORDS = {"float32", "compare", "fixed_point", "variable"}


def other_operators(package: Path, new: dict[str, str]) -> None:
    """Operators come out of a file, and go into one, by other names: the schema's own stand at this border only."""
    tflite = package / "model" / "tflite"
    edited(
        tflite / "reader.py",
        ("{code: name for name, code in vars(", "{code: NEW.get(name, name) for name, code in vars("),
    )
    edited(
        tflite / "writer.py",
        ("getattr(schema.BuiltinOperator, name)", "getattr(schema.BuiltinOperator, PLAIN.get(name, name))"),
    )
    for path, table in (
        ("reader.py", f"NEW = {new}"),
        ("writer.py", f"PLAIN = { {text: name for name, text in new.items()} }"),
    ):
        with (tflite / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{table}\n")


def test_no_code_reads_the_name_of_an_operator_or_of_its_rule(tmp_path):
    """ADD is a random string too, from the moment that its number is read from the file."""
    operators = {name: random_text(3 * name) for name in OPERATORS}
    names = sorted({name for entry in OPERATORS.values() for name in entry.rules} - OTHER_WORDS)
    new = {name: random_text(name) for name in names} | operators
    package = tmp_path / "renamed" / "lastbit"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*.py"):
        path.write_text(renamed(path.read_text(encoding="utf-8"), new), encoding="utf-8")
    rename_in_files(package, new)
    other_operators(package, operators)
    texts = []
    for folder, out in ((SOURCE.parent, tmp_path / "one.json"), (package.parent, tmp_path / "two.json")):
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONHASHSEED": "0"}
        command = [sys.executable, operators_printed.__file__, str(out)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        texts.append(out.read_text(encoding="utf-8"))
    found = texts[1]
    replaced = [name for name in new if new[name] in found]
    for name in sorted(replaced, key=lambda name: -len(new[name])):
        found = found.replace(new[name], name)
    assert json.loads(found) == json.loads(texts[0])
    assert len(set(replaced) - set(operators)) > 45
    # Dense layers stand above, operators that keep values between calls in tests/ops/state.
    assert len(set(replaced) & set(operators)) >= 40
    assert not any(f'"{name}"' in texts[1] for name in operators)


def plain(text: str) -> str:
    """Without line breaks, which stand where words end, and LaTeX's marks."""
    return "".join(text.replace("\\_", "_").split())


def put_back(text: str, back: dict[str, str], refusals: list[list[str]]) -> str:
    """Names and words for random letters. The last ones first: a refusal may hold another one's words."""
    for other, words in (*reversed(refusals), *back.items()):
        text = text.replace(other, plain(words))
    return text


def mapped(value, function):
    if isinstance(value, str):
        return function(value)
    if isinstance(value, list):
        return [mapped(part, function) for part in value]
    return value


def test_every_name_was_replaced(pair):
    _, one, two = pair
    before, after = json.dumps(one["found"]), json.dumps(two["found"])
    for names in (RULE_NAMES, RUNTIME_NAMES, VARIANTS, FAMILIES):
        seen = [name for name in names if random_text(name) in after]
        assert len(seen) > 0.5 * len(names), names
        assert not any(random_text(name) in before for name in names)
    assert not [name for name in RULE_NAMES if f'\\"{name}\\"' in after]
    assert len(two["scrambled"]) > 50
    assert not one["scrambled"]


def test_outputs_json_text_exit_codes_and_verdicts_stay(pair):
    new, one, two = pair
    back = {random_text(name): name for name in (*new, *VARIANTS, *FAMILIES)}
    found = mapped(two["found"], lambda text: put_back(plain(text), back, two["scrambled"]))
    wanted = mapped(one["found"], plain)
    assert [len(part) for part in wanted] == [len(part) for part in found]
    for number, (part, other) in enumerate(zip(wanted, found, strict=True)):
        for at, (a, b) in enumerate(zip(part, other, strict=True)):
            assert a == b, (number, at)
    golden = [case for part in one["found"][11:-1] for case in part]
    assert all(case[0] for case in golden)
    assert len(golden) > 4000
