"""How long the proofs take: tables, compare, prove and vectors, with time and peak memory of each.

    python bench/thresholds_and_vectors.py [--model FILE] [--random N] [--op N] [--only NAME ...]

`random` compares the solved vectors of one layer with --random random ones (default ten million): for every rule,
runtime and mistake, how many of each catch it. Each measurement runs in a process of its own, so that its peak memory
is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from lastbit import compare, load, prove, vectors
from lastbit.model.graph import Model
from lastbit.model.types import DTYPES
from lastbit.oracles import on_this_machine
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.step_tables import step_tables
from lastbit.rules.requantize.table import RULES

MODELS = Path(__file__).parents[2] / "shared" / "models"
MODEL = MODELS / "mlt_toycar_fullint_micro_v01.tflite"
INT16 = MODELS / "adi_dtln_int16_1.tflite"
RUNTIME = on_this_machine("litert-xnnpack")


def tables(dtype: int, channels: int, span: int) -> None:
    rng = np.random.default_rng(0)
    for name in ("float64-half_away", "q31-half_up-half_up/dd", "q31-half_up-half_away/dd", "float32-half_even"):
        params = prepare_requantize(
            RULES[name],
            input_scale=np.float32(0.05),
            weights_scale=rng.uniform(0.0005, 0.05, channels).astype(np.float32),
            output_scale=np.float32(0.11),
            output_zero_point=0,
            activation="NONE",
            dtype=DTYPES[dtype],
        )
        start = time.perf_counter()
        count = sum(len(table) - 1 for table in step_tables(params, -span, span - 1) if table is not None)
        told = f"{channels} channels, {DTYPES[dtype].name}, {name}"
        print(f"  {told}: {count} thresholds in {time.perf_counter() - start:.2f} s")


def int16() -> None:
    """Everything on the model with int16 activations: 65,535 thresholds for each unit."""
    model = load(str(INT16))
    for name, work in {
        "compare litert-reference@1.2": lambda: compare(model, "litert-reference@1.2", "litert-reference"),
        "prove": lambda: prove(model, "litert-reference"),
        "vectors": lambda: vectors(model, "litert-reference", op=5, random=100),
    }.items():
        start = time.perf_counter()
        work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  {name}: {time.perf_counter() - start:.1f} s, peak so far {peak:.0f} MB")


def side_by_side(model: Model, op: int, count: int) -> None:
    """Solved against random vectors on one layer."""
    (layer,) = vectors(model, RUNTIME, op=op, random=count, oracle=False).layers
    print(f"  operator {op}, {layer.tables.layer.units} x {layer.tables.layer.depth}, {RUNTIME}:")  # type: ignore[union-attr]
    print(f"    {'':8} {'rival':38} {f'of {len(layer.x)} solved':>12} {'random':>22}")
    for c in layer.catches:
        why = f"   cannot be caught: {c.equal}" if c.equal else ""
        print(f"    {c.kind:8} {c.name:38} {len(c.vectors):12} {f'{c.random} of {c.tried}':>22}{why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--random", type=int, default=10_000_000)
    parser.add_argument("--op", type=int, default=5, help="of --model, for `random`")
    every = ["tables", "wide", "compare", "prove", "vectors", "int16", "random"]
    parser.add_argument("--only", nargs="*", default=every, help="some of: %(default)s")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.here:
        for name in arguments.only:
            options = ["--model", arguments.model, "--random", str(arguments.random), "--op", str(arguments.op)]
            subprocess.run([sys.executable, __file__, "--here", "--only", name, *options], check=True)
        return
    (name,) = arguments.only
    model = load(arguments.model)
    start = time.perf_counter()
    work = {
        "tables": lambda: tables(9, 1000, 2**31),
        "wide": lambda: tables(7, 200, 2**31),
        "compare": lambda: print(f"  exit code {compare(model, RUNTIME, 'tflm', oracles=False).exit_code}"),
        "prove": lambda: print(f"  {prove(model, RUNTIME).blocks()[-1].text}"),  # type: ignore[union-attr]
        "vectors": lambda: print(vectors(model, RUNTIME, oracle=False)),
        "int16": int16,
        "random": lambda: side_by_side(model, arguments.op, arguments.random),
    }
    print(name)
    work[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {time.perf_counter() - start:.1f} s in all, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
