"""Sums of products for all elements of an output or a few chosen ones, so that mistakes are written once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array

__all__ = ["Elements", "Everything", "Grid"]

# Products taken one by one are held in pieces of about this many.
_PIECE = 1 << 21


class Grid:
    """Which output elements are calculated. Arrays that belong to rows or units broadcast to the elements."""

    def rows(self, x: Int64Array) -> Int64Array:
        """The inputs `[rows, depth]` that belong to the elements."""
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
        self, x: Int64Array, w: Int64Array, each: Callable[[Int64Array], Int64Array], together: int = 1
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
    """Every element: results are `[rows, out]`."""

    def rows(self, x: Int64Array) -> Int64Array:
        """All rows."""
        return x

    def units(self, w: Int64Array) -> Int64Array:
        """All units."""
        return w

    def unit_values(self, values: Array) -> Array:
        """As they are."""
        return values

    def dot(self, x: Int64Array, w: Int64Array) -> Int64Array:
        """The matrix product, through float64: exact below 2^53, which no layer reaches."""
        return np.asarray(x.astype(np.float64) @ w.astype(np.float64).T).astype(np.int64)

    def dot_of(
        self, x: Int64Array, w: Int64Array, each: Callable[[Int64Array], Int64Array], together: int = 1
    ) -> Int64Array:
        """The same with a function applied to each product."""
        step = max(_PIECE // max(w.size, 1), 1)
        pieces = [
            each(_neighbours(x[i : i + step, None, :] * w[None], together)).sum(axis=-1) for i in range(0, len(x), step)
        ]
        return np.concatenate(pieces) if pieces else np.zeros((0, len(w)), np.int64)

    def sum_x(self, x: Int64Array) -> Int64Array:
        """One for each row, as a column."""
        return np.asarray(x.sum(axis=-1, keepdims=True))


class Elements(Grid):
    """Some elements (row, unit): results are `[elements]`."""

    def __init__(self, row: npt.NDArray[np.int64], unit: npt.NDArray[np.int64]) -> None:
        self.row, self.unit = row, unit

    def rows(self, x: Int64Array) -> Int64Array:
        """Each element's row, `[elements, depth]`."""
        return x[self.row]

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
        self, x: Int64Array, w: Int64Array, each: Callable[[Int64Array], Int64Array], together: int = 1
    ) -> Int64Array:
        """The same with a function applied to each product."""
        return np.asarray(each(_neighbours(x * w, together)).sum(axis=-1))

    def sum_x(self, x: Int64Array) -> Int64Array:
        """One for each element."""
        return np.asarray(x.sum(axis=-1))


def _neighbours(products: Int64Array, together: int) -> Int64Array:
    """Sums of so many neighbouring products each; the last may be of fewer."""
    if together == 1:
        return products
    whole: Int64Array = np.add.reduceat(products, np.arange(0, products.shape[-1], together), axis=-1)
    return whole
