"""Compare whole models with the real interpreters: every intermediate tensor and the output, byte by byte.

    python -m lab check models [--models DIR] [--inputs N] [--seed S] [NAME ...]

Each .tflite file of the folder is run on N inputs by LastBit in every runtime's arithmetic whose interpreter is here,
and by that interpreter, once as it is and once with every intermediate tensor as an output. Inputs are random over the
whole range, both ends and the middle, and the real ones of DIR/inputs where a file there is named after the model. What
a runtime refuses is told by operator and reason, and the model is not run. Ends with 1 where a byte differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lastbit
from lastbit.engines import reference
from lastbit.layers.differences import same_bits
from lastbit.model.errors import ModelError
from lastbit.model.graph import Model, Tensor
from lastbit.model.tflite.writer import with_outputs
from lastbit.model.types import IntegerType
from lastbit.ops.prepare import PreparedModel, prepare
from lastbit.oracles import OracleFailure, on_this_machine, open_oracle

Array = np.ndarray[Any, np.dtype[Any]]
RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
MODELS = Path(__file__).parents[3] / "shared" / "models"
# Samples that one call of an interpreter gets, so that little memory is needed.
CHUNK = 20


def inputs_for(model: Model, count: int, seed: int, folder: Path) -> list[list[Array]]:
    """`count` inputs of a model: real ones first, then both ends and the middle, then random ones."""
    rng = np.random.default_rng(seed)
    samples = [[x] for x in _real(model, folder)][:count]
    fill = [[_constant(tensor, place) for tensor in model.inputs] for place in (0.0, 0.5, 1.0)]
    samples += fill[: count - len(samples)]
    while len(samples) < count:
        samples.append([_random(model, tensor, rng) for tensor in model.inputs])
    return samples


def _real(model: Model, folder: Path) -> Iterator[Array]:
    """Recorded inputs: float32 rows of the model's only input."""
    family = Path(model.source).stem.split("_")[1] if "_" in Path(model.source).stem else ""
    if len(model.inputs) != 1 or not family or model.inputs[0].dtype.name != "float32":
        return
    tensor = model.inputs[0]
    for path in sorted(folder.glob(f"{family}*.f32")):
        rows = np.fromfile(path, "<f4")
        size = int(np.prod(tensor.shape))
        for row in rows[: rows.size // size * size].reshape(-1, *tensor.shape):
            yield row.astype(np.float32)


def _constant(tensor: Tensor, place: float) -> Array:
    if not isinstance(tensor.dtype, IntegerType):
        return np.full(tensor.shape, place - 0.5, tensor.dtype.numpy)
    value = tensor.dtype.qmin + round(place * (tensor.dtype.qmax - tensor.dtype.qmin))
    return np.full(tensor.shape, value, tensor.dtype.numpy)


def _random(model: Model, tensor: Tensor, rng: np.random.Generator) -> Array:
    if isinstance(tensor.dtype, IntegerType):
        return rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, tensor.shape, tensor.dtype.numpy, endpoint=True)
    spread = 1.0
    for op in model.operators:
        quant = model.tensors[op.outputs[0]].quant
        if op.name == "QUANTIZE" and op.inputs[0] == tensor.index and quant is not None:
            spread = 90 * float(quant.scale[0])
    return (rng.normal(0, 1, tensor.shape) * spread).astype(np.float32)


def hold(prepared: PreparedModel, samples: list[list[Array]]) -> tuple[int, int, str]:
    """Outputs compared, those that differ, and where the first one does."""
    model = prepared.model
    every = [index for op in model.operators for index in op.outputs if index in _computed(prepared)]
    compared, bad, first = 0, 0, ""
    inside, outside = with_outputs(model.content, every), model.content
    with open_oracle(prepared.runtime.name, timeout=600) as oracle:
        for start in range(0, len(samples), CHUNK):
            part = samples[start : start + CHUNK]
            within = oracle.run(inside, part).outputs
            whole = oracle.run(outside, part).outputs
            for number, (x, tensors, outputs) in enumerate(zip(part, within, whole, strict=True)):
                trace = reference.run(prepared, x)
                pairs = [*zip(every, tensors, strict=True)]
                pairs += [*zip((t.index for t in model.outputs), outputs, strict=True)]
                for index, theirs in pairs:
                    ours = trace.tensors[index]
                    same = ours.shape == theirs.shape and ours.dtype == theirs.dtype
                    wrong = int((~same_bits(theirs, ours)).sum()) if same else theirs.size
                    compared, bad = compared + theirs.size, bad + wrong
                    if wrong and not first:
                        first = f"input {start + number}, {model.tensors[index].label}: {wrong} of {theirs.size}"
    return compared, bad, first


def _computed(prepared: PreparedModel) -> set[int]:
    return {index for entry in prepared.operators.values() for index in entry.operator.outputs}


def main() -> None:
    """Parse the command line and hold every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    failed = False
    for path in sorted(options.models.glob("*.tflite")):
        if options.names and path.stem not in options.names:
            continue
        try:
            model = lastbit.load(path)
        except ModelError as error:
            print(f"{path.stem}: no model: {str(error).split(': ', 1)[-1][:90]}")
            continue
        for runtime in map(on_this_machine, RUNTIMES):
            prepared = prepare(model, runtime)
            if prepared.refusals:
                reasons = Counter((model.operators[i].name, reason) for i, reason in prepared.refusals.items())
                told = "; ".join(f"{count} x {name}: {reason}" for (name, reason), count in reasons.items())
                print(f"{path.stem:28} {runtime:20} not run: {told}", flush=True)
                continue
            begun = time.perf_counter()
            try:
                samples = inputs_for(model, options.inputs, options.seed, options.models / "inputs")
                compared, bad, first = hold(prepared, samples)
            except OracleFailure as failure:
                print(f"{path.stem:28} {runtime:20} the interpreter fails: {failure.reason[:90]}", flush=True)
                failed = True
                continue
            failed |= bool(bad)
            took = time.perf_counter() - begun
            told = f"{len(samples)} inputs, {compared:,} values, {bad} differ {first} ({took:.0f} s)"
            print(f"{path.stem:28} {runtime:20} {told}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
