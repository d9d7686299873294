"""Exact integer matrix products through floating-point BLAS, which NumPy's own integer product does not use.

A floating-point sum of integers is exact, in whatever order it is taken, as long as no partial sum can leave the
range in which every integer is representable: 2**24 for float32, 2**53 for float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.types import Array, IntArray

__all__ = ["ExactWeights", "grouped_dot", "integer_product", "pack_weights"]


def integer_product(first: Array, second: Array) -> Array:
    """`first @ second` of integers held in a floating-point type.

    BLAS may calculate with what lies beyond a matrix, to fill its vectors. Nothing of that reaches the result, but it
    can leave a flag behind that NumPy would warn of.
    """
    with np.errstate(all="ignore"):
        return np.asarray(np.matmul(first, second))


@dataclass(frozen=True, eq=False)
class ExactWeights:
    """Weights ready for exact products.

    Attributes:
        packed: float32 or float64 `[depth, out]`.
    """

    packed: Array

    def dot(self, rows: IntArray) -> npt.NDArray[np.int64]:
        """`rows @ weights.T` without any rounding or wrapping: `[n, depth]` -> int64 `[n, out]`."""
        return integer_product(rows.astype(self.packed.dtype), self.packed).astype(np.int64)


def pack_weights(weights: IntArray, largest_input: int) -> ExactWeights:
    """Choose the narrowest float type in which every partial sum is exact, and lay the weights out for it.

    Args:
        weights: integers `[out, depth]`.
        largest_input: the largest absolute value an input element can have.

    >>> pack_weights(np.full((2, 1024), -127, np.int8), 128).packed.dtype  # 1024 * 127 * 128 < 2**24
    dtype('float32')
    >>> pack_weights(np.full((2, 1040), -127, np.int8), 128).packed.dtype
    dtype('float64')
    """
    largest_sum = int(np.abs(weights.astype(np.int64)).sum(axis=1).max(initial=0)) * largest_input
    assert largest_sum < 2**53, "depth times operand range is far beyond any model"
    dtype = np.float32 if largest_sum < 2**24 else np.float64
    return ExactWeights(np.ascontiguousarray(weights.T, dtype))


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
