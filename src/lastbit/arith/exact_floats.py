"""Float32 rounding stated on exact fractions: the slow twin of `floats.py`, for tests and explanations."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["nearest_float32"]

_BITS = 24
_LOWEST = -149  # exponent of the smallest subnormal
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
    exponent = _floor_log2(abs(value))
    if flush and abs(_to_grid(value, exponent - _BITS + 1)) < Fraction(2) ** -126:
        return Fraction(0)
    rounded = _to_grid(value, max(exponent - _BITS + 1, _LOWEST))
    return rounded if abs(rounded) <= _LARGEST else None


def _floor_log2(value: Fraction) -> int:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if Fraction(2) ** exponent <= value else exponent - 1


def _to_grid(value: Fraction, exponent: int) -> Fraction:
    """The nearest multiple of 2^exponent, ties to an even multiple."""
    step = Fraction(2) ** exponent
    return round(value / step) * step
