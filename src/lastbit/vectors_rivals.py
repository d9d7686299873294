"""What golden vectors have to tell apart: other runtimes, other rules, and known mistakes, on one layer.

Each rival is wrong code for the layer: from rows of input to outputs. Where its outputs are a function of the
accumulator, the accumulators at which it differs are found exactly, so that inputs can be solved for them, or so that
it is proved that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .arith.requantize import requantize
from .errors import UnsupportedError
from .layer_tables import LayerTables, TablePair, has_table, layer_rows
from .mistakes import Mistake, applicable, wrong_output
from .mistakes.base import Case
from .mistakes.pipeline import PREFIX, Accumulated, wrong_matrix
from .model import Model
from .ops.dense_8bit import PreparedDense
from .ops.dense_by_rows import for_rows
from .prepare import prepare_operator
from .probing import all_rules
from .runtimes import RUNTIMES
from .single_layer import accumulators
from .types import Array, IntArray

__all__ = ["Rival", "arithmetic_of", "rivals_of"]

Int64Array = npt.NDArray[np.int64]
Key = tuple[str, int, int]

# Accumulators of a mistake that are held at one time, and beyond how many it is not tried on all of them.
_AT_A_TIME = 1 << 22
_EVERY = 1 << 25
# Targets that are kept of one unit.
_TARGETS = 64


@dataclass
class Rival:
    """One wrong way to calculate the layer.

    Attributes:
        name: the rule's, the runtime's or the mistake's name.
        kind: `rule`, `runtime` or `mistake`.
        what: in one line, what it does.
        prepared: for rules and runtimes: the layer prepared for it.
        mistake: for mistakes: it.
        equal: why it gives the same output for every input, else empty: then no vector can catch it.
        targets: `[n, 2]`: units and accumulators at which it differs; all of them or some of each unit.
    """

    name: str
    kind: str
    what: str
    prepared: PreparedDense | None = None
    mistake: Mistake | None = None
    equal: str = ""
    targets: Int64Array = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def outputs(self, right: PreparedDense, rows: IntArray) -> Array:
        """What it makes of rows `[n, depth]`: `[n, out]`."""
        if self.prepared is not None:
            return requantize(accumulators(self.prepared, rows), self.prepared.requant)["output"]
        assert self.mistake is not None
        # In the layer's own shape, since some mistakes are about it; what is over is filled up with the first rows.
        shape = right.layer.input.shape
        inner = math.prod(shape[1:]) // right.layer.depth if len(shape) > 1 else 1
        samples = -(-len(rows) // max(inner, 1))
        x = np.resize(rows, (samples * max(inner, 1), right.layer.depth))
        if inner:
            x = x.reshape(samples, *shape[1:]) if len(shape) > 1 else x
        return wrong_output(right, x, [self.mistake.name]).reshape(-1, right.layer.units)[: len(rows)]


def arithmetic_of(prepared: PreparedDense) -> Key:
    """What tells the arithmetic of one layer in two runtimes apart: the rule, the register, and what is summed up."""
    return prepared.requant.rule.name, prepared.acc_bits, prepared.layer.weights_zero_point


def rivals_of(model: Model, tables: LayerTables, runtime: str, rng: np.random.Generator) -> list[Rival]:
    """Every rival of a layer in a runtime's arithmetic, with the accumulators at which each differs.

    Args:
        model: the model.
        tables: the layer's tables in the runtime's arithmetic.
        runtime: the runtime's name.
        rng: chooses among the accumulators of a unit where there are many.
    """
    found = [*_rules(tables), *_runtimes(model, tables, runtime)]
    known: dict[Key, Rival] = {}
    for rival in found:
        assert rival.prepared is not None
        key = arithmetic_of(rival.prepared)
        if key in known:
            rival.equal, rival.targets = known[key].equal, known[key].targets
            continue
        known[key] = rival
        _compare_tables(tables, rival, rng)
    for mistake in applicable(tables.prepared):
        rival = Rival(mistake.name, "mistake", mistake.why, mistake=mistake)
        if mistake.slot not in PREFIX and mistake.slot != "layout":
            _compare_function(tables, rival, rng)
        found.append(rival)
    return found


def _rules(tables: LayerTables) -> Iterator[Rival]:
    """Every other rule that could be thought to be the layer's."""
    own = tables.params.rule
    for name, params in all_rules(tables.layer, tables.prepared.rivals).items():
        if name != own.name:
            bits = 64 if params.rule.acc_bits == 64 else min(tables.bits, 32)
            yield Rival(name, "rule", params.rule.equation, replace(tables.prepared, requant=params, acc_bits=bits))


def _runtimes(model: Model, tables: LayerTables, own: str) -> Iterator[Rival]:
    """Every other runtime that takes the layer."""
    for name, runtime in RUNTIMES.items():
        if name == own:
            continue
        try:
            prepared = prepare_operator(model, tables.layer.operator, runtime)
        except UnsupportedError:
            continue
        if isinstance(prepared, PreparedDense) and has_table(prepared):
            yield Rival(name, "runtime", runtime.title, for_rows(prepared, layer_rows(tables.layer)))


def _compare_tables(tables: LayerTables, rival: Rival, rng: np.random.Generator) -> None:
    """Where another rule's table differs from the right one, or that it does not."""
    assert rival.prepared is not None
    pair = TablePair(tables, LayerTables(rival.prepared))
    targets: list[tuple[int, int]] = []
    decided = True
    for unit in range(tables.layer.units):
        found = pair.differing(unit)
        decided &= found is not None
        for part in found or ():
            kept = rng.permutation(len(part))[:_TARGETS]
            low, high = (end[kept].tolist() for end in part.ends)
            targets += [(unit, acc) for acc in dict.fromkeys([*low, *high])]
    rival.targets = np.asarray(targets, np.int64).reshape(-1, 2)
    if decided and not targets:
        same = rival.prepared.requant.rule == tables.params.rule
        rival.equal = "the same rule" if same else "its table is equal on the reachable range: proved"


def _compare_function(tables: LayerTables, rival: Rival, rng: np.random.Generator) -> None:
    """Where a mistake behind the accumulator shows: at thresholds and beside them, or at any reachable accumulator."""
    low, high = tables.ranges  # of each table: one column for all units where there is one scale
    points: list[Int64Array] = []
    for index in range(tables.tables_count):
        table = tables.table(index)
        starts = np.zeros(0, np.int64) if table is None else table.starts
        if starts.size > 2048:
            starts = rng.choice(starts, 2048, replace=False)
        ends = np.asarray([low[index], high[index]])
        points.append(np.concatenate([starts, starts - 1, rng.integers(low[index], high[index] + 1, 64), ends]))
    width = max(p.size for p in points)
    grid = np.stack([np.resize(p, width) for p in points], axis=1)
    _find(tables, rival, np.clip(grid, low, high), rng)
    longest = int((high - low).max()) + 1
    if rival.targets.size or longest * tables.tables_count > _EVERY:
        return
    # Not one threshold shows it: look at every accumulator.
    step = max(_AT_A_TIME // tables.tables_count, 1)
    for first in range(0, longest, step):
        offsets = np.arange(first, min(first + step, longest))[:, None]
        _find(tables, rival, np.minimum(low + offsets, high), rng)
        if rival.targets.size:
            return
    rival.equal = "it gives the same output at every reachable accumulator: proved"


def _find(tables: LayerTables, rival: Rival, accs: Int64Array, rng: np.random.Generator) -> None:
    """Keep some of the accumulators `[n, tables]` at which the mistake shows, each with a unit that may reach it."""
    assert rival.mistake is not None
    prepared = tables.prepared
    dtype = prepared.layer.input.dtype.numpy
    case = Case.of(prepared, np.zeros((1, prepared.layer.depth), dtype))
    wrong = wrong_matrix(case, {rival.mistake.slot: rival.mistake}, Accumulated(accs))
    right = requantize(accs, prepared.requant)["output"].astype(np.int64)
    at, column = np.nonzero(wrong != right)
    chosen = rng.permutation(at.size)[: _TARGETS * 16]
    found = accs[at[chosen], column[chosen] if accs.shape[1] > 1 else 0]
    units = tables.layer.units
    unit = column[chosen] if wrong.shape[1] == units else rng.integers(0, units, found.size)
    low, high = _reachable(tables)
    inside = (found >= low[unit]) & (found <= high[unit])
    rival.targets = np.stack([unit[inside], found[inside]], axis=1)


def _reachable(tables: LayerTables) -> tuple[Int64Array, Int64Array]:
    """Each unit's smallest and largest accumulator."""
    spans = [tables.intervals(unit) for unit in range(tables.layer.units)]
    return np.asarray([s[0][0] for s in spans]), np.asarray([s[-1][1] for s in spans])
