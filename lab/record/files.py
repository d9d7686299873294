"""Ask the real interpreters about unusual files, record their answers and write docs/files.md.

    python -m lab record files

Writes tests/recorded/files.json: the files, what they were fed, and every answer. Outputs are kept as hexadecimal
bytes. An interpreter may crash on such a file: each runs in a process of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lab.cases.dense import HERE
from lab.cases.files import FileCase, all_cases
from lab.cases.zero_scales import zero_scale_cases
from lab.pages.files import write_page
from lastbit.oracles import Oracle, OracleFailure, open_oracle

TARGET = Path(__file__).parents[2] / "tests" / "recorded" / "files.json"


def cases() -> list[FileCase]:
    """Every file, those with the same bytes once."""
    found = all_cases()
    found += [FileCase(group, what, case.content(), tuple(case.values)) for group, what, case in zero_scale_cases()]
    return list({case.content: case for case in reversed(found)}.values())[::-1]


def packed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as JSON data."""
    return {"dtype": str(array.dtype), "shape": list(array.shape), "hex": np.ascontiguousarray(array).tobytes().hex()}


def ask(oracle: Oracle, case: FileCase) -> dict[str, Any]:
    """What an interpreter says, or its outputs."""
    try:
        run = oracle.run(case.content, [list(case.values)], label=case.what)
    except OracleFailure as failure:
        return {"answer": failure.kind, "words": " ".join(failure.reason.split())}
    return {"answer": "ran", "delegated": run.delegated, "outputs": [packed(value) for value in run.outputs[0]]}


def main() -> None:
    """Ask, record, write the page."""
    listing = [
        {
            "group": case.group,
            "what": case.what,
            "sha256": hashlib.sha256(case.content).hexdigest(),
            "file": base64.b64encode(zlib.compress(case.content, 9)).decode(),
            "inputs": [packed(value) for value in case.values],
            "answers": {},
        }
        for case in cases()
    ]
    fingerprints = {}
    for name in HERE:
        with open_oracle(name, timeout=30) as oracle:
            fingerprints[name] = oracle.fingerprint.as_dict()
            for entry, case in zip(listing, cases(), strict=True):
                entry["answers"][name] = ask(oracle, case)
    lines = ",\n ".join(json.dumps(entry) for entry in listing)
    head = json.dumps({"schema": "lastbit.golden_files/1", "fingerprints": fingerprints}, indent=1)
    TARGET.write_text(head.removesuffix("\n}") + ',\n "files": [\n ' + lines + "\n ]\n}\n")
    write_page()


if __name__ == "__main__":
    main()
