"""exp, logistic, tanh and reciprocal in 32-bit fixed point, as gemmlowp defines them.

A value in "Q(m)" has m integer bits and 31 - m fraction bits in an int32, so it covers [-2**m, 2**m).
Products are `saturating_rounding_doubling_high_mul`, whose integer bits add up. Everything is held in int64
arrays; no step of these functions leaves int32 for the inputs they are defined on.
"""

from __future__ import annotations

import numpy as np

from ..model.types import Int64Array, IntArray
from .fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    low_bits,
    rounding_divide_by_pot,
)
from .fixedpoint import (
    saturating_rounding_doubling_high_mul as high_mul,
)

__all__ = [
    "EXP_CONSTANTS",
    "NEWTON_CONSTANTS",
    "exp_on_negative_values",
    "input_radius",
    "logistic",
    "multiply_by_quantized_multiplier",
    "reciprocal",
    "tanh",
]


def _q0(value: float) -> int:
    """A real constant in [0, 1) as Q0, half away (no constant below is a tie)."""
    return int(np.floor(value * 2.0**31 + 0.5))


# Constants of the exponential: exp(-1/8), 1/3, and exp(-2**k) for the bits of the input from 1/4 up to 16.
_EXP_MINUS_EIGHTH = _q0(0.8824969025845955)
_ONE_THIRD = _q0(1 / 3)
_EXP_OF_BIT = {
    -2: _q0(0.7788007830714049),
    -1: _q0(0.6065306597126334),
    0: _q0(0.36787944117144233),
    1: _q0(0.1353352832366127),
    2: _q0(0.01831563888873418),
    3: _q0(0.00033546262790251185),
    4: _q0(1.1253517471925912e-07),
}
# Newton's division starts from 48/17 - 32/17 d, both in Q2 (29 fraction bits).
_48_OVER_17 = int(np.floor(48 / 17 * 2.0**29 + 0.5))
_MINUS_32_OVER_17 = -int(np.floor(32 / 17 * 2.0**29 + 0.5))
_ONE_Q2 = 2**29

NEWTON_CONSTANTS = (_48_OVER_17, _MINUS_32_OVER_17, _ONE_Q2)
"""What Newton's division starts from and its 1, for code that does the same elsewhere."""

EXP_CONSTANTS = (_EXP_MINUS_EIGHTH, _ONE_THIRD, *_EXP_OF_BIT.values())
"""exp(-1/8), 1/3 and the exponentials of bits from 1/4 up, for the same purpose."""


def multiply_by_quantized_multiplier(x: IntArray | int, multiplier: IntArray | int, shift: int) -> Int64Array:
    """`x * multiplier * 2**(shift - 31)` with two roundings: the product half up, the right shift half away.

    Args:
        x: int32 values.
        multiplier: Q0.31.
        shift: power of two, positive = left. A left shift is done first, in an int32 that wraps.

    >>> x = np.asarray([-3, -1, 1, 3])
    >>> multiply_by_quantized_multiplier(x, 2**30, 0).tolist()  # -1.5, -0.5, 0.5, 1.5
    [-1, 0, 1, 2]
    >>> multiply_by_quantized_multiplier(x, 2**30, -1).tolist()  # quarters, rounded twice
    [-1, 0, 1, 1]

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/common.cc (MultiplyByQuantizedMultiplier
    without TFLITE_SINGLE_ROUNDING).
    """
    shifted = low_bits(np.asarray(x, np.int64) << max(shift, 0), 32)
    return rounding_divide_by_pot(high_mul(shifted, multiplier), max(-shift, 0))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The largest input whose left shift still fits a Q(integer_bits) value; a kernel saturates beyond it.

    >>> input_radius(4, 24), input_radius(5, 23)
    (120, 248)

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/quantization_util.cc
    (CalculateInputRadius).
    """
    largest = ((1 << integer_bits) - 1) * (1 << (31 - integer_bits))
    # A negative shift makes C's shift count undefined; callers refuse such scales before they get here.
    return largest >> left_shift


def _saturating_left_shift(x: Int64Array, bits: int) -> Int64Array:
    """Shift left; what leaves int32 becomes its end (the lower one a value early, as in gemmlowp)."""
    threshold = (1 << (31 - bits)) - 1
    shifted = x << bits
    return np.where(x > threshold, INT32_MAX, np.where(x < -threshold, INT32_MIN, shifted))


def exp_on_negative_values(a: IntArray, integer_bits: int) -> Int64Array:
    """exp(a) for a <= 0.

    Args:
        a: Q(integer_bits) values, <= 0; integer_bits is 0 to 5.
        integer_bits: integer bits of `a`.

    Returns:
        Q0 values; exp(0) is INT32_MAX.

    >>> exp_on_negative_values(np.asarray([0, -(2**26), -(2**27)]), 5).tolist()  # exp(0), exp(-1), exp(-2)
    [2147483647, 790015308, 290630390]

    Source: google/gemmlowp, fixedpoint/fixedpoint.h (exp_on_negative_values), commit 032a5999.
    """
    value = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    # The part in [-1/4, 0) goes through a Taylor polynomial around -1/8, the rest bit by bit through
    # constants.
    low = (value & (quarter - 1)) - quarter
    x = _saturating_left_shift(low, integer_bits) + (1 << 28)
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4 = high_mul(x2, x2)
    cubic = high_mul(rounding_divide_by_pot(x4, 2) + x3, _ONE_THIRD)
    polynomial = x + rounding_divide_by_pot(cubic + x2, 1)
    result = _EXP_MINUS_EIGHTH + high_mul(_EXP_MINUS_EIGHTH, polynomial)
    remainder = low - value
    for exponent, factor in _EXP_OF_BIT.items():
        if exponent < integer_bits:
            bit = 1 << (fraction_bits + exponent)
            result = np.where(remainder & bit, high_mul(result, factor), result)
    return np.where(value == 0, INT32_MAX, result)


def _newton_reciprocal(a: IntArray) -> Int64Array:
    """2 / (1 + a) in Q2, for `a` in Q0, 0 <= a < 1: Newton's method on the half denominator (1 + a) / 2."""
    # gemmlowp's RoundingHalfSum for a sum >= 0: (sum + 1) / 2.
    half_denominator = (np.asarray(a, np.int64) + INT32_MAX + 1) >> 1
    x = _48_OVER_17 + high_mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = _ONE_Q2 - high_mul(half_denominator, x)
        # The product has 4 integer bits; back to 2 is a saturating left shift by 2.
        x = x + _saturating_left_shift(high_mul(x, error), 2)
    return x


def _one_over_one_plus(a: IntArray) -> Int64Array:
    """1 / (1 + a) in Q0 for `a` in Q0, 0 <= a < 1."""
    # Halving the Q2 value is reading it as Q1; from Q1 to Q0 is a left shift by 1.
    return _saturating_left_shift(_newton_reciprocal(a), 1)


def logistic(a: IntArray, integer_bits: int) -> Int64Array:
    """The sigmoid 1 / (1 + exp(-a)) of any Q(integer_bits) value, in Q0. Of 0 it is exactly one half, 2**30.

    >>> logistic(np.asarray([-(2**27), 0, 2**27]), 4).tolist()  # -1, 0, 1
    [577547421, 1073741824, 1569936226]

    Source: google/gemmlowp, fixedpoint/fixedpoint.h (logistic), commit 032a5999.
    """
    value = np.asarray(a, np.int64)
    positive = _one_over_one_plus(exp_on_negative_values(-np.abs(value), integer_bits))
    return np.where(value == 0, 2**30, np.where(value > 0, positive, INT32_MAX - positive))


def tanh(a: IntArray, integer_bits: int) -> Int64Array:
    """The hyperbolic tangent of any Q(integer_bits) value, in Q0.

    >>> tanh(np.asarray([-(2**27), 0, 2**27]), 4).tolist()  # -1, 0, 1
    [-1635510876, 0, 1635510876]

    Source: google/gemmlowp, fixedpoint/fixedpoint.h (tanh), commit 032a5999.
    """
    value = np.asarray(a, np.int64)
    # Reading a Q(m) value as Q(m+1) doubles it: exp(-2|a|).
    exponential = exp_on_negative_values(-np.abs(value), integer_bits + 1)
    # (1 - e) / (1 + e) = 2 / (1 + e) - 1, then from Q2 to Q0.
    magnitude = _saturating_left_shift(_newton_reciprocal(exponential) - _ONE_Q2, 2)
    return np.where(value == 0, 0, np.where(value < 0, -magnitude, magnitude))


def reciprocal(x: IntArray, integer_bits: int) -> tuple[Int64Array, Int64Array]:
    """1 / x for x > 0 in Q(integer_bits), as a Q0 value and the power of two it still has to be divided by.

    Returns:
        scale: Q0 values in (1/2, 1].
        bits_over_unit: 1 / x = scale * 2**-bits_over_unit.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/common.h (GetReciprocal).
    """
    value = np.asarray(x, np.int64)
    # Leading zeros of a positive int32; frexp's exponent is the bit length, exact for integers below 2**53.
    leading_zeros = 32 - np.frexp(value.astype(np.float64))[1].astype(np.int64)
    mantissa_minus_one = (value << leading_zeros) - 2**31
    return _one_over_one_plus(mantissa_minus_one), integer_bits - leading_zeros
