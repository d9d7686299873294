"""Float rows to int8 at run time, as the hybrid dense kernels do it: each row gets its own scale and zero point.

Every function takes float32 `[rows, depth]` and gives a QuantizedRows. Values must be finite: what kernels make of
NaN and infinity depends on the order of their comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .fixedpoint import INT32_MAX, wrap32
from .floats import flush_subnormals, multiply32, round_away32, trunc_to_int32

__all__ = [
    "QuantizedRows",
    "asymmetric_range",
    "flushed_range",
    "inverse_of",
    "largest_or_127_range",
    "quantize_asymmetric",
    "quantize_asymmetric_portable",
    "quantize_asymmetric_tail_32",
    "quantize_for_nibbles",
    "quantize_qd8",
    "quantize_qd8_inverted",
    "quantize_qd8_nan_low",
    "quantize_symmetric",
    "quantize_symmetric_portable",
    "row_range",
    "scaled_rows",
    "symmetric_range",
]

Float32Array = npt.NDArray[np.float32]

# What NEON code translated to SSE handles at once; the rest of a row goes through scalar code with another rounding.
_LANES = 8


@dataclass(frozen=True, eq=False)
class QuantizedRows:
    """Rows of int8 with their scales: x is about `scale * (quantized - zero_point)`.

    Attributes:
        low: the row's smallest value (0 if it has none below), float32 `[rows]`.
        high: its largest value (0 if it has none above), float32 `[rows]`.
        scale: float32 `[rows]`; x per quantized step.
        inverse: float32 `[rows]`; what x is multiplied with.
        zero_point: int64 `[rows]`, -128 to 127.
        scaled: `x * inverse`, float32 `[rows, depth]`.
        quantized: int64 `[rows, depth]`, -128 to 127.
    """

    low: Float32Array
    high: Float32Array
    scale: Float32Array
    inverse: Float32Array
    zero_point: npt.NDArray[np.int64]
    scaled: Float32Array
    quantized: npt.NDArray[np.int64]


def row_range(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The smallest and the largest value of each row, and 0: float32 `[rows]` each."""
    zero = np.float32(0)
    # Which of two zeros is the smaller one, NumPy leaves to the CPU: adding zero makes +0.0 of -0.0 on all.
    return np.minimum(x.min(axis=1, initial=zero), zero) + zero, np.maximum(x.max(axis=1, initial=zero), zero) + zero


def _divide(a: Float32Array | np.float32, b: Float32Array | np.float32) -> Float32Array:
    """Float32 division, rounded once."""
    result: Float32Array = np.divide(a, b, dtype=np.float32)
    return result


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
    return np.concatenate([np.clip(wrap32(first + zero_point[:, None]), -128, 127), last], axis=1)


def inverse_of(scale: Float32Array, empty: npt.NDArray[np.bool_]) -> Float32Array:
    """What asymmetric rows are multiplied with, `[rows]`: 0 where there is nothing to multiply or the scale is 0.

    >>> inverse_of(np.float32([2, 0, 1]), np.array([False, False, True])).tolist()
    [0.5, 0.0, 0.0]
    """
    with np.errstate(all="ignore"):
        return np.where(empty | (scale == 0), np.float32(0), np.float32(1) / scale)


def scaled_rows(x: Float32Array, inverse: Float32Array, empty: npt.NDArray[np.bool_]) -> Float32Array:
    """Rows in steps, `[rows, depth]`: rows that are empty are zeros, whatever the product would be.

    >>> scaled_rows(np.float32([[2, 4], [0, 0]]), np.float32([0.5, 1]), np.array([False, True])).tolist()
    [[1.0, 2.0], [0.0, 0.0]]
    """
    with np.errstate(all="ignore"):
        return np.where(empty[:, None], np.float32(0), x * inverse[:, None])


def symmetric_range(
    x: Float32Array,
) -> tuple[Float32Array, Float32Array, npt.NDArray[np.bool_], Float32Array, Float32Array]:
    """LiteRT's own symmetric range of each row: (low, high, whether it is zeros, scale, its inverse), `[rows]`.

    >>> [v.tolist() for v in symmetric_range(np.float32([[-127.0, 2.0], [0.0, 0.0]]))]
    [[-127.0, 0.0], [2.0, 0.0], [False, True], [1.0, 1.0], [1.0, 0.0]]
    """
    low, high = row_range(x)
    largest = np.maximum(-low, high)
    empty = largest == 0
    with np.errstate(all="ignore"):
        scale = np.where(empty, np.float32(1), largest / np.float32(127))
        inverse = np.where(empty, np.float32(0), np.float32(127) / largest)
    return low, high, empty, scale, inverse


def largest_or_127_range(x: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """The 4-bit kernels' range of each row: (low, high, scale, its inverse), `[rows]`; zeros have the range 127.

    >>> [v.tolist() for v in largest_or_127_range(np.float32([[-254.0, 2.0], [0.0, 0.0]]))[2:]]
    [[2.0, 1.0], [0.5, 1.0]]
    """
    low, high = row_range(x)
    largest = np.maximum(-low, high)
    largest[largest == 0] = np.float32(127)
    with np.errstate(all="ignore"):
        return low, high, _divide(largest, np.float32(127)), _divide(np.float32(127), largest)


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


def asymmetric_range(
    x: Float32Array,
    wide: bool = False,
) -> tuple[Float32Array, Float32Array, npt.NDArray[np.bool_], Float32Array, npt.NDArray[np.int64]]:
    """LiteRT's own asymmetric range of each row: (low, high, whether they are the same, scale, zero point), `[rows]`.

    Args:
        x: float32 `[rows, depth]`.
        wide: whether the range itself is taken in float64, where it cannot overflow.

    >>> [v.tolist() for v in asymmetric_range(np.float32([[-1.0, 254.0]]))]
    [[-1.0], [254.0], [False], [1.0], [-127]]
    """
    low, high = row_range(x)
    empty = low == high
    with np.errstate(all="ignore"):
        # But for portable code, the difference is taken in float32. The rest is in float64.
        difference = high.astype(np.float64) - low if wide else (high - low).astype(np.float64)
        step = np.where(empty, 1.0, difference / 255.0)
        from_low, from_high = low / step, high / step
        low_is_better = 128.0 + np.abs(from_low) < 127.0 + np.abs(from_high)
        exact = np.where(low_is_better, -128.0 - from_low, 127.0 - from_high)
        whole = np.trunc(exact)
        rounded = whole + np.copysign(np.abs(exact - whole) >= 0.5, exact)
        # An infinite end of the range makes NaN here, which the conversion to int8 takes to 0.
        zero_point = np.where(empty | np.isnan(rounded), 0, np.clip(rounded, -128, 127)).astype(np.int64)
        scale = step.astype(np.float32)
    return low, high, empty, scale, zero_point


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


def flushed_range(
    x: Float32Array, invert_scale: bool = False, nan_takes_low: bool = False
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array, npt.NDArray[np.int64]]:
    """XNNPACK's range of rows without subnormals: (low, high, scale, what x is multiplied with, zero point), `[rows]`.

    See `quantize_qd8`.
    """
    low, high = row_range(x)
    one = np.float32(1)
    with np.errstate(all="ignore"):
        width = flush_subnormals(high - low)
        inverse = np.where(low == high, one, flush_subnormals(_divide(np.float32(255), width)))
        below, above = multiply32(low, inverse, flush=True), multiply32(high, inverse, flush=True)
        errors = (np.float32(-128) + below) + (np.float32(127) + above)
        low_is_better = (errors > 0) | (nan_takes_low & np.isnan(errors))
        exact = np.where(low_is_better, np.float32(-128) - below, np.float32(127) - above)
        # A range that overflows float32 makes NaN here; comparisons take it to the lower end.
        limited = np.where(exact > -128, np.minimum(exact, np.float32(127)), np.float32(-128))
        zero_point = np.rint(limited).astype(np.int64)
        scale = flush_subnormals(_divide(one, inverse))
        if invert_scale:
            inverse = flush_subnormals(_divide(one, scale))
    return low, high, scale, inverse, zero_point


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
