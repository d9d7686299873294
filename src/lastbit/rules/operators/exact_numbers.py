"""What one output element is made of, and the numbers that stages multiply and shift with, in integers and fractions.

A part of `exact`, whose stages stand on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from ...arith.exact import (
    ExactStep,
    low_bits,
    make_step,
    number_text,
    round_fraction,
    round_multiplier,
    round_to_float,
    saturate,
)
from ..requantize.forms import TwoRoundings
from .fold import Constants
from .forms import HEADROOM, Factor, FixedBits, HighProduct, Quantity, Register, Rescaled, ShiftedRight
from .rule import Condition
from .words import factor_text

__all__ = [
    "SIGNIFICAND",
    "ElementInput",
    "Worked",
    "exact_factor",
    "exact_numbers",
    "high_part",
    "kept",
]

SIGNIFICAND = {32: 24, 64: 53}
"""Bits of a float -> bits of its significand."""


@dataclass(frozen=True)
class ElementInput:
    """What one output element is made of.

    Attributes:
        values: the inputs' elements that meet there: whole numbers; of float32 the number, infinities and NaN too.
        members: of a reduction, the elements that are reduced to one; no padding among them.
        holds: whether a condition of a choice is met there.
    """

    values: tuple[int | float, ...]
    members: tuple[int, ...] = ()
    holds: Callable[[Condition], bool] = lambda when: False


def exact_factor(factor: Factor, constants: Constants) -> tuple[Fraction, Fraction]:
    """A factor with the roundings of its precision, and without any."""
    bits = SIGNIFICAND[factor.bits]

    def product(quantities: tuple[Quantity, ...]) -> tuple[Fraction, Fraction]:
        rounded = exact = Fraction(1)
        for quantity in quantities:
            value = _quantity(quantity, constants)
            rounded, exact = round_to_float(rounded * value, bits), exact * value
        return rounded, exact

    (above, above_exact), (below, below_exact) = product(factor.times), product(factor.by)
    value, exact = round_to_float(above / below, bits), above_exact / below_exact
    for quantity in factor.then:
        value = round_to_float(value * _quantity(quantity, constants), bits)
        exact *= _quantity(quantity, constants)
    return value, exact


def _quantity(quantity: Quantity, constants: Constants) -> Fraction:
    scales = [Fraction(float(side.scale)) for side in constants.inputs]
    match quantity:
        case "s_1":
            return scales[0]
        case "s_2":
            return scales[1]
        case "s_y":
            assert constants.output is not None
            return Fraction(float(constants.output.scale))
        case "alpha":
            return Fraction(float(constants.alpha))
        case "count":
            return round_to_float(Fraction(constants.count), 24)
        case "one_by_count":
            return round_to_float(Fraction(1, constants.count), 24)
        case "twice_larger":
            return 2 * max(scales)
        case "headroom":
            return Fraction(2 ** HEADROOM[constants.inputs[0].bits])
        case "one_by_128":
            return Fraction(1, 128)
        case "three_by_2_15":
            return Fraction(3, 2**15)
        case never:
            assert_never(never)


def exact_numbers(stage: Rescaled, constants: Constants) -> tuple[int, int, str]:
    """The multiplier of a stage, its shift (positive = left), and how it was made."""
    factor, _ = exact_factor(stage.factor, constants)
    match stage.form:
        case TwoRoundings() | HighProduct():
            q, shift = round_multiplier(abs(factor))
            made = "q = round_half_away(fraction * 2^31)"
            q = -q if factor < 0 else q
        case FixedBits(bits):
            q, shift = round_fraction(round_to_float(2**bits * factor, 24), "half_even"), -bits
            made = f"q = round_half_even(2^{bits} * factor)"
        case ShiftedRight():
            q, shift, made = 1, _nearest_power(factor), "a power of two"
        case never:
            assert_never(never)
    if stage.count_in_multiplier:
        more = min(constants.count.bit_length() - 1, 32, 31 + shift)
        q, shift = math.floor(Fraction(q * 2**more, constants.count)), shift - more
        made += f", then floor(q * 2^{more} / {constants.count})"
    return q, shift, made


def _nearest_power(value: Fraction) -> int:
    """The exponent of the power of two that is nearest by its logarithm."""
    exponent = 0
    while value * value >= Fraction(2) ** (2 * exponent + 1):
        exponent += 1
    while value * value < Fraction(2) ** (2 * exponent - 1):
        exponent -= 1
    return exponent


def kept(register: Register, value: int) -> int:
    """What a register holds of a value."""
    match register:
        case "wrap32":
            return low_bits(value, 32)
        case "wrap16":
            return low_bits(value, 16)
        case "saturate16":
            return saturate(value, 16)
        case "wide":
            return value
        case never:
            assert_never(never)


def high_part(value: int, multiplier: int, bits: int) -> int:
    """The high part of a product, half up; the one product that does not fit saturates."""
    return min(round_fraction(Fraction(value * multiplier, 2**bits), "half_up"), (1 << bits) - 1)


class Worked:
    """The values of one element, by name, and the steps that made them."""

    def __init__(self, constants: Constants, element: ElementInput) -> None:
        self.constants, self.element = constants, element
        self.steps: list[ExactStep] = []
        self.values: dict[str, Fraction] = {}
        # What no fraction holds: infinities and NaN.
        self.special: dict[str, float] = {}

    def put(self, step: ExactStep) -> None:
        """Keep a step and its value."""
        self.steps.append(step)
        self.values[step.name] = step.value

    def whole(self, name: str) -> int:
        """A value that is a whole number."""
        return int(self.values[name])

    def factor(self, factor: Factor, step: str) -> Iterator[ExactStep]:
        """The step of a stage's factor."""
        value, exact = exact_factor(factor, self.constants)

        def product(quantities: tuple[Quantity, ...]) -> str:
            text = " * ".join(number_text(_quantity(quantity, self.constants)) for quantity in quantities)
            return f"({text})" if len(quantities) > 1 else text

        numbers = f"{product(factor.times)} / {product(factor.by)}"
        numbers += f" * {product(factor.then)}" if factor.then else ""
        yield make_step(f"factor_of_{step}", factor_text(factor), numbers, value, exact, f"float{factor.bits}")
