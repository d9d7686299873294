"""What golden files hold of versions on ARM64, as evidence of these versions: python -m lab versions from_golden.

Reads tests/recorded/dense_arm64.json and dense_arm64_float.json (lab/record/arm64.py) and adds their runs to
version_evidence.json: an emulator is asked once, for the file. Runs of lab/reach/time_machine.py stay as they are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lab.cases import dense_float
from lab.cases.dense import Case
from lab.cases.versions import Rivals, rivals_dense, rivals_hybrid, rivals_int16
from lab.collect.version_facts import EVIDENCE, write_facts
from lab.reach.replay_version import Key, Prepared, Tally
from lab.reach.time_machine import evidence_variants, read_evidence, write_evidence
from lab.reach.version_golden import FOLDER, decode, unpack
from lastbit.model.tflite import load
from lastbit.ops import OPERATORS

Tallies = dict[Key, Tally]
CASES = "golden"
SCRIPT = "python -m lab versions from_golden"


FILES = ("dense_arm64", "dense_arm64_float")
RIVALS: dict[str, Rivals] = {"int8": rivals_dense, "uint8": rivals_dense, "int16": rivals_int16}


def prepared_cases(arrays: Mapping[str, np.ndarray], families: Sequence[str]) -> list[Prepared]:
    """A file's cases, with what every rule makes of them."""
    return [_prepared(family, arrays[f"{n}/model"].tobytes(), arrays[f"{n}/x"]) for n, family in enumerate(families)]


def _prepared(family: str, content: bytes, samples: np.ndarray) -> Prepared:
    model = load(content)
    op = model.operators[0]
    given, weights = (model.tensors[i].dtype.name for i in op.inputs[:2])
    floats = dense_float.rivals if weights == "float32" else rivals_hybrid
    outputs = {
        name: [rule.evaluate([x])["output"] for x in samples]
        for name, rule in (RIVALS.get(given, floats)(model, op) if weights != "float16" else {}).items()
    }
    case = Case(family, model.subgraphs[0], tuple(samples))
    return Prepared(case, content, op, str(OPERATORS[op.name].variant(model, op)), outputs)


def counted(cases: Sequence[Prepared], arrays: Mapping[str, np.ndarray], printed: Sequence[int | str]) -> Tallies:
    """What one version printed, compared with every rule."""
    tallies: Tallies = defaultdict(Tally)
    for number, (case, entry) in enumerate(zip(cases, printed, strict=True)):
        if isinstance(entry, str):
            tallies[case.key(None)].refused[entry] += 1
        else:
            found = arrays[f"{number}/{entry if entry >= 0 else -1 - entry}"]
            tallies[case.key(entry < 0)].compare(case, list(found))
    return tallies


def largest_versions(runs: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Mode and version -> the largest operator version of FULLY_CONNECTED, from CPUs of any kind: it is the file's."""
    return {
        (run["fingerprint"]["mode"], run["fingerprint"]["version"]): run["largest_operator_version"]
        for run in runs.values()
        if run["fingerprint"]["oracle"] == "ai-edge-litert"
    }


def main() -> None:
    """Add the runs, and decide again what each version offers."""
    runs = read_evidence(EVIDENCE)
    largest = largest_versions(runs)
    tallies: dict[str, Tallies] = defaultdict(dict)
    fingerprints: dict[str, dict[str, str]] = {}
    for file in FILES:
        listing, arrays = (
            json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8")),
            unpack(FOLDER / f"{file}.npz"),
        )
        cases = prepared_cases(arrays, [case["family"] for case in listing["cases"]])
        for name, codes in listing["printed"].items():
            if " " not in name:  # else what another kind of CPU printed, which follows the same runtime
                tallies[name] |= counted(cases, arrays, decode(codes, listing["refusals"]))
                fingerprints[name] = listing["fingerprints"][name]
    for name, found in tallies.items():
        if name in runs and runs[name].get("cases") != CASES:
            continue
        mode, version = fingerprints[name]["mode"], fingerprints[name]["version"]
        runs[name] = {
            "fingerprint": fingerprints[name],
            "largest_operator_version": largest[mode, version],
            "cases": CASES,
            "variants": evidence_variants(found),
        }
        print(name, sum(tally.outputs for tally in found.values()))
    write_evidence(EVIDENCE, runs, SCRIPT)
    write_facts()


if __name__ == "__main__":
    main()
