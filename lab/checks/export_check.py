"""Compare exported C programs with the real interpreters: whole models, every tensor, byte by byte.

    python -m lab check export [--models DIR] [--values N] [--compiler NAME] [--json FILE] [NAME ...]
    python -m lab check export --unchanged FILE [NAME ...]

Each .tflite file is exported with every tensor as an output, for every runtime whose interpreter is here, compiled with
all warnings as errors, and run under the sanitizers for undefined behaviour and addresses; both it and the interpreter
get the same inputs until at least N values are compared. Then the plain export's self-test is run. A line for each, and
with --json a file of them. Ends with 1 where a byte differs.

A row holds the SHA-256 of the program that was compiled. With --unchanged programs are only written, and compared with
the rows of such a file: figures of an earlier commit hold as long as its programs are still the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lastbit
from lab.checks.verify_models import MODELS, RUNTIMES, inputs_for
from lab.reach.c_programs import COMPILERS, FAST, STRICT, compile_program, outputs_of, selftest_of, told
from lastbit.layers.differences import same_bits
from lastbit.model.errors import LastBitError
from lastbit.model.graph import Model
from lastbit.model.tflite.writer import with_outputs
from lastbit.ops.prepare import prepare
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.verbs.export.c99.text import C_TYPES
from lastbit.verbs.export.program import plan
from lastbit.verbs.export.report import Export
from lastbit.verbs.export.verb import export

SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
CHUNK = 20


def every_tensor(model: Model, runtime: str) -> tuple[bytes, Export]:
    """A model with every tensor that is calculated as an output, and the program of it."""
    prepared = prepare(model, runtime)
    constants = plan(prepared).constants
    computed = [
        index
        for entry in prepared.operators.values()
        for index in entry.operator.outputs
        if model.tensors[index].dtype.name in C_TYPES and index not in constants
    ]
    inside = with_outputs(model.content, computed)
    return inside, export(lastbit.load(inside), runtime, name="every_tensor")


def digest(report: Export) -> str:
    """The SHA-256 of a program's two files."""
    return hashlib.sha256("".join(report.files[name] for name in sorted(report.files)).encode()).hexdigest()


def changed(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> list[str]:
    """The rows of earlier figures whose programs are written otherwise today."""
    found = []
    for row in rows:
        if options.names and row["model"] not in options.names:
            continue
        path = next(options.models.rglob(f"{row['model']}.tflite"))
        same = digest(every_tensor(lastbit.load(path), row["runtime"])[1]) == row["sha256"]
        print(f"{row['model']:28} {row['runtime']:20} {'the same' if same else 'CHANGED'}", flush=True)
        found += [] if same else [f"{row['model']} {row['runtime']}"]
    return found


def check(model: Model, runtime: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One model on one runtime: how many values were compared, and how many differ."""
    name = Path(model.source).stem
    inside, report = every_tensor(model, runtime)
    begun = time.perf_counter()
    sanitized = compile_program(report, folder, options.compiler, (*STRICT, *FAST, *SANITIZERS))
    compiled = time.perf_counter() - begun
    values = sum(slot.elements for slot in report.written.outputs)
    count = min(max(-(-options.values // max(values, 1)), 3), options.most)
    compared = differ = 0
    with open_oracle(report.runtime.name, timeout=600) as oracle:
        samples = inputs_for(model, count, options.seed, options.models / "inputs")
        for start in range(0, count, CHUNK):
            part = samples[start : start + CHUNK]
            theirs = oracle.run(inside, part).outputs
            ours = outputs_of(sanitized, report, part)
            for one, two in zip(theirs, ours, strict=True):
                for a, b in zip(one, two, strict=True):
                    compared += a.size
                    differ += int((~same_bits(a, b.reshape(a.shape))).sum())
        fingerprint = oracle.fingerprint.as_dict()
    plain = export(model, runtime, name="plain")
    test = selftest_of(compile_program(plain, folder, options.compiler))
    numbers = plain.as_dict()
    return {
        "model": name, "runtime": runtime, "inputs": count, "compared": compared, "differ": differ, "selftest": test,
        "arena_bytes": numbers["arena_bytes"], "constant_bytes": numbers["constant_bytes"],
        "multiply_adds": numbers["multiply_adds"], "rivals": numbers["selftest"]["rivals"],
        "caught": numbers["selftest"]["caught"], "compiler": options.compiler,
        "interpreter": f"{fingerprint['oracle']} {fingerprint['version']}", "sha256": digest(report),
        "file_bytes": len(plain.files["plain.c"]), "compile_seconds": round(compiled, 1),
    }  # fmt: skip


def main() -> None:
    """Parse the command line and check every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--values", type=int, default=300_000)
    parser.add_argument("--most", type=int, default=400, help="inputs of one model, at most")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--compiler", choices=COMPILERS, default="gcc")
    parser.add_argument("--runtimes", nargs="*", default=RUNTIMES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--unchanged", type=Path, metavar="FILE")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.unchanged is not None:
        sys.exit(1 if changed(json.loads(options.unchanged.read_text(encoding="utf-8")), options) else 0)
    rows: list[dict[str, Any]] = []
    paths = [*sorted(options.models.glob("*.tflite")), *sorted(options.models.glob("more/*.tflite"))]
    for path in (path for path in paths if not options.names or path.stem in options.names):
        for runtime in map(on_this_machine, options.runtimes):
            begun = time.perf_counter()
            try:
                with tempfile.TemporaryDirectory() as folder:
                    row = check(lastbit.load(path), runtime, options, Path(folder))
            except LastBitError as error:
                print(f"{path.stem:28} {runtime:20} not written: {' '.join(str(error).split())[:140]}", flush=True)
                continue
            except subprocess.CalledProcessError as error:
                row = {"model": path.stem, "runtime": runtime, "differ": -1, "selftest": -2, **told(error)}
            rows.append(row)
            print(f"{path.stem:28} {runtime:20} {row} ({time.perf_counter() - begun:.0f} s)", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    total = sum(row.get("compared", 0) for row in rows)
    print(f"{total:,} values compared, {sum(max(row['differ'], 0) for row in rows)} differ")
    sys.exit(1 if any(row["differ"] or row["selftest"] != -1 for row in rows) else 0)


if __name__ == "__main__":
    main()
