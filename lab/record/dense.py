"""Record what real interpreters print for small, discriminating sets of dense layers: golden files for the tests.

    python -m lab record dense [--stored-cases] [--tape RUNTIME=FILE ...] [NAME ...]

Each set of SETS, or those named, goes to tests/recorded/NAME.npz (models, inputs and each runtime's outputs) and
tests/recorded/NAME.json (fingerprints and which case is which). With --stored-cases this machine's interpreters are
asked about the cases in the files, and what the files hold of runtimes that cannot run here stays. With --tape only
that runtime is asked about them, by tapes FILE.NAME (lab/reach/tape.py). Expected data never comes from LastBit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.cases import dense as dense_families
from lab.cases import dense_8bit, dense_float, dense_hybrid, dense_int16
from lab.cases.dense import Case
from lab.reach.tape import open_tape
from lastbit.model.graph import Model, Operator
from lastbit.model.tflite import write
from lastbit.ops.base import PreparedOperator
from lastbit.oracles import OracleFailure, installed, open_oracle

Array = npt.NDArray[Any]

GOLDEN = Path(__file__).parents[2] / "tests" / "recorded"
SEED, ROUNDS, PROBES = 7, 8, 400
LARGEST_MODEL = 24_000


@dataclass(frozen=True)
class GoldenSet:
    """One pair of golden files.

    Attributes:
        cases: the cases, each with its group: within one group the set separates every pair of different rules.
        rivals: (model, operator) -> every rule that could be thought to be the right one, prepared.
        families: how many different families the cases come from.
        runtimes: the runtimes that it is recorded from.
        equal: (group, pair of rules in alphabetical order) -> why they are the same function in that group.
    """

    cases: Callable[[], Iterator[tuple[str, Case]]]
    rivals: Callable[[Model, Operator], Mapping[str, PreparedOperator]]
    families: int
    runtimes: Sequence[str] = dense_families.RUNTIMES
    equal: Mapping[tuple[str, tuple[str, str]], str] = field(default_factory=dict)


def _int8() -> Iterator[tuple[str, Case]]:
    for group, kind in (("per_tensor", dense_families.PER_TENSOR), ("per_channel", dense_families.PER_CHANNEL)):
        rng = np.random.default_rng([SEED, kind.per_channel])
        for case in dense_families.cases(rng, ROUNDS, kind, PROBES):
            if len(write(case.graph)) <= LARGEST_MODEL:
                yield group, case


# Keyed by the name of the files.
SETS: dict[str, GoldenSet] = {
    "dense": GoldenSet(_int8, dense_families.rivals, families=11),
    "dense_8bit": GoldenSet(dense_8bit.golden_cases, dense_8bit.rivals, families=17),
    "dense_hybrid": GoldenSet(dense_hybrid.golden_cases, dense_hybrid.rivals, families=9),
    "dense_float": GoldenSet(dense_float.golden_cases, dense_float.rivals, families=6, runtimes=dense_float.RUNTIMES),
    "dense_int16": GoldenSet(
        dense_int16.golden_cases,
        dense_int16.rivals,
        families=9,
    ),
}


def record(name: str, stored_cases: bool = False, tapes: Mapping[str, str] | None = None) -> None:
    """Run one set on every interpreter that is there, and write its files.

    Args:
        name: a key of `SETS`.
        stored_cases: take the cases from the files, and keep what they hold of runtimes that cannot run here. Without
            it the cases are made anew, and may be others where the rules are.
        tapes: runtime -> its tape except for the set's name: only these are asked.
    """
    listing: list[dict[str, Any]]
    fingerprints: dict[str, dict[str, str]] = {}
    if stored_cases:
        old, recorded = stored(name)
        listing, fingerprints = old["cases"], old["fingerprints"]
    else:
        chosen = list(SETS[name].cases())
        recorded = [
            {"model": np.frombuffer(write(case.graph), np.uint8), "x": np.stack(case.samples)} for _, case in chosen
        ]
        listing = [{"family": case.family, "group": group, "refused": {}} for group, case in chosen]
    for runtime in SETS[name].runtimes:
        if runtime not in tapes if tapes else installed(runtime) is None:
            what = "what was recorded stays" if runtime in fingerprints else "left out"
            print(f"{runtime} is not asked: {what}", file=sys.stderr)
            continue
        with open_tape(runtime, f"{tapes[runtime]}.{name}") if tapes else open_oracle(runtime) as oracle:
            fingerprints[runtime] = oracle.fingerprint.as_dict()
            for entry, arrays in zip(listing, recorded, strict=True):
                entry["refused"].pop(runtime, None)
                arrays.pop(runtime, None)
                try:
                    run = oracle.run(arrays["model"].tobytes(), [[x] for x in arrays["x"]])
                except OracleFailure as failure:
                    entry["refused"][runtime] = failure.reason
                    continue
                arrays[runtime] = np.stack([outputs[0] for outputs in run.outputs])
    store(name, {"made_by": f"lab/record/dense.py {name}", "fingerprints": fingerprints}, listing, recorded)
    print(f"{name}: {len(recorded)} cases, {(GOLDEN / f'{name}.npz').stat().st_size} bytes")


def store(
    name: str, head: Mapping[str, object], listing: Sequence[dict[str, object]], recorded: Sequence[Mapping[str, Array]]
) -> None:
    """Write the two files. All arrays of one kind lie one after the other: an entry each would be mostly overhead."""
    parts: dict[str, list[bytes]] = {}
    for entry, arrays in zip(listing, recorded, strict=True):
        entry["arrays"] = {key: [str(array.dtype), list(array.shape)] for key, array in arrays.items()}
        for key, array in arrays.items():
            parts.setdefault(key, []).append(np.ascontiguousarray(array).tobytes())
    GOLDEN.mkdir(exist_ok=True)
    blobs = {key: np.frombuffer(b"".join(values), np.uint8) for key, values in parts.items()}
    np.savez_compressed(GOLDEN / f"{name}.npz", **blobs)  # type: ignore[arg-type]
    lines = ",\n  ".join(json.dumps(entry) for entry in listing)
    text = json.dumps(head)[1:-1]
    (GOLDEN / f"{name}.json").write_text(f'{{{text},\n "cases": [\n  {lines}\n ]}}\n', encoding="utf-8")


def stored(name: str) -> tuple[dict[str, Any], list[dict[str, Array]]]:
    """What `store` wrote: the listing, and for each case `model`, `x` and the outputs by runtime."""
    listing = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(GOLDEN / f"{name}.npz") as file:
        blobs = dict(file)
    at = dict.fromkeys(blobs, 0)
    cases = []
    for entry in listing["cases"]:
        arrays = {}
        for key, (dtype, shape) in entry["arrays"].items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            arrays[key] = blobs[key][at[key] : at[key] + size].view(dtype).reshape(shape)
            at[key] += size
        cases.append(arrays)
    return listing, cases


def main() -> None:
    """Record the named sets, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--stored-cases", action="store_true")
    parser.add_argument("--tape", action="append", default=[], metavar="RUNTIME=FILE", help="see lab/reach/tape.py")
    options = parser.parse_args()
    tapes = dict(text.split("=", 1) for text in options.tape)
    for name in options.names or SETS:
        if name not in SETS:
            raise SystemExit(f"there is no golden set {name!r}; wanted: {', '.join(SETS)}")
        record(name, options.stored_cases or bool(tapes), tapes)


if __name__ == "__main__":
    main()
