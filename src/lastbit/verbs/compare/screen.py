"""The first screen of `compare`: a line for each operator, and one example."""

from __future__ import annotations

from collections.abc import Sequence

from ...report.blocks import Block, Table, Text
from ...report.phrases import clause, name_text, plural
from .layer_result import LayerCertificate
from .operator_result import OperatorComparison
from .operator_text import number

__all__ = ["screen_blocks"]

_WIDTH = 79
_MOST_ROWS = 16
_NOTHING = "-"
_VERDICTS = {"same": "same (proved)", "no difference found": "none found"}
# What people want to see first, where not all operators fit on the screen.
_ORDER = ("differs", "not decided", "not covered", "no difference found", "same")

Entry = LayerCertificate | OperatorComparison


def screen_blocks(entries: Sequence[Entry], names: tuple[str, str]) -> list[Block]:
    """Every operator with its verdict, and where two runtimes differ first.

    Args:
        entries: the operators, in order.
        names: of the two runtimes.
    """
    chosen = sorted(entries, key=lambda entry: _ORDER.index(entry.status))[:_MOST_ROWS]
    rows = [_row(entry) for entry in entries if entry in chosen]
    headers = ("op", "operator", "acc that differ", "outputs", "verdict")
    marked = [number for number, entry in enumerate(e for e in entries if e in chosen) if entry.status == "differs"]
    left = len(entries) - len(rows)
    blocks: list[Block] = [Table(headers, rows, right=("op",), marked=marked, close=True)] if rows else []
    blocks += [Text(f"and {plural(left, 'more operator')}", "dim")] if left else []
    return [*blocks, *_example(entries, names), *_reason(entries, names)]


def _row(entry: Entry) -> tuple[object, ...]:
    name, verdict = name_text(entry.name, width=17), _VERDICTS.get(entry.status, entry.status)
    if not isinstance(entry, LayerCertificate):
        return entry.index, name, _NOTHING, _outputs(entry.differing, entry.outputs), verdict
    tables = entry.first.requantization and entry.reachable
    accumulators = f"{entry.differing:,} of {entry.reachable:,}" if tables else _NOTHING
    drawn = entry.random
    return entry.index, name, accumulators, _outputs(drawn.differing, drawn.elements) if drawn else _NOTHING, verdict


def _outputs(differing: int, compared: int) -> str:
    """How many differ, or the share of many."""
    if not compared:
        return _NOTHING
    return f"{100 * differing / compared:.3g} %" if differing else f"0 of {compared:,}"


def _example(entries: Sequence[Entry], names: tuple[str, str]) -> list[Block]:
    """The first place at which the two differ."""
    for entry in entries:
        if isinstance(entry, LayerCertificate) and entry.witness is not None:
            witness = entry.witness
            acc = "" if witness.acc is None else f", acc {witness.acc}"
            units = f"{len(entry.differences)} of {entry.units} units differ somewhere; " if entry.differences else ""
            where, first, second = f"unit {witness.unit}{acc}", witness.first, witness.second
        elif isinstance(entry, OperatorComparison) and entry.example is not None:
            units, where = "", f"element {list(entry.example.index)}"
            first, second = entry.example.first, entry.example.second
        else:
            continue
        shown = f"{names[0]} gives {number(first)}, {names[1]} gives {number(second)}"
        return [Text(f"operator {entry.index}: {units}{where}: {shown}.")]
    return []


def _reason(entries: Sequence[Entry], names: tuple[str, str]) -> list[Block]:
    """Why the first operator of those was not compared."""
    for entry in entries:
        if entry.status in ("not covered", "not decided"):
            refusals = [f"{name}: {reason}" for name, reason in zip(names, entry.refusals, strict=True) if reason]
            text = f"operator {entry.index} {entry.name}: {'; '.join(refusals) or entry.why}"
            return [Text(clause(text, 2 * _WIDTH), "warning")]
    return []
