"""Float32 arithmetic stated on exact fractions: the slow twin of `floats.py`, for tests and explanations.

Values are Python floats that hold float32 values, infinities and NaN among them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from .exact import floor_log2, to_grid

__all__ = ["Flush", "add", "divide", "flushed", "fma", "multiply", "nearest_float32", "round_float32"]

Flush = Literal["none", "x86", "arm"]
"""What becomes zero: nothing; what is subnormal after a rounding to 24 bits; or what is below 2^-126 before it."""

_BITS = 24
_LOWEST = -149  # exponent of the smallest subnormal
_SMALLEST = Fraction(2) ** -126
_LARGEST = Fraction(2) ** 128 - Fraction(2) ** 104


def nearest_float32(value: Fraction, flush: bool = False) -> Fraction | None:
    """The float32 nearest to an exact value, ties to even; None where that is an infinity.

    Args:
        value: any rational number.
        flush: what would be subnormal after a rounding to 24 bits becomes 0.

    >>> nearest_float32(Fraction(2**24 + 1)), nearest_float32(Fraction(-1, 2**150)), nearest_float32(Fraction(2) ** 128)
    (Fraction(16777216, 1), Fraction(0, 1), None)
    """
    if value == 0:
        return Fraction(0)
    exponent = floor_log2(abs(value))
    if flush and abs(to_grid(value, exponent - _BITS + 1)) < _SMALLEST:
        return Fraction(0)
    rounded = to_grid(value, max(exponent - _BITS + 1, _LOWEST))
    return rounded if abs(rounded) <= _LARGEST else None


def round_float32(value: Fraction, flush: Flush = "none") -> float:
    """The same as a float, with the sign of what becomes zero or infinite.

    >>> round_float32(Fraction(-1, 2**127), "arm"), round_float32(-Fraction(2) ** 128)
    (-0.0, -inf)
    """
    sign = -1.0 if value < 0 else 1.0
    if flush == "arm" and abs(value) < _SMALLEST:
        return sign * 0.0
    rounded = nearest_float32(value, flush == "x86")
    return sign * (math.inf if rounded is None else abs(float(rounded)))


def multiply(a: float, b: float, flush: Flush = "none") -> float:
    """`a * b`, rounded once."""
    product = a * b  # exact where it is not rounded below
    if not math.isfinite(product) or product == 0:
        return product
    return round_float32(Fraction(a) * Fraction(b), flush)


def add(a: float, b: float, flush: Flush = "none") -> float:
    """`a + b`, rounded once."""
    return fma(a, 1.0, b, flush)


def fma(a: float, b: float, c: float, flush: Flush = "none") -> float:
    """`a * b + c`, rounded once.

    >>> fma(1 + 2.0**-12, 1 + 2.0**-12, -(1 + 2.0**-11))
    5.960464477539063e-08
    """
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return a * b + c if exact == 0 else round_float32(exact, flush)  # the sign of a zero


def divide(a: float, b: float) -> float:
    """`a / b`, rounded once.

    >>> divide(-1.0, 0.0), divide(1.0, 3.0) == float(nearest_float32(Fraction(1, 3)))
    (-inf, True)
    """
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0:
        return a / b
    return round_float32(Fraction(a) / Fraction(b))


def flushed(a: float) -> float:
    """A subnormal as zero of the same sign."""
    return math.copysign(0.0, a) if abs(a) < 2.0**-126 else a
