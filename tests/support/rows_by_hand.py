"""How rows are quantized, spelled out by hand for each kernel: what a wrong field would hide from a reader.

Every function takes float32 `[rows, depth]` and gives a QuantizedRows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lastbit.arith.fixedpoint import INT32_MAX, low_bits
from lastbit.arith.floats import flush_subnormals, multiply32, round_away32, trunc_to_int32
from lastbit.model.types import Float32Array
from lastbit.rules.hybrid.neon import flushed_range_arm, inverted, saturate_to_int32
from lastbit.rules.hybrid.rows_x86 import (
    QuantizedRows,
    asymmetric_range,
    flushed_range,
    inverse_of,
    largest_or_127_range,
    row_range,
    scaled_rows,
    symmetric_range,
)

_LANES = 8


def _to_steps(
    scaled: Float32Array, zero_point: npt.NDArray[np.int64] | None, tail_saturates: bool = True
) -> npt.NDArray[np.int64]:
    """`scaled` rounded, plus the zero point, clamped: int64 `[rows, depth]`. No zero point means symmetric.

    The first `depth & ~7` values: 0.5 added away from zero in float32, then truncated; the others: half away. The two
    differ at 0.49999997, which the sum takes to 1, and where the sum itself has to be rounded.

    They also differ for infinity and NaN, which rows below about 4e-37 come to, since the inverse of their scale
    overflows: the vector code saturates upwards, makes NaN INT32_MIN and adds the zero point with wrap; the scalar
    code makes both INT32_MIN if symmetric, and else saturates infinity and makes NaN 0; in TensorFlow 2.12
    (`tail_saturates` False) it makes both INT32_MIN there too.
    """
    depth = scaled.shape[1]
    split = depth - depth % _LANES
    head, tail = scaled[:, :split], scaled[:, split:]
    with np.errstate(invalid="ignore", over="ignore"):
        nudged = head + np.where(head < 0, np.float32(-0.5), np.float32(0.5))
        first = np.where(nudged >= np.float32(2.0**31), INT32_MAX, trunc_to_int32(nudged))
        rounded = round_away32(tail)
        if zero_point is None:
            both: npt.NDArray[np.int64] = np.concatenate([first, trunc_to_int32(rounded)], axis=1)
            return np.clip(both, -127, 127)
        last = rounded + zero_point[:, None].astype(np.float32)
    if tail_saturates:
        last = np.where(np.isnan(last), 0, np.clip(last, -128, 127)).astype(np.int64)
    else:
        last = np.clip(trunc_to_int32(last), -128, 127)
    return np.concatenate([np.clip(low_bits(first + zero_point[:, None], 32), -128, 127), last], axis=1)


def quantize_symmetric(x: Float32Array) -> QuantizedRows:
    """LiteRT's own kernels without asymmetric_quantize_inputs: scale = largest magnitude / 127, zero point 0.

    >>> rows = quantize_symmetric(np.float32([[1.0, -127.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist()
    ([[1, -127, 3]], [1.0])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
    (NeonSymmetricQuantizeFloats, which x86 builds run through a NEON to SSE translation).
    """
    low, high, empty, scale, inverse = symmetric_range(x)
    scaled = scaled_rows(x, inverse, empty)
    zero_point = np.zeros(len(x), np.int64)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, _to_steps(scaled, None))


def quantize_for_nibbles(x: Float32Array) -> QuantizedRows:
    """LiteRT's 4-bit kernel: scale = largest magnitude / 127, zero point 0, every value rounded half away.

    A row of zeros has the largest magnitude 127. What does not fit an int32 becomes 0: INT32_MIN cut to 8 bits.

    >>> rows = quantize_for_nibbles(np.float32([[0.49999997, -127.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist()
    ([[0, -127, 3]], [1.0])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/4bit/sse_fully_connected.cc @7d88950ea445
    (SseBatchQuantizeFloats4Bit).
    """
    low, high, scale, inverse = largest_or_127_range(x)
    with np.errstate(all="ignore"):
        scaled = multiply32(x, inverse[:, None])
        whole = trunc_to_int32(round_away32(scaled))
    # The low 8 bits, read as a signed integer.
    quantized = (whole + 128 & 255) - 128
    return QuantizedRows(low, high, scale, inverse, np.zeros(len(x), np.int64), scaled, quantized)


def quantize_symmetric_portable(x: Float32Array) -> QuantizedRows:
    """The same in LiteRT's portable code, which has no lanes: every value is rounded half away.

    >>> quantize_symmetric_portable(np.float32([[0.49999997, -127.0, 2.5] + [0.0] * 5])).quantized[0, :3].tolist()
    [0, -127, 3]

    Source: tensorflow/tensorflow tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc.
    """
    low, high, empty, scale, inverse = symmetric_range(x)
    scaled = scaled_rows(x, inverse, empty)
    with np.errstate(all="ignore"):
        quantized = np.clip(trunc_to_int32(round_away32(scaled)), -127, 127)
    return QuantizedRows(low, high, scale, inverse, np.zeros(len(x), np.int64), scaled, quantized)


def quantize_asymmetric(x: Float32Array, tail_saturates: bool = True) -> QuantizedRows:
    """LiteRT's own kernels with asymmetric_quantize_inputs: the row's range over 255 steps.

    The zero point is calculated in float64 from the end of the range with the smaller error, half away.

    Args:
        x: float32 `[rows, depth]`.
        tail_saturates: whether the last `depth % 8` values saturate where they leave int32; else they are the lowest.

    >>> rows = quantize_asymmetric(np.float32([[0.0, 255.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([[-128, 127, -125]], [1.0], [-128])

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
    (NeonAsymmetricQuantizeFloats).
    """
    low, high, empty, scale, zero_point = asymmetric_range(x)
    inverse = inverse_of(scale, empty)
    scaled = scaled_rows(x, inverse, empty)
    quantized = _to_steps(scaled, zero_point, tail_saturates)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, quantized)


def quantize_asymmetric_tail_32(x: Float32Array) -> QuantizedRows:
    """The same in TensorFlow 2.12, where the last `depth % 8` values do not saturate."""
    return quantize_asymmetric(x, tail_saturates=False)


def quantize_asymmetric_portable(x: Float32Array) -> QuantizedRows:
    """The same in LiteRT's portable code: the range in float64, and the zero point added before the value is rounded.

    >>> rows = quantize_asymmetric_portable(np.float32([[0.0, 255.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([[-128, 127, -126]], [1.0], [-128])

    Source: tensorflow/tensorflow tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc.
    """
    low, high, empty, scale, zero_point = asymmetric_range(x, wide=True)
    inverse = inverse_of(scale, empty)
    scaled = scaled_rows(x, inverse, empty)
    with np.errstate(all="ignore"):
        shifted = round_away32(scaled + zero_point[:, None].astype(np.float32))
        quantized = np.clip(trunc_to_int32(shifted), -128, 127)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, quantized)


def quantize_qd8(x: Float32Array, invert_scale: bool = False, nan_takes_low: bool = False) -> QuantizedRows:
    """XNNPACK: the row's range over 255 steps, all in float32, ties to even, subnormals read and written as zero.

    Args:
        x: float32 `[rows, depth]`.
        invert_scale: whether the input is multiplied with the rounded scale's inverse, not with 255 over the range.
        nan_takes_low: whether the zero point comes from the row's low end where an infinity makes NaN of the errors.

    >>> rows = quantize_qd8(np.float32([[0.0, 255.0, 2.5]]))
    >>> rows.quantized.tolist(), rows.scale.tolist(), rows.zero_point.tolist()
    ([[-128, 127, -126]], [1.0], [-128])

    Source: google/XNNPACK src/xnnpack/quantization.h (xnn_f32_qd8_asymmetric_quantization_params) and
    src/f32-qs8-vcvt/avx512skx.c.in.
    """
    x = flush_subnormals(x)
    low, high, scale, inverse, zero_point = flushed_range(x, invert_scale, nan_takes_low)
    scaled = multiply32(x, inverse[:, None], flush=True)
    # An inverse that overflows (rows below 7.5e-37) makes NaN of zeros; the minimum then gives its other operand.
    largest = (127 - zero_point[:, None]).astype(np.float32)
    steps = np.rint(np.where(scaled < largest, scaled, largest))
    quantized = np.clip(trunc_to_int32(steps) + zero_point[:, None], -128, 127)
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, quantized)


def quantize_qd8_inverted(x: Float32Array) -> QuantizedRows:
    """The same with the inverse of the rounded scale in place of 255 over the range, as LiteRT 1.0 has it."""
    return quantize_qd8(x, invert_scale=True)


def quantize_qd8_nan_low(x: Float32Array) -> QuantizedRows:
    """The same where a row with a minus infinity gets the lowest zero point, as LiteRT 1.1 to 1.3 do for int4."""
    return quantize_qd8(x, nan_takes_low=True)


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
        head = low_bits(saturate_to_int32(whole[:, :split]) + zero_point[:, None], 32)
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
        tail = low_bits(saturate_to_int32(round_away32(scaled[:, split:])) + zero_point[:, None], 32)
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
