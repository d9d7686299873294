"""runtimes: every exact runtime with its rules, sources and the evidence that it is exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from .ops import OPERATORS
from .report import Block, Heading, Report, Table, Text
from .runtimes import RUNTIMES, Refused, Rule, Runtime, find_rule, get_runtime
from .runtimes.variant import Variant

__all__ = ["RuntimesReport", "evidence", "machines_of", "runtimes_report"]


@cache
def evidence() -> dict[str, Any]:
    """What was compared with the real interpreters, as tools/collect_evidence.py wrote it."""
    text = (resources.files("lastbit") / "runtimes" / "evidence.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def machines_of(entry: dict[str, Any]) -> list[tuple[dict[str, str], list[str]]]:
    """The machines that a runtime's evidence is from: (fingerprint, names of dense variants).

    Args:
        entry: a runtime's part of `evidence()`. A variant has a fingerprint of its own where it is not the runtime's.
    """
    found: list[tuple[dict[str, str], list[str]]] = [(entry["fingerprint"], [])]
    for variant in entry["variants"]:
        own = variant.get("fingerprint", entry["fingerprint"])
        names = next((names for fingerprint, names in found if fingerprint == own), None)
        if names is None:
            found.append((own, names := []))
        if variant["operator"] == "FULLY_CONNECTED" and variant["outputs"]:
            names.append(variant["variant"])
    return found


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
        """Every runtime as plain data, schema lastbit.runtimes/1."""
        collected = evidence()
        return {
            "schema": "lastbit.runtimes/1",
            "evidence_date": collected["date"],
            "evidence_script": collected["script"],
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
                    "evidence": collected["runtimes"].get(runtime.name),
                }
                for runtime in self.chosen
            ],
        }

    def in_short(self) -> list[str]:
        """The names."""
        return [f"{len(self.chosen)} exact: {', '.join(runtime.name for runtime in self.chosen)}"]

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
                        f"{sum(v['outputs'] for v in _variants(runtime)):,}",
                        sum(v["mismatches"] for v in _variants(runtime)),
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
    for variant in _variants(runtime):
        rule = find_rule(runtime, variant["operator"], Variant.parse(variant["variant"]), declined=False)
        if variant["operator"] != "FULLY_CONNECTED":
            continue
        if not isinstance(rule, Rule) or not variant["outputs"]:
            refused += 1
            continue
        counts = variant["rivals_refuted_at"].values()
        refuted = [count for count in counts if count]
        of = f"{len(refuted)}" if len(refuted) == len(counts) else f"{len(refuted)} of {len(counts)}"
        fewest = f"{min(refuted):,}" if refuted else "-"
        rows.append((variant["variant"], rule.name, f"{variant['outputs']:,}", variant["mismatches"], of, fewest))
    headers = ("dense layer", "rule", "outputs compared", "mismatches", "rivals refuted", "fewest at")
    blocks: list[Block] = [Table(headers, rows, right=headers[2:])] if rows else []
    if refused:
        blocks.append(Text(f"{refused} more variants are refused by the interpreter and here, with its reason", "dim"))
    return blocks


def _detailed(runtime: Runtime) -> list[Block]:
    """Each variant's rule, equation, evidence and rivals; the other operators' names; the sources."""
    blocks: list[Block] = []
    for variant in _variants(runtime):
        blocks += _variant_blocks(runtime, variant)
    others = sorted({o for o, _ in runtime.rules if o != "FULLY_CONNECTED"})
    if others:
        blocks.append(Text(f"Also, exact where not refused: {', '.join(others)} (`--operators`)"))
    return [*blocks, *(Text(f"Source read: {source}", "dim") for source in runtime.sources)]


def _variants(runtime: Runtime) -> list[dict[str, Any]]:
    """The evidence of a runtime's variants; none where nothing was collected."""
    found: list[dict[str, Any]] = evidence()["runtimes"].get(runtime.name, {"variants": []})["variants"]
    return found


def _shown_on(runtime: Runtime) -> list[Block]:
    entry = evidence()["runtimes"].get(runtime.name)
    if entry is None:
        return [Text("No evidence collected yet", "dim")]
    machines = machines_of(entry)
    blocks: list[Block] = []
    for f, names in machines:
        of = "" if len(machines) == 1 else f": {', '.join(names)}"
        blocks.append(Text(f"Shown on {f['cpu']}; {f['platform']}; {entry.get('date', evidence()['date'])}{of}", "dim"))
    return blocks


def _variant_blocks(runtime: Runtime, variant: dict[str, Any]) -> list[Block]:
    """One variant's rule and evidence."""
    name = f"{variant['operator']} {variant['variant']}"
    rule = find_rule(runtime, variant["operator"], Variant.parse(variant["variant"]), declined=False)
    blocks: list[Block] = []
    if isinstance(rule, Rule):
        rivals = {n: c for n, c in variant["rivals_refuted_at"].items() if c}
        told = ", ".join(f"{name} {count:,}" for name, count in rivals.items())
        left = ", ".join(n for n, c in variant["rivals_refuted_at"].items() if not c)
        blocks += [
            Text(f"{name}: {rule.name}"),
            Text(f"  {OPERATORS[variant['operator']].rules[rule.name]}"),
            Text(
                f"  {variant['outputs']:,} outputs, {variant['mismatches']} mismatches"
                + (f"; rivals refuted at: {told}" if told else "")
                + (f"; not told apart here: {left}" if left else ""),
                "dim",
            ),
        ]
    elif isinstance(rule, Refused):
        blocks.append(Text(f"{name}: refused, {rule.reason}"))
    if variant["refused_by_both"]:
        blocks.append(Text(f"  {name}: {variant['refused_by_both']} layers refused by both", "dim"))
    if variant["outputs_of_declined_layers"]:
        count = variant["outputs_of_declined_layers"]
        blocks.append(Text(f"  {name}: {count:,} outputs of layers that the delegate declines", "dim"))
    return blocks


def _rule_dict(operator: str, rule: Rule | Refused) -> dict[str, str]:
    if isinstance(rule, Refused):
        return {"refused": rule.reason}
    return {"rule": rule.name, "kernel": rule.kernel, "equation": OPERATORS[operator].rules[rule.name]}
