"""runtimes: every exact runtime with its rules, sources and the evidence that it is exact."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from .ops import OPERATORS
from .report import Block, Heading, Report, Table, Text
from .runtimes import RUNTIMES, Refused, Rule, Runtime, find_rule

__all__ = ["RuntimesReport", "evidence", "runtimes_report"]


@cache
def evidence() -> dict[str, Any]:
    """What was compared with the real interpreters, as tools/collect_evidence.py wrote it."""
    text = (resources.files("lastbit") / "runtimes" / "evidence.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class RuntimesReport(Report):
    """The result of `runtimes_report`."""

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
                        {"operator": operator, "variant": variant, **_rule_dict(operator, rule)}
                        for (operator, variant), rule in runtime.rules.items()
                    ],
                    "evidence": collected["runtimes"].get(runtime.name),
                }
                for runtime in RUNTIMES.values()
            ],
        }

    def blocks(self) -> list[Block]:
        """An overview, then for each runtime its rules, evidence and the rivals excluded."""
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
                    for runtime in RUNTIMES.values()
                ],
                right=("outputs compared", "mismatches"),
            )
        ]
        for runtime in RUNTIMES.values():
            blocks += [Heading(f"{runtime.name}: {runtime.title}")]
            for variant in _variants(runtime):
                blocks += _variant_blocks(runtime, variant)
            others = sorted({o for o, _ in runtime.rules if o != "FULLY_CONNECTED"})
            if others:
                blocks.append(Text(f"Also, exact where not refused: {', '.join(others)} (`--json` lists each variant)"))
            blocks += [
                *_shown_on(runtime),
                *(Text(f"Source read: {source}", "dim") for source in runtime.sources),
            ]
        return blocks


def runtimes_report() -> RuntimesReport:
    """Every exact runtime with its rules, sources and evidence."""
    return RuntimesReport()


def _variants(runtime: Runtime) -> list[dict[str, Any]]:
    """The evidence of a runtime's variants; none where nothing was collected."""
    found: list[dict[str, Any]] = evidence()["runtimes"].get(runtime.name, {"variants": []})["variants"]
    return found


def _shown_on(runtime: Runtime) -> list[Block]:
    entry = evidence()["runtimes"].get(runtime.name)
    if entry is None:
        return [Text("No evidence collected yet", "dim")]
    f = entry["fingerprint"]
    return [Text(f"Shown on {f['cpu']}; {f['platform']}; {evidence()['date']}", "dim")]


def _variant_blocks(runtime: Runtime, variant: dict[str, Any]) -> list[Block]:
    """One variant's rule and evidence."""
    name = f"{variant['operator']} {variant['variant']}"
    rule = find_rule(runtime, variant["operator"], variant["variant"], declined=False)
    blocks: list[Block] = []
    if isinstance(rule, Rule):
        rivals = {n: c for n, c in variant["rivals_refuted_at"].items() if c}
        told = ", ".join(f"{name} {count:,}" for name, count in rivals.items())
        blocks += [
            Text(f"{name}: {rule.name}"),
            Text(f"  {OPERATORS[variant['operator']].rules[rule.name]}"),
            Text(
                f"  {variant['outputs']:,} outputs, {variant['mismatches']} mismatches"
                + (f"; rivals refuted at: {told}" if told else ""),
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
