"""The readers of a hybrid rule's loops and pairs: which loop multiplies, and where two products overflow 16 bits.

With int8 inputs and weights only -128 * -128 twice does: 32768, which wraps to 65536 less or saturates to one less.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...model.types import IntArray
from ..base import Pairs
from ..sums.pairs16 import first_places
from .forms import Loops
from .neon import NeonLoop, neon_loop, plain_neon_loop

__all__ = ["choose_loop", "lost_by", "lost_to_overflow", "overflowing_pairs"]

BoolArray = npt.NDArray[np.bool_]


def choose_loop(loops: Loops, rows: int, units: int, depth: int) -> NeonLoop | None:
    """The loop that multiplies a layer of these sizes; None where there are none to choose from."""
    match loops:
        case "none":
            return None
        case "by_size":
            return neon_loop(rows, units, depth)
        case "by_size_without_dot":
            return plain_neon_loop(rows, units, depth)
        case "pairs":
            return NeonLoop.VECTOR
        case "one_row":
            return NeonLoop.VECTOR if rows == 1 else NeonLoop.FOUR_ROWS
        case never:
            assert_never(never)


def lost_by(pairs: Pairs) -> int:
    """What a sum of two products loses that does not fit 16 bits."""
    match pairs.overflow:
        case "wrap16":
            return 1 << 16
        case "saturate16":
            return 1
        case never:
            assert_never(never)


def overflowing_pairs(pairs: Pairs, weights: IntArray) -> BoolArray:
    """Where two weights of -128 share a sum: `[out, depth]`, true at the first of the two.

    >>> overflowing_pairs(Pairs(1, "wrap16"), np.full((1, 3), -128)).tolist()
    [[True, False, False]]

    Source: google/XNNPACK src/qd8-f32-qc8w-gemm/gen/qd8-f32-qc8w-gemm-1x8c2s4-minmax-neon-mlal.c @dd83e68dc013.
    """
    found, lowest = np.zeros(weights.shape, np.bool_), np.asarray(weights) == -128
    first = first_places(weights.shape[1], pairs.partner, pairs.last_group == "paired")
    found[:, first] = lowest[:, first] & lowest[:, first + pairs.partner]
    return found


def lost_to_overflow(pairs: Pairs, found: BoolArray, quantized: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How much too small sums are: int64 `[rows, out]`.

    Args:
        pairs: which products share a sum, and what becomes of one that does not fit.
        found: what `overflowing_pairs` gives.
        quantized: inputs, int64 `[rows, depth]`.
    """
    lowest = quantized == -128
    # The last columns are never the first of a pair.
    both = lowest & np.roll(lowest, -pairs.partner, axis=1)
    lost: npt.NDArray[np.int64] = both.astype(np.int64) @ found.T.astype(np.int64) * lost_by(pairs)
    return lost
