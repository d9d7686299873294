"""What LiteRT's hybrid dense kernels do on ARM64: NEON conversions, 16-bit sums of products, and which loop runs.

A float becomes an integer there by an instruction that rounds half away, or half even, and saturates; NaN becomes 0.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import INT32_MAX, INT32_MIN, low_bits
from ...arith.floats import flush_subnormals, multiply32, round_away32
from ...model.types import Float32Array, Int64Array
from .rows_x86 import QuantizedRows, row_range

__all__ = [
    "NeonLoop",
    "flushed_range_arm",
    "inverted",
    "neon_loop",
    "nibble_row_sums",
    "pairs_of_lowest",
    "plain_neon_loop",
    "saturate_to_int32",
]


_LANES = 8  # values that vector code quantizes at once; scalar code has the rest of a row
_PAIR = 8  # columns between the two whose products share a 16-bit sum
_BOX = 32  # columns that the 4-bit kernel quantizes before it adds up


class NeonLoop(Enum):
    """Which of three loops multiplies a hybrid layer.

    Attributes:
        VECTOR: one unit after the other; pairs of products are added in 16 bits, the output is a fused multiply-add.
        FOUR_ROWS: four rows at once with dot product instructions; the output is multiplied, then added.
        MATRIX: the matrix library; the output is a fused multiply-add.
    """

    VECTOR = "vector"
    FOUR_ROWS = "four_rows"
    MATRIX = "matrix"


def neon_loop(rows: int, units: int, depth: int) -> NeonLoop:
    """Which loop LiteRT's own kernels choose for a layer's sizes, on a CPU with dot product instructions.

    >>> [neon_loop(rows, 16, 32).value for rows in (1, 3, 4, 16)]
    ['vector', 'vector', 'four_rows', 'matrix']

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
    (UseCpuBackendGemm, NeonMatrixBatchVectorMultiplyAccumulate). Shown on ai-edge-litert 2.0.2 for aarch64.
    """
    if rows >= 16 and units % 4 == 0:
        longer, shorter = max(units, depth), min(units, depth)
        if (rows.bit_length() - 1) - ((longer // shorter).bit_length() - 1) > 2:
            return NeonLoop.MATRIX
    whole = depth % 16 == 0 and units % 2 == 0 and units >= rows
    if whole and (rows % 4 == 0 or (rows >= 2 and units * depth >= 128 * 128)):
        return NeonLoop.FOUR_ROWS
    return NeonLoop.VECTOR


def plain_neon_loop(rows: int, units: int, depth: int) -> NeonLoop:
    """The same on a CPU without dot product instructions: four rows are never taken at once.

    >>> [plain_neon_loop(rows, 16, 32).value for rows in (1, 3, 4, 16)]
    ['vector', 'vector', 'vector', 'matrix']

    Source: as above (HasSdotInstruction). Shown on ai-edge-litert 2.0.2 for aarch64, emulated Cortex-A53.
    """
    loop = neon_loop(rows, units, depth)
    return NeonLoop.VECTOR if loop is NeonLoop.FOUR_ROWS else loop


def pairs_of_lowest(lowest: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where two weights of the lowest value share a 16-bit sum of products: `[out, depth]`, true at the first one.

    Such pairs are columns k and k + 8 of a whole block of sixteen. With two inputs of -128 the sum of two products of
    -128 is 32768, which wraps to -32768: the accumulator is 65536 too small.

    Args:
        lowest: where weights are the lowest value, `[out, depth]`.

    >>> int(pairs_of_lowest(np.ones((1, 31), np.bool_)).sum())
    8
    """
    result = np.zeros(lowest.shape, np.bool_)
    for start in range(0, lowest.shape[1] - 15, 16):
        first, second = lowest[:, start : start + _PAIR], lowest[:, start + _PAIR : start + 16]
        result[:, start : start + _PAIR] = first & second
    return result


def saturate_to_int32(value: npt.NDArray[np.floating]) -> Int64Array:
    """Whole numbers in float to int32 values: what does not fit becomes the nearer end, NaN 0."""
    wide = np.nan_to_num(np.asarray(value, np.float64), nan=0.0, posinf=2.0**31, neginf=-(2.0**31))
    return np.clip(wide, INT32_MIN, INT32_MAX).astype(np.int64)


def nibble_row_sums(rows: QuantizedRows) -> Int64Array:
    """The 4-bit kernel's own sum of a row's quantized values, int64 `[rows]`.

    It adds the values before they saturate to 8 bits, in eight lanes of 16 bits that wrap, box by box of 32 columns:
    rows with infinities, and tiny ones, have another sum than their quantized values.

    Args:
        rows: float32 `scaled` and int64 `quantized`, `[rows, depth]`.

    >>> few, whole = np.zeros(1, np.float32), np.zeros((1, 8), np.int64) + 127
    >>> scaled = np.full((1, 8), 1e6, np.float32)  # an infinite range
    >>> nibble_row_sums(QuantizedRows(few, few, few, few, np.zeros(1, np.int64), scaled, whole)).tolist()
    [262136]
    """
    depth = rows.scaled.shape[1]
    split = depth - depth % _LANES
    with np.errstate(all="ignore"):
        values = np.clip(saturate_to_int32(round_away32(rows.scaled[:, :split])), -(2**15), 2**15 - 1)
    total = rows.quantized[:, split:].sum(axis=1)
    for start in range(0, split, _BOX):
        box = values[:, start : start + _BOX]
        lanes = box.reshape(len(box), -1, _LANES).sum(axis=1)
        total = total + low_bits(lanes, 16).sum(axis=1)
    return low_bits(total, 32)


def flushed_range_arm(
    x: Float32Array,
) -> tuple[Float32Array, Float32Array, Float32Array, Int64Array, Float32Array]:
    """(low, high, steps per unit, zero point) of rows without subnormals, `[rows]`, and the rows in steps."""
    low, high = row_range(x)
    lowest, highest = np.float32(-128), np.float32(127)
    with np.errstate(all="ignore"):
        width = flush_subnormals(high - low)
        steps = flush_subnormals(np.divide(np.float32(255), width, dtype=np.float32))
        inverse = np.where(low == high, np.float32(1), steps)
        below, above = multiply32(low, inverse, True, True), multiply32(high, inverse, True, True)
        low_is_better = (below + lowest) + (above + highest) > 0
        exact = np.where(low_is_better, lowest - below, highest - above)
        # A NaN loses to either bound, the lower one first.
        zero_point = np.rint(np.fmin(np.fmax(exact, lowest), highest)).astype(np.int64)
        scaled = multiply32(x, inverse[:, None], True, True)
    return low, high, inverse, zero_point, scaled


def inverted(value: Float32Array) -> Float32Array:
    """One over a float32, subnormal results zero."""
    return flush_subnormals(np.divide(np.float32(1), value, dtype=np.float32))
