"""All that was compared with the real interpreters, one file for each runtime; and what the wheel has of it.

    python lab/evidence_files.py

condenses lab/evidence/RUNTIME.json to src/lastbit/runtimes/facts/evidence.json: one row for each operator and
variant. A runtime's file has four parts: `dense` (lab/collect/dense.py: counts of each family of cases), `operators`
(lab/collect/operators.py), `inputs` (lab/collect/operator_inputs.py: many inputs to few models) and `chosen`
(lab/collect/chosen.py: few cases, each made to tell two rules apart).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from lastbit.runtimes import RUNTIMES
from lastbit.runtimes.evidence import Run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "lab" / "evidence"
CONDENSED = ROOT / "src" / "lastbit" / "runtimes" / "facts" / "evidence.json"

Part = Literal["dense", "operators", "inputs", "chosen"]
PARTS: tuple[Part, ...] = ("dense", "operators", "inputs", "chosen")
COUNTS = ("outputs", "mismatches", "refused_by_both", "outputs_of_declined_layers")


def path_of(runtime: str) -> Path:
    """The file of a runtime."""
    return FOLDER / f"{runtime}.json"


def load_part(part: Part) -> dict[str, dict[str, Any]]:
    """Runtime -> its entry of a part, for all that have one."""
    found = {}
    for name in RUNTIMES:
        if path_of(name).exists():
            content = json.loads(path_of(name).read_text(encoding="utf-8"))
            if part in content:
                found[name] = content[part]
    return found


def store_part(part: Part, entries: dict[str, dict[str, Any]]) -> None:
    """Write runtimes' entries of a part, keep all else, and condense."""
    FOLDER.mkdir(exist_ok=True)
    for name, entry in entries.items():
        path = path_of(name)
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content = {"schema": "lastbit.recorded_evidence/1", "runtime": name, **content, part: entry}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    CONDENSED.write_text(condensed(), encoding="utf-8")


class Numbers:
    """Texts that are said once and meant by number."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        """The number of a value."""
        return self.of.setdefault(json.dumps(value, separators=(",", ":")), len(self.of))

    def lines(self) -> str:
        """All values in the order of their numbers, a line each."""
        return "[\n" + ",\n".join(self.of) + "\n]"


def condensed() -> str:
    """What the wheel has: one row for each runtime, operator and variant; equal rows of several runtimes stand once."""
    texts, runs, variants, rivals, rival_sets, words, others, seen = (Numbers() for _ in range(8))
    parts = [load_part(part) for part in PARTS]
    # The reader lists a runtime's rows by these numbers.
    for row in sorted({(v["operator"], v["variant"]) for part in parts for e in part.values() for v in e["variants"]}):
        variants(row)
    told = []
    for name in RUNTIMES:
        rows: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        for part in parts:
            entry = part.get(name, {"variants": []})
            for variant in entry["variants"]:
                rows.setdefault((variant["operator"], variant["variant"]), []).append((entry, variant))
        by_runs: dict[str, list[int]] = {}
        for key, found in sorted(rows.items()):
            told_of = [_run(entry, variant) for entry, variant in found]
            ran = sorted({runs([texts(run.get(field.name, "")) for field in fields(Run)]) for run in told_of})
            outputs, *rest = [sum(variant.get(count, 0) for _, variant in found) for count in COUNTS]
            said = words(next((v["interpreters_words"] for _, v in found if v.get("interpreters_words")), ""))
            refuted: Counter[str] = Counter()
            for _, variant in found:
                for rival, count in variant["rivals_refuted_at"].items():
                    refuted[rival] += count
            named = rival_sets([rivals(rival) for rival in sorted(refuted)])
            at = [refuted[rival] for rival in sorted(refuted)]
            by_runs.setdefault(json.dumps(ran), []).append(
                seen([variants(key), said, named, outputs, others(rest), *at])
            )
        groups = [f"[{ran}, {json.dumps(numbers, separators=(',', ':'))}]" for ran, numbers in by_runs.items()]
        told.append(f"{json.dumps(name)}: [\n" + ",\n".join(groups) + "\n]")
    tables = {
        **{"texts": texts, "runs": runs, "variants": variants, "rivals": rivals, "rival_sets": rival_sets},
        **{"words": words, "others": others, "rows": seen},
    }
    lists = ",\n".join(f'"{name}": {numbers.lines()}' for name, numbers in tables.items())
    return f'{{"schema": "lastbit.evidence/5",\n{lists},\n"runtimes": {{\n' + ",\n".join(told) + "\n}}\n"


def _run(entry: dict[str, Any], variant: dict[str, Any]) -> dict[str, str]:
    own = {**entry, **variant}
    return {**own["fingerprint"], "date": own["date"], "how": own["how"]}


if __name__ == "__main__":
    CONDENSED.write_text(condensed(), encoding="utf-8")
    print(f"{CONDENSED.stat().st_size:,} bytes")
