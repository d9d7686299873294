"""Evidence of runtimes that cannot run on this machine, from what the golden files hold of them.

    python -m lab collect from_recorded RUNTIME [...]

A golden file (lab/record/dense.py) has a real interpreter's outputs with its fingerprint: evidence as good as
a run, only smaller. Adds entries to lab/evidence for the variants that a runtime has none of;
their families are called `recorded: ...`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from lab.collect.dense import Tally
from lab.collect.evidence_files import load_part, store_part
from lab.record.dense import SETS, stored
from lastbit.oracles import OracleRefusal


class Recorded:
    """Stands where an oracle does, and answers from one golden file."""

    def __init__(self, runtime: str, listing: dict[str, Any], cases: Sequence[dict[str, np.ndarray]]) -> None:
        self.name = runtime
        self._answers = {
            case["model"].tobytes() + case["x"].tobytes(): (case.get(runtime), entry["refused"].get(runtime, ""))
            for entry, case in zip(listing["cases"], cases, strict=True)
        }

    def run(self, content: bytes, samples: Sequence[Sequence[np.ndarray]]) -> SimpleNamespace:
        """What the interpreter printed for this file and these inputs."""
        outputs, refusal = self._answers[content + np.stack([x for (x,) in samples]).tobytes()]
        if outputs is None:
            raise OracleRefusal(refusal, kind="refused", reason=refusal)
        return SimpleNamespace(outputs=[(output,) for output in outputs])


def main() -> None:
    """Count, and add what is missing."""
    evidence = load_part("dense")
    for runtime in sys.argv[1:]:
        tally = Tally()
        for name, golden in SETS.items():
            listing, cases = stored(name)
            if runtime not in listing["fingerprints"]:
                continue
            oracle: Any = Recorded(runtime, listing, cases)
            for entry, case in zip(listing["cases"], cases, strict=True):
                family = f"recorded: {entry['family']}"
                tally.compare_model(case["model"].tobytes(), case["x"], family, oracle, golden.rivals)
        if tally.first_mismatch:
            raise SystemExit(f"{runtime}: {tally.first_mismatch}")
        there = evidence[runtime]["variants"]
        known = {(v["operator"], v["variant"]) for v in there}
        added = [v for v in tally.variants() if (v["operator"], v["variant"]) not in known]
        there += added
        there.sort(key=lambda v: (v["operator"], v["variant"]))
        for entry in added:
            print(runtime, entry["variant"], entry["outputs"], min(entry["rivals_refuted_at"].values(), default="-"))
    store_part("dense", evidence)


if __name__ == "__main__":
    main()
