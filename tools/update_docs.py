"""Write the tables in README.md and docs/ that are made from data; `--check` only says whether they are up to date.

    python tools/update_docs.py [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import page_585
from lastbit.arith.requantize import RULES
from lastbit.runtime_report import evidence
from lastbit.runtimes import RUNTIMES, Rule

ROOT = Path(__file__).parents[1]


def runtimes_table() -> str:
    """Runtime, proven against, rule, outputs compared, mismatches."""
    collected = evidence()
    lines = [
        "| runtime | proven against | int8 dense rule | outputs compared | mismatches |",
        "|---|---|---|---:|---:|",
    ]
    for name, runtime in RUNTIMES.items():
        entry = collected["runtimes"][name]
        variants = [v for v in entry["variants"] if v["variant"] in ("int8 per_tensor", "int8 per_channel")]
        rules = dict.fromkeys(
            f"`{runtime.rules['FULLY_CONNECTED', v['variant']].name}`"  # type: ignore[union-attr]
            for v in sorted(variants, key=lambda v: v["variant"], reverse=True)
        )
        outputs = sum(v["outputs"] for v in variants)
        bad = sum(v["mismatches"] for v in variants)
        lines.append(f"| `{name}` | {runtime.oracle} | {', '.join(rules)} | {outputs:,} | {bad} |")
    cpu = collected["runtimes"]["litert-xnnpack"]["fingerprint"]["cpu"]
    lines += ["", f"Run on {collected['date']} on one x86-64 machine ({cpu.split(' (')[0]}, with AVX512-VNNI) by"]
    lines.append(f"`{collected['script']}`. Where two rules stand, the first is per-tensor, the second per-channel.")
    return "\n".join(lines)


def rules_table() -> str:
    """Every requantization rule with its equation and the runtimes that follow it."""
    lines = ["| rule | equation | followed by |", "|---|---|---|"]
    for name, rule in RULES.items():
        users = [
            f"`{runtime.name}` ({variant.split()[1]})"
            for runtime in RUNTIMES.values()
            for (operator, variant), entry in runtime.rules.items()
            if operator == "FULLY_CONNECTED" and getattr(entry, "name", "") == name
        ]
        equation = rule.equation.replace("|", "\\|")
        lines.append(f"| `{name}` | `{equation}` | {', '.join(dict.fromkeys(users)) or 'none here (a rival)'} |")
    return "\n".join(lines)


def runtime_pages() -> str:
    """For each runtime: what it stands for, and a table of its variants with rule and evidence."""
    collected = evidence()
    parts = []
    for name, runtime in RUNTIMES.items():
        entry = collected["runtimes"].get(name, {"variants": [], "fingerprint": None})
        shown = {(v["operator"], v["variant"]): v for v in entry["variants"]}
        lines = [f"### `{name}`", "", f"{runtime.title}. Stands for: {runtime.oracle}; {runtime.platform}."]
        if runtime.fallback:
            lines.append(f"What its delegate declines follows `{runtime.fallback}`.")
        lines += ["", "| operator | variant | rule | outputs compared | mismatches |", "|---|---|---|---:|---:|"]
        for (operator, variant), rule in sorted(runtime.rules.items(), key=lambda item: item[0]):
            seen = shown.get((operator, variant))
            told = f"`{rule.name}` ({rule.kernel})" if isinstance(rule, Rule) else f"refused: {rule.reason}"
            outputs = f"{seen['outputs']:,}" if seen and seen["outputs"] else ""
            bad = str(seen["mismatches"]) if seen and seen["outputs"] else ""
            lines.append(f"| {operator} | {variant} | {told} | {outputs} | {bad} |")
        if entry["fingerprint"]:
            f = entry["fingerprint"]
            lines += ["", f"Run on {f['cpu']}; {f['platform']}; {f['oracle']} {f['version']}."]
        lines += ["", *(f"- source read: {source}" for source in runtime.sources)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


GENERATED: dict[str, Callable[[], str]] = {
    "runtimes": runtimes_table,
    "rules": rules_table,
    "runtime_pages": runtime_pages,
    "accumulator_585": page_585.page,
}


def updated(text: str) -> str:
    """The text with every generated part made anew."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{GENERATED[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", part, text, flags=re.DOTALL)


def main() -> None:
    """Update or check all documents."""
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        new = updated(text)
        if new != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if "--check" in sys.argv and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run: python tools/update_docs.py")


if __name__ == "__main__":
    main()
