"""What LiteRT's hybrid dense kernels do on ARM64: NEON conversions, 16-bit sums of products, and which loop runs.

A float becomes an integer there by an instruction that rounds half away, or half even, and saturates; NaN becomes 0.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from ..types import IntArray
from .dynamic_range import QuantizedRows, asymmetric_range, inverse_of, row_range, scaled_rows, symmetric_range
from .fixedpoint import INT32_MAX, INT32_MIN, wrap32
from .floats import flush_subnormals, multiply32, round_away32

__all__ = [
    "NeonLoop",
    "flushed_range_arm",
    "inverted",
    "neon_loop",
    "nibble_row_sums",
    "padded_pairs",
    "pairs_beyond_16_bits",
    "pairs_of_lowest",
    "plain_neon_loop",
    "quantize_kleidiai",
    "quantize_kleidiai_away",
    "quantize_neon_asymmetric",
    "quantize_neon_nibbles",
    "quantize_neon_symmetric",
    "quantize_qd8_neon",
    "saturate_to_int32",
    "vector_loop",
]

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

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


def vector_loop(rows: int, units: int, depth: int) -> NeonLoop:
    """XNNPACK's kernels without dot product instructions: pairs of products are added in 16 bits for all sizes.

    >>> vector_loop(4, 16, 32).value
    'vector'

    Source: google/XNNPACK src/qd8-f32-qc8w-gemm/gen/qd8-f32-qc8w-gemm-1x8c2s4-minmax-neon-mlal.c @dd83e68dc013.
    """
    del rows, units, depth
    return NeonLoop.VECTOR


def padded_pairs(weights: IntArray) -> npt.NDArray[np.bool_]:
    """As `pairs_beyond_16_bits` for XNNPACK's kernels, where zeros fill the depth up to whole eights: `[out, depth]`.

    >>> int(padded_pairs(np.full((1, 31), -128)).sum())
    15
    """
    depth = weights.shape[1]
    return pairs_beyond_16_bits(np.pad(np.asarray(weights), ((0, 0), (0, -depth % _PAIR))))[:, :depth]


def pairs_beyond_16_bits(weights: IntArray) -> npt.NDArray[np.bool_]:
    """Where two weights of -128 share a 16-bit sum of products: `[out, depth]`, true at the first of the two.

    With two inputs of -128 the sum is 32768, which wraps to -32768: the accumulator is 65536 too small. Such pairs are
    columns k and k + 8 of a whole block of sixteen.

    Args:
        weights: int8 values, `[out, depth]`.

    >>> w = np.full((1, 20), -128)
    >>> int(pairs_beyond_16_bits(w).sum())
    8
    """
    return pairs_of_lowest(np.asarray(weights) == -128)


def pairs_of_lowest(lowest: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The same from where weights are the lowest value, `[out, depth]`: columns k and k + 8 of whole sixteens.

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


def quantize_neon_symmetric(x: Float32Array) -> QuantizedRows:
    """LiteRT's own kernels without asymmetric_quantize_inputs on ARM64: every value is rounded half away.

    >>> rows = quantize_neon_symmetric(np.float32([[0.49999997, -127.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist()
    ([[0, -127, 3]], [1.0])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
    (NeonSymmetricQuantizeFloats). Shown on ai-edge-litert 2.0.2 for aarch64.
    """
    low, high, empty, scale, inverse = symmetric_range(x)
    scaled = scaled_rows(x, inverse, empty)
    with np.errstate(all="ignore"):
        quantized = np.clip(saturate_to_int32(round_away32(scaled)), -127, 127)
    return QuantizedRows(low, high, scale, inverse, np.zeros(len(x), np.int64), scaled, quantized)


def quantize_neon_asymmetric(x: Float32Array) -> QuantizedRows:
    """LiteRT's own kernels with asymmetric_quantize_inputs on ARM64: the same range, every value rounded half away.

    The first `depth & ~7` values add the zero point in 32 bits that wrap, the others in float32.

    >>> rows = quantize_neon_asymmetric(np.float32([[0.0, 255.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([[-128, 127, -125]], [1.0], [-128])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
    (NeonAsymmetricQuantizeFloats). Shown on ai-edge-litert 2.0.2 for aarch64.
    """
    low, high, empty, scale, zero_point = asymmetric_range(x)
    split = x.shape[1] - x.shape[1] % _LANES
    inverse = inverse_of(scale, empty)
    scaled = scaled_rows(x, inverse, empty)
    with np.errstate(all="ignore"):
        whole = round_away32(scaled)
        head = wrap32(saturate_to_int32(whole[:, :split]) + zero_point[:, None])
        tail = saturate_to_int32(whole[:, split:] + zero_point[:, None].astype(np.float32))
    # A row of one value is not rounded at all: it is zeros.
    steps = np.where(empty[:, None], 0, np.concatenate([head, tail], axis=1))
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, np.clip(steps, -128, 127))


def quantize_neon_nibbles(x: Float32Array) -> QuantizedRows:
    """LiteRT's 4-bit kernel on ARM64: scale = largest magnitude / 127, zero point 0, every value rounded half away.

    A row of zeros has the largest magnitude 127. The first `depth & ~7` values saturate; of the others the low 8 bits
    of a saturated int32 are kept.

    >>> rows = quantize_neon_nibbles(np.float32([[0.49999997, -127.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist()
    ([[0, -127, 3]], [1.0])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/4bit/neon_fully_connected.cc @01d971c556e3
    (NeonBatchQuantizeFloats4Bit). Shown on ai-edge-litert 2.0.2 for aarch64.
    """
    low, high = row_range(x)
    largest = np.maximum(-low, high)
    largest[largest == 0] = np.float32(127)
    split = x.shape[1] - x.shape[1] % _LANES
    with np.errstate(all="ignore"):
        scale = (largest.astype(np.float64) / 127.0).astype(np.float32)
        inverse = (127.0 / largest.astype(np.float64)).astype(np.float32)
        scaled = multiply32(x, inverse[:, None])
        whole = saturate_to_int32(round_away32(scaled))
    tail = (whole[:, split:] + 128 & 255) - 128
    quantized = np.concatenate([np.clip(whole[:, :split], -128, 127), tail], axis=1)
    return QuantizedRows(low, high, scale, inverse, np.zeros(len(x), np.int64), scaled, quantized)


def nibble_row_sums(rows: QuantizedRows) -> Int64Array:
    """The 4-bit kernel's own sum of a row's quantized values, int64 `[rows]`.

    It adds the values before they saturate to 8 bits, in eight lanes of 16 bits that wrap, box by box of 32 columns:
    rows with infinities, and tiny ones, have another sum than their quantized values.

    >>> nibble_row_sums(quantize_neon_nibbles(np.float32([[1.0, -127.0, 2.0]]))).tolist()
    [-124]
    """
    depth = rows.scaled.shape[1]
    split = depth - depth % _LANES
    with np.errstate(all="ignore"):
        values = np.clip(saturate_to_int32(round_away32(rows.scaled[:, :split])), -(2**15), 2**15 - 1)
    total = rows.quantized[:, split:].sum(axis=1)
    for start in range(0, split, _BOX):
        box = values[:, start : start + _BOX]
        lanes = box.reshape(len(box), -1, _LANES).sum(axis=1)
        total = total + ((lanes + 2**15 & 0xFFFF) - 2**15).sum(axis=1)
    return wrap32(total)


def quantize_kleidiai(x: Float32Array) -> QuantizedRows:
    """XNNPACK on ARM64 with i8mm (KleidiAI): the row's range over 255 steps in float32, subnormals are zero.

    The first `depth & ~7` values are rounded half even, saturate to 16 bits and add the zero point with wrap; the
    others are rounded half away and add it in 32 bits with wrap. The zero point is rounded half even.

    >>> rows = quantize_kleidiai(np.float32([[0.0, 255.0] + 7 * [2.5]]))
    >>> rows.quantized[0].tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([-128, 127, -126, -126, -126, -126, -126, -126, -125], [1.0], [-128])

    Source: ARM-software/kleidiai kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_f32.c, in the form that the
    disassembled wheel has it. Shown on ai-edge-litert 2.0.2 for aarch64.
    """
    return _kleidiai(x, x.shape[1] - x.shape[1] % _LANES)


def quantize_kleidiai_away(x: Float32Array) -> QuantizedRows:
    """The same with dot product instructions and without i8mm: all of a row is rounded half away.

    Kernels with dot products take rows in blocks of four values, which the vector code of eight has no use for.

    >>> rows = quantize_kleidiai_away(np.float32([[0.0, 255.0] + 7 * [2.5]]))
    >>> rows.quantized[0].tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([-128, 127, -125, -125, -125, -125, -125, -125, -125], [1.0], [-128])

    Source: Zijie-Tian/kleidiai kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_f32.c @3637c6ec5319, a copy of
    ARM-software/kleidiai. Shown on ai-edge-litert 2.0.2 for aarch64, emulated Cortex-A76.
    """
    return _kleidiai(x, 0)


def _kleidiai(x: Float32Array, split: int) -> QuantizedRows:
    """Both: the first `split` values by vector code."""
    x = flush_subnormals(x)
    low, high, inverse, zero_point, scaled = flushed_range_arm(x)
    with np.errstate(all="ignore"):
        scale = np.where(inverse == 0, np.float32(0), inverted(inverse))
        head = np.clip(saturate_to_int32(np.rint(scaled[:, :split])), -(2**15), 2**15 - 1) + zero_point[:, None]
        tail = wrap32(saturate_to_int32(round_away32(scaled[:, split:])) + zero_point[:, None])
    head = (head + 2**15 & 0xFFFF) - 2**15
    quantized = np.clip(np.concatenate([head, tail], axis=1), -128, 127)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, quantized)


def quantize_qd8_neon(x: Float32Array) -> QuantizedRows:
    """XNNPACK on ARM64 without dot product instructions: the same range, all of a row rounded half even.

    Values saturate to 16 bits, and so does their sum with the zero point.

    >>> rows = quantize_qd8_neon(np.float32([[0.0, 255.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([[-128, 127, -126]], [1.0], [-128])

    Source: google/XNNPACK src/f32-qs8-vcvt/neonv8.c.in @cce7f35a72e4. Shown on ai-edge-litert 2.0.2 for aarch64,
    emulated Cortex-A53 and A72.
    """
    x = flush_subnormals(x)
    low, high, inverse, zero_point, scaled = flushed_range_arm(x)
    with np.errstate(all="ignore"):
        whole = np.clip(saturate_to_int32(np.rint(scaled)), -(2**15), 2**15 - 1)
        scale = inverted(inverse)
    quantized = np.clip(whole + zero_point[:, None], -128, 127)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, quantized)


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
