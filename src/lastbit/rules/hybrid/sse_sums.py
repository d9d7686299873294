"""Two faults of LiteRT's SSE code for int8 products and sums, as functions of the weights."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...model.types import IntArray
from .forms import UNITS_AT_ONCE, SseSums

__all__ = ["faulty_signs", "sums_in_16_bits", "sums_of_weights", "wrong_signs"]

_COLUMNS = 16  # what the code takes at once


def wrong_signs(weights: IntArray) -> npt.NDArray[np.bool_]:
    """Where a negative input is multiplied with the wrong sign: weights of -128 in the first `depth & ~15` columns.

    The code moves the input's sign to the weight, and minus -128 is -128 again in 8 bits.

    Args:
        weights: int8 values, `[out, depth]`.

    >>> w = np.full((1, 17), -128)
    >>> int(wrong_signs(w).sum())
    16

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/sse_tensor_utils.cc @7d88950ea445 (DotProdInt8x4x4).
    """
    depth = weights.shape[1]
    wrong = np.asarray(weights == -128)
    wrong[:, depth - depth % _COLUMNS :] = False
    return wrong


def sums_in_16_bits(weights: IntArray) -> npt.NDArray[np.int64]:
    """Sums of each unit's weights, int64 `[out]`, in eight 16-bit lanes that wrap; from a depth of 2064 on they can.

    Lane l takes columns 2l and 2l + 1 of every sixteen, and column l of eight more; the rest is added in 32 bits.

    >>> sums_in_16_bits(np.full((1, 2080), 127)).tolist(), 2080 * 127
    ([-260128], 264160)

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/sse_tensor_utils.cc @7d88950ea445
    (SseReductionSumVector).
    """
    values = weights.astype(np.int64)
    units, depth = values.shape
    whole = depth - depth % _COLUMNS
    lanes = values[:, :whole].reshape(units, -1, _COLUMNS // 2, 2).sum(axis=(1, 3))
    if depth - whole >= _COLUMNS // 2:
        lanes = lanes + values[:, whole : whole + _COLUMNS // 2]
        whole += _COLUMNS // 2
    wrapped = low_bits(lanes, 16)
    result: npt.NDArray[np.int64] = wrapped.sum(axis=1) + values[:, whole:].sum(axis=1)
    return result


def faulty_signs(sums: SseSums, weights: IntArray) -> npt.NDArray[np.bool_]:
    """Where a kernel with these sums multiplies a negative input with the wrong sign: `[out, depth]`."""
    match sums:
        case "all":
            return wrong_signs(weights)
        case "unless_fours" if len(weights) % UNITS_AT_ONCE:
            return wrong_signs(weights)
        case "none" | "weights" | "unless_fours":
            return np.zeros(np.shape(weights), np.bool_)
        case never:
            assert_never(never)


def sums_of_weights(sums: SseSums, weights: IntArray) -> npt.NDArray[np.int64]:
    """What a kernel with these sums takes for the sums of the weights: int64 `[out]`."""
    match sums:
        case "none" | "unless_fours":  # of the latter, rows have no zero point that they would be multiplied with
            whole: npt.NDArray[np.int64] = weights.sum(axis=1, dtype=np.int64)
            return whole
        case "all" | "weights":
            return sums_in_16_bits(weights)
        case never:
            assert_never(never)
