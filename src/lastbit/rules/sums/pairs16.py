"""Sums of two products in 16 bits, which saturate or wrap.

The x86-64 instruction VPMADDUBSW is the known one: it multiplies eight-bit unsigned inputs by signed weights and adds
the products of each even place and the one after it to one 16-bit integer, which saturates. That does not hold all such
sums: 255 * 127 + 255 * 127 is 64770. Kernels for CPUs with dot product instructions (VNNI) add in 32 bits instead, so
the same library prints other numbers there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt

from ...model.types import IntArray

__all__ = [
    "INT16_MAX",
    "INT16_MIN",
    "OverflowingPairs",
    "first_places",
    "kernel_shifts",
    "overflowing_pairs",
    "sums_in_16_bits",
]

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1
Overflow = Literal["saturate16", "wrap16"]
_LARGEST_INPUT = 255
# Pair sums that are calculated at one time.
_PIECE = 1 << 18


@dataclass(frozen=True, eq=False)
class OverflowingPairs:
    """A layer's pairs of weights, for those pairs whose sum of products can leave 16 bits.

    Attributes:
        places: int64 `[pairs]`: the place of each such pair's first weight.
        partner: how many places further the second one stands.
        overflow: what becomes of a sum that does not fit.
        first: int32 `[pairs, out]`: the weights at these places, as the kernel has them: int8.
        second: int32 `[pairs, out]`: their partners.
        input_up: what is added to a stored input for the kernel's uint8: 128 for int8, 0 for uint8.
        weights_up: the same of stored weights for the kernel's int8: -128 for uint8, 0 for int8.
    """

    places: npt.NDArray[np.int64]
    partner: int
    overflow: Overflow
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    input_up: int
    weights_up: int

    @property
    def units(self) -> npt.NDArray[np.bool_]:
        """Bool `[out]`: in which units some input makes a pair's sum leave 16 bits."""
        return np.asarray(_risky(self.first, self.second).any(axis=0))

    def lost(self, rows: IntArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """What 16 bits change of a sum of products, and in how many pairs.

        Args:
            rows: stored inputs `[n, depth]`.

        Returns:
            Two int64 `[n, out]`: the sum with pairs in 16 bits less the sum without; how many pairs do not fit.

        >>> pairs = overflowing_pairs(np.asarray([[127, 127, 100, -100]]), 0, 0)
        >>> [values.tolist() for values in pairs.lost(np.asarray([[255, 255, 255, 255], [1, 1, 1, 1]]))]
        [[[-32003], [0]], [[1], [0]]]
        """
        out = self.first.shape[1]
        lost = np.zeros((len(rows), out), np.int64)
        count = np.zeros((len(rows), out), np.int64)
        many = max(_PIECE // max(out, 1), 1)
        for first in range(0, len(rows), many):
            x = rows[first : first + many].astype(np.int32) + np.int32(self.input_up)
            step = max(many // len(x), 1)
            for at in range(0, len(self.places), step):
                part = slice(at, at + step)
                places = self.places[part]
                sums = x[:, places, None] * self.first[part]
                sums += x[:, places + self.partner, None] * self.second[part]
                change = sums_in_16_bits(sums, self.overflow) - sums
                lost[first : first + many] += change.sum(axis=1, dtype=np.int64)
                count[first : first + many] += np.count_nonzero(change, axis=1)
        return lost, count


def sums_in_16_bits(sums: IntArray, overflow: Overflow) -> IntArray:
    """What 16 bits hold of sums, of the same dtype.

    >>> sums_in_16_bits(np.asarray([40000, -40000]), "saturate16").tolist()
    [32767, -32768]
    >>> sums_in_16_bits(np.asarray([40000, -40000]), "wrap16").tolist()
    [-25536, 25536]
    """
    match overflow:
        case "saturate16":
            return np.clip(sums, INT16_MIN, INT16_MAX)
        case "wrap16":
            return sums.astype(np.int16).astype(sums.dtype)
        case never:
            assert_never(never)


def first_places(depth: int, partner: int, fill: bool) -> npt.NDArray[np.int64]:
    """The places of the first products of all pairs.

    Args:
        depth: how many products there are.
        partner: how many places further the second one of a pair stands; groups have twice that many products.
        fill: whether a last group that is not full has pairs too, as far as partners are there.

    >>> first_places(7, 2, True).tolist(), first_places(7, 2, False).tolist()
    ([0, 1, 4], [0, 1])
    """
    k = np.arange(depth)
    paired = (k % (2 * partner) < partner) & (k + partner < depth)
    return np.flatnonzero(paired if fill else paired & (k < depth // (2 * partner) * 2 * partner))


def kernel_shifts(input_dtype: str, weights_dtype: str) -> tuple[int, int]:
    """What is added to stored inputs for the instruction's uint8, and to stored weights for its int8.

    >>> kernel_shifts("int8", "int8"), kernel_shifts("uint8", "uint8")
    ((128, 0), (0, -128))
    """
    return 0 if input_dtype == "uint8" else 128, -128 if weights_dtype == "uint8" else 0


def overflowing_pairs(
    weights: IntArray,
    input_up: int,
    weights_up: int,
    *,
    partner: int = 1,
    overflow: Overflow = "saturate16",
    fill: bool = True,
) -> OverflowingPairs | None:
    """The pairs of a layer whose sum can leave 16 bits; None where none can, whatever the input is.

    Args:
        weights: as stored, `[out, depth]`.
        input_up: see OverflowingPairs.
        weights_up: see OverflowingPairs.
        partner: see `first_places`.
        overflow: what becomes of a sum that does not fit.
        fill: see `first_places`.

    >>> overflowing_pairs(np.asarray([[127, 1], [-128, 0], [127, -128]]), 0, 0) is None
    True
    """
    kernel = (weights.astype(np.int32) + np.int32(weights_up)).T
    places = first_places(len(kernel), partner, fill)
    first, second = kernel[places], kernel[places + partner]
    risky = _risky(first, second).any(axis=1)
    if not risky.any():
        return None
    first, second = (np.ascontiguousarray(part[risky]) for part in (first, second))
    return OverflowingPairs(places[risky], partner, overflow, first, second, input_up, weights_up)


def _risky(first: npt.NDArray[np.int32], second: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which pairs have a largest or a smallest sum of products beyond 16 bits."""
    most = _LARGEST_INPUT * (np.maximum(first, 0) + np.maximum(second, 0))
    least = _LARGEST_INPUT * (np.minimum(first, 0) + np.minimum(second, 0))
    return np.asarray((most > INT16_MAX) | (least < INT16_MIN))
