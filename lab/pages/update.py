"""Write the tables in README.md and docs/ that are made from data; `--check` only says whether they are up to date.

    python -m lab pages update [--check] [--except NAME ...]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection
from pathlib import Path

from lab.pages import api as api_page
from lab.pages import converters, gallery, gallery_scales, page_585, reader_table, runtimes, screens
from lastbit.ops import OPERATOR_GROUPS, OPERATORS
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.evidence import evidence_of, outputs_by_run
from lastbit.runtimes.groups import GROUPS
from lastbit.runtimes.open_points import OPEN_POINTS, SETTLED_POINTS
from lastbit.runtimes.variant import key_of
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES, OPERATOR_TABLES, Cell, operator_runs, operators_report

ROOT = Path(__file__).parents[2]


def families_table() -> str:
    """A row for each family of runtimes: what it was compared with, and how much."""
    lines = ["| family | compared with | runtimes | outputs compared | differ |", "|---|---|---:|---:|---:|"]
    for group, names in GROUPS.items():
        oracles = dict.fromkeys(RUNTIMES[name].oracle.partition(",")[0] for name in names)
        rows = [row for name in names for row in evidence_of(name)]
        outputs, bad = sum(row.outputs for row in rows), sum(row.mismatches for row in rows)
        lines.append(f"| {group} | {', '.join(oracles)} | {len(names)} | {outputs:,} | {bad} |")
    return "\n".join(lines)


def runtimes_table() -> str:
    """Runtime, proven against, rule, outputs compared, mismatches."""
    lines = [
        "| runtime | proven against | int8 dense rule | outputs compared | mismatches |",
        "|---|---|---|---:|---:|",
    ]
    for name, runtime in RUNTIMES.items():
        rules = dict.fromkeys(
            f"`{rule.name}`"
            for granularity in ("per_tensor", "per_channel")
            if isinstance(rule := runtime.rules[key_of("FULLY_CONNECTED", f"int8 {granularity}")], Rule)
        )
        outputs, bad = (sum(getattr(row, what) for row in evidence_of(name)) for what in ("outputs", "mismatches"))
        lines.append(f"| `{name}` | {runtime.oracle} | {', '.join(rules)} | {outputs:,} | {bad} |")
    lines += [
        "",
        "Outputs of dense layers of every type and of the operators around them. Where two rules stand, the first is",
        "per-tensor, the second per-channel.",
    ]
    return "\n".join(lines)


def machines_list() -> str:
    """The machines on which `lab/collect/dense.py` ran, and which runtimes there."""
    machines: dict[str, list[str]] = {}
    for name in RUNTIMES:
        for machine in dict.fromkeys(_cpu(run.cpu) for run in outputs_by_run(evidence_of(name))):
            machines.setdefault(machine, []).append(f"`{name}`")
    return "\n".join(f"- {machine}: {', '.join(names)}" for machine, names in machines.items())


_WIDEST = {
    "avx512_vnni": "AVX512-VNNI",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx2": "AVX2",
    "dotprod": "NEON and dot products",
    "asimd": "NEON, no dot products",
}


def _cpu(text: str) -> str:
    """A fingerprint's CPU in few words: its name and the widest vector instructions."""
    name, _, rest = text.partition(" (")
    features, _, how = rest.partition(")")
    words = features.split()
    for feature, told in _WIDEST.items():
        if feature in words:
            return f"{name} with {told}" + (how if "emulated" in how or "hidden" in how else "")
    return name


def operators_tables() -> str:
    """For each operator a table: a row for each variant, a column for each runtime, and the rules it follows."""
    rows: dict[str, list[tuple[str, dict[str, Cell]]]] = {}
    for (operator, variant), cells in operators_report().cells().items():
        rows.setdefault(operator, []).append((variant, cells))
    parts: list[str] = []
    for name, names in OPERATOR_GROUPS.items():
        found = [_operator_part(operator, rows[operator]) for operator in names if operator in rows]
        parts += [f"## {name}", *found] if found else []
    return "\n\n".join(parts)


def _operator_part(operator: str, variants: list[tuple[str, dict[str, Cell]]]) -> str:
    lines = [f"### {operator}", ""]
    reasons: dict[str, int] = {}
    rules: dict[str, list[str]] = {}
    for names in OPERATOR_TABLES.values():
        lines += [f"| variant | {' | '.join(f'`{n}`' for n in names)} |", "|---" * (len(names) + 1) + "|"]
        for variant, cells in variants:
            texts = []
            for name in names:
                cell = cells[name]
                if cell.status == "exact":
                    texts.append(f"exact, {cell.outputs:,}")
                    rules.setdefault(cell.rule, []).append(name)
                else:
                    note = reasons.setdefault(cell.reason, len(reasons) + 1)
                    texts.append(f"{cell.status} ({note})")
            lines.append(f"| {variant} | {' | '.join(texts)} |")
        lines.append("")
    for rule, users in rules.items():
        equation = OPERATORS[operator].rules[rule].replace("|", "\\|")
        lines.append(f"- `{rule}`: {equation}. In {', '.join(dict.fromkeys(users))}.")
    lines += [f"- ({number}) {reason}" for reason, number in reasons.items()]
    return "\n".join(lines)


def operators_source() -> str:
    """Where the evidence of the operators is from."""
    lines = ["| runtime | interpreter | machine | evidence |", "|---|---|---|---|"]
    for name in OPERATOR_RUNTIMES:
        for run in operator_runs(name):
            lines.append(f"| `{name}` | {run.oracle} {run.version}, {run.mode} | {run.cpu} | {run.how} |")
    return "\n".join(lines)


def open_points() -> str:
    """What is not known, and what was not known once."""
    lines = [f"- {what}: {known}" for what, known in OPEN_POINTS]
    return "\n".join([*lines, "", "Open once, known now:", "", *(f"- {what}: {now}" for what, now in SETTLED_POINTS)])


GENERATED: dict[str, Callable[[], str]] = {
    "open_points": open_points,
    "operators": operators_tables,
    "operators_source": operators_source,
    "methods": converters.methods,
    "converters": converters.compared,
    "converter_changes": converters.changes,
    "runtimes": runtimes_table,
    "families": families_table,
    "machines": machines_list,
    "readers": reader_table.reader_table,
    "runtime_pages": runtimes.index,
    "accumulator_585": page_585.page,
    "gallery": gallery.page,
    "gallery_scales": gallery_scales.page,
    "api_functions": api_page.functions,
    "api_classes": api_page.classes,
    "api_commands": api_page.commands,
    "api_json": api_page.json_kinds,
}


def updated(text: str, names: Collection[str] = GENERATED) -> str:
    """The text with every generated part of these names made anew."""

    def part(match: re.Match[str]) -> str:
        if match[1] not in names:
            return match[0]
        return f"<!-- generated: {match[1]} -->\n{GENERATED[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", part, text, flags=re.DOTALL)


def main() -> None:
    """Update or check all documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--except", nargs="+", choices=GENERATED, default=[], dest="left_out", metavar="NAME")
    options = parser.parse_args()
    stale, check, names = [], options.check, GENERATED.keys() - options.left_out
    written = {ROOT / "docs" / "runtimes" / name: text for name, text in runtimes.pages().items()} | screens.pictures()
    if not check:  # tests/report/test_first_screens.py compares them
        written |= screens.texts()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *written]:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        new = written[path] if path in written else updated(text, names)
        if screens.words(new) != screens.words(text):
            stale.append(path.name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(new, encoding="utf-8", newline="\n")
    if check and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run: python -m lab pages update")


if __name__ == "__main__":
    main()
