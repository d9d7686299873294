"""Fixed-point building blocks of the integer kernels, vectorised over NumPy arrays.

All functions take and return integers; 32-bit results are held in int64 arrays so that no step can overflow by
accident: where a kernel's own registers wrap or saturate, the function says so and does it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.types import Int64Array, IntArray

__all__ = [
    "INT32_MAX",
    "INT32_MIN",
    "low_bits",
    "quantize_multiplier",
    "reduce_multiplier",
    "round_half_away",
    "rounding_divide_by_pot",
    "rounding_shift_right_half_up",
    "saturating_rounding_doubling_high_mul",
    "shift_right_half_even",
    "shift_right_half_up_64",
]


INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


def low_bits(value: IntArray | int, bits: int, *, signed: bool = True) -> Int64Array:
    """What a register of so many bits holds after overflow: the low bits, read as a signed integer or as they are.

    >>> low_bits([2**31, -1, 2**32 + 5], 32).tolist()
    [-2147483648, -1, 5]
    >>> low_bits([128, -129, 300], 8).tolist(), low_bits([128, -129, 300], 8, signed=False).tolist()
    ([-128, 127, 44], [128, 127, 44])
    """
    v = np.asarray(value, np.int64)
    if not signed:
        return v & ((1 << bits) - 1)
    unused = 64 - bits
    return v << unused >> unused


def round_half_away(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Round to the nearest integer, ties away from zero: C's `round`. The result stays a float64.

    >>> round_half_away([-2.5, -0.5, 0.49999999999999994, 2.5]).tolist()
    [-3.0, -1.0, 0.0, 3.0]
    """
    v = np.asarray(value, np.float64)
    whole = np.trunc(v)
    # v - whole is exact, so no value just below one half is pushed over it (adding 0.5 first would).
    with np.errstate(invalid="ignore"):  # infinities stay what they are
        up = (np.abs(v - whole) >= 0.5).astype(np.float64)
    result: npt.NDArray[np.float64] = whole + np.copysign(up, v)
    return result


def quantize_multiplier(real_multiplier: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
    """Write each real factor as `multiplier * 2**(shift - 31)`.

    Args:
        real_multiplier: float64, any shape, >= 0. What an infinite one gives means nothing: kernels refuse it.

    Returns:
        multiplier: Q0.31 in [2**30, 2**31), or 0 for a factor of zero or below 2**-32.
        shift: the power of two, positive = left.

    The fraction is rounded half away. A fraction that rounds up to 1 becomes 2**30 with the next shift.

    >>> multiplier, shift = quantize_multiplier([0.5, 1.5, 2.0**-40])
    >>> multiplier.tolist(), shift.tolist()
    ([1073741824, 1610612736, 0], [0, 1, 0])

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/quantization_util.cc (QuantizeMultiplier).
    """
    fraction, exponent = np.frexp(np.asarray(real_multiplier, np.float64))
    with np.errstate(invalid="ignore"):
        multiplier = round_half_away(fraction * 2.0**31).astype(np.int64)
    shift = exponent.astype(np.int64)
    carried = multiplier == 2**31
    multiplier = np.where(carried, 2**30, multiplier)
    shift = np.where(carried, shift + 1, shift)
    vanishing = shift < -31
    return np.where(vanishing, 0, multiplier), np.where(vanishing, 0, shift)


def reduce_multiplier(multiplier: IntArray | int) -> Int64Array:
    """A Q0.31 multiplier as Q0.15, in [2**14, 2**15) or 0: what kernels with 64-bit accumulators multiply by.

    Rounded half up; what would become 2**15 is taken to be 0x7fff.

    >>> reduce_multiplier([2**30, 2**30 + 2**15 - 1, 2**30 + 2**15, 2**31 - 1, 0]).tolist()
    [16384, 16384, 16385, 32767, 0]

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/common.cc @14906c9528b1 (MultiplyByQuantizedMultiplier for
    int64).
    """
    q = np.asarray(multiplier, np.int64)
    reduced: Int64Array = np.minimum((q + 2**15) >> 16, 0x7FFF)
    return reduced


def saturating_rounding_doubling_high_mul(a: IntArray | int, b: IntArray | int) -> Int64Array:
    """The high 32 bits of `2*a*b`, rounded half up (towards plus infinity). Inputs are int32 values.

    Only INT32_MIN * INT32_MIN does not fit; it saturates to INT32_MAX.

    >>> saturating_rounding_doubling_high_mul([-3, 3], 2**30).tolist()  # -1.5 and 1.5
    [-1, 2]

    Source: google/gemmlowp, fixedpoint/fixedpoint.h. Its nudge of 1 - 2**30 for negative products, followed by a
    division that truncates, is the same function as adding 2**30 and shifting right.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    result: Int64Array = np.minimum((product + 2**30) >> 31, INT32_MAX)
    return result


def rounding_divide_by_pot(value: IntArray | int, exponent: IntArray | int) -> Int64Array:
    """Divide by `2**exponent` (0 to 31), ties away from zero.

    >>> rounding_divide_by_pot([-3, -1, 1, 3], 1).tolist()  # -1.5, -0.5, 0.5, 1.5
    [-2, -1, 1, 2]

    Source: google/gemmlowp, fixedpoint/fixedpoint.h (RoundingDivideByPOT).
    """
    v = np.asarray(value, np.int64)
    e = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << e) - 1
    remainder = v & mask
    threshold = (mask >> 1) + (v < 0)
    return (v >> e) + (remainder > threshold)


def rounding_shift_right_half_up(value: IntArray | int, exponent: IntArray | int) -> Int64Array:
    """Divide by `2**exponent` (0 or more), ties towards plus infinity.

    >>> rounding_shift_right_half_up([-3, -1, 1, 3], 1).tolist()  # -1.5, -0.5, 0.5, 1.5
    [-1, 0, 1, 2]
    """
    v = np.asarray(value, np.int64)
    e = np.asarray(exponent, np.int64)
    nudge = np.where(e > 0, np.int64(1) << np.maximum(e - 1, 0), 0)
    return (v + nudge) >> e


def shift_right_half_even(value: IntArray | int, exponent: IntArray | int) -> Int64Array:
    """Divide by `2**exponent` (0 to 62), ties to the even neighbour.

    >>> shift_right_half_even([-3, -1, 1, 3], 1).tolist()  # -1.5, -0.5, 0.5, 1.5
    [-2, 0, 0, 2]
    """
    v = np.asarray(value, np.int64)
    e = np.asarray(exponent, np.int64)
    below = v >> e
    twice = (v - (below << e)) << 1
    unit = np.int64(1) << e
    result: Int64Array = below + ((twice > unit) | ((twice == unit) & (below & 1 == 1)))
    return result


def shift_right_half_up_64(value: IntArray | int, exponent: IntArray | int) -> Int64Array:
    """Divide by `2**exponent` in a 64-bit register, ties towards plus infinity; the sum with one half may wrap.

    An exponent below 1 is outside what the kernels' authors mean. Compiled for x86-64, a shift takes the low six bits
    of its count, and so does this.

    >>> shift_right_half_up_64([-3, -1, 1, 3], 1).tolist()  # -1.5, -0.5, 0.5, 1.5
    [-1, 0, 1, 2]

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/common.cc @14906c9528b1; exponents below 1 shown on the
    running interpreters.
    """
    v, e = np.asarray(value, np.int64), np.asarray(exponent, np.int64)
    with np.errstate(over="ignore"):
        half = np.int64(1) << ((e - 1) & 63)
        result: Int64Array = (v + half) >> (e & 63)
    return result
