"""How many random vectors catch each rival: what solved vectors are compared with.

Some random vectors are run for every rival. Rivals that hardly any of them catches need millions: for those the
accumulators at which they differ are marked, all of them, and the millions are looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...layers.mistakes.pipeline import PREFIX
from ...layers.running import LayerSums, random_rows
from ...layers.step_tables import LayerTables, TablePair
from ...model.types import IntArray
from ...ops.dense.eight_bit import PreparedDense
from .rivals import Rival, differs_at, of_the_accumulator, reachable

__all__ = ["random_catches"]

Caught = Callable[[PreparedDense, Sequence[Rival], IntArray], npt.NDArray[np.bool_]]

# Rows on which every rival is run, and products of the layer: large layers have fewer rows.
_ROWS = 4096
_PRODUCTS = 1 << 26
# Rivals that more than this share of them catches are not looked at further.
_RARE = 0.01
_MARKS = 1 << 26
_AT_A_TIME = 1 << 21
_BITS = 64


def random_catches(
    tables: LayerTables, rivals: Sequence[Rival], count: int, rng: np.random.Generator, caught_by: Caught
) -> list[tuple[int, int]]:
    """For each rival, how many random vectors catch it, and of how many.

    Args:
        tables: the layer in the right arithmetic.
        rivals: the rivals.
        count: vectors, each value drawn evenly from all of the input's type. A rival that more than one in a hundred
            catches, or that is no function of the accumulator, is counted on fewer of them.
        rng: random source.
        caught_by: which rows catch which rivals.
    """
    layer = tables.layer
    direct = min(count, _ROWS, max(_PRODUCTS // (layer.units * layer.depth), 16))
    hits = caught_by(tables.prepared, rivals, random_rows(layer, direct, rng)).sum(axis=0)
    result = [(int(n), direct) for n in hits]
    if count == direct:
        return result
    # A rival that was proved equal needs no trial.
    rare = [k for k, rival in enumerate(rivals) if hits[k] <= _RARE * direct and not rival.equal]
    marked = [k for k in rare if _can_be_marked(tables, rivals[k])]
    for first in range(0, len(marked), _BITS):
        group = marked[first : first + _BITS]
        found = _look_up(tables, [rivals[k] for k in group], count, rng)
        for k, n in zip(group, found, strict=True):
            result[k] = n, count
    for k, rival in enumerate(rivals):
        if rival.equal and not hits[k]:
            result[k] = 0, count
    return result


def _can_be_marked(tables: LayerTables, rival: Rival) -> bool:
    low, high = reachable(tables)
    if (int(high.max()) - int(low.min()) + 1) * tables.layer.units > _MARKS or tables.width > 1 << 8:
        return False
    if rival.mistake is not None:
        return of_the_accumulator(rival.mistake)
    assert rival.prepared is not None
    return TablePair(tables, LayerTables(rival.prepared)).differing(0) is not None


def _look_up(tables: LayerTables, rivals: Sequence[Rival], count: int, rng: np.random.Generator) -> list[int]:
    """How many of so many random rows catch each of up to 64 rivals."""
    layer = tables.layer
    low, high = reachable(tables)
    columns = 1 if tables.tables_count == 1 and not _by_unit(rivals) else layer.units
    if columns == 1:
        low, high = low.min(keepdims=True), high.max(keepdims=True)
    marks = np.zeros((columns, int((high - low).max()) + 1), np.uint64)
    for bit, rival in enumerate(rivals):
        _mark(tables, rival, marks, low, high, np.uint64(1 << bit))
    flat, base = marks.reshape(-1), np.arange(columns) * marks.shape[1] - low
    sums = LayerSums(tables.prepared)
    hits = np.zeros(len(rivals), np.int64)
    step = max(_AT_A_TIME // max(layer.units, layer.depth), 1)
    for first in range(0, count, step):
        accs = sums.accumulators(random_rows(layer, min(step, count - first), rng))
        seen = np.bitwise_or.reduce(flat[accs + base], axis=1)
        seen = seen[seen != 0]
        hits += [int(((seen >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(len(rivals))]
    return hits.tolist()


def _by_unit(rivals: Sequence[Rival]) -> bool:
    """Whether what one of them does is another thing at each unit."""
    return any(r.mistake is not None and (r.mistake.slot in PREFIX or r.mistake.slot == "channels") for r in rivals)


def _mark(
    tables: LayerTables,
    rival: Rival,
    marks: npt.NDArray[np.uint64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    bit: np.uint64,
) -> None:
    """Set a bit at every accumulator at which a rival differs."""
    columns, longest = marks.shape
    if rival.prepared is not None:
        pair = TablePair(tables, LayerTables(rival.prepared))
        for unit in range(tables.layer.units):
            column = unit if columns > 1 else 0
            for part in pair.differing(unit) or ():
                for first, last, _, _ in part.rows():
                    marks[column, first - int(low[column]) : last - int(low[column]) + 1] |= bit
        return
    step = max(_AT_A_TIME // columns, 1)
    for first in range(0, longest, step):
        offsets = np.arange(first, min(first + step, longest))[:, None]
        shown = differs_at(tables, rival, np.minimum(low + offsets, high))
        marks[:, first : first + step] |= np.where(shown, bit, np.uint64(0)).T
