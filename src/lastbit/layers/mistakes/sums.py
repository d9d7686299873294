"""Sums of products for all elements of an output or a few chosen ones, so that mistakes are written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arith.matmul import grouped_dot, integer_product
from ...model.types import Array, Int64Array, IntArray
from .taps import WindowTaps

__all__ = ["Elements", "Everything", "Grid"]

# Products taken one by one are held in pieces of about this many.
_PIECE = 1 << 20

# BLAS shares a product of more than _ALONE multiplications among threads, and waits for each of them. Below _SHARED
# that takes longer than the product where other processes have the cores, and a search has thousands of such products.
_ALONE, _SHARED = 1 << 18, 1 << 24


class Grid:
    """Which output elements are calculated. Arrays that belong to rows or units broadcast to the elements."""

    def rows(self, x: Int64Array, windows: WindowTaps | None = None) -> Int64Array:
        """The inputs that belong to the elements; of images, by these windows or by the right ones."""
        raise NotImplementedError

    def padded(self, x: Int64Array, windows: WindowTaps | None = None) -> npt.NDArray[np.bool_]:
        """Which of them are padding, broadcastable to them."""
        raise NotImplementedError

    def units(self, w: Int64Array) -> Int64Array:
        """The weights `[out, depth]` that belong to the elements."""
        raise NotImplementedError

    def unit_values(self, values: Array) -> Array:
        """One value for each unit (or one for all, `[1]`), broadcastable to the elements."""
        raise NotImplementedError

    def dot(self, x: Int64Array, w: Int64Array) -> Int64Array:
        """Sum over k of x * w, from `rows` and `units`."""
        raise NotImplementedError

    def dot_of(
        self, x: Int64Array, w: Int64Array, each: Callable[[IntArray], IntArray], together: int = 1
    ) -> Int64Array:
        """Sum over k of each(x * w); of each(sum of so many neighbouring products) where they are taken together."""
        raise NotImplementedError

    def sum_x(self, x: Int64Array) -> Int64Array:
        """Sum over k of x, broadcastable to the elements."""
        raise NotImplementedError

    def sum_w(self, w: Int64Array) -> Int64Array:
        """Sum over k of w, broadcastable to the elements."""
        return np.asarray(w.sum(axis=-1))


class Everything(Grid):
    """Every element of some rows: results are `[rows, out]`.

    Args:
        windows: of images, the windows that are the rows; None where the input is rows already.
        groups: into how many parts a row is cut, each seen by units of its own.
        units: how many there are.
        which: the rows of the output; None for all that the input has.
        right: the right input and weights, of which rows and products are kept: most mistakes change neither.
    """

    def __init__(
        self,
        windows: WindowTaps | None = None,
        groups: int = 1,
        units: int = 0,
        which: npt.NDArray[np.int64] | None = None,
        right: tuple[Int64Array, Int64Array] | None = None,
    ) -> None:
        self.windows, self.groups, self.count, self.which = windows, groups, units, which
        self._right = right
        self._rows: Int64Array | None = None
        self._dot: Int64Array | None = None

    def rows(self, x: Int64Array, windows: WindowTaps | None = None) -> Int64Array:
        """All rows: `[rows, depth]`, or `[rows, groups, depth]` where there are several parts."""
        if windows is not None or self._right is None or x is not self._right[0]:
            return self._made(x, windows)
        if self._rows is None:
            self._rows = self._made(x, None)
        return self._rows

    def _made(self, x: Int64Array, windows: WindowTaps | None) -> Int64Array:
        seen = windows or self.windows
        if seen is None:
            taken = x if self.which is None else x[self.which]
            return taken if self.groups == 1 else taken.reshape(len(taken), self.groups, -1)
        assert self.which is not None
        values = seen.of(x, self.which)
        if self.groups == 1:
            return values.reshape(len(values), -1)
        parts = np.moveaxis(values.reshape(*values.shape[:2], self.groups, -1), 2, 1)
        parts = parts.reshape(len(values), self.groups, -1)
        return parts if seen.in_order else parts[:, seen.unit_groups]

    def padded(self, x: Int64Array, windows: WindowTaps | None = None) -> npt.NDArray[np.bool_]:
        """Which of the rows' values are padding, broadcastable to them."""
        seen = windows or self.windows
        if seen is None or self.which is None:
            return np.zeros((1,), np.bool_)
        found = seen.padded(self.which, x.shape[-1] // self.groups)
        return found if self.groups == 1 else found[:, None]

    def units(self, w: Int64Array) -> Int64Array:
        """All units."""
        return w

    def unit_values(self, values: Array) -> Array:
        """As they are."""
        return values

    def dot(self, x: Int64Array, w: Int64Array) -> Int64Array:
        """The matrix product, through floats: exact below 2^53, which no layer reaches."""
        if self._right is None or x is not self._rows or w is not self._right[1]:
            return _dot(x, w)
        if self._dot is None:
            self._dot = _dot(x, w)
            self._dot.flags.writeable = False
        return self._dot

    def dot_of(
        self, x: Int64Array, w: Int64Array, each: Callable[[IntArray], IntArray], together: int = 1
    ) -> Int64Array:
        """The same with a function applied to each product."""
        step = max(_PIECE // max(w.size, 1), 1)
        pieces = [
            each(_neighbours(_products(x[i : i + step], w), together)).sum(axis=-1, dtype=np.int64)
            for i in range(0, len(x), step)
        ]
        return np.concatenate(pieces) if pieces else np.zeros((0, len(w)), np.int64)

    def sum_x(self, x: Int64Array) -> Int64Array:
        """One for each row, as a column; of several parts, one for each unit."""
        if x.ndim == 3:
            return np.repeat(x.sum(axis=-1), self.count // x.shape[1], axis=1)
        return np.asarray(x.sum(axis=-1, keepdims=True))


def _dot(x: Int64Array, w: Int64Array) -> Int64Array:
    """Sum over k of x * w, `[rows, out]`."""
    if x.ndim == 3:
        return grouped_dot(x.reshape(len(x), -1), w, x.shape[1])
    largest = int(np.abs(x).max(initial=0)) * int(np.abs(w).sum(axis=1).max(initial=0))
    kind: type[np.floating[Any]] = np.float32 if largest < 2**24 else np.float64
    rows, columns = x.astype(kind), w.astype(kind).T
    step = max(_ALONE // max(w.size, 1), 1)
    if len(rows) * w.size > _SHARED or len(rows) <= step:
        return integer_product(rows, columns).astype(np.int64)
    total = np.empty((len(rows), len(w)), kind)
    for i in range(0, len(rows), step):
        integer_product(rows[i : i + step], columns, total[i : i + step])
    return total.astype(np.int64)


def _products(x: IntArray, w: IntArray) -> IntArray:
    """Every product: `[rows, out, depth]`, of 32 bits where two of them have room in these."""
    if int(np.abs(x).max(initial=0)) * int(np.abs(w).max(initial=0)) < 1 << 30:
        x, w = x.astype(np.int32), w.astype(np.int32)
    if x.ndim == 2:
        return np.asarray(x[:, None, :] * w[None])
    parts = w.reshape(x.shape[1], -1, w.shape[1])
    return np.asarray((x[:, :, None, :] * parts[None]).reshape(len(x), *w.shape))


class Elements(Grid):
    """Some elements (row, unit): results are `[elements]`.

    Args:
        row: their rows in the output.
        unit: their units.
        windows: of images, the windows that are the rows; None where the input is rows already.
        groups: into how many parts a row is cut, each seen by units of its own.
        units: how many there are.
    """

    def __init__(
        self,
        row: npt.NDArray[np.int64],
        unit: npt.NDArray[np.int64],
        windows: WindowTaps | None = None,
        groups: int = 1,
        units: int = 0,
    ) -> None:
        self.row, self.unit, self.windows, self.groups, self.count = row, unit, windows, groups, units

    def rows(self, x: Int64Array, windows: WindowTaps | None = None) -> Int64Array:
        """Each element's row, `[elements, depth]`."""
        seen = windows or self.windows
        each = np.arange(len(self.row))
        if seen is None:
            taken = x[self.row]
            if self.groups == 1:
                return taken
            return taken.reshape(len(each), self.groups, -1)[each, self.unit // (self.count // self.groups)]
        values = seen.of(x, self.row)
        if self.groups > 1:
            parts = values.reshape(*values.shape[:2], self.groups, -1)
            values = parts[each, :, seen.unit_groups[self.unit]]
        return values.reshape(len(each), -1)

    def padded(self, x: Int64Array, windows: WindowTaps | None = None) -> npt.NDArray[np.bool_]:
        """Which of the rows' values are padding, broadcastable to them."""
        seen = windows or self.windows
        return np.zeros((1,), np.bool_) if seen is None else seen.padded(self.row, x.shape[-1] // self.groups)

    def units(self, w: Int64Array) -> Int64Array:
        """Each element's weights, `[elements, depth]`."""
        return w[self.unit]

    def unit_values(self, values: Array) -> Array:
        """Each element's value."""
        return values[self.unit] if values.size > 1 else values

    def dot(self, x: Int64Array, w: Int64Array) -> Int64Array:
        """Row by row."""
        return np.asarray(np.einsum("ek,ek->e", x, w))

    def dot_of(
        self, x: Int64Array, w: Int64Array, each: Callable[[IntArray], IntArray], together: int = 1
    ) -> Int64Array:
        """The same with a function applied to each product."""
        return np.asarray(each(_neighbours(x * w, together)).sum(axis=-1, dtype=np.int64))

    def sum_x(self, x: Int64Array) -> Int64Array:
        """One for each element."""
        return np.asarray(x.sum(axis=-1))


def _neighbours(products: IntArray, together: int) -> IntArray:
    """Sums of so many neighbouring products each; the last may be of fewer."""
    if together == 1:
        return products
    sums: IntArray = products[..., ::together].copy()
    for behind in range(1, together):
        more = products[..., behind::together]
        sums[..., : more.shape[-1]] += more
    return sums
