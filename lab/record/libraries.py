"""Record what CMSIS-NN, ONNX Runtime and PyTorch print for a small, discriminating set of dense layers.

    python -m lab record libraries --cmsis FILE FILE --build VERSION TEXT

Writes tests/recorded/dense_other_runtimes.npz and .json (fingerprints and which case is which). The .npz has all
models' bytes one after the other, all inputs', and each runtime's outputs': the shapes are in the models, so nothing
else is needed, and one array a case would double the size. The two libraries are CMSIS-NN built without and with
CMSIS_NN_USE_SINGLE_ROUNDING; --build says of which commit, and by which compiler with which flags. Expected data never
comes from LastBit's own arithmetic.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from lab.cases.dense_libraries import RUNTIMES, built_fingerprint, golden_cases
from lastbit.model.tflite import write
from lastbit.oracles import OracleFailure, open_oracle

GOLDEN = Path(__file__).parents[2] / "tests" / "recorded"
NAME = "dense_other_runtimes"


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmsis", nargs=2, required=True, metavar="FILE", help="double and single rounding")
    parser.add_argument("--build", nargs=2, required=True, metavar=("VERSION", "TEXT"), help="of the two libraries")
    options = parser.parse_args()
    libraries = dict(zip(RUNTIMES, options.cmsis, strict=False))
    chosen = list(golden_cases())
    models = [write(case.graph) for _, case in chosen]
    parts = {"models": models, "x": [x.tobytes() for _, case in chosen for x in case.samples]}
    listing = [
        {
            "family": case.family,
            "group": group,
            "model_bytes": len(content),
            "samples": len(case.samples),
            "refused": {},
        }
        for (group, case), content in zip(chosen, models, strict=True)
    ]
    fingerprints = {}
    for name in RUNTIMES:
        with open_oracle(name, library=libraries.get(name)) as oracle:
            fingerprints[name] = built_fingerprint(oracle.fingerprint, tuple(options.build))
            parts[name] = []
            for (_, case), content, entry in zip(chosen, models, listing, strict=True):
                try:
                    run = oracle.run(content, [[x] for x in case.samples])
                except OracleFailure as failure:
                    entry["refused"][name] = failure.reason  # type: ignore[index]
                    continue
                parts[name] += [outputs[0].tobytes() for outputs in run.outputs]
    arrays = {name: np.frombuffer(b"".join(pieces), np.uint8) for name, pieces in parts.items()}
    np.savez_compressed(GOLDEN / f"{NAME}.npz", **arrays)
    content = {"made_by": "lab/record/libraries.py", "fingerprints": fingerprints, "cases": listing}
    (GOLDEN / f"{NAME}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{len(chosen)} cases, {(GOLDEN / f'{NAME}.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
