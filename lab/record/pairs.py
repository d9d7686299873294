"""Record what ONNX Runtime and PyTorch print where neighbouring products leave 16 bits: a golden file of the tests.

    python -m lab record pairs

Writes tests/recorded/dense_pairs.npz and .json for the runtimes whose interpreters are there and fit this CPU; outputs
of the others are kept, if the cases are still the same. PyTorch is large: run it once more in an environment that has
it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lab.cases import dense_pairs
from lastbit.model.tflite import write
from lastbit.oracles import installed, open_oracle

TARGET = Path(__file__).parents[2] / "tests" / "recorded" / "dense_pairs.npz"
LARGEST_CASE = 3_000


def main() -> None:
    """Record and write."""
    cases, arrays, listing = [], {}, []
    for group, case in dense_pairs.golden_cases():
        content = write(case.graph)
        if len(content) + case.samples[0].nbytes <= LARGEST_CASE:
            cases.append((content, case.samples[0]))
            listing.append({"group": group, "family": case.family})
    for number, (content, x) in enumerate(cases):
        arrays[f"{number}.model"], arrays[f"{number}.x"] = np.frombuffer(content, np.uint8), x
    old: dict[str, np.ndarray] = {}
    fingerprints: dict[str, dict[str, str]] = {}
    if TARGET.exists():
        with np.load(TARGET) as stored:
            old = {name: stored[name] for name in stored.files}
        fingerprints = json.loads(TARGET.with_suffix(".json").read_text())["fingerprints"]
    same = {name for name in old if name.endswith(("model", "x"))} == set(arrays) and all(
        np.array_equal(old[name], value) for name, value in arrays.items()
    )
    for runtime in dense_pairs.RUNTIMES:
        if installed(runtime) is not None:
            with open_oracle(runtime) as oracle:
                fingerprints[runtime] = oracle.fingerprint.as_dict()
                for number, (content, x) in enumerate(cases):
                    arrays[f"{number}.{runtime}"] = oracle.run(content, [[x]]).outputs[0][0]
        elif same:
            arrays |= {name: value for name, value in old.items() if name.endswith(f".{runtime}")}
        else:
            fingerprints.pop(runtime, None)
    np.savez_compressed(TARGET, **arrays)
    data = {"schema": "lastbit.golden_pairs/1", "fingerprints": fingerprints, "cases": listing}
    TARGET.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
