"""Exact arithmetic of one number at a time, in Python integers and fractions, and the steps that it records."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, Inexact
from fractions import Fraction
from typing import Literal, assert_never

__all__ = [
    "ExactStep",
    "decimal_text",
    "floor_log2",
    "low_bits",
    "make_step",
    "multiplier_steps",
    "number_text",
    "round_fraction",
    "round_multiplier",
    "round_to_float",
    "saturate",
    "split_fraction",
    "times_power",
    "to_grid",
]


Tie = Literal["half_up", "half_away", "half_even"]


@dataclass(frozen=True)
class ExactStep:
    """One step of a calculation.

    Attributes:
        name: the step's name, the same as in a Trace where it is there too.
        formula: what is calculated, in symbols.
        numbers: the same with the numbers put in.
        value: the result.
        exact: the value before this step's rounding, wrap or clamp; equal to `value` where nothing was lost.
        effect: what happened between `exact` and `value`: a tie rule, `wrap32`, `clamp`, or empty.
        operation: what the step does to every value, whether or not it changed this one: a tie rule, a
            precision, `wrap32`, `clamp`, or empty where it is exact.
    """

    name: str
    formula: str
    numbers: str
    value: Fraction
    exact: Fraction
    effect: str = ""
    operation: str = ""

    @property
    def cut_off(self) -> Fraction:
        """What the step lost: exact - value."""
        return self.exact - self.value


def make_step(
    name: str, formula: str, numbers: str, value: Fraction | int, exact: Fraction | int, effect: str = ""
) -> ExactStep:
    """A step; its effect is kept only where something was lost."""
    value, exact = _fraction(value), _fraction(exact)
    return ExactStep(name, formula, numbers, value, exact, effect if exact != value else "", effect)


def _fraction(value: Fraction | int) -> Fraction:
    """The number as a fraction; one that is a fraction already is not made again."""
    return value if type(value) is Fraction else Fraction(value)


def saturate(value: int, bits: int) -> int:
    """The nearer end of a signed register of so many bits, for what does not fit."""
    half = 1 << (bits - 1)
    return max(-half, min(half - 1, value))


def low_bits(value: int, bits: int) -> int:
    """What a signed register of so many bits holds after overflow.

    >>> low_bits(2**31, 32), low_bits(-129, 8)
    (-2147483648, 127)
    """
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def number_text(value: Fraction) -> str:
    """A number for people: the shortest decimal that is the same float64, or the integer itself.

    >>> number_text(Fraction(1, 4)), number_text(Fraction(7))
    ('0.25', '7')
    """
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def round_fraction(value: Fraction, tie: Tie) -> int:
    """The nearest integer.

    >>> [round_fraction(Fraction(-5, 2), tie) for tie in ("half_up", "half_away", "half_even")]
    [-2, -3, -2]
    """
    return _rounded(value.numerator, value.denominator, tie)


def _rounded(numerator: int, denominator: int, tie: Tie) -> int:
    """The integer nearest to a quotient, whose denominator is positive."""
    below, rest = divmod(numerator, denominator)
    if 2 * rest != denominator:
        return below + (2 * rest > denominator)
    match tie:
        case "half_up":
            return below + 1
        case "half_away":
            return below + (numerator > 0)
        case "half_even":
            return below + below % 2
        case never:
            assert_never(never)


def times_power(value: Fraction, exponent: int) -> Fraction:
    """C's `ldexp`: value * 2**exponent, exactly.

    >>> times_power(Fraction(3, 4), 3), times_power(Fraction(3), -1)
    (Fraction(6, 1), Fraction(3, 2))
    """
    if exponent >= 0:
        return Fraction(value.numerator << exponent, value.denominator)
    return Fraction(value.numerator, value.denominator << -exponent)


def floor_log2(value: Fraction) -> int:
    """The largest power of two that a positive number reaches: 2**exponent <= value < 2**(exponent + 1).

    >>> floor_log2(Fraction(8)), floor_log2(Fraction(1, 3))
    (3, -2)
    """
    numerator, denominator = value.numerator, value.denominator
    exponent = numerator.bit_length() - denominator.bit_length()
    reaches = numerator >= denominator << exponent if exponent >= 0 else numerator << -exponent >= denominator
    return exponent if reaches else exponent - 1


def round_to_float(value: Fraction, bits: int) -> Fraction:
    """The nearest binary floating-point number with `bits` of significand; ties go to the even neighbour.

    24 bits are float32, 53 float64. Overflow is not modelled: no value met here comes near it.

    >>> round_to_float(Fraction(2**24 + 1), 24) == 2**24
    True
    """
    if value == 0:
        return value
    smallest_exponent = -149 if bits == 24 else -1074  # of a subnormal's last bit
    return to_grid(value, max(floor_log2(abs(value)) - bits + 1, smallest_exponent))


def to_grid(value: Fraction, exponent: int) -> Fraction:
    """The nearest multiple of 2**exponent, ties to an even multiple.

    >>> to_grid(Fraction(5), 1), to_grid(Fraction(5, 8), -2)
    (Fraction(4, 1), Fraction(1, 2))
    """
    numerator, denominator = value.numerator, value.denominator
    if exponent >= 0:
        return Fraction(_rounded(numerator, denominator << exponent, "half_even") << exponent)
    return Fraction(_rounded(numerator << -exponent, denominator, "half_even"), 1 << -exponent)


def split_fraction(value: Fraction) -> tuple[Fraction, int]:
    """C's `frexp`: write a value >= 0 as `fraction * 2**exponent`, fraction in [1/2, 1). Zero gives (0, 0).

    >>> split_fraction(Fraction(3)), split_fraction(Fraction(1, 5))
    ((Fraction(3, 4), 2), (Fraction(4, 5), -2))
    """
    if value == 0:
        return value, 0
    exponent = floor_log2(value) + 1
    return times_power(value, -exponent), exponent


def round_multiplier(scale: Fraction) -> tuple[int, int]:
    """The multiplier q and the shift (positive = left) of a real factor; the fraction is rounded half_away.

    >>> round_multiplier(Fraction(3, 2)), round_multiplier(1 - Fraction(1, 2**40))
    ((1610612736, 1), (1073741824, 1))
    >>> round_multiplier(Fraction(1, 2**40))
    (0, 0)
    """
    fraction, shift = split_fraction(scale)
    q = round_fraction(fraction * 2**31, "half_away")
    if q == 2**31:
        q, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (q, shift)


def multiplier_steps(scale: Fraction) -> tuple[ExactStep, ExactStep]:
    """The two steps from an effective scale to its multiplier q and its shift."""
    fraction, exponent = split_fraction(scale)
    exact_q = fraction * 2**31
    q, shift = round_multiplier(scale)
    if q == 2**30 and fraction > Fraction(1, 2):
        exact_q /= 2  # the fraction was rounded up to 1, which is 1/2 with the next exponent
    numbers = f"{number_text(scale)} = {number_text(fraction)} * 2^{exponent}; {number_text(fraction)} * 2^31"
    return (
        make_step("multiplier", "q = round_half_away(fraction * 2^31)", numbers, q, exact_q, "half_away"),
        make_step("shift", "the power of two, positive = left", f"{shift}", shift, shift),
    )


def decimal_text(value: Fraction | float, digits: int = 25) -> str:
    """A number in decimal: exact if that takes at most `digits` digits, else cut there and marked with `...`.

    >>> decimal_text(Fraction(-5, 2)), decimal_text(Fraction(1, 3), 6), decimal_text(2.0**-20, 12)
    ('-2.5', '0.333333...', '9.53674316406e-7...')
    """
    exact = Fraction(value)
    if exact.denominator == 1:
        return str(exact.numerator)
    context = Context(prec=digits, rounding=ROUND_DOWN, Emin=-99999, Emax=99999, traps=[])
    quotient = context.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    cut = "..." if context.flags[Inexact] else ""
    exponent = quotient.adjusted()
    if exponent >= -6:
        return f"{quotient:f}{cut}"
    return f"{quotient.scaleb(-exponent):f}e{exponent}{cut}"
