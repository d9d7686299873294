"""Why two rules print different outputs for one accumulator: the deciding step, found by exchanging steps.

Every rule is the same five steps, each done in its own way. In each of the two rules, the steps are replaced
by the other rule's, in order, until the output is the other rule's for good. The deciding step is the earlier
of the two places where that happens; so it does not depend on which of the two rules one starts from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ...layers.differences import ends_of, given_of
from ...rules.base import IntegerRule
from ...rules.requantize import words
from ...rules.requantize.five_steps import Ends, before_rounding, clamped, factor_of, last_rounding, scale_of
from ...rules.requantize.fold import RequantParams

__all__ = ["STEPS", "Cause", "OtherRuntime", "RequantSide", "find_cause", "five_steps"]

STEPS = ("scale_precision", "multiplier_form", "first_rounding", "last_rounding", "clamp")
"""The five steps that every rule consists of, in order of calculation.

- scale_precision: s_x*s_w/s_y in float64, in float32, or the product in float32 and the quotient in float64.
- multiplier_form: the factor as it is applied: a float64, a float32, or a multiplier and a shift.
- first_rounding: acc times the factor, in output steps, after every rounding but the last.
- last_rounding: rounded to a whole output step, with the rule's tie rule.
- clamp: with the output zero point, within the clamp bounds.
"""


@dataclass(frozen=True)
class RequantSide:
    """One runtime's way of requantizing an element: rule, what the output is limited to, and the bias.

    The bias is told only where the rule adds it by itself: the integer, and what it is in accumulator steps. So is the
    weights' scale where the kernel takes another one than the file has for the unit, and so are multiplier and shift
    where the layer has these instead of scales.
    """

    rule: IntegerRule
    ends: Ends
    bias: int = 0
    bias_in_steps: Fraction = Fraction(0)
    weights_scale: Fraction | None = None
    given: tuple[int, int] | None = None

    @classmethod
    def of(cls, params: RequantParams, unit: int = 0, weights_scale: Fraction | None = None) -> RequantSide:
        """The side that these folded constants make for one unit."""
        side = cls(params.rule, ends_of(params), weights_scale=weights_scale, given=given_of(params, unit))
        if params.bias is None or params.float_bias is None:
            return side
        return replace(side, bias=int(params.bias[unit]), bias_in_steps=Fraction(float(params.float_bias[unit])))

    def way(self, step: str) -> str:
        """How this side does a step, in words."""
        form = self.rule.requantize
        match step:
            case "scale_precision":
                return words.scale_text(self.rule.scales)
            case "multiplier_form":
                return words.multiplier_text(form)
            case "first_rounding":
                return words.first_rounding_text(form)
            case "last_rounding":
                return words.last_rounding_text(form)
            case _:
                return f"bounds {self.ends.activation_min} .. {self.ends.activation_max}"


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
        kernel: its kernel family, in the same way.
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
    side: RequantSide | None = None
    refused: str = ""
    acc: int | None = None
    acc_cause: str = ""


def find_cause(acc: int, scales: tuple[float, float, float], here: RequantSide, there: RequantSide) -> Cause:
    """The step that decides why two sides print different outputs.

    Args:
        acc: the accumulator.
        scales: s_x, s_w of the unit, s_y.
        here: the side that is explained.
        there: the side it is compared with; its output must differ.

    >>> from lastbit.rules.requantize.table import RULES
    >>> ends = Ends(-128, 127, -128, 127, zero_point=0)
    >>> sides = [RequantSide(RULES[name], ends) for name in ("float32-half_even", "float64-half_away")]
    >>> cause = find_cause(5, (1.0, 0.5, 1.0), *sides)
    >>> cause.step, cause.tie, [int(v) for v in cause.numbers]
    ('last_rounding', True, [2, 3])
    """
    count = len(STEPS)
    ours = five_steps(acc, scales, (here,) * count)
    theirs = five_steps(acc, scales, (there,) * count)
    assert ours[-1] != theirs[-1], "the two sides agree"

    def turn(first: RequantSide, second: RequantSide, output: Fraction) -> int:
        """The last of the first side's steps without which the output is not the first side's."""
        mixed = (five_steps(acc, scales, (*(first,) * n, *(second,) * (count - n))) for n in reversed(range(count)))
        return count - 1 - next(back for back, steps in enumerate(mixed) if steps[-1] != output)

    step = STEPS[min(turn(there, here, theirs[-1]), turn(here, there, ours[-1]))]
    before = STEPS.index("first_rounding")
    tie = step == "last_rounding" and ours[before] == theirs[before] and ours[before] % 1 == Fraction(1, 2)
    return Cause(step, ours, theirs, tie)


def five_steps(acc: int, scales: tuple[float, float, float], sides: Sequence[RequantSide]) -> tuple[Fraction, ...]:
    """The value after each of the `STEPS`, where each step may be done the way of another side.

    Args:
        acc: the accumulator.
        scales: s_x, s_w of the unit, s_y.
        sides: for each of `STEPS`, whose way.

    >>> from lastbit.rules.requantize.table import RULES
    >>> side = RequantSide(RULES["q31-half_up-half_away/dd"], Ends(-128, 127, -128, 127, zero_point=3))
    >>> [float(v) for v in five_steps(-5, (1.0, 0.25, 0.5), (side,) * 5)]
    [0.5, 0.5, -2.0, -2.0, 1.0]
    """
    precision, form, first, last, clamp = sides
    input_scale, weights_scale, output_scale = map(Fraction, scales)
    taken = weights_scale if precision.weights_scale is None else precision.weights_scale
    scale = scale_of(precision.rule, input_scale, taken, output_scale)
    factor = factor_of(form.rule, scale, form.given)
    before = before_rounding(first.rule, acc, factor, first.bias, first.bias_in_steps)
    rounded = last_rounding(last.rule, before)
    return scale, factor.value, before, Fraction(rounded), Fraction(clamped(clamp.rule, rounded, clamp.ends))
