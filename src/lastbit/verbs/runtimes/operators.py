"""runtimes --operators: which operator is exact, refused or not covered yet, by element type and runtime."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from ...model.errors import InputError, Refusal
from ...ops import OPERATORS
from ...report.blocks import Block, Report, Table, Text
from ...runtimes import RUNTIMES, Refused, cpus, find_rule
from ...runtimes.base import Family
from ...runtimes.evidence import Evidence, Run, evidence_of, outputs_by_run
from ...runtimes.machine import ARM64
from ...runtimes.variant import Variant
from .cell import Cell, Status
from .operators_screen import operators_screen, variants_screen

__all__ = [
    "OPERATOR_RUNTIMES",
    "OPERATOR_TABLES",
    "Cell",
    "OperatorsReport",
    "operator_cell",
    "operator_runs",
    "operators_report",
]

OPERATOR_RUNTIMES = (
    "litert-xnnpack",
    "litert-xnnpack-avx512",
    "litert-xnnpack-avxvnni",
    "litert-xnnpack-avx2",
    "litert-builtin-x86",
    "litert-builtin-portable",
    "litert-reference",
    "tflm",
    "litert-xnnpack-arm64",
    "litert-xnnpack-arm64-dotprod",
    "litert-xnnpack-arm64-neon",
    "litert-xnnpack-arm64-sme",
    "litert-builtin-arm64",
    "litert-builtin-arm64-neon",
    "litert-reference-arm64",
    "litert-reference-arm64-neon",
)
"""The runtimes whose operators around dense layers are compared with their interpreters."""

_ON_ARM64 = {cpu.name for cpu, _ in cpus() if cpu.machines == ARM64}
OPERATOR_TABLES = {
    "x86-64 and microcontrollers": tuple(name for name in OPERATOR_RUNTIMES if name not in _ON_ARM64),
    "ARM64": tuple(name for name in OPERATOR_RUNTIMES if name in _ON_ARM64),
}
"""What a table of operators is of -> its columns."""


def operator_cell(operator: str, variant: str, runtime: str) -> Cell:
    """What is known of one variant of an operator in one runtime.

    Args:
        operator: built-in operator name.
        variant: as it is printed.
        runtime: one of `OPERATOR_RUNTIMES`.
    """
    rule = find_rule(RUNTIMES[runtime], operator, Variant.parse(variant), declined=False)
    if rule is None:
        return Cell("not yet", reason="no rule")
    if isinstance(rule, Refused):
        return Cell("refused" if rule.kind in (Refusal.RUNTIME, Refusal.UNDEFINED) else "not yet", reason=rule.reason)
    # What a delegate leaves to its fallback's kernels is shown by either; what it does itself, by its own runs only.
    fallback = RUNTIMES[runtime].fallback
    names = [runtime] if fallback is None or rule.kernel is Family.XNNPACK else [runtime, fallback]
    entries = [entry for n in names if (entry := _seen(n).get((operator, variant)))]
    seen = next((entry for entry in entries if entry.outputs), None)
    if seen is None and any(entry.refused_by_both for entry in entries):
        words = next((entry.interpreters_words for entry in entries if entry.interpreters_words), "")
        return Cell("refused", reason=words or "the interpreter refuses every layer that was tried")
    if seen is None:
        return Cell("not yet", rule.name, rule.kernel, "not compared with the interpreter")
    status: Status = "not yet" if seen.mismatches else "exact"
    return Cell(status, rule.name, rule.kernel, "", seen.outputs, seen.mismatches)


@cache
def _seen(runtime: str) -> dict[tuple[str, str], Evidence]:
    """The evidence for a runtime, by operator and variant."""
    return {(row.operator, row.variant): row for row in evidence_of(runtime)}


def operator_runs(runtime: str) -> list[Run]:
    """Where the operators around dense layers were run for a runtime."""
    return list(outputs_by_run([row for row in evidence_of(runtime) if row.operator != "FULLY_CONNECTED"]))


class OperatorsReport(Report):
    """The result of `operators_report`.

    Attributes:
        only: the operators that it lists; empty for all.
    """

    def __init__(self, only: Sequence[str] = ()) -> None:
        self.only = tuple(only)

    def cells(self) -> dict[tuple[str, str], dict[str, Cell]]:
        """(operator, variant) -> runtime -> cell, for every variant that any runtime says something of."""
        keys = sorted(
            {
                (operator, str(variant))
                for name in OPERATOR_RUNTIMES
                for operator, variant in (*RUNTIMES[name].rules, *_seen(name))
                if operator in OPERATORS and operator != "FULLY_CONNECTED" and operator in (self.only or OPERATORS)
            }
        )
        return {key: {name: operator_cell(*key, name) for name in OPERATOR_RUNTIMES} for key in keys}

    def as_dict(self) -> dict[str, Any]:
        """Every cell as plain data, schema lastbit.operators/2."""
        return {
            "schema": "lastbit.operators/2",
            "evidence": {name: [run.as_dict() for run in operator_runs(name)] for name in OPERATOR_RUNTIMES},
            "operators": [
                {
                    "operator": operator,
                    "variant": variant,
                    "runtimes": {
                        name: {
                            "status": cell.status,
                            "rule": cell.rule,
                            "kernel": cell.kernel,
                            "reason": cell.reason,
                            "outputs": cell.outputs,
                            "mismatches": cell.mismatches,
                        }
                        for name, cell in row.items()
                    },
                }
                for (operator, variant), row in self.cells().items()
            ],
        }

    def in_short(self) -> list[str]:
        """How much it lists."""
        return [f"{len(self.cells())} variants of operators on {len(OPERATOR_RUNTIMES)} runtimes"]

    def first_screen(self) -> list[Block]:
        """How much is exact in each family, and which operators have gaps; of one operator each variant."""
        screen = variants_screen if self.only else operators_screen
        return screen(self.cells(), OPERATOR_RUNTIMES)

    def blocks(self) -> list[Block]:
        """One table: a row for each operator and variant, a column for each runtime."""
        cells = self.cells()
        tables = [
            Table(
                ("operator", "variant", *names),
                [(*key, *(_short(row[name]) for name in names)) for key, row in cells.items()],
                title=f"Operators beside dense layers, {what}",
            )
            for what, names in OPERATOR_TABLES.items()
        ]
        counts = {
            status: sum(c.status == status for row in cells.values() for c in row.values()) for status in _STATUSES
        }
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        return [
            *tables,
            Text(f"{told}. exact: compared with the running interpreter, nothing differs (outputs compared).", "dim"),
            Text("`--json` has every rule and reason; dense layers are in `lastbit runtimes`.", "dim"),
        ]


_STATUSES = ("exact", "refused", "not yet")


def _short(cell: Cell) -> str:
    return f"exact ({cell.outputs:,})" if cell.status == "exact" else cell.status


def operators_report(only: Sequence[str] = ()) -> OperatorsReport:
    """Every operator beside dense layers by element type and runtime: exact, refused or not yet.

    Args:
        only: names of operators, as files have them; empty for all.

    Raises:
        InputError: LastBit knows no such operator beside dense layers.
    """
    names = [name.upper() for name in only]
    for name in names:
        if name not in OPERATORS or name == "FULLY_CONNECTED":
            near = get_close_matches(name, OPERATORS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " `lastbit runtimes --operators` lists them."
            raise InputError(f"{name}: LastBit covers no operator of that name beside dense layers.{hint}")
    return OperatorsReport(names)
