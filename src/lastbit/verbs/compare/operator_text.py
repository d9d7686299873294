"""What compare says of operators that have no table of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...report.blocks import Block, Table, Text
from ...report.phrases import numbers
from .layer_result import rate_seen
from .operator_result import OperatorComparison

__all__ = ["agrees", "confirmed_text", "number", "operator_blocks"]

_ROWS = 40


def operator_blocks(operators: Sequence[OperatorComparison], names: tuple[str, str]) -> list[Block]:
    """The operators that are proved the same, those that show no difference, and a row for each that differs."""
    blocks: list[Block] = []
    same = [entry for entry in operators if entry.status == "same"]
    for proof in dict.fromkeys(entry.proof for entry in same):
        where = _label([entry.index for entry in same if entry.proof == proof])
        blocks.append(Text(f"{where}: the same for every input (proved): {proof}"))
    found = [entry for entry in operators if entry.status == "no difference found"]
    if found:
        least = min(entry.outputs for entry in found)
        each = f"0 of {least} outputs differ" if len(found) == 1 else f"0 of {least} or more outputs differ in each"
        where = _label([entry.index for entry in found])
        blocks.append(Text(f"{where}: no difference found: {each}; {rate_seen(least)}"))
    differing = [entry for entry in operators if entry.status == "differs"]
    rows = [_row(entry, names) for entry in differing[:_ROWS]]
    if rows:
        headers = ("op", "operator", "outputs that differ", "by", "for example", "interpreters")
        title = "Operators that differ, given the same operator input"
        blocks.append(Table(headers, rows, title=title, right=("op", "by")))
    if len(differing) > _ROWS:
        blocks.append(Text(f"{len(differing) - _ROWS} more operators differ; --json has all", "dim"))
    return blocks


def _label(indices: Sequence[int]) -> str:
    return f"operator{'s' * (len(indices) > 1)} {numbers(indices, 12)}"


def _row(entry: OperatorComparison, names: tuple[str, str]) -> tuple[object, ...]:
    example = entry.example
    if example is None:
        return entry.index, entry.name, entry.text(), f"{entry.largest:g}", "-", "not asked"
    shown = f"{number(example.first)} and {number(example.second)}"
    wanted = dict(zip(names, (example.first, example.second), strict=True))
    return entry.index, entry.name, entry.text(), f"{entry.largest:g}", shown, confirmed_text(example.confirmed, wanted)


def confirmed_text(confirmed: Mapping[str, float | str], wanted: Mapping[str, float]) -> str:
    """In a few words what the real interpreters made of an input.

    Args:
        confirmed: runtime name -> what its interpreter printed, or why it printed nothing.
        wanted: runtime name -> what LastBit says.
    """
    agree = [name for name, found in confirmed.items() if agrees(found, wanted[name])]
    wrong = [f"{name}: {number(v)}" for name, v in confirmed.items() if name not in agree and not isinstance(v, str)]
    if wrong:
        return f"NOT CONFIRMED: {', '.join(wrong)}"
    if len(agree) == len(wanted):
        return "both confirm"
    return f"{agree[0]} confirms" if agree else "not asked"


def agrees(found: float | str, wanted: float) -> bool:
    """Whether a real interpreter printed what LastBit says; any NaN is equal to any NaN."""
    return found == wanted or (found != found and wanted != wanted)


def number(value: float | str) -> str:
    """A number in the fewest digits that give the same float32 back."""
    return str(np.float32(value)) if isinstance(value, float) else str(value)
