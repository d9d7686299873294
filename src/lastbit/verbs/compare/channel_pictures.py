"""One channel in two runtimes, as pictures: all of its steps, and those where the two differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...layers.step_tables import LayerTables, layer_of
from ...model.graph import Model
from ...model.types import Int64Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.prepare import prepare
from ...report.pictures import Picture, Steps
from ...runtimes import Runtime
from .layer_result import LayerCertificate, UnitDifference

__all__ = ["channel_pictures"]

# Accumulators on each side of those that differ, for each of them, and at least.
_AROUND, _LEAST = 8, 4

Runs = tuple[Int64Array, Int64Array]


def channel_pictures(model: Model, layer: LayerCertificate, first: Runtime, second: Runtime) -> list[Picture]:
    """The steps of the unit that differs at most accumulators; nothing where a runtime has no table of it.

    Args:
        model: the model.
        layer: a layer with differences.
        first: one runtime.
        second: the other.
    """
    most = max(layer.differences, key=lambda difference: difference.count)
    lines: dict[str, Runs] = {}
    for runtime in (first, second):
        prepared = layer_of(prepare(model, runtime), model.operator(layer.index))
        table = LayerTables(prepared).table(most.unit) if isinstance(prepared, PreparedDense) else None
        if table is None:
            return []
        lines[runtime.name] = table.starts, table.values
    what = f"Operator {layer.index}, unit {most.unit}"
    ends = f"{most.count} of {most.high - most.low + 1} accumulators differ"
    title = f"{what}: output by accumulator; {ends}"
    return [_picture(title, lines, *_steep(lines, most)), _closer(what, lines, most)]


def _steep(lines: dict[str, Runs], most: UnitDifference) -> tuple[int, int]:
    """Where the steps are: before and after, the output is clamped."""
    thresholds = np.concatenate([starts[1:] for starts, _ in lines.values()])
    if not len(thresholds):
        return most.low, most.high
    first, last = int(thresholds.min()), int(thresholds.max())
    room = max(1, (last - first) // 20)
    return max(most.low, first - room), min(most.high, last + room)


def _closer(what: str, lines: dict[str, Runs], most: UnitDifference) -> Steps:
    """Some accumulators around a difference in the middle."""
    ranges = [(first, last) for first, last, _, _ in most.rows()]
    first, last = ranges[len(ranges) // 2]
    room = max(_LEAST, _AROUND * (last - first + 1))
    low, high = max(most.low, first - room), min(most.high, last + room)
    return _picture(f"{what}, closer: one of the places where they differ", lines, low, high, ranges)


def _picture(title: str, lines: dict[str, Runs], low: int, high: int, ranges: Sequence[tuple[int, int]] = ()) -> Steps:
    """The lines from one accumulator to another, both included."""
    cut = {name: _between(runs, low, high) for name, runs in lines.items()}
    marked = [(a, b) for a, b in ranges if a <= high and b >= low]
    return Steps(title, cut, high, "accumulator", "output", marked)


def _between(runs: Runs, low: int, high: int) -> Runs:
    """The runs from one accumulator to another, both included."""
    starts, values = runs
    at = int(np.searchsorted(starts, low, side="right")) - 1
    end = int(np.searchsorted(starts, high, side="right"))
    cut = starts[at:end].copy()
    cut[0] = low
    return cut, values[at:end]
