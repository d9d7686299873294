"""Hold every exact runtime against its real interpreter and write what was compared, for `lastbit runtimes`.

    python tools/collect_evidence.py [--rounds N] [--seed S]

Writes src/lastbit/runtimes/evidence.json: per runtime the interpreter's fingerprint, per family the outputs compared
and the mismatches, and per rival rule the number of outputs at which it is refuted. About five million outputs per
runtime at the default number of rounds. The README's and docs' tables are made from that file (tools/update_docs.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from dense_families import Case, cases
from lastbit.arith.requantize import RULES
from lastbit.errors import UnsupportedError
from lastbit.ops.fully_connected import prepare_fully_connected
from lastbit.oracles import Oracle, OracleFailure, open_oracle
from lastbit.prepare import PreparedOperator, prepare_operator
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.tflite import load, write

TARGET = Path(__file__).parents[1] / "src" / "lastbit" / "runtimes" / "evidence.json"


class Tally:
    """What was compared for one runtime."""

    def __init__(self) -> None:
        self.outputs: Counter[tuple[str, str]] = Counter()
        self.mismatches: Counter[tuple[str, str]] = Counter()
        self.rivals: dict[str, Counter[str]] = defaultdict(Counter)
        self.refused = 0
        self.declined = 0
        self.first_mismatch = ""

    def compare(self, case: Case, oracle: Oracle, granularity: str) -> None:
        """Run one case in the real interpreter and in every rule, and count."""
        content = write(case.graph)
        model = load(content)
        op = model.operators[0]
        key = (case.family, granularity)
        try:
            prepared: PreparedOperator | None = prepare_operator(model, op, oracle.name)
        except UnsupportedError:
            prepared = None
        try:
            run = oracle.run(content, [[x] for x in case.samples])
        except OracleFailure as failure:
            if prepared is not None:
                self.mismatches[key] += 1
                self.first_mismatch = self.first_mismatch or f"{key}: the interpreter refused: {failure}"
            self.refused += 1
            return
        if prepared is None:
            self.mismatches[key] += 1
            self.first_mismatch = self.first_mismatch or f"{key}: LastBit refuses what the interpreter runs"
            return
        rivals = {name: prepare_fully_connected(model, op, name) for name in RULES}
        stated = RUNTIMES[oracle.name].rules[op.name, f"int8 {granularity}"]
        # A layer that the delegate declines follows the fallback's rule: it says nothing about this one's rivals.
        declined = not isinstance(stated, Rule) or stated.name != prepared.rule
        if declined:
            key = (f"{case.family}: declined, run by {prepared.kernel}", granularity)
            self.declined += sum(outputs[0].size for outputs in run.outputs)
        for x, (observed,) in zip(case.samples, run.outputs, strict=True):
            ours = prepared.evaluate([x])["output"]
            bad = int((ours != observed).sum()) if ours.shape == observed.shape else observed.size
            self.outputs[key] += 0 if declined else observed.size
            self.mismatches[key] += bad
            if bad and not self.first_mismatch:
                self.first_mismatch = f"{key}: {bad} of {observed.size}, {model.tensors[0].shape}"
            for name, rival in rivals.items():
                if name != prepared.rule and not declined:
                    self.rivals[granularity][name] += int((rival.evaluate([x])["output"] != observed).sum())

    def as_dict(self, oracle: Oracle) -> dict[str, Any]:
        """The tally as the evidence file has it."""
        variants = []
        for granularity in ("per_tensor", "per_channel"):
            families = [
                {"family": family, "outputs": count, "mismatches": self.mismatches[family, granularity]}
                for (family, g), count in sorted(self.outputs.items())
                if g == granularity
            ]
            variants.append(
                {
                    "operator": "FULLY_CONNECTED",
                    "variant": f"int8 {granularity}",
                    "outputs": sum(f["outputs"] for f in families),
                    "mismatches": sum(f["mismatches"] for f in families),
                    "families": families,
                    "rivals_refuted_at": dict(sorted(self.rivals[granularity].items())),
                }
            )
        return {
            "fingerprint": oracle.fingerprint.as_dict(),
            "refused_by_both": self.refused,
            "outputs_of_declined_layers": self.declined,
            "variants": variants,
        }


def collect(seed: int, rounds: int, progress: bool = False) -> dict[str, Any]:
    """Run every family on every runtime.

    Returns:
        The evidence file's content.
    """
    tallies = {name: Tally() for name in RUNTIMES}
    oracles = {name: open_oracle(name) for name in RUNTIMES}
    try:
        for per_channel in (False, True):
            granularity = "per_channel" if per_channel else "per_tensor"
            for number, case in enumerate(cases(seed, rounds, per_channel)):
                # More than one scale is what every runtime takes per-channel to mean.
                actual = case.layer.granularity
                for name, oracle in oracles.items():
                    tallies[name].compare(case, oracle, actual)
                if progress and number % 50 == 0:
                    done = {n: sum(t.outputs.values()) for n, t in tallies.items()}
                    print(granularity, number, done, file=sys.stderr)
        return {
            "schema": "lastbit.evidence/1",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "script": f"tools/collect_evidence.py --seed {seed} --rounds {rounds}",
            "numpy": np.__version__,
            "runtimes": {name: tallies[name].as_dict(oracle) for name, oracle in oracles.items()},
            "first_mismatches": {n: t.first_mismatch for n, t in tallies.items() if t.first_mismatch},
        }
    finally:
        for oracle in oracles.values():
            oracle.close()


def main() -> None:
    """Parse the command line, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=160)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    evidence = collect(options.seed, options.rounds, progress=True)
    TARGET.write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    for name, entry in evidence["runtimes"].items():
        for variant in entry["variants"]:
            print(name, variant["variant"], variant["outputs"], "outputs,", variant["mismatches"], "mismatches")
            print("   refuted:", variant["rivals_refuted_at"])
        print("   refused by both:", entry["refused_by_both"])
    for name, text in evidence["first_mismatches"].items():
        print("FIRST MISMATCH", name, text)


if __name__ == "__main__":
    main()
