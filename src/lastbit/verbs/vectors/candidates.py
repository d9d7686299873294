"""Inputs that golden vectors are chosen from, beside those that are solved for: odd ones, and every one there is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...layers.separating_inputs import boundary_inputs
from ...layers.step_tables import LayerTables
from ...model.types import Int64Array, IntArray, integer_type
from ...ops.dense.layer import DenseLayer

__all__ = ["every_input", "fewest", "impulses", "odd_rows"]


_EVERY_INPUT = 1 << 16
_PRODUCTS = 1 << 25
_MOST = 400


def every_input(layer: DenseLayer) -> IntArray | None:
    """Every row there is, `[n, depth]`, where they are few; else None."""
    low, high = _ends(layer)
    if (high - low + 1) ** min(layer.depth, 3) > _EVERY_INPUT:
        return None
    one = np.arange(low, high + 1)
    grid: IntArray = np.stack(np.meshgrid(*[one] * layer.depth), axis=-1).reshape(-1, layer.depth)
    return grid.astype(layer.input.dtype.numpy)


def odd_rows(tables: LayerTables, rng: np.random.Generator) -> IntArray:
    """Rows of other kinds than evenly drawn ones, `[n, depth]`.

    Only the ends of the type, few values, small values, every unit's extremes, and two neighbours at one end.
    """
    layer = tables.layer
    (low, high), zx = _ends(layer), layer.input_zero_point
    count = min(_MOST, max(_PRODUCTS // (layer.units * layer.depth), 16))
    shape = count, layer.depth
    ends = rng.choice([low, high], shape)
    few = np.where(rng.random(shape) < 2 / layer.depth, rng.integers(low, high + 1, shape), zx)
    small = np.clip(zx + rng.integers(-3, 4, shape), low, high)
    extremes = boundary_inputs(layer, rng, min(layer.units, count))
    return np.concatenate([ends, few, small, extremes, _pairs(tables, count)]).astype(layer.input.dtype.numpy)


def fewest(caught: npt.NDArray[np.bool_], pairs: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Choose at most `count` candidates: first those that catch every rival, then those that show them at more units.

    Args:
        caught: bool `[n, rivals]`: what each candidate catches.
        pairs: bool `[n, rivals * units]`: for which rivals and units it shows a difference.
        count: how many are wanted.
    """
    chosen: list[int] = []
    left, open_pairs = caught.any(axis=0), pairs.any(axis=0)
    while len(chosen) < count:
        gain = (caught & left).sum(axis=1) * 1_000_000 + (pairs & open_pairs).sum(axis=1)
        gain[chosen] = 0
        best = int(np.argmax(gain)) if gain.size else 0
        if not gain.size or gain[best] == 0:
            break
        chosen.append(best)
        left &= ~caught[best]
        open_pairs &= ~pairs[best]
    return chosen


def impulses(tables: LayerTables, rng: np.random.Generator) -> IntArray:
    """The zero point everywhere but at one value, at some places: they show where a value went."""
    layer = tables.layer
    low, high = _ends(layer)
    places = rng.permutation(layer.depth)[:16]
    rows = np.full((2 * len(places), layer.depth), layer.input_zero_point, layer.input.dtype.numpy)
    rows[np.arange(len(places)), places] = high
    rows[len(places) + np.arange(len(places)), places] = low
    return rows


def _pairs(tables: LayerTables, count: int) -> Int64Array:
    """Rows for kernels that add products in pairs: the largest pairs there are, each with its values at one end.

    The other values pull the accumulator back to where the output is not at its clamp, or nothing would be seen.
    """
    layer = tables.layer
    (low, high), zx, half = _ends(layer), layer.input_zero_point, layer.depth // 2
    w = layer.weights_values.astype(np.int64) - layer.weights_zero_point
    sums = w[:, : 2 * half].reshape(layer.units, half, 2).sum(axis=2)
    largest = np.argsort(-np.abs(sums), axis=None, kind="stable")[:count]
    rows = []
    for unit, pair in zip(*np.unravel_index(largest, sums.shape), strict=True):
        table = tables.table(int(unit))
        if table is None or not table.thresholds.size:
            continue
        middle = int(table.thresholds[table.thresholds.size // 2])
        for end in (low, high):
            row = np.full(layer.depth, zx)
            row[2 * pair : 2 * pair + 2] = end
            missing = middle - int(layer.bias_values[unit]) - int(w[unit] @ (row - zx))
            # All other values go the same share of the way to the end that makes up what is missing.
            to = np.where((w[unit] > 0) == (missing > 0), high, low) - zx
            to[2 * pair : 2 * pair + 2] = 0
            whole = int(w[unit] @ to)
            row += np.rint(to * min(missing / whole, 1.0) if whole else to * 0.0).astype(np.int64)
            rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, layer.depth), np.int64)


def _ends(layer: DenseLayer) -> tuple[int, int]:
    dtype = integer_type(layer.input.dtype)
    return dtype.qmin, dtype.qmax
