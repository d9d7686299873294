"""prove: the real interpreter probed so that "exact" holds for every accumulator that a layer can reach.

A layer with zero weights and bias = accumulator makes an interpreter print its requantization function, tens of
thousands of values in one call. Where the reachable range has millions of accumulators, all of them are printed. Where
it has more, both ends of every run of equal output are, their neighbours and one accumulator inside: that is a proof
provided that the interpreter's own function does not leave a value and come back to it inside a run, which is what a
step function means and what the probes inside the runs watch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ...layers.last_channels_probe import last_channels_probes
from ...layers.running import random_rows, rows_in_oracle, rows_in_rule
from ...layers.separating_inputs import boundary_inputs, probe_subgraph
from ...layers.solving import UnitSolver
from ...layers.step_tables import LayerTables, has_table, layer_of, layer_operators, layer_rows, why_no_tables
from ...layers.window_images import images_of, inner_places
from ...layers.window_probe import window_probe
from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator, Subgraph
from ...model.tflite.reader import load as load_tflite
from ...model.tflite.writer import extract_operator, write
from ...model.types import Array, Int64Array, IntArray, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.gemv_or_gemm import for_rows
from ...ops.prepare import PreparedModel, prepare, prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.window_layer import WindowLayer
from ...oracles import Oracle, OracleFailure, OracleRefusal, check_library, open_oracle
from ...rules.base import ChannelGroups, IntegerRule
from ...rules.requantize.step_tables import StepTable, outputs_at
from ...rules.requantize.table import CHOICES_AROUND_DENSE
from ...runtimes import DEFAULT_RUNTIME, Runtime
from ..run.verb import load
from .report import ChannelsProof, LayerProof, Proof

__all__ = ["prove"]

Progress = Callable[[int, int, str], None]
Work = tuple[list[int], list[Int64Array], list[Int64Array]]
"""Units, for each the accumulators, and for each what LastBit's table says."""
Probe = Literal["auto", "thresholds", "every"]

# Accumulators printed by one probe model, and by all of one layer.
_PROBES_AT_ONCE = 32_000
_PROBES_OF_A_LAYER = 4_000_000
_EVERY_AUTOMATICALLY = 50_000_000
# Outputs at which a probe of a convolution prints each accumulator.
_PLACES = 4
# Rows of the layer itself, with its real weights: they show that the sum is right, not only its requantization.
_ROWS = 48
_MOST_ROWS_A_CALL = 16
# Random images of a convolution.
_IMAGES = 2


def prove(
    model: str | os.PathLike[str] | bytes | Model,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    op: int | None = None,
    probe: Probe = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    library: str | os.PathLike[str] | None = None,
    allow_gaps: bool = False,
) -> Proof:
    """Prove on a real interpreter that dense layers and convolutions are exact for every accumulator they can reach.

    Each layer's table is made from LastBit's rule. The interpreter then prints its output at every accumulator between
    the smallest and the largest there is; or, where those are too many, at every threshold, at the accumulators next
    to it, at one inside each run, and at the ends of the range and of the accumulator's type. Some rows of the layer's
    own weights are run too, which shows that the sums are right.

    Args:
        model: a Model, a path or a file's bytes.
        runtime: the runtime whose interpreter is probed; default: what `Interpreter(model)` does on this CPU.
        op: only this operator; default: every dense layer and convolution.
        probe: `every` prints every accumulator of the reachable range, so that nothing is assumed of the interpreter;
            `thresholds` only those at and beside the thresholds; `auto` every one where a layer has at most 50 million
            (over all tables; some ten seconds; a convolution: that divided by four times its window's taps),
            else the thresholds.
        seed: of the accumulators inside the runs and of the rows.
        progress: called with (steps done, steps in total, what is done next).
        library: the shared library that CMSIS-NN was built into, for the runtimes that need one.

        allow_gaps: let operators that were not probed give exit code 0 where some others were, and are equal.

    Returns:
        The Proof. `exit_code` is 0 where every operator asked about was probed and nothing differs, 1 where something
        differs, 3 where an operator was not probed, 4 where the interpreter died. Without `op` every operator of the
        model is asked about, and those that are neither dense layers nor convolutions are not probed.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        OracleMissingError: its interpreter is not installed.
        InputError: there is no such operator, it is neither a dense layer nor a convolution, or a library is given that
            is not needed.
    """
    loaded = load(model)
    loaded.subgraphs[0].require_scales()
    prepared = prepare(loaded, runtime)
    check_library(prepared.runtime, library)
    operators = layer_operators(loaded, op)
    results = []
    with open_oracle(prepared.runtime, library=library) as oracle:
        for done, operator in enumerate(operators):
            if progress is not None:
                progress(done, len(operators), operator.label)
            rng = np.random.default_rng([seed, operator.index])
            results.append(_layer(prepared, operator, oracle, rng, probe))
        asked = loaded.operators if op is None else operators
        return Proof(loaded, prepared.runtime, oracle.fingerprint.as_dict(), results, asked, allow_gaps)


def _layer(model: PreparedModel, op: Operator, oracle: Oracle, rng: np.random.Generator, probe: Probe) -> LayerProof:
    prepared = layer_of(model, op)
    if not isinstance(prepared, PreparedDense) or not has_table(prepared):
        refusal = why_no_tables(model, op)
        if op.index in model.operators:
            refusal += "; `lastbit verify` compares its outputs with the interpreter's on chosen inputs"
        return LayerProof(op.index, op.name, refusal=refusal)
    tables = LayerTables(prepared)
    shape = tables.layer.units, tables.tables_count
    result = LayerProof(op.index, op.name, prepared.rule, prepared.kernel, *shape)
    if tables.params.float_bias is not None:
        result.not_probed = "the rule adds the bias as a real number: a bias that is the accumulator is rounded itself"
        return result
    low, high = tables.ranges
    most = _EVERY_AUTOMATICALLY
    if isinstance(tables.layer, WindowLayer):  # a probe has the window's weights for each accumulator
        most //= _PLACES * tables.layer.convolution.rows.size * tables.layer.convolution.columns.size
    every = probe == "every" or (probe == "auto" and int((high - low + 1).sum()) <= most)
    last = _last_channels(tables)
    try:
        for units in (range(last.start), last) if last else (range(tables.tables_count),):
            before = result.probed, result.mismatches
            for work in _every(tables, result, units) if every else _probes(tables, result, rng, units):
                _probe(tables, work, model.runtime, oracle, result, last=units is last)
                if result.not_probed:
                    return result
            if len(tables.prepared.parts) > 1 and len(units):
                probed, differ = result.probed - before[0], result.mismatches - before[1]
                rule = tables.params_of(units[0]).rule.name
                result.channels.append(ChannelsProof(units[0], units[-1], rule, probed, differ))
        _real_weights(model.model, tables, oracle, rng, result)
    except OracleRefusal as failure:
        result.failure = str(failure)
    except OracleFailure as failure:
        result.died = str(failure)
    return result


def _last_channels(tables: LayerTables) -> range:
    """The channels of a convolution that its kernel takes after its whole groups; empty where it has no groups."""
    choice, units = CHOICES_AROUND_DENSE.get(tables.prepared.rule), tables.layer.units
    if choice is None or not isinstance(choice.when, ChannelGroups):
        return range(0)
    return range(units - units % choice.when.channels, min(units, max(tables.tables_count, 1)))


def _probes(tables: LayerTables, result: LayerProof, rng: np.random.Generator, of: Sequence[int]) -> Iterator[Work]:
    """Pieces of work: units, for each the accumulators, and for each what LastBit's table says."""
    units: list[int] = []
    accs: list[Int64Array] = []
    wanted: list[Int64Array] = []
    held = total = 0
    for unit in of:
        table = tables.table(unit)
        if table is None or total > _PROBES_OF_A_LAYER:
            result.units_left_out += 1
            continue
        chosen = _accumulators(table, rng)
        values = table.at(chosen)
        ends = _register_ends(tables)
        chosen, values = np.append(chosen, ends), np.append(values, outputs_at(tables.params_of(unit), ends, unit))
        result.thresholds += len(table) - 1
        total += chosen.size
        # A unit with many thresholds goes into several models.
        for part in np.array_split(np.arange(chosen.size), max(-(-chosen.size // _PROBES_AT_ONCE), 1)):
            if held and held + part.size > _PROBES_AT_ONCE:
                yield units, accs, wanted
                units, accs, wanted, held = [], [], [], 0
            units.append(unit)
            accs.append(chosen[part])
            wanted.append(values[part])
            held += part.size
    if units:
        yield units, accs, wanted


def _every(tables: LayerTables, result: LayerProof, of: Sequence[int]) -> Iterator[Work]:
    """The same for every accumulator of each table's range."""
    for unit in of:
        table = tables.table(unit)
        if table is None:
            result.units_left_out += 1
            continue
        result.thresholds += len(table) - 1
        for first in range(table.low, table.high + 1, _PROBES_AT_ONCE):
            accs = np.arange(first, min(first + _PROBES_AT_ONCE, table.high + 1))
            yield [unit], [accs], [table.at(accs)]
    result.exhaustive = True


def _accumulators(table: StepTable, rng: np.random.Generator) -> Int64Array:
    """Both ends of every run, their neighbours, and one accumulator inside."""
    starts, ends = table.starts, table.ends
    inside = rng.integers(starts, ends + 1)
    beside = np.concatenate([starts + 1, ends - 1, starts - 1, ends + 1])
    every = np.concatenate([starts, ends, inside, np.clip(beside, table.low, table.high)])
    return np.unique(every)


def _register_ends(tables: LayerTables) -> Int64Array:
    """The ends of the accumulator's own type, and zero: beyond the reachable range the rule says what is wanted."""
    # A probe's bias is an int32 or an int64; an accumulator of 64 bits is probed as far as dot products come.
    half = 1 << (min(tables.bits, 48) - 1)
    return np.asarray([-half, -half + 1, 0, half - 2, half - 1], np.int64)


def _probe(
    tables: LayerTables, work: Work, runtime: Runtime, oracle: Oracle, result: LayerProof, *, last: bool
) -> None:
    """Let the interpreter print its function at these accumulators, and compare.

    Args:
        tables: the layer's.
        work: what is to be printed.
        runtime: the runtime.
        oracle: its interpreter.
        result: what is counted.
        last: whether the work is that of the last channels, which follow another rule than those before.
    """
    units, accs, wanted = work
    if last:
        assert isinstance(tables.layer, WindowLayer)
        _probe_last(tables, tables.layer, work, runtime, oracle, result)
        return
    if isinstance(tables.layer, WindowLayer):
        graph = window_probe(tables.layer, accs, units)
    else:
        graph = _with_rows(probe_subgraph(tables.layer, accs, units), min(layer_rows(tables.layer), _MOST_ROWS_A_CALL))
    probe = load_tflite(write(graph))
    rows = math.prod(graph.tensors[graph.outputs[0]].shape[:-1])
    zeros = np.full(probe.inputs[0].shape, tables.layer.input_zero_point, probe.inputs[0].dtype.numpy)
    found = _printed(tables, probe, zeros, runtime, oracle, result, tables.params_of(units[0]).rule)
    if found is None:
        return
    expected = np.concatenate(wanted)
    found = found.reshape(rows, -1)[:, : expected.size]
    place = np.repeat(units, [a.size for a in accs])
    for row in found:
        if (row != expected).any():
            _note(result, place, np.concatenate(accs), expected, row)
    result.probed += expected.size
    result.mismatches += int((found != expected).any(axis=0).sum())


def _probe_last(
    tables: LayerTables, layer: WindowLayer, work: Work, runtime: Runtime, oracle: Oracle, result: LayerProof
) -> None:
    """The same for the last channels, which stay the last ones of the probe."""
    units, accs, wanted = work
    order = [np.argsort(values, kind="stable") for values in accs]
    rising = [values[at] for values, at in zip(accs, order, strict=True)]
    for probe in last_channels_probes(layer, rising, units):
        model = load_tflite(write(probe.graph))
        found = _printed(tables, model, probe.images, runtime, oracle, result, tables.params_of(units[0]).rule)
        if found is None:
            return
        printed = found.reshape(len(probe.images), len(units))
        for place, unit in enumerate(units):
            at = order[place][probe.printed[place]]
            expected, row = wanted[place][at], printed[: at.size, place]
            result.probed += at.size
            result.mismatches += int((row != expected).sum())
            if (row != expected).any():
                _note(result, np.full(at.size, unit), accs[place][at], expected, row)


def _printed(
    tables: LayerTables,
    probe: Model,
    x: Array,
    runtime: Runtime,
    oracle: Oracle,
    result: LayerProof,
    rule: IntegerRule,
) -> Int64Array | None:
    """What the interpreter prints for a probe; None where the probe is no proof of the layer, with the reason noted."""
    try:
        seen = as_dense(prepare_operator(probe, probe.operators[0], runtime))
    except UnsupportedError as error:
        result.not_probed = f"LastBit refuses the probe: {error}"
        return None
    if not isinstance(seen, PreparedDense) or seen.rule != result.rule:
        result.not_probed = f"a probe with a bias follows another rule ({getattr(seen, 'rule', '')})"
        return None
    output = probe.outputs[0].shape
    if any(part.requant.rule != rule for _, part in for_rows(seen, math.prod(output[:-1])).parts):
        result.not_probed = "a probe, which has other depth and more units than the layer, goes through another kernel"
        return None
    run = oracle.run(bytes(probe.content), [[x]], label=f"probe of operator {result.index}")
    result.add_kernel(run.delegated)
    printed: Int64Array = run.outputs[0][0].astype(np.int64)
    return printed


def _note(result: LayerProof, units: Int64Array, accs: Int64Array, expected: Int64Array, found: Int64Array) -> None:
    """Keep the first accumulator at which something else is printed than LastBit says."""
    at = int(np.argmax(found != expected))
    if result.first is None:
        result.first = (int(units[at]), int(accs[at]), int(expected[at]), int(found[at]))


def _with_rows(graph: Subgraph, rows: int) -> Subgraph:
    """A probe for several rows in one call, all the same: kernels may treat one row in another way than several."""
    tensors = list(graph.tensors)
    for index in (graph.inputs[0], graph.outputs[0]):
        shape = (rows, tensors[index].shape[-1])
        tensors[index] = replace(tensors[index], shape=shape, shape_signature=shape)
    return replace(graph, tensors=tuple(tensors))


def _real_weights(
    model: Model, tables: LayerTables, oracle: Oracle, rng: np.random.Generator, result: LayerProof
) -> None:
    """The layer with its own weights: rows at the ends of its range, rows solved onto thresholds, and random ones."""
    layer = tables.layer
    rows = [*boundary_inputs(layer, rng)]
    for unit in rng.permutation(layer.units)[: _ROWS // 2]:
        table = tables.table(int(unit))
        if table is not None and table.thresholds.size:
            x = UnitSolver(layer, int(unit)).solve(int(rng.choice(table.thresholds)), rng)
            rows += [] if x is None else [x]
    if isinstance(layer, WindowLayer):
        images = _images(layer, np.stack(rows), rng)
        content = write(extract_operator(model, layer.operator, batch=len(images)))
        found = oracle.run(content, [[images]], label=layer.operator.label).outputs[0][0]
        wanted = tables.prepared.evaluate([images])["output"]
    else:
        stacked = np.concatenate([np.stack(rows), random_rows(layer, max(_ROWS - len(rows), 4), rng)])
        found = rows_in_oracle(oracle, model, layer, stacked, layer_rows(layer))
        _, wanted = rows_in_rule(tables.prepared, stacked)
    result.real_outputs += found.size
    result.real_mismatches += int((found != wanted).sum())


def _images(layer: WindowLayer, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """Images with chosen windows, and random ones, whose outermost windows reach into the padding."""
    dtype = integer_type(layer.input.dtype)
    shape = (_IMAGES, *layer.input.shape[1:])
    drawn: IntArray = rng.integers(dtype.qmin, dtype.qmax, shape, dtype.numpy, endpoint=True)
    return np.concatenate([images_of(layer, rows)[0], drawn]) if inner_places(layer) else drawn
