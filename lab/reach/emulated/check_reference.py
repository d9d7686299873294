"""Compare LastBit's reference on this machine's CPU with the one on another, step for step, bit for bit.

    python -m lab check reference --write FILE [--every N] [--start N]      # on one machine
    python -m lab check reference --compare FILE                            # on the other one

The arithmetic is NumPy's, and NumPy leaves to the CPU what C leaves to it: floats that no integer holds, the order of
vector sums, fused steps. So every golden layer and operator goes through every runtime's rules: FILE holds a digest of
all steps for each (any NaN counts as any other one), and what refuses. The NumPy engine's outputs are compared with the
reference's on the way. --every takes each Nth case, from --start. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lab.record.dense import GOLDEN, SETS, stored
from lab.record.recorded_operators import read_golden
from lastbit.engines import reference
from lastbit.engines.executable import Executable
from lastbit.model.errors import LastBitError
from lastbit.model.graph import Model
from lastbit.model.tflite import load
from lastbit.ops.prepare import prepare
from lastbit.runtimes import RUNTIMES

Array = np.ndarray[Any, np.dtype[Any]]


def cases(every: int, start: int) -> Iterator[tuple[str, Model, list[list[Array]]]]:
    """Name, model and inputs of the golden layers and operators."""
    for name in SETS:
        for number, case in list(enumerate(stored(name)[1]))[start::every]:
            yield f"{name} {number}", load(case["model"].tobytes()), [[x] for x in case["x"]]
    for path in sorted(GOLDEN.glob("operators.*.npz")):
        for number, (model, inputs, _) in list(enumerate(read_golden(path)[1]))[start::every]:
            yield f"{path.stem} {number}", model, [inputs]


def digest(arrays: dict[str, Array]) -> str:
    """Of names, types, shapes and bits."""
    made = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        bits = np.ascontiguousarray(np.where(value == value, value, np.nan) if value.dtype.kind == "f" else value)
        made.update(f"{name} {bits.dtype.str} {bits.shape}".encode() + bits.tobytes())
    return made.hexdigest()[:16]


def outcome(model: Model, inputs: list[list[Array]], runtime: str) -> tuple[str, int]:
    """The digest of one model's steps in one runtime, or `refused`; how many outputs the NumPy engine has otherwise."""
    prepared = prepare(model, runtime)
    if prepared.refusals:
        return "refused", 0
    parts, wrong = [], 0
    for given in inputs:
        try:
            trace = reference.run(prepared, given)
        except LastBitError as error:
            parts.append(type(error).__name__)
            continue
        steps = {f"{i}.{name}": np.asarray(v) for i, op in trace.operators.items() for name, v in op.steps.items()}
        parts.append(digest(steps))
        if len(given) == len(trace.outputs) == 1:
            found = digest({"": np.asarray(Executable(prepared, "numpy")(given[0]))})
            wrong += found != digest({"": trace.output})
    return " ".join(parts), wrong


def main() -> int:
    """Write digests, or compare them; 1 where one differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE")
    parser.add_argument("--every", type=int, default=1, help="each Nth case (default: %(default)s)")
    parser.add_argument("--start", type=int, default=0, help="the first one (default: %(default)s)")
    args = parser.parse_args()
    if (args.write is None) == (args.compare is None):
        parser.error("wanted: --write FILE or --compare FILE")
    known = {} if args.compare is None else json.loads(args.compare.read_text())
    every, start = known.get("every", args.every), known.get("start", args.start)
    found: dict[str, str] = {}
    refused = differ = engine = 0
    begun = said = time.time()
    for name, model, inputs in cases(every, start):
        for runtime in RUNTIMES:
            key = f"{name} {runtime}"
            found[key], wrong = outcome(model, inputs, runtime)
            refused += found[key] == "refused"
            engine += wrong
            if wrong:
                print(f"DIFFERS {key}: the NumPy engine from the reference", flush=True)
            if args.compare is not None and known["outcomes"].get(key) != found[key]:
                differ += 1
                print(f"DIFFERS {key}: {found[key]}, {known['machine']} had {known['outcomes'].get(key)}", flush=True)
        if time.time() - said > 20:
            said = time.time()
            print(f"{said - begun:6.0f} s  {name}: {len(found)} so far, {differ} differ", file=sys.stderr, flush=True)
    machine = f"{platform.system()}-{platform.machine()}, NumPy {np.__version__}"
    if args.write is not None:
        text = {"machine": machine, "every": every, "start": start, "outcomes": found}
        args.write.write_text(json.dumps(text))
    missing = len(set(known.get("outcomes", {})) - set(found))
    summary = {"machine": machine, "cases": len(found), "refused": refused, "differ": differ, "numpy_engine": engine}
    print(json.dumps({**summary, "missing": missing}))
    return 1 if differ or engine or missing else 0


if __name__ == "__main__":
    sys.exit(main())
