"""Record what real interpreters print for a small, discriminating set of dense layers: golden files for the tests.

    python tools/record_dense.py

Writes tests/golden/dense.npz (models, inputs and each runtime's outputs) and tests/golden/dense.json (fingerprints and
which case is which). Expected data never comes from LastBit's own arithmetic.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from dense_families import Case, cases
from lastbit.oracles import OracleFailure, open_oracle
from lastbit.runtimes import RUNTIMES
from lastbit.tflite import write

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
SEED, ROUNDS, PROBES = 7, 8, 400
LARGEST_MODEL = 24_000


def main() -> None:
    """Record and write."""
    chosen: list[tuple[str, Case]] = []
    for per_channel in (False, True):
        for case in cases(SEED, ROUNDS, per_channel, PROBES):
            if len(write(case.graph)) <= LARGEST_MODEL:
                chosen.append(("per_channel" if per_channel else "per_tensor", case))
    arrays: dict[str, np.ndarray] = {}
    listing = []
    for number, (granularity, case) in enumerate(chosen):
        arrays[f"{number}/model"] = np.frombuffer(write(case.graph), np.uint8)
        arrays[f"{number}/x"] = np.stack(case.samples)
        listing.append({"family": case.family, "granularity": granularity, "refused": {}})
    fingerprints = {}
    for name in RUNTIMES:
        with open_oracle(name) as oracle:
            fingerprints[name] = oracle.fingerprint.as_dict()
            for number, (_, case) in enumerate(chosen):
                try:
                    run = oracle.run(write(case.graph), [[x] for x in case.samples])
                except OracleFailure as failure:
                    listing[number]["refused"][name] = failure.reason  # type: ignore[index]
                    continue
                arrays[f"{number}/{name}"] = np.stack([outputs[0] for outputs in run.outputs])
    GOLDEN.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN / "dense.npz", **arrays)
    content = {"made_by": "tools/record_dense.py", "fingerprints": fingerprints, "cases": listing}
    (GOLDEN / "dense.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(len(chosen), "cases,", (GOLDEN / "dense.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
