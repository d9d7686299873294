"""Why two rules print different outputs for one accumulator: the deciding step, found by exchanging steps.

Every rule is the same five steps, each done in its own way. In each of the two rules, the steps are replaced
by the other rule's, in order, until the output is the other rule's for good. The deciding step is the earlier
of the two places where that happens; so it does not depend on which of the two rules one starts from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..arith.exact import round_fraction, round_multiplier, round_to_float, split_fraction
from ..arith.exact_int16 import reduced_multiplier, wrap
from ..arith.requantize import RequantParams, RequantRule

__all__ = ["STEPS", "Cause", "OtherRuntime", "Side", "find_cause", "five_steps"]

STEPS = ("scale_precision", "multiplier_form", "first_rounding", "last_rounding", "clamp")
"""The five steps that every rule consists of, in order of calculation.

- scale_precision: s_x*s_w/s_y in float64, in float32, or the product in float32 and the quotient in float64.
- multiplier_form: the factor as it is applied: a float64, a float32, or a multiplier and a shift.
- first_rounding: acc times the factor, in output steps, after every rounding but the last.
- last_rounding: rounded to a whole output step, with the rule's tie rule.
- clamp: with the output zero point, within the clamp bounds.
"""

_TIES = {
    "float64": "half_away",
    "float32": "half_even",
    "q31_up_up": "half_up",
    "q31_up_away": "half_away",
    "q31_single": "half_up",
    "q31_single_wrap": "half_up",
    "q15": "half_up",
    "q15_wrap": "half_up",
    "float32_clip": "half_even",
    "float32_bias_fused": "half_even",
    "float32_bias_reciprocal": "half_even",
    "float32_bias_division": "half_even",
    "float64_saturate": "half_away",
    "float32_saturate": "half_even",
    "q31_floor_up_wrap": "half_up",
    "q31_floor_up_saturate": "half_up",
    "q31_up_away_saturate": "half_away",
}


@dataclass(frozen=True)
class Side:
    """One runtime's way of requantizing an element: rule, clamp bounds, the output type's maximum, and the bias.

    The bias is told only where the rule adds it by itself: the integer, and what it is in float32.
    """

    rule: RequantRule
    activation_min: int
    activation_max: int
    type_max: int
    bias: int = 0
    float_bias: Fraction = Fraction(0)

    @classmethod
    def of(cls, params: RequantParams, unit: int = 0) -> Side:
        """The side that these folded constants make for one unit."""
        assert params.dtype.qmax is not None
        side = cls(params.rule, params.activation_min, params.activation_max, params.dtype.qmax)
        if params.bias is None or params.float_bias is None:
            return side
        return replace(side, bias=int(params.bias[unit]), float_bias=Fraction(float(params.float_bias[unit])))

    def way(self, step: str) -> str:
        """How this side does a step, in words."""
        form = self.rule.form
        if step == "scale_precision":
            return {"dd": "all float64", "fd": "product float32, quotient float64", "ff": "all float32"}[
                self.rule.scale_product
            ]
        if step == "multiplier_form":
            if form.startswith("float"):
                return f"{form[:7]} factor"
            return "15-bit multiplier and shift" if form.startswith("q15") else "31-bit multiplier and shift"
        if step == "first_rounding":
            return {
                "float64": "product rounded to float64, half_even",
                "float64_saturate": "product rounded to float64, half_even",
                "float32_saturate": "acc and product rounded to float32, half_even",
                "q31_floor_up_wrap": "high_mul rounded down",
                "q31_floor_up_saturate": "high_mul rounded down",
                "float32": "acc and product rounded to float32, half_even",
                "float32_clip": "acc and product rounded to float32, half_even",
                "float32_bias_fused": "bias added in one fused step, sum and product rounded to float32, half_even",
                "float32_bias_reciprocal": "bias added in float32, sum and product rounded to float32, half_even",
                "float32_bias_division": "bias added in float32, sum and product rounded to float32, half_even",
                "q31_single": "exact product",
                "q31_single_wrap": "exact product",
                "q15": "exact product",
                "q15_wrap": "exact product",
            }.get(form, "high_mul rounded half_up")
        if step == "last_rounding":
            return f"rounds {_TIES[form]}"
        return f"bounds {self.activation_min} .. {self.activation_max}"


@dataclass(frozen=True)
class Cause:
    """The step that makes two runtimes print different outputs.

    Attributes:
        step: a name in `STEPS`.
        here: this runtime's value after each step, in the order of `STEPS`.
        there: the other runtime's.
        tie: whether the step is the last rounding, and both had the same exact tie before them.
    """

    step: str
    here: tuple[Fraction, ...]
    there: tuple[Fraction, ...]
    tie: bool

    @property
    def numbers(self) -> tuple[Fraction, Fraction]:
        """The step's results: (here, there)."""
        i = STEPS.index(self.step)
        return self.here[i], self.there[i]

    @property
    def before(self) -> tuple[Fraction, Fraction] | None:
        """What the last rounding or the clamp started from: (here, there); None for the other steps."""
        i = STEPS.index(self.step)
        return (self.here[i - 1], self.there[i - 1]) if i >= STEPS.index("last_rounding") else None


@dataclass(frozen=True, eq=False)
class OtherRuntime:
    """What one runtime makes of the same layer, for the same input of that layer.

    Attributes:
        name: the runtime's name.
        rule: its rule, empty where it refuses the layer.
        kernel: its kernel family, likewise.
        output: what it prints for the element, or None where it refuses the layer.
        mismatched: how many elements of the layer's whole output differ from the explained runtime's.
        cause: why this element differs, or None where it does not.
        side: its rule and clamp bounds, where there is a cause.
        acc: its accumulator, where the element differs since that is another one.
        acc_cause: why it is, in words.
        refused: why it refuses the layer, else empty.
    """

    name: str
    rule: str = ""
    kernel: str = ""
    output: int | None = None
    mismatched: int = 0
    cause: Cause | None = None
    side: Side | None = None
    refused: str = ""
    acc: int | None = None
    acc_cause: str = ""


def find_cause(acc: int, scales: tuple[float, float, float], zero_point: int, here: Side, there: Side) -> Cause:
    """The step that decides why two sides print different outputs.

    Args:
        acc: the accumulator.
        scales: s_x, s_w of the unit, s_y.
        zero_point: the output's zero point.
        here: the side that is explained.
        there: the side it is compared with; its output must differ.

    >>> from lastbit.arith.requantize import RULES
    >>> sides = [Side(RULES[name], -128, 127, 127) for name in ("float32-half_even", "float64-half_away")]
    >>> cause = find_cause(5, (1.0, 0.5, 1.0), 0, *sides)
    >>> cause.step, cause.tie, [int(v) for v in cause.numbers]
    ('last_rounding', True, [2, 3])
    """
    count = len(STEPS)
    turns = []
    for first, second in ((there, here), (here, there)):
        outputs = [
            five_steps(acc, scales, zero_point, (*(first,) * n, *(second,) * (count - n)))[-1] for n in range(count + 1)
        ]
        assert outputs[0] != outputs[-1], "the two sides agree"
        turns.append(max(n for n in range(count) if outputs[n] != outputs[-1]))
    ours = five_steps(acc, scales, zero_point, (here,) * count)
    theirs = five_steps(acc, scales, zero_point, (there,) * count)
    step = STEPS[min(turns)]
    before = STEPS.index("first_rounding")
    tie = step == "last_rounding" and ours[before] == theirs[before] and ours[before] % 1 == Fraction(1, 2)
    return Cause(step, ours, theirs, tie)


def five_steps(
    acc: int, scales: tuple[float, float, float], zero_point: int, sides: Sequence[Side]
) -> tuple[Fraction, ...]:
    """The value after each of the `STEPS`, where each step may be done the way of another side.

    Args:
        acc: the accumulator.
        scales: s_x, s_w of the unit, s_y.
        zero_point: the output's zero point.
        sides: for each of `STEPS`, whose way.

    >>> from lastbit.arith.requantize import RULES
    >>> side = Side(RULES["q31-half_up-half_away/dd"], -128, 127, 127)
    >>> [float(v) for v in five_steps(-5, (1.0, 0.25, 0.5), 3, (side,) * 5)]
    [0.5, 0.5, -2.0, -2.0, 1.0]
    """
    precision, form, first, last, clamp = sides
    scale = _scale(precision.rule, *map(Fraction, scales))
    factor = _factor(form.rule, scale)
    before = _first_rounding(first, acc, factor)
    rounded = _last_rounding(last.rule, before)
    return scale, factor, before, Fraction(rounded), Fraction(_clamp(clamp, rounded, zero_point))


def _scale(rule: RequantRule, sx: Fraction, sw: Fraction, sy: Fraction) -> Fraction:
    product = round_to_float(sx * sw, 53 if rule.scale_product == "dd" else 24)
    return round_to_float(product / sy, 24 if rule.scale_product == "ff" else 53)


def _factor(rule: RequantRule, scale: Fraction) -> Fraction:
    if rule.form.startswith("float64"):
        return scale
    if rule.form.startswith("float32"):
        return round_to_float(scale, 24)
    q, shift = round_multiplier(scale)
    if rule.form.startswith("q15"):
        return reduced_multiplier(q) * Fraction(2) ** (shift - 15)
    return q * Fraction(2) ** (shift - 31)


def _first_rounding(side: Side, acc: int, factor: Fraction) -> Fraction:
    form = side.rule.form
    if form.startswith("float64"):
        return round_to_float(round_to_float(Fraction(acc), 53) * factor, 53)
    if form.startswith("float32_bias"):
        dot = round_to_float(Fraction(_wrap32(acc - side.bias)), 24)
        return round_to_float(round_to_float(dot + side.float_bias, 24) * factor, 24)
    if form.startswith("float32"):
        return round_to_float(round_to_float(Fraction(acc), 24) * factor, 24)
    if form in ("q31_single", "q31_single_wrap"):
        return acc * factor
    shift = split_fraction(factor)[1]
    if form == "q15_wrap":
        return wrap(int(acc * factor * Fraction(2) ** (15 - shift)), 64) / Fraction(2) ** (15 - shift)
    if form == "q15":
        return _q15_product(acc, factor, shift)
    floor = form.startswith("q31_floor")
    right = max(-shift, int(floor))  # a product that is rounded down is shifted right by one at least
    left = shift + right
    register = _saturate32 if form.endswith("_saturate") else _wrap32
    high = register(acc << left) * factor * Fraction(2) ** -shift
    return (math.floor(high) if floor else round_fraction(high, "half_up")) / Fraction(2) ** right


def _q15_product(acc: int, factor: Fraction, shift: int) -> Fraction:
    """The product in output steps, so that rounding it half up gives what 64-bit registers make of it."""
    product = wrap(int(acc * factor * Fraction(2) ** (15 - shift)), 64)
    half = wrap(2 ** ((14 - shift) % 64), 64)
    total = wrap(product + half, 64)
    if shift > 14:  # counts of shifts become negative; see fixedpoint.shift_right_half_up_64
        return Fraction(total >> ((15 - shift) % 64))
    return Fraction(total - half, 2 ** (15 - shift))


def _last_rounding(rule: RequantRule, value: Fraction) -> int:
    if rule.form in ("q31_single_wrap", "q15_wrap"):
        return _wrap32(_wrap32(math.floor(2 * value)) + 1) >> 1
    rounded = round_fraction(value, _TIES[rule.form])
    if rule.form == "q15":
        return _wrap32(rounded)
    if rule.form.startswith("float32_bias") and value >= 2**31:
        return -(2**31)
    if rule.form == "float64_saturate":
        return _saturate32(rounded)
    if rule.form == "float64" and not -(2**31) < rounded < 2**31:
        return -(2**31)
    return max(rounded, -(2**31)) if rule.form.startswith("float32") else rounded


def _clamp(side: Side, rounded: int, zero_point: int) -> int:
    if side.rule.form == "float32":
        # This form limits the product before it rounds it, which is the same: the bound is a whole number.
        total = _wrap32(min(rounded, side.activation_max - zero_point) + zero_point)
        return max(side.activation_min, min(side.type_max, total))
    if (
        side.rule.form.startswith("float32_") or side.rule.form == "q31_floor_up_saturate"
    ):  # it saturates and never wraps
        return max(side.activation_min, min(side.activation_max, rounded + zero_point))
    return max(side.activation_min, min(side.activation_max, _wrap32(rounded + zero_point)))


def _saturate32(value: int) -> int:
    return min(max(value, -(2**31)), 2**31 - 1)


def _wrap32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31
