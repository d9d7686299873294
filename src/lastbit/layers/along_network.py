"""How a difference between two runtimes grows along a network: operator by operator, each runtime on its own way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..engines.reference import Trace
from ..report.blocks import Block, Table, Text
from ..report.pictures import Bars, Picture
from .differences import compare_arrays

__all__ = ["Growth", "OperatorGrowth"]

# A network may have hundreds of operators; what is left out is told.
_ROWS = 40


@dataclass
class OperatorGrowth:
    """One operator's outputs on both ways.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        elements: output elements compared.
        mismatches: those that differ where each runtime is given its own input.
        largest: the largest of these differences, in output steps for integers.
    """

    index: int
    name: str
    elements: int = 0
    mismatches: int = 0
    largest: float = 0.0

    @property
    def share(self) -> float:
        """Differing elements by all, 0 to 1."""
        return self.mismatches / self.elements if self.elements else 0.0


@dataclass
class Growth:
    """The outputs of every operator in two runtimes, in the order of execution.

    Attributes:
        operators: by index.
    """

    operators: dict[int, OperatorGrowth] = field(default_factory=dict)

    def add(self, first: Trace, second: Trace) -> None:
        """Count two runs of a model on the same input, each in its runtime's arithmetic.

        Operators that one of the two does not cover, and what comes of them, are left out.
        """
        for index, entry in first.operators.items():
            other = second.operators.get(index)
            if other is None or not entry.steps:  # a handle of a variable is no array
                continue
            op = entry.prepared.operator
            row = self.operators.setdefault(index, OperatorGrowth(index, op.name))
            along = compare_arrays(entry.output, other.output)
            row.elements += along.elements
            row.mismatches += along.mismatched
            row.largest = max(row.largest, along.largest)

    @property
    def differing(self) -> list[OperatorGrowth]:
        """The operators whose outputs differ, in order."""
        return [row for row in self.operators.values() if row.mismatches]

    def as_dict(self) -> list[dict[str, Any]]:
        """A row for each operator as plain data."""
        return [{**vars(row), "share": row.share} for row in self.operators.values()]

    def picture(self, title: str) -> Picture:
        """The share of outputs that differ, a bar for each operator."""
        rows = list(self.operators.values())
        names = [f"{row.index} {row.name}" for row in rows]
        return Bars(title, names, [100 * row.share for row in rows], "operator", "outputs that differ, %")

    def blocks(self) -> list[Block]:
        """The operators that differ as a table; nothing where none does."""
        rows = self.differing
        if not rows:
            return []
        headers = ("op", "operator", "outputs", "differ", "", "by")
        shown = [
            (r.index, r.name, r.elements, r.mismatches, f"{100 * r.share:.3g} %", f"{r.largest:g}")
            for r in rows[:_ROWS]
        ]
        right = ("op", *headers[2:])
        blocks: list[Block] = [
            Table(
                headers, shown, right=right, title="How differences grow along the network, each runtime on its own way"
            )
        ]
        if len(rows) > _ROWS:
            blocks.append(Text(f"{len(rows) - _ROWS} more operators differ; `--json` has all.", "dim"))
        return blocks
