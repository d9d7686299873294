"""What a rule makes of an accumulator in five steps, each a function in Python integers and fractions.

The steps are `scale_of`, `factor_of`, `before_rounding`, `last_rounding` and `clamped`: what two rules differ in is
found with one rule's steps up to some place, and the other's from there on. `exact` records steps made of the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from ...arith.exact import (
    low_bits,
    round_fraction,
    round_multiplier,
    round_to_float,
    saturate,
    split_fraction,
    times_power,
)
from ..base import IntegerRule
from .forms import Add, ClampOrder, Float, OneRounding, Requantize, TwoRoundings

__all__ = [
    "SIGNIFICAND",
    "AppliedFactor",
    "Ends",
    "add_in",
    "before_rounding",
    "bounded",
    "clamped",
    "count_of",
    "factor_of",
    "float_product",
    "high_half",
    "keep",
    "last_rounding",
    "limits_of",
    "multiplier_of",
    "scale_of",
    "unrounded",
    "upper_of",
    "wide_product",
]

SIGNIFICAND = {32: 24, 64: 53}
"""Bits of a float -> bits of its significand."""
# Bits of the product and of the quotient; a given factor has none to round.
_SCALE_BITS = {"dd": (53, 53), "fd": (24, 53), "ff": (24, 24)}


@dataclass(frozen=True)
class Ends:
    """What an output is limited to, and its zero point.

    Attributes:
        activation_min: lower clamp bound.
        activation_max: upper clamp bound.
        type_min: the smallest integer of the output's type.
        type_max: the largest.
        zero_point: zy.
    """

    activation_min: int
    activation_max: int
    type_min: int
    type_max: int
    zero_point: int


@dataclass(frozen=True)
class AppliedFactor:
    """What an accumulator is multiplied with: fraction * 2**shift.

    Attributes:
        fraction: of a multiplier and a shift: the multiplier over 2**31 (or 2**15), below 1. Of a float: 1/2 to 1.
        shift: positive = left.
    """

    fraction: Fraction
    shift: int

    @property
    def value(self) -> Fraction:
        """The factor."""
        return times_power(self.fraction, self.shift)


def scale_of(rule: IntegerRule, sx: Fraction, sw: Fraction, sy: Fraction) -> Fraction:
    """s_x * s_w / s_y with the roundings of the rule's precision; a given factor stands in the weights' place."""
    if rule.scales.product == "given":
        return sx * sw / sy
    product_bits, quotient_bits = _SCALE_BITS[rule.scales.product]
    return round_to_float(round_to_float(sx * sw, product_bits) / sy, quotient_bits)


def factor_of(rule: IntegerRule, scale: Fraction, given: tuple[int, int] | None = None) -> AppliedFactor:
    """The factor as the rule applies it: a float, or a multiplier and a shift.

    Args:
        rule: the rule.
        scale: the effective scale.
        given: multiplier and shift, where they are not made from the scale.

    >>> from lastbit.rules.requantize.table import RULES
    >>> rule = RULES["q31-half_up-half_up/dd"]
    >>> [factor_of(rule, Fraction(1, 8), given).shift for given in (None, (2**28, 0))]
    [-2, 0]
    """
    form = rule.requantize
    match form:
        case Float():
            return AppliedFactor(*split_fraction(round_to_float(scale, SIGNIFICAND[form.bits])))
        case TwoRoundings():
            q, shift = given or round_multiplier(scale)
            return AppliedFactor(Fraction(q, 2**31), shift)
        case OneRounding():
            q, shift = given or round_multiplier(scale)
            return AppliedFactor(Fraction(multiplier_of(form, q), 2**form.multiplier_bits), shift)
        case never:
            assert_never(never)


def multiplier_of(form: OneRounding, q: int) -> int:
    """The multiplier that the accumulator meets: q, or q rounded to 15 bits, half up, which saturates."""
    return q if form.multiplier_bits == 31 else min(round_fraction(Fraction(q, 2**16), "half_up"), 2**15 - 1)


def before_rounding(
    rule: IntegerRule, acc: int, factor: AppliedFactor, bias: int = 0, bias_in_steps: Fraction = Fraction(0)
) -> Fraction:
    """The accumulator times the factor, in output steps, after every rounding but the last.

    Args:
        rule: the rule.
        acc: the accumulator, the bias in it.
        factor: what it is multiplied with: the rule's own factor, or another rule's.
        bias: the unit's bias, for forms that add it themselves.
        bias_in_steps: the same as they add it.
    """
    form = rule.requantize
    match form:
        case Float():
            return float_product(form, acc, factor.value, bias, bias_in_steps)[-1]
        case TwoRoundings():
            right, _, _, _, high = high_half(form, acc, factor)
            return Fraction(high, 2**right)
        case OneRounding():
            bits, exact, product = wide_product(form, acc, factor)
            return unrounded(form, product, bits, exact % 1)
        case never:
            assert_never(never)


def float_product(
    form: Float, acc: int, factor: Fraction, bias: int, bias_in_steps: Fraction
) -> tuple[int, Fraction, Fraction]:
    """The accumulator (without its bias, where that is apart), the same as a float with the bias, and the product."""
    significand = SIGNIFICAND[form.bits]
    if form.bias == "in_acc":
        start, converted = acc, round_to_float(Fraction(acc), significand)
    else:
        start = low_bits(acc - bias, 32)
        converted = round_to_float(round_to_float(Fraction(start), significand) + bias_in_steps, significand)
    return start, converted, round_to_float(converted * factor, significand)


def high_half(form: TwoRoundings, acc: int, factor: AppliedFactor) -> tuple[int, int, int, Fraction, int]:
    """The right and the left shift, the accumulator shifted left, and the high half, exact and rounded."""
    right = max(-factor.shift, form.least_right)
    left = min(factor.shift + right, 31 + form.least_right)
    match form.left:
        case "wrap32":
            shifted = low_bits(acc * 2**left, 32)
        case "saturate32":
            shifted = saturate(acc * 2**left, 32)
        case never:
            assert_never(never)
    exact = shifted * factor.fraction
    match form.high:
        case "half_up":
            return right, left, shifted, exact, round_fraction(exact, "half_up")
        case "floor":
            return right, left, shifted, exact, math.floor(exact)
        case never_high:
            assert_never(never_high)


def wide_product(form: OneRounding, acc: int, factor: AppliedFactor) -> tuple[int, Fraction, int]:
    """The bits that the product is to be shifted by, the product, and what 64 bits hold of it.

    It is whole, except for another rule's factor.
    """
    bits = form.multiplier_bits - factor.shift
    product = acc * factor.fraction * 2**form.multiplier_bits
    return bits, product, low_bits(math.floor(product), 64)


def unrounded(form: OneRounding, product: int, bits: int, rest: Fraction = Fraction(0)) -> Fraction:
    """The product and its rest in output steps, so that rounding them half up gives what the registers make of it."""
    if form.kept_bit:
        # Twice this is rounded down.
        return (
            (product + rest) / Fraction(1 << bits)
            if 0 < bits <= 64
            else Fraction(product >> count_of(form, bits - 1), 2)
        )
    match form.counts:
        case "plain":
            count = max(bits, 0)
            half = (1 << count) // 2
        case "modulo_64":
            count, half = bits % 64, low_bits(1 << (bits - 1) % 64, 64)
            if bits < 1:
                return Fraction(low_bits(product + half, 64) >> count)
        case never:
            assert_never(never)
    return (low_bits(product + half, 64) - half + rest) / Fraction(1 << count)


def count_of(form: OneRounding, bits: int) -> int:
    """What a shift by so many bits counts."""
    match form.counts:
        case "plain":
            return max(bits, 0)
        case "modulo_64":
            return bits % 64
        case never:
            assert_never(never)


def last_rounding(rule: IntegerRule, value: Fraction) -> int:
    """A value in output steps as the whole number that its register holds, without the zero point."""
    form = rule.requantize
    match form:
        case Float():
            return keep(form, round_fraction(value, form.tie))
        case TwoRoundings():
            return round_fraction(value, form.tie)
        case OneRounding():
            if form.kept_bit:
                return low_bits(low_bits(math.floor(2 * value), 32) + 1, 32) // 2
            rounded = round_fraction(value, "half_up")
            match form.result:
                case "wide":
                    return rounded
                case "wrap32":
                    return low_bits(rounded, 32)
                case never_result:
                    assert_never(never_result)
        case never:
            assert_never(never)


def keep(form: Float, rounded: int) -> int:
    """A rounded product as its register holds it. An upper bound, where there is one, is met by the clamp."""
    match form.out_of_range:
        case "int32_min":
            beyond = rounded < -(2**31) or (rounded >= 2**31 and form.limit != "upper_bound")
            return -(2**31) if beyond else rounded
        case "saturate32":
            return saturate(rounded, 32)
        case "saturate16":
            return saturate(rounded, 16)
        case "never":
            return rounded
        case never:
            assert_never(never)


def clamped(rule: IntegerRule, rounded: int, ends: Ends) -> int:
    """The output: a rounded value with the zero point, within the bounds."""
    form, zy = rule.requantize, ends.zero_point
    if isinstance(form, Float):
        # The product was limited before it was rounded, which is the same: the limits are whole numbers.
        low, high = limits_of(form, ends)
        rounded = max(rounded, low) if low is not None else rounded
        rounded = min(rounded, high) if high is not None else rounded
    return bounded(form, add_in(form.add, rounded + zy), ends)


def limits_of(form: Float, ends: Ends) -> tuple[int | None, int | None]:
    """What a product is limited to before it is rounded."""
    zy = ends.zero_point
    match form.limit:
        case "none":
            return None, None
        case "upper_bound":
            return None, ends.activation_max - zy
        case "type":
            return ends.type_min - zy, ends.type_max - zy
        case never:
            assert_never(never)


def add_in(add: Add, total: int) -> int:
    """What the register of the sum with the zero point holds."""
    match add:
        case "wrap32":
            return low_bits(total, 32)
        case "saturate16":
            return saturate(total, 16)
        case "wide":
            return total
        case never:
            assert_never(never)


def upper_of(form: Requantize, ends: Ends) -> int:
    """What the output is limited to from above, at last."""
    order: ClampOrder = form.clamp_order if isinstance(form, Float) else "bounds"
    match order:
        case "bounds":
            return ends.activation_max
        case "type_then_low":
            return ends.type_max
        case never:
            assert_never(never)


def bounded(form: Requantize, total: int, ends: Ends) -> int:
    """The sum with the zero point within the bounds."""
    return max(ends.activation_min, min(upper_of(form, ends), total))
