"""Sums of two neighbouring products in 16 bits, which saturate: the x86-64 instruction VPMADDUBSW.

It multiplies eight-bit unsigned inputs by signed weights and adds the products of each even place and the one after it
to one 16-bit integer. That does not hold all such sums: 255 * 127 + 255 * 127 is 64770. Kernels for CPUs with dot
product instructions (VNNI) add in 32 bits instead, so the same library prints other numbers there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import IntArray

__all__ = ["INT16_MAX", "INT16_MIN", "SaturatingPairs", "kernel_shifts", "saturating_pairs"]

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1
_LARGEST_INPUT = 255
# Pair sums that are calculated at one time.
_PIECE = 1 << 18


@dataclass(frozen=True, eq=False)
class SaturatingPairs:
    """A layer's pairs of neighbouring weights, for those pairs whose sum of products can leave 16 bits.

    Attributes:
        places: int64 `[pairs]`: the even place of each such pair.
        even: int32 `[pairs, out]`: the weights at these places, as the kernel has them: int8.
        odd: int32 `[pairs, out]`: those one place further.
        input_up: what is added to a stored input for the kernel's uint8: 128 for int8, 0 for uint8.
        weights_up: the same of stored weights for the kernel's int8: -128 for uint8, 0 for int8.
    """

    places: npt.NDArray[np.int64]
    even: npt.NDArray[np.int32]
    odd: npt.NDArray[np.int32]
    input_up: int
    weights_up: int

    @property
    def units(self) -> npt.NDArray[np.bool_]:
        """Bool `[out]`: in which units some input makes a pair saturate."""
        return np.asarray(_risky(self.even, self.odd).any(axis=0))

    def lost(self, rows: IntArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """What saturation changes of a sum of products, and in how many pairs.

        Args:
            rows: stored inputs `[n, depth]`.

        Returns:
            Two int64 `[n, out]`: the sum with saturation less the sum without; how many pairs saturate.

        >>> pairs = saturating_pairs(np.asarray([[127, 127, 100, -100]]), 0, 0)
        >>> [values.tolist() for values in pairs.lost(np.asarray([[255, 255, 255, 255], [1, 1, 1, 1]]))]
        [[[-32003], [0]], [[1], [0]]]
        """
        out = self.even.shape[1]
        lost = np.zeros((len(rows), out), np.int64)
        count = np.zeros((len(rows), out), np.int64)
        many = max(_PIECE // max(out, 1), 1)
        for first in range(0, len(rows), many):
            x = rows[first : first + many].astype(np.int32) + np.int32(self.input_up)
            step = max(many // len(x), 1)
            for at in range(0, len(self.places), step):
                part = slice(at, at + step)
                places = self.places[part]
                sums = x[:, places, None] * self.even[part] + x[:, places + 1, None] * self.odd[part]
                change = np.clip(sums, INT16_MIN, INT16_MAX) - sums
                lost[first : first + many] += change.sum(axis=1, dtype=np.int64)
                count[first : first + many] += np.count_nonzero(change, axis=1)
        return lost, count


def kernel_shifts(input_dtype: str, weights_dtype: str) -> tuple[int, int]:
    """What is added to stored inputs for the instruction's uint8, and to stored weights for its int8.

    >>> kernel_shifts("int8", "int8"), kernel_shifts("uint8", "uint8")
    ((128, 0), (0, -128))
    """
    return 0 if input_dtype == "uint8" else 128, -128 if weights_dtype == "uint8" else 0


def saturating_pairs(weights: IntArray, input_up: int, weights_up: int) -> SaturatingPairs | None:
    """The pairs of a layer that can saturate; None where none can, whatever the input is.

    A last place without a neighbour is paired with 0, and one product alone always fits.

    Args:
        weights: as stored, `[out, depth]`.
        input_up: see SaturatingPairs.
        weights_up: see SaturatingPairs.

    >>> saturating_pairs(np.asarray([[127, 1], [-128, 0], [127, -128]]), 0, 0) is None
    True
    """
    kernel = weights.astype(np.int32) + np.int32(weights_up)
    whole = kernel.shape[1] // 2 * 2
    even, odd = kernel[:, 0:whole:2].T, kernel[:, 1:whole:2].T
    places = np.flatnonzero(_risky(even, odd).any(axis=1))
    if not places.size:
        return None
    first, second = (np.ascontiguousarray(part[places]) for part in (even, odd))
    return SaturatingPairs(2 * places, first, second, input_up, weights_up)


def _risky(even: npt.NDArray[np.int32], odd: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which pairs have a largest or a smallest sum of products beyond 16 bits."""
    most = _LARGEST_INPUT * (np.maximum(even, 0) + np.maximum(odd, 0))
    least = _LARGEST_INPUT * (np.minimum(even, 0) + np.minimum(odd, 0))
    return np.asarray((most > INT16_MAX) | (least < INT16_MIN))
