"""runtimes: every exact runtime with its rules, sources and the evidence that it is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ops import OPERATORS
from ...report.blocks import Block, Heading, Report, Table, Text
from ...runtimes import RUNTIMES, Refused, Rule, Runtime, find_rule, get_runtime
from ...runtimes.evidence import Evidence, evidence_of, outputs_by_run
from ...runtimes.variant import Variant
from .screen import screen_blocks

__all__ = ["RuntimesReport", "runtimes_report"]


class RuntimesReport(Report):
    """The result of `runtimes_report`.

    Attributes:
        chosen: the runtimes that it is about.
        details: whether rules, equations and every rival are printed, or one line for each variant.
    """

    def __init__(self, chosen: Sequence[Runtime], details: bool) -> None:
        self.chosen = tuple(chosen)
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """Every runtime as plain data, schema lastbit.runtimes/2."""
        return {
            "schema": "lastbit.runtimes/2",
            "runtimes": [
                {
                    "name": runtime.name,
                    "title": runtime.title,
                    "oracle": runtime.oracle,
                    "platform": runtime.platform,
                    "fallback": runtime.fallback,
                    "sources": list(runtime.sources),
                    "rules": [
                        {"operator": operator, "variant": str(variant), **_rule_dict(operator, rule)}
                        for (operator, variant), rule in runtime.rules.items()
                    ],
                    "evidence": _evidence_dict(evidence_of(runtime.name)),
                }
                for runtime in self.chosen
            ],
        }

    def in_short(self) -> list[str]:
        """The names."""
        return [f"{len(self.chosen)} exact: {', '.join(runtime.name for runtime in self.chosen)}"]

    def first_screen(self) -> list[Block]:
        """A line for each runtime; what was asked for by name is shown in full."""
        return self.blocks() if self.details else screen_blocks(self.chosen)

    def blocks(self) -> list[Block]:
        """An overview, then for each runtime its variants of dense layers with rule, evidence and rivals excluded."""
        blocks: list[Block] = [
            Table(
                ("runtime", "what it is", "proven against", "outputs compared", "mismatches"),
                [
                    (
                        runtime.name,
                        runtime.title,
                        runtime.oracle,
                        f"{sum(row.outputs for row in evidence_of(runtime.name)):,}",
                        sum(row.mismatches for row in evidence_of(runtime.name)),
                    )
                    for runtime in self.chosen
                ],
                right=("outputs compared", "mismatches"),
            )
        ]
        for runtime in self.chosen:
            blocks += [Heading(f"{runtime.name}: {runtime.title}")]
            blocks += _detailed(runtime) if self.details else _in_short(runtime)
            blocks += _shown_on(runtime)
        if not self.details:
            blocks.append(
                Text(
                    "`lastbit runtimes NAME`: equations, every rival, sources. `--operators`: the operators beside "
                    "dense layers. `--json`: all of it.",
                    "dim",
                )
            )
        return blocks


def runtimes_report(names: Sequence[str] = ()) -> RuntimesReport:
    """Every exact runtime with its rules, sources and evidence.

    Args:
        names: only these, in detail; none for all, in short.

    Raises:
        RuntimeNameError: there is no such runtime.
    """
    chosen = [get_runtime(name) for name in names] if names else list(RUNTIMES.values())
    return RuntimesReport(chosen, bool(names))


def _in_short(runtime: Runtime) -> list[Block]:
    """A table with a line for each variant of dense layers."""
    rows = []
    refused = 0
    for row in evidence_of(runtime.name):
        rule = find_rule(runtime, row.operator, Variant.parse(row.variant), declined=False)
        if row.operator != "FULLY_CONNECTED":
            continue
        if not isinstance(rule, Rule) or not row.outputs:
            refused += 1
            continue
        counts = row.rivals_refuted_at.values()
        refuted = [count for count in counts if count]
        of = f"{len(refuted)}" if len(refuted) == len(counts) else f"{len(refuted)} of {len(counts)}"
        fewest = f"{min(refuted):,}" if refuted else "-"
        rows.append((row.variant, rule.name, f"{row.outputs:,}", row.mismatches, of, fewest))
    headers = ("dense layer", "rule", "outputs compared", "mismatches", "rivals refuted", "fewest at")
    blocks: list[Block] = [Table(headers, rows, right=headers[2:])] if rows else []
    if refused:
        blocks.append(Text(f"{refused} more variants are refused by the interpreter and here, with its reason", "dim"))
    return blocks


def _detailed(runtime: Runtime) -> list[Block]:
    """Each variant's rule, equation, evidence and rivals; the other operators' names; the sources."""
    blocks: list[Block] = []
    for row in evidence_of(runtime.name):
        blocks += _variant_blocks(runtime, row)
    others = sorted({o for o, _ in runtime.rules if o != "FULLY_CONNECTED"})
    if others:
        blocks.append(Text(f"Also, exact where not refused: {', '.join(others)} (`--operators`)"))
    return [*blocks, *(Text(f"Source read: {source}", "dim") for source in runtime.sources)]


def _shown_on(runtime: Runtime) -> list[Block]:
    runs = outputs_by_run(evidence_of(runtime.name))
    if not runs:
        return [Text("No evidence collected yet", "dim")]
    shown = [(run, names) for run, names in runs.items() if names]
    blocks: list[Block] = []
    for run, names in shown:
        of = "" if len(shown) == 1 else f": {', '.join(names)}"
        blocks.append(Text(f"Shown on {run.cpu}; {run.platform}; {run.date}{of}", "dim"))
    return blocks


def _variant_blocks(runtime: Runtime, row: Evidence) -> list[Block]:
    """One variant's rule and evidence."""
    name = f"{row.operator} {row.variant}"
    rule = find_rule(runtime, row.operator, Variant.parse(row.variant), declined=False)
    blocks: list[Block] = []
    if isinstance(rule, Rule):
        told = ", ".join(f"{rival} {count:,}" for rival, count in row.rivals_refuted_at.items() if count)
        left = ", ".join(rival for rival, count in row.rivals_refuted_at.items() if not count)
        blocks += [
            Text(f"{name}: {rule.name}"),
            Text(f"  {OPERATORS[row.operator].rules[rule.name]}"),
            Text(
                f"  {row.outputs:,} outputs, {row.mismatches} mismatches"
                + (f"; rivals refuted at: {told}" if told else "")
                + (f"; not told apart here: {left}" if left else ""),
                "dim",
            ),
        ]
    elif isinstance(rule, Refused):
        blocks.append(Text(f"{name}: refused, {rule.reason}"))
    if row.refused_by_both:
        blocks.append(Text(f"  {name}: {row.refused_by_both} layers refused by both", "dim"))
    if row.outputs_of_declined_layers:
        count = row.outputs_of_declined_layers
        blocks.append(Text(f"  {name}: {count:,} outputs of layers that the delegate declines", "dim"))
    return blocks


def _evidence_dict(rows: Sequence[Evidence]) -> dict[str, Any]:
    runs = list(outputs_by_run(rows))
    return {"runs": [run.as_dict() for run in runs], "variants": [row.as_dict(runs) for row in rows]}


def _rule_dict(operator: str, rule: Rule | Refused) -> dict[str, str]:
    if isinstance(rule, Refused):
        return {"refused": rule.reason}
    return {"rule": rule.name, "kernel": rule.kernel, "equation": OPERATORS[operator].rules[rule.name]}
