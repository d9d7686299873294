"""exp, tanh and gemmlowp's polynomials once more, slowly: one number in Python integers and fractions.

Written apart from `arith`: the polynomials of gemmlowp and of the C library's expf stand here a second time, from their
sources. exp and tanh come from decimal arithmetic of 60 digits and are rounded once: where that could differ from a C
library, the vectorised tables refuse the operator.

Source: google/gemmlowp, fixedpoint/fixedpoint.h @032a5999; glibc, sysdeps/ieee754/flt-32/e_expf.c.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from ...arith.exact import round_fraction, round_to_float

__all__ = [
    "LARGEST_32",
    "divided_half_away",
    "exact_exp",
    "exact_tanh",
    "exp_below_zero",
    "expf",
    "high_half",
    "shifted_left",
    "two_over_one_plus",
]

LARGEST_32, _MIN32 = 2**31 - 1, -(2**31)
_DIGITS = Context(prec=60)


def high_half(a: int, b: int) -> int:
    """The high half of twice a product, half up."""
    return min((a * b + 2**30) >> 31, LARGEST_32)


def divided_half_away(value: int, bits: int) -> int:
    """A value by 2^bits, half away."""
    return round_fraction(Fraction(value, 1 << bits), "half_away")


def shifted_left(value: int, bits: int) -> int:
    """A shift to the left that saturates, at the lower end one value early."""
    threshold = (1 << (31 - bits)) - 1
    if value > threshold:
        return LARGEST_32
    return _MIN32 if value < -threshold else value << bits


def _q0(value: Fraction) -> int:
    return round_fraction(value * 2**31, "half_up")


def _decimal(value: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))


@lru_cache(maxsize=4096)
def exact_exp(value: Fraction) -> Fraction:
    """e^x to 60 digits."""
    return Fraction(_DIGITS.exp(_decimal(value)))


def exact_tanh(value: Fraction) -> Fraction:
    """Tanh to about 59 digits."""
    twice = exact_exp(2 * value)
    return (twice - 1) / (twice + 1)


@lru_cache(maxsize=4096)
def _exp_constants() -> tuple[int, int, dict[int, int]]:
    """exp(-1/8), 1/3, and exp(-2^k) of each bit that an input may have, all in Q0."""
    return (
        _q0(exact_exp(Fraction(-1, 8))),
        _q0(Fraction(1, 3)),
        {k: _q0(exact_exp(-(Fraction(2) ** k))) for k in range(-2, 5)},
    )


def exp_below_zero(a: int, integer_bits: int) -> int:
    """exp(a) of a <= 0 with so many integer bits, in Q0."""
    if a == 0:
        return LARGEST_32
    eighth, third, of_bit = _exp_constants()
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    low = a % quarter - quarter
    x = shifted_left(low, integer_bits) + (1 << 28)
    square = high_half(x, x)
    cube, fourth = high_half(square, x), high_half(square, square)
    higher = high_half(divided_half_away(fourth, 2) + cube, third) + square
    result = eighth + high_half(eighth, x + divided_half_away(higher, 1))
    rest = low - a
    for k, factor in of_bit.items():
        if k < integer_bits and rest >> (fraction_bits + k) & 1:
            result = high_half(result, factor)
    return result


def two_over_one_plus(a: int) -> int:
    """2 / (1 + a) of 0 <= a < 1 in Q0; three steps of Newton's method, with two integer bits."""
    half = (a + LARGEST_32 + 1) // 2
    first, slope = (
        round_fraction(Fraction(48, 17) * 2**29, "half_up"),
        round_fraction(Fraction(32, 17) * 2**29, "half_up"),
    )
    x = first + high_half(half, -slope)
    for _ in range(3):
        x += shifted_left(high_half(x, 2**29 - high_half(half, x)), 2)
    return x


@lru_cache(maxsize=4096)
def expf(x: Fraction) -> Fraction:
    """The C library's expf, with its own last bits; x is a float32, not far from zero."""
    if x > Fraction(float.fromhex("0x1.62e42ep6")):
        return Fraction(2) ** 128  # infinity; 1 / (1 + that) is 0 in float32 either way
    if x < Fraction(float.fromhex("-0x1.9fe368p6")):
        return Fraction(0)
    for argument, fused in (("-0x1.f8cbb2p+5", "0x1.f45326p-92"), ("0x1.04845ep+5", "0x1.f93e38p+46")):
        if x == Fraction(float.fromhex(argument)):
            return Fraction(float.fromhex(fused))

    def double(value: Fraction) -> Fraction:
        return round_to_float(value, 53)

    z = double(Fraction(float.fromhex("0x1.71547652b82fep+0") * 32) * x)
    whole = round_fraction(z, "half_even")
    r = double(z - whole)
    c0, c1, c2 = (
        Fraction(float.fromhex(text) / 32.0**power)
        for text, power in (("0x1.c6af84b912394p-5", 3), ("0x1.ebfce50fac4f3p-3", 2), ("0x1.62e42ff0c52d6p-1", 1))
    )
    scale = round_to_float(_exp_of_two(whole % 32), 53) * Fraction(2) ** (whole // 32)
    upper = double(double(double(c0 * r) + c1) * double(r * r))
    y = double(upper + double(double(c2 * r) + 1))
    return round_to_float(double(y * scale), 24)


@lru_cache(maxsize=4096)
def _exp_of_two(steps: int) -> Fraction:
    """2^(steps / 32) to 60 digits."""
    return Fraction(_DIGITS.power(Decimal(2), Decimal(steps) / Decimal(32)))
