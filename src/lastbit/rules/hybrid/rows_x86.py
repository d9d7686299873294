"""What hybrid dense kernels make of the range of a float row: its scale, its zero point and what it is multiplied with.

Every function takes float32 `[rows, depth]` without NaN: what kernels make of that depends on the order of their
comparisons. How values become int8 then is `rules.hybrid.rows`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...arith.floats import flush_subnormals, multiply32
from ...model.types import Float32Array

__all__ = [
    "QuantizedRows",
    "asymmetric_range",
    "flushed_range",
    "inverse_of",
    "largest_or_127_range",
    "row_range",
    "scaled_rows",
    "symmetric_range",
]


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
        # Except for portable code, the difference is taken in float32. The rest is in float64.
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


def flushed_range(
    x: Float32Array, invert_scale: bool = False, nan_takes_low: bool = False
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array, npt.NDArray[np.int64]]:
    """XNNPACK's range of rows without subnormals: (low, high, scale, what x is multiplied with, zero point), `[rows]`.

    Args:
        x: float32 `[rows, depth]`, without subnormals.
        invert_scale: whether rows are multiplied with the rounded scale's inverse, not with 255 over the range.
        nan_takes_low: whether the zero point comes from the row's low end where an infinity makes NaN of the errors.

    >>> [v.tolist() for v in flushed_range(np.float32([[0.0, 255.0, 2.5]]))]
    [[0.0], [255.0], [1.0], [1.0], [-128]]

    Source: google/XNNPACK src/xnnpack/quantization.h (xnn_f32_qd8_asymmetric_quantization_params).
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
