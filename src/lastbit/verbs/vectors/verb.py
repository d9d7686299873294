"""vectors: few inputs of a layer that tell its runtime's arithmetic from every other and from known mistakes.

Random inputs seldom do: rules part at accumulators that a random input hits once in thousands of times or never. Here
inputs are solved for on the layer's own weights, so that the dot product lands where rivals differ, at several units at
once where that can be had; then the fewest that catch everything that can be caught are chosen.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...layers.differences import same_bits
from ...layers.running import cut_out, rows_in_oracle, rows_in_rule
from ...layers.step_tables import LayerTables, has_table, layer_of, layer_operators, layer_rows, why_no_tables
from ...model.errors import InputError, OracleMissingError
from ...model.graph import Model, Operator
from ...model.tflite.writer import extract_operator, write
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.prepare import PreparedModel, prepare
from ...ops.products.window_layer import WindowLayer
from ...oracles import Oracle, OracleFailure, check_library, is_library, open_oracle
from ...rules.requantize.words import equation
from ...runtimes import DEFAULT_RUNTIME, Runtime
from ..run.verb import load
from .hybrid import hybrid_vectors
from .images import image_vectors
from .pool import Pool, caught_by
from .random_catches import random_catches
from .report import Catch, LayerVectors, VectorSet
from .rivals import rivals_of

__all__ = ["DEFAULT_COUNT", "DEFAULT_RANDOM", "vectors"]

DEFAULT_COUNT = 32
"""Vectors for each layer, at most."""

DEFAULT_RANDOM = 1000
"""Random vectors that the chosen ones are compared with."""

Progress = Callable[[int, int, str], None]


def vectors(
    model: str | os.PathLike[str] | bytes | Model,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    op: int | None = None,
    count: int = DEFAULT_COUNT,
    random: int = DEFAULT_RANDOM,
    oracle: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    library: str | os.PathLike[str] | None = None,
) -> VectorSet:
    """Golden test vectors for dense layers and convolutions, each labelled with what it catches.

    Args:
        model: a Model, a path or a file's bytes.
        runtime: whose arithmetic the outputs are; default: what `Interpreter(model)` does on this CPU.
        op: only this operator; default: every dense layer and convolution.
        count: vectors for each layer, at most.
        random: random vectors on which the same rivals are tried, to compare with (fewer on large layers); 0 for
            none.
        oracle: confirm the outputs on the real interpreter, where it is installed.
        seed: of all randomness: the same seed gives the same vectors.
        progress: called with (steps done, steps in total, what is done next).
        library: the shared library that CMSIS-NN was built into, for the runtimes that need one.

    Returns:
        The VectorSet; write it with `lastbit.vectors.formats.write_vectors` or `lastbit vectors -o DIR`.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: `count` or `random` is out of range, there is no such layer, or a library is given that
            is not needed.
        OracleMissingError: a library is given and does not load.
    """
    if count < 1 or random < 0:
        raise InputError(f"count is {count}, random is {random}; wanted 1 or more, and 0 or more")
    loaded = load(model)
    prepared = prepare(loaded, runtime)
    check_library(prepared.runtime, library)
    operators = layer_operators(loaded, op)
    layers: list[LayerVectors] = []
    known: dict[bytes, LayerVectors] = {}
    for done, operator in enumerate(operators):
        if progress is not None:
            progress(done, len(operators), operator.label)
        # Unrolled networks have one layer many times.
        key = _content(layer_of(prepared, operator))
        if key and key in known:
            layers.append(replace(known[key], index=operator.index, same_as=known[key].index))
            continue
        layers.append(_layer(prepared, operator, count, random, np.random.default_rng([seed, operator.index])))
        known[key] = layers[-1]
    fingerprint, unconfirmed = None, ""
    if not oracle:
        unconfirmed = "it was not asked."
    elif not loaded.subgraphs[0].scales_known:
        unconfirmed = "the layer was given by multiplier and shift, which it does not take."
    elif any(layer.x.size for layer in layers):
        try:
            with open_oracle(prepared.runtime, library=library) as interpreter:
                fingerprint = interpreter.fingerprint.as_dict()
                for layer in layers:
                    _confirm(loaded, layer, interpreter)
        except OracleMissingError as error:
            if library is not None:
                raise
            needed = is_library(prepared.runtime)
            unconfirmed = "no library of it was given (docs/cmsis_nn.md)." if needed else str(error)
    return VectorSet(loaded, prepared.runtime, layers, fingerprint, random, seed, unconfirmed)


def _content(prepared: PreparedOperator | None) -> bytes:
    """All that a layer's vectors follow from; empty where it has none."""
    if not isinstance(prepared, PreparedDense | PreparedHybrid):
        return b""
    layer = prepared.layer
    digest = hashlib.sha256(repr((prepared.rule, layer.operator.options, layer.bias is None)).encode())
    for tensor in (layer.input, layer.stored_weights, layer.bias, layer.output):
        if tensor is not None:
            digest.update(repr((tensor.dtype.name, tensor.shape)).encode())
            if tensor.quant is not None:
                digest.update(tensor.quant.scale.tobytes() + tensor.quant.zero_point.tobytes())
            digest.update(b"" if tensor.data is None else tensor.data.tobytes())
    return digest.digest()


def _layer(side: PreparedModel, op: Operator, count: int, random: int, rng: np.random.Generator) -> LayerVectors:
    entry = layer_of(side, op)
    if isinstance(entry, PreparedHybrid):
        return hybrid_vectors(side.model, entry, side.runtime.name, count, random, rng)
    if not isinstance(entry, PreparedDense) or not has_table(entry):
        return LayerVectors(op.index, op.name, refusal=why_no_tables(side, op))
    tables = LayerTables(entry)
    if isinstance(tables.layer, WindowLayer):
        return image_vectors(side, tables, tables.layer, count, random, rng)
    rivals = rivals_of(side.model, tables, side.runtime.name, rng)
    pool = Pool(tables, rivals, rng)
    chosen = pool.choose(count)
    rows = pool.rows[chosen]
    accs, outputs = rows_in_rule(tables.prepared, rows)
    by_vector = caught_by(tables.prepared, rivals, rows)
    drawn = random_catches(tables, rivals, random, rng, caught_by) if random else [(None, 0)] * len(rivals)
    catches = [
        Catch(
            rival.name,
            rival.kind,
            rival.what,
            [int(i) for i in np.flatnonzero(by_vector[:, k])],
            rival.equal,
            random=drawn[k][0],
            tried=drawn[k][1],
            candidate=bool(pool.caught[:, k].any()),
        )
        for k, rival in enumerate(rivals)
    ]
    pairs = int(pool.pairs_possible.sum()), int(pool.pairs[chosen].any(axis=0).sum())
    return LayerVectors(
        op.index,
        op.name,
        layer=tables.layer,
        tables=tables,
        rule=entry.rule,
        equation=equation(tables.params.rule),
        x=rows,
        accs=accs,
        outputs=outputs,
        catches=catches,
        candidates=len(pool.rows),
        pairs=pairs,
        random=random,
    )


def _confirm(model: Model, layer: LayerVectors, oracle: Oracle) -> None:
    """Compare the outputs with the real interpreter."""
    source = layer.layer
    if source is None or not len(layer.x):
        return
    try:
        if isinstance(source, WindowLayer):
            graph = extract_operator(model, source.operator, batch=len(layer.x))
            found = oracle.run(write(graph), [[layer.x]], label=source.operator.label).outputs[0][0]
        elif layer.tables is None:
            # Each row is an input of its own, repeated where the layer takes several.
            times = math.prod(cut_out(model, source, 1).tensors[0].shape) // source.depth
            found = rows_in_oracle(oracle, model, source, np.repeat(layer.x, times, axis=0), 1)[::times]
        else:
            found = rows_in_oracle(oracle, model, source, layer.x, layer_rows(source))
    except OracleFailure as failure:
        layer.oracle_failure = str(failure)
        return
    layer.confirmed = found.size
    layer.mismatches = int((~same_bits(layer.outputs, found)).sum())
