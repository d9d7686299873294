"""Exact integer matrix products through floating-point BLAS, which NumPy's own integer product does not use.

A floating-point sum of integers is exact, in whatever order it is taken, as long as no partial sum can leave the
range in which every integer is representable: 2**24 for float32, 2**53 for float64.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.types import Array, IntArray

__all__ = ["ExactWeights", "grouped_dot", "integer_product", "pack_weights"]


def integer_product(first: Array, second: Array, out: Array | None = None) -> Array:
    """`first @ second` of integers held in a floating-point type, in `out` where that is given.

    BLAS may calculate with what lies beyond a matrix, to fill its vectors. Nothing of that reaches the result, but it
    can leave a flag behind that NumPy would warn of.
    """
    with np.errstate(all="ignore"):
        return np.asarray(np.matmul(first, second, out=out))


@dataclass(frozen=True, eq=False)
class ExactWeights:
    """Weights for exact products, laid out when the first product is asked for.

    Attributes:
        weights: integers `[out, depth]` as they are stored.
        zero_point: what is subtracted from them.
        kind: float32 or float64.
    """

    weights: IntArray
    zero_point: int
    kind: np.dtype[Any]

    @functools.cached_property
    def packed(self) -> Array:
        """The weights less their zero point, as floats `[depth, out]`."""
        laid_out = np.ascontiguousarray(self.weights.T, self.kind)
        return laid_out - self.kind.type(self.zero_point) if self.zero_point else laid_out

    def dot(self, rows: IntArray) -> npt.NDArray[np.int64]:
        """`rows @ weights.T` without any rounding or wrapping: `[n, depth]` -> int64 `[n, out]`."""
        return integer_product(rows.astype(self.kind), self.packed).astype(np.int64)


def pack_weights(weights: IntArray, largest_input: int, zero_point: int = 0) -> ExactWeights:
    """Choose the narrowest float type in which every partial sum is exact.

    Args:
        weights: integers `[out, depth]`.
        largest_input: the largest absolute value an input element can have.
        zero_point: what is subtracted from the weights.

    >>> pack_weights(np.full((2, 1024), -127, np.int8), 128).kind  # 1024 * 127 * 128 < 2**24
    dtype('float32')
    >>> pack_weights(np.full((2, 1040), -127, np.int8), 128).kind
    dtype('float64')
    """
    # A few rows at a time: the weights of a network are its largest memory.
    parts = (weights[at : at + 64].astype(np.int64) - zero_point for at in range(0, len(weights), 64))
    largest_sum = max((int(np.abs(part).sum(axis=1).max()) for part in parts), default=0) * largest_input
    assert largest_sum < 2**53, "depth times operand range is far beyond any model"
    return ExactWeights(weights, zero_point, np.dtype(np.float32 if largest_sum < 2**24 else np.float64))


def grouped_dot(x: IntArray, weights: IntArray, groups: int) -> npt.NDArray[np.int64]:
    """Exact products where each group of units sees its own part of a row.

    Args:
        x: `[n, groups * depth]`.
        weights: `[out, depth]`, the units of the first group first.
        groups: how many groups; 1 gives `x @ weights.T`.

    Returns:
        int64 `[n, out]`. Exact as long as no sum leaves 2^53.

    >>> grouped_dot(np.asarray([[1, 2, 3, 4]]), np.asarray([[1, 1], [1, -1]]), 2)
    array([[ 3, -1]])
    """
    units, depth = weights.shape
    parts = x.astype(np.float64).reshape(len(x), groups, depth).transpose(1, 0, 2)
    found = integer_product(
        parts, weights.astype(np.float64).reshape(groups, units // groups, depth).transpose(0, 2, 1)
    )
    return np.ascontiguousarray(found.transpose(1, 0, 2).reshape(len(x), units)).astype(np.int64)
