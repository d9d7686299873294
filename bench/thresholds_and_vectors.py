"""How long the proofs take: tables, compare, prove and vectors, with time and peak memory of each.

    python bench/thresholds_and_vectors.py [--model FILE] [--random N] [--layers N] [--only NAME ...]

`vectors` is compared with --random random vectors (default ten million, a few minutes): for every rule, how many of
them catch it, beside how many of the 32 solved ones do. Each measurement runs in a process of its own, so that its peak
memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from lastbit.api import load
from lastbit.arith.requantize import RULES, prepare_requantize
from lastbit.arith.thresholds import step_tables
from lastbit.certify import compare
from lastbit.layer_tables import LayerTables, TablePair
from lastbit.model import Model
from lastbit.ops.dense_8bit import PreparedDense
from lastbit.prepare import prepare
from lastbit.prove import prove
from lastbit.single_layer import accumulators, random_rows
from lastbit.types import DTYPES
from lastbit.vectors import vectors
from lastbit.vectors_rivals import rivals_of

MODEL = Path(__file__).parents[2] / "shared" / "models" / "mlt_toycar_fullint_micro_v01.tflite"
RUNTIME = "litert-xnnpack"


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


def random_table(model: Model, count: int, most_layers: int) -> None:
    """Solved against random vectors, side by side, for the rules and runtimes of some layers."""
    prepared = prepare(model, RUNTIME)
    report = vectors(model, RUNTIME, random=0, oracle=False, op=None)
    done = 0
    for layer in report.layers:
        entry = prepared.operators.get(layer.index)
        if not isinstance(entry, PreparedDense) or done >= most_layers:
            continue
        done += 1
        start = time.perf_counter()
        right = LayerTables(entry)
        rng = np.random.default_rng(0)
        rivals = [r for r in rivals_of(model, right, RUNTIME, rng) if r.kind == "rule"]
        hits = _random_hits(right, rivals, count, rng)
        print(f"  operator {layer.index}, {layer.tables.layer.units} x {layer.tables.layer.depth}:")  # type: ignore[union-attr]
        print(f"    {'rule':32} {f'of {len(layer.x)} solved':>14} {f'of {count} random':>20}")
        by_name = {c.name: c for c in layer.catches}
        for rival in rivals:
            why = f"   cannot be caught: {rival.equal}" if rival.equal else ""
            print(f"    {rival.name:32} {len(by_name[rival.name].vectors):14} {hits[rival.name]:20}{why}")
        print(f"    {time.perf_counter() - start:.0f} s")


def _random_hits(right: LayerTables, rivals: list, count: int, rng: np.random.Generator) -> dict[str, int]:
    """How many random rows print another output for each rule: looked up in the exact lists of accumulators."""
    masks = {}
    lowest, highest = (
        int(end[0] if end.size == 1 else f(end)) for end, f in zip(right.ranges, (min, max), strict=True)
    )
    for rival in rivals:
        pair = TablePair(right, LayerTables(rival.prepared))
        mask = np.zeros((right.tables_count, highest - lowest + 1), bool)
        for unit in range(right.layer.units):
            for part in pair.differing(unit) or ():
                for low, high, _, _ in part.rows():
                    mask[unit % len(mask), low - lowest : high - lowest + 1] = True
        masks[rival.name] = mask
    hits = dict.fromkeys(masks, 0)
    step = max((1 << 24) // max(right.layer.units, right.layer.depth), 1)
    columns = np.arange(right.layer.units) % len(next(iter(masks.values())))
    for first in range(0, count, step):
        accs = accumulators(right.prepared, random_rows(right.layer, min(step, count - first), rng)) - lowest
        for name, mask in masks.items():
            hits[name] += int(mask[columns, accs].any(axis=1).sum())
    return hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--random", type=int, default=10_000_000)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=["tables", "int16", "compare", "prove", "vectors", "random"])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.here:
        for name in arguments.only:
            options = ["--model", arguments.model, "--random", str(arguments.random), "--layers", str(arguments.layers)]
            subprocess.run([sys.executable, __file__, "--here", "--only", name, *options], check=True)
        return
    (name,) = arguments.only
    model = load(arguments.model)
    start = time.perf_counter()
    work = {
        "tables": lambda: tables(9, 1000, 2**31),
        "int16": lambda: tables(7, 200, 2**31),
        "compare": lambda: print(f"  exit code {compare(model, RUNTIME, 'tflm', oracles=False).exit_code}"),
        "prove": lambda: print(f"  {prove(model, RUNTIME).blocks()[-1].text}"),  # type: ignore[union-attr]
        "vectors": lambda: print(vectors(model, RUNTIME, oracle=False)),
        "random": lambda: random_table(model, arguments.random, arguments.layers),
    }
    print(name)
    work[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {time.perf_counter() - start:.1f} s in all, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
