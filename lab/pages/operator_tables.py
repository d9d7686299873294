"""Write the tables that follow from the operators' files: which there are, and what options the schema gives them.

    python -m lab pages operators [--check]

An operator is stated once, as `ENTRIES` of its own file in src/lastbit/ops. Two tables are made from that, so that both
stay literal and nobody writes them: `ops/table.py`, and `model/tflite/operator_options.py`, which takes the options
from the package of the schema. --check writes nothing and fails where one of them is old.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import tflite as schema

from lastbit.model.tflite.option_tables import ENUMS
from lastbit.model.types import DTYPES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lastbit"

# Options tables of the schema that are not named as their operator.
SHARED = {
    "Pool2DOptions": ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"),
    "ReducerOptions": ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"),
    "MaximumMinimumOptions": ("MAXIMUM", "MINIMUM"),
}
# What an 8-bit number of the schema counts, by the field's name.
NUMBERED = {
    "padding": "padding",
    "fused_activation_function": "activation",
    "weights_format": "weights_format",
    "mode": "mirror",
    **dict.fromkeys(("output_type", "out_type", "in_data_type", "out_data_type", "quantized_bias_type"), "dtype"),
}
SCALARS = {"PrependBoolSlot": "bool", "PrependInt32Slot": "i32", "PrependFloat32Slot": "f32"}


def entries_of(path: Path) -> list[str]:
    """The operators that a file states in its ENTRIES; none where it has no such table."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["ENTRIES"]:
            assert isinstance(node.value, ast.Dict), f"{path}: ENTRIES is no literal table"
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    return []


def operator_files() -> dict[Path, list[str]]:
    """Each file that states operators, and which."""
    found = {path: entries_of(path) for path in sorted((PACKAGE / "ops").glob("*/*.py"))}
    return {path: names for path, names in found.items() if names}


def operators_table() -> str:
    """The text of `ops/table.py`."""
    modules = [path.relative_to(PACKAGE / "ops").with_suffix("").parts for path in operator_files()]
    return "\n".join(
        [
            '"""Every file of operators. Written by `python -m lab pages operators`; do not edit."""',
            "from __future__ import annotations",
            *(f"from .{folder}.{name} import ENTRIES as {name.upper()}" for folder, name in modules),
            '__all__ = ["FILES"]',
            f"FILES = ({', '.join(name.upper() for _, name in modules)},)",
        ]
    )


def options_table() -> str:
    """The text of `model/tflite/operator_options.py`."""
    names = sorted(name for names in operator_files().values() for name in names)
    return "\n".join(
        [
            '"""The schema\'s options of the operators. Written by `python -m lab pages operators`; do not edit."""',
            "from __future__ import annotations",
            "from .option_tables import OptionTable",
            '__all__ = ["TABLES"]',
            f"TABLES = {{{', '.join(f'{name!r}: {_table(name)}' for name in names)}}}",
            '"""Operator -> its options; a code of 0 where it has none."""',
        ]
    )


def _table(operator: str) -> str:
    name = next((table for table, operators in SHARED.items() if operator in operators), None)
    if name is None:
        spelled = f"{operator.replace('_', '')}Options".lower()
        name = next((table for table in vars(schema.BuiltinOptions) if table.lower() == spelled), "")
    if not name:
        return "OptionTable(0, '')"
    fields = sorted(
        _field(name, added) for added in dir(schema) if re.fullmatch(rf"{name}Add[A-Z]\w*", added) is not None
    )
    parts = [f"OptionTable({getattr(schema.BuiltinOptions, name)}, {name!r}"]
    if fields:
        parts.append(repr(tuple(field[1:] for field in fields)))
    return ", ".join(parts) + ")"


class _SchemaField:
    """A builder that notes what it is asked to write: the kind, the slot and the schema's default."""

    def __init__(self) -> None:
        self.kind, self.number, self.default = "", 0, 0

    def __getattr__(self, kind: str) -> Any:
        def note(number: int, _value: int, default: int) -> None:
            self.kind, self.number, self.default = kind, number, default

        return note


def _field(table: str, added: str) -> tuple[int, str, str, Any]:
    """One field of an options table: its slot, name, kind and default."""
    name = added.removeprefix(f"{table}Add")
    slot = _SchemaField()
    getattr(schema, added)(slot, 0)
    field = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    if slot.kind == "PrependUOffsetTRelativeSlot":
        vector = hasattr(getattr(schema, table), f"{name}Length")
        return slot.number, field, "[i32]" if vector else "str", () if vector else ""
    if slot.kind == "PrependInt8Slot":
        kind = NUMBERED[field]
        return slot.number, field, kind, DTYPES[slot.default].name if kind == "dtype" else ENUMS[kind][slot.default]
    kind = SCALARS[slot.kind]
    return slot.number, field, kind, bool(slot.default) if kind == "bool" else slot.default


def tables() -> dict[Path, str]:
    """Each generated file, as it is to be."""
    texts = {
        PACKAGE / "ops" / "table.py": operators_table(),
        PACKAGE / "model" / "tflite" / "operator_options.py": options_table(),
    }
    return {path: _formatted(path, text) for path, text in texts.items()}


def _formatted(path: Path, text: str) -> str:
    for command in (["check", "--quiet", "--fix", "--select", "I"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a table is old; write nothing")
    check = parser.parse_args().check
    old = [path for path, text in tables().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{path.relative_to(ROOT)} {'is old: python -m lab pages operators' if check else 'written'}")
        if not check:
            path.write_text(tables()[path], encoding="utf-8")
    if check and old:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
