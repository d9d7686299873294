"""The first screen of `runtimes --operators`: how much is exact in each family, and which operators have gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...report.blocks import Block, Table, Text
from ...report.one_screen import one_screen
from ...report.phrases import plural
from ...runtimes.groups import GROUPS
from .cell import Cell

__all__ = ["operators_screen", "variants_screen"]

Cells = Mapping[tuple[str, str], Mapping[str, Cell]]

_STATUSES = ("exact", "refused", "not yet")


def operators_screen(cells: Cells, runtimes: Sequence[str]) -> list[Block]:
    """Counts by family, the operators without a gap, and those with some.

    Args:
        cells: (operator, variant) -> runtime -> what is known of it.
        runtimes: the columns.
    """
    gaps: dict[str, int] = {}
    for (operator, _), row in cells.items():
        gaps[operator] = gaps.get(operator, 0) + any(cell.status == "not yet" for cell in row.values())
    whole = [operator for operator, count in gaps.items() if not count]
    rows = [
        (
            group,
            len(names),
            *(sum(row[name].status == status for row in cells.values() for name in names) for status in _STATUSES),
        )
        for group, names in _families(runtimes)
    ]
    variants = [f"{operator} ({count})" for operator, count in gaps.items() if count]
    blocks: list[Block] = [
        Text(f"{len(gaps)} operators beside dense layers, {plural(len(cells), 'variant')} by element types:"),
        Table(("family", "runtimes", *_STATUSES), rows, right=("runtimes", *_STATUSES), close=True),
        Text("exact: compared with the running interpreter, nothing differs. refused: by the runtime itself.", "dim"),
    ]
    if whole:
        blocks.append(Text(f"Exact or refused in every variant, on every runtime: {', '.join(whole)}", "good"))
    if variants:
        blocks.append(Text(f"With variants that are not covered somewhere yet: {', '.join(variants)}", "warning"))
    return one_screen(
        [*blocks, Text("One operator: its name after --operators. Every cell: -v, reasons: --json", "dim")]
    )


def variants_screen(cells: Cells, runtimes: Sequence[str]) -> list[Block]:
    """A row for each variant of a few operators: on how many runtimes of each family it is exact.

    Args:
        cells: (operator, variant) -> runtime -> what is known of it.
        runtimes: the columns.
    """
    families = list(_families(runtimes))

    def text(row: Mapping[str, Cell], names: Sequence[str]) -> str:
        counts = [sum(row[name].status == status for name in names) for status in _STATUSES]
        if max(counts) == len(names):
            return _STATUSES[counts.index(len(names))]
        return f"{counts[0]}/{len(names)}"

    rows = [(*key, *(text(row, names) for _, names in families)) for key, row in cells.items()]
    headers = ("operator", "variant", *(f"{group} ({len(names)})" for group, names in families))
    return one_screen(
        [
            Text("On how many runtimes of each family it is exact:"),
            Table(headers, rows),
            Text("Each runtime: -v, reasons: --json", "dim"),
        ]
    )


def _families(runtimes: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
    """The families that have some of the runtimes."""
    for group, members in GROUPS.items():
        names = [name for name in members if name in runtimes]
        if names:
            yield str(group), names
