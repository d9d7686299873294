"""vectors: few inputs of a dense layer that tell its runtime's arithmetic from every other and from known mistakes.

Random inputs seldom do: rules part at accumulators that a random input hits once in thousands of times or never. Here
inputs are solved for on the layer's own weights, so that the dot product lands where rivals differ, at several units at
once where that can be had; then the fewest that catch everything that can be caught are chosen.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...layers.differences import same_bits
from ...layers.running import LayerSums, accumulators, cut_out, random_rows, rows_in_oracle, rows_in_rule
from ...layers.separating_inputs import boundary_inputs
from ...layers.solving import UnitSolver, variants
from ...layers.step_tables import LayerTables, has_table, layer_operators, layer_rows, why_no_tables
from ...model.errors import InputError, OracleMissingError
from ...model.graph import Model, Operator
from ...model.types import Array, IntArray
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.prepare import PreparedModel, prepare
from ...oracles import Oracle, OracleFailure, check_library, is_library, open_oracle
from ...rules.requantize.vector import requantize
from ...rules.requantize.words import equation
from ...runtimes import DEFAULT_RUNTIME, Runtime
from ..run.verb import load
from .candidates import every_input, fewest, impulses, odd_rows
from .hybrid import hybrid_vectors
from .random_catches import random_catches
from .report import Catch, LayerVectors, VectorSet
from .rivals import Key, Rival, arithmetic_of, rivals_of

__all__ = ["DEFAULT_COUNT", "DEFAULT_RANDOM", "vectors"]

DEFAULT_COUNT = 32
"""Vectors for each layer, at most."""

DEFAULT_RANDOM = 1000
"""Random vectors that the chosen ones are compared with."""

Progress = Callable[[int, int, str], None]

_SOLVED_PER_RIVAL = 6
_SOLVED_FOR_UNITS = 192
_VARIANTS = 256
_VARIANT_ELEMENTS = 1 << 15
_ELEMENTS = 1 << 22


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
    """Golden test vectors for dense layers, each labelled with what it catches.

    Args:
        model: a Model, a path or a file's bytes.
        runtime: whose arithmetic the outputs are; default: what `Interpreter(model)` does on this CPU.
        op: only this operator; default: every dense layer.
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
        InputError: `count` or `random` is out of range, there is no such dense operator, or a library is given that
            is not needed.
        OracleMissingError: a library is given and does not load.
    """
    if count < 1 or random < 0:
        raise InputError(f"count is {count}, random is {random}; wanted 1 or more, and 0 or more")
    loaded = load(model)
    prepared = prepare(loaded, runtime)
    check_library(prepared.runtime, library)
    operators = [operator for operator in layer_operators(loaded, op) if operator.name == "FULLY_CONNECTED"]
    layers: list[LayerVectors] = []
    known: dict[bytes, LayerVectors] = {}
    for done, operator in enumerate(operators):
        if progress is not None:
            progress(done, len(operators), operator.label)
        # Unrolled networks have one layer many times.
        key = _content(prepared.operators.get(operator.index))
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
    for tensor in (layer.input, layer.weights, layer.bias, layer.output):
        if tensor is not None:
            digest.update(repr((tensor.dtype.name, tensor.shape)).encode())
            if tensor.quant is not None:
                digest.update(tensor.quant.scale.tobytes() + tensor.quant.zero_point.tobytes())
            digest.update(b"" if tensor.data is None else tensor.data.tobytes())
    return digest.digest()


def _layer(side: PreparedModel, op: Operator, count: int, random: int, rng: np.random.Generator) -> LayerVectors:
    entry = side.operators.get(op.index)
    if isinstance(entry, PreparedHybrid):
        return hybrid_vectors(side.model, entry, side.runtime.name, count, random, rng)
    if not isinstance(entry, PreparedDense) or not has_table(entry):
        return LayerVectors(op.index, op.name, refusal=why_no_tables(side, op))
    tables = LayerTables(entry)
    rivals = rivals_of(side.model, tables, side.runtime.name, rng)
    pool = _Pool(tables, rivals, rng)
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
    pairs = pool.pairs_possible, int(pool.pairs[chosen].any(axis=0).sum())
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


def caught_by(right: PreparedDense, rivals: Sequence[Rival], rows: IntArray) -> npt.NDArray[np.bool_]:
    """Which rows catch which rivals: `[rows, rivals]`. A row catches what prints another output for it at any unit."""
    result = np.zeros((len(rows), len(rivals)), bool)
    step = max(_ELEMENTS // max(right.layer.units, right.layer.depth), 1)
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        wanted = rows_in_rule(right, part)[1].astype(np.int64)
        known: dict[Key, Array] = {}
        for k, rival in enumerate(rivals):
            if rival.prepared is not None:
                key = arithmetic_of(rival.prepared)
                if key not in known:
                    known[key] = (rival.outputs(right, part) != wanted).any(axis=1)
                result[first : first + step, k] = known[key]
            else:
                result[first : first + step, k] = (rival.outputs(right, part) != wanted).any(axis=1)
    return result


class _Pool:
    """Candidates, and what each catches.

    Attributes:
        rows: `[n, depth]`, the candidates.
        caught: bool `[n, rivals]`.
        rules: the rules among the rivals, each once.
        pairs: bool `[n, rules * units]`: for which rules and units each candidate shows a difference.
    """

    def __init__(self, tables: LayerTables, rivals: Sequence[Rival], rng: np.random.Generator) -> None:
        self.tables, self.rivals, self.rng = tables, rivals, rng
        layer = tables.layer
        self._solvers: dict[int, UnitSolver] = {}
        rules = {arithmetic_of(r.prepared): r for r in rivals if r.prepared is not None and not r.equal}
        self.rules = list(rules.values())
        self._sums = LayerSums(tables.prepared)
        plain = [boundary_inputs(layer, rng, 8), impulses(tables, rng), random_rows(layer, 24, rng)]
        rows = np.unique(np.concatenate([*plain, *self._solved()]), axis=0)
        self.rows: IntArray = rng.permutation(rows)
        self.caught = caught_by(tables.prepared, rivals, self.rows)
        self._look_further()
        self.pairs = self._pairs(self.rows)

    @property
    def pairs_possible(self) -> int:
        """How many of the pairs differ for some accumulator that an input reaches, or were seen to differ."""
        units = self.tables.layer.units
        known = self.pairs.any(axis=0).reshape(len(self.rules), units)
        for rule, shown in zip(self.rules, known, strict=True):
            shown[rule.targets[:, 0]] = True
        return int(known.sum())

    def choose(self, count: int) -> list[int]:
        """At most `count` candidates: first those that catch every rival, then those that show it at more units."""
        return fewest(self.caught, self.pairs, count)

    def _look_further(self) -> None:
        """More candidates for what none has caught yet: every input there is where they are few, else odd ones."""
        missed = [k for k, rival in enumerate(self.rivals) if not rival.equal and not self.caught[:, k].any()]
        if not missed:
            return
        layer = self.tables.layer
        every = every_input(layer)
        rows = odd_rows(self.tables, self.rng) if every is None else every
        caught = caught_by(self.tables.prepared, [self.rivals[k] for k in missed], rows)
        for k, found in zip(missed, caught.T, strict=True):
            if every is not None and not found.any():
                self.rivals[k].equal = f"it gives the same output for every one of the {len(every)} inputs: proved"
        useful = np.unique(caught.argmax(axis=0)[caught.any(axis=0)])
        self.rows = np.concatenate([self.rows, rows[useful]])
        self.caught = np.concatenate([self.caught, caught_by(self.tables.prepared, self.rivals, rows[useful])])

    def _solved(self) -> list[IntArray]:
        """Inputs solved onto accumulators at which rivals differ: some for each rival, then for each unit and rule."""
        found = []
        for rival in self.rivals:
            if rival.targets.size:
                some = rival.targets[self.rng.permutation(len(rival.targets))[:_SOLVED_PER_RIVAL]]
                found += [x for unit, acc in some.tolist() if (x := self._solve(unit, acc)) is not None]
        wanted = [(k, unit) for k, rule in enumerate(self.rules) for unit in np.unique(rule.targets[:, 0]).tolist()]
        order = self.rng.permutation(len(wanted))[:_SOLVED_FOR_UNITS]
        solved: list[tuple[int, IntArray]] = []
        for k, unit in (wanted[i] for i in order):
            targets = self.rules[k].targets
            acc = int(self.rng.choice(targets[targets[:, 0] == unit, 1]))
            x = self._solve(unit, acc)
            if x is not None:
                solved.append((unit, x))
        found += self._best_variants(solved)
        return [np.stack(found)] if found else []

    def _solve(self, unit: int, acc: int) -> IntArray | None:
        """An input whose accumulator at a unit is `acc`, however the sum got there."""
        solver = self._solvers.setdefault(unit, UnitSolver(self.tables.layer, unit))
        period = 1 << self.tables.bits
        first = acc + -(-(solver.reach.low - acc) // period) * period
        for total in range(first, min(solver.reach.high, first + 2 * period) + 1, period):
            x = solver.solve(total, self.rng)
            if x is not None:
                return x
        return None

    def _best_variants(self, solved: Sequence[tuple[int, IntArray]]) -> list[IntArray]:
        """For each unit and input: of many with the same accumulator there, the one where most other units differ too.

        Many at a time: a matrix product of few rows costs more to begin than to do.
        """
        layer = self.tables.layer
        count = max(min(_VARIANTS, _VARIANT_ELEMENTS // layer.units), 8)
        at_once = max(_ELEMENTS // ((count + 1) * layer.units), 1)
        best: list[IntArray] = []
        for first in range(0, len(solved), at_once):
            rows = np.stack(
                [
                    np.concatenate([x[None], variants(layer, unit, x, count, self.rng)])
                    for unit, x in solved[first : first + at_once]
                ]
            )
            shown = self._pairs(rows.reshape(-1, layer.depth)).sum(axis=1).reshape(rows.shape[:2])
            best += [group[at] for group, at in zip(rows, shown.argmax(axis=1), strict=True)]
        return best

    def _pairs(self, rows: IntArray) -> npt.NDArray[np.bool_]:
        """Which (rule, unit) pairs differ: `[n, rules * units]`."""
        right = self.tables.prepared
        if not self.rules:
            return np.zeros((len(rows), 0), bool)
        totals = self._sums.totals(rows)
        wanted = requantize(low_bits(totals, right.acc_bits), right.requant)["output"]
        found = []
        for rule in self.rules:
            other = rule.prepared
            assert other is not None
            same = other.pairs is None and other.layer.weights_zero_point == right.layer.weights_zero_point
            theirs = low_bits(totals, other.acc_bits) if same else accumulators(other, rows)
            found.append(requantize(theirs, other.requant)["output"] != wanted)
        return np.concatenate(found, axis=1)


def _confirm(model: Model, layer: LayerVectors, oracle: Oracle) -> None:
    """Compare the outputs with the real interpreter."""
    source = layer.layer
    if source is None or not len(layer.x):
        return
    try:
        if layer.tables is None:
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
