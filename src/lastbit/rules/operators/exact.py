"""The same once more, slowly: one output element at a time, in Python integers and fractions, from the equations.

Written apart from `vector.py`, so that the two can disagree; neither imports the other, and tests compare them. Each
stage records its numbers and what it cut off: explanations and `verify`'s worked element print these steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, assert_never

from ...arith.exact import (
    ExactStep,
    low_bits,
    make_step,
    number_text,
    round_fraction,
    round_to_float,
    split_fraction,
)
from ..requantize.forms import TwoRoundings
from .exact_fixed16 import fixed16_steps
from .exact_floats import float_steps
from .exact_numbers import ElementInput, Worked, exact_factor, exact_numbers, high_part, kept
from .fold import Constants
from .forms import (
    HEADROOM,
    Affine,
    Centered,
    Combined,
    CountDivision,
    FixedBits,
    FloatRounded,
    FloatScaled,
    FusedAffine,
    HighProduct,
    Largest,
    Quotient,
    Register,
    Rescaled,
    ShiftedRight,
    Stage,
    Total,
    Weighted,
)
from .rule import (
    Choice,
    NotNegative,
    Output,
    RealOutput,
    Staged,
    StagedRule,
)

__all__ = ["ElementInput", "exact_steps"]


def exact_steps(rule: StagedRule, constants: Constants, element: ElementInput) -> list[ExactStep]:
    """Every step of one output element; the last is `output`.

    Args:
        rule: the rule.
        constants: what the file says of the operator; every float32 counts with its exact value.
        element: what the element is made of.

    Returns:
        The steps in order, those of `vector` among them by their names.
    """
    match rule:
        case Choice():
            if isinstance(rule.when, NotNegative):
                then = exact_steps(rule.then, constants, element)
                met = next(step.value for step in then if step.name == rule.when.of) >= 0
            else:
                met = element.holds(rule.when)
            return exact_steps(rule.then if met else rule.otherwise, constants, element)
        case Staged():
            worked = _Worked(constants, element)
            for stage in rule.stages:
                for step in worked.stage(stage):
                    worked.put(step)
            for step in worked.output(rule.output):
                worked.put(step)
            return worked.steps
        case never:
            assert_never(never)


class _Worked(Worked):
    """The stages and the output of one element."""

    def stage(self, stage: Stage) -> Iterator[ExactStep]:
        constants, element = self.constants, self.element
        match stage:
            case Centered(step, operand, register):
                x, zero = int(element.values[operand - 1]), constants.inputs[operand - 1].zero_point
                effect = "" if register == "wide" else register
                yield make_step(
                    step, f"x_{operand} - z_{operand}", f"{x} - ({zero})", kept(register, x - zero), x - zero, effect
                )
            case Rescaled():
                yield from self._rescaled(stage)
            case Combined(step, (first, second), how, register):
                yield self._combined(step, self.whole(first), self.whole(second), how, register, (first, second))
            case Weighted():
                yield from self._weighted(stage)
            case Total(step, centered):
                yield from self._total(step, centered)
            case CountDivision(step, of, tie):
                total, count = self.whole(of), len(element.members)
                exact = Fraction(total, count)
                value = round_fraction(exact, tie)
                yield make_step(step, f"round_{tie}({of} / count)", f"{total} / {count}", value, exact, tie)
            case Largest(step):
                value = max(element.members)
                yield make_step(step, "max(x)", f"of {len(element.members)} elements", value, value)
            case Quotient() | FloatScaled() | Affine() | FusedAffine() | FloatRounded():
                yield from float_steps(self, stage)
            case _:
                yield from fixed16_steps(self, stage)

    def _rescaled(self, stage: Rescaled) -> Iterator[ExactStep]:
        yield from self.factor(stage.factor, stage.step)
        q, shift, made = exact_numbers(stage, self.constants)
        yield make_step(f"multiplier_of_{stage.step}", made, f"{q}", q, q)
        yield make_step(f"shift_of_{stage.step}", "positive = left", f"{shift}", shift, shift)
        value, name = self.whole(stage.of), stage.of
        if stage.headroom:
            bits = HEADROOM[self.constants.inputs[0].bits]
            yield make_step(f"{name}_wide", f"{name} << {bits}", f"{value} << {bits}", value * 2**bits, value * 2**bits)
            value, name = value * 2**bits, f"{name}_wide"
        negated = q < 0 and stage.negative == "result" and isinstance(stage.form, TwoRoundings | HighProduct)
        q, sign = (-q, -1) if negated else (q, 1)
        effect: str
        left, right = max(shift, 0), max(-shift, 0)
        match stage.form:
            case TwoRoundings(high=how, tie=tie, least_right=least):
                left, right = left + max(least - right, 0), max(right, least)
                shifted = low_bits(value * 2**left, 32)
                if left:
                    yield make_step(
                        f"{name}_shifted", f"{name} << L", f"{value} << {left}", shifted, value * 2**left, "wrap32"
                    )
                yield from self._high_half(stage.step, shifted, q, how)
                high = math.floor(Fraction(shifted * q, 2**31)) if how == "floor" else high_part(shifted, q, 31)
                exact, numbers = Fraction(sign * high, 2**right), f"{sign * high} / 2^{right}"
                result = sign * round_fraction(Fraction(high, 2**right), tie)
                effect, formula = tie, f"round_{tie}(high_mul / 2^R)"
            case HighProduct(order):
                first, last = (right, 0) if order == "before" else (0, right)
                shifted = low_bits(math.floor(Fraction(value, 2**first)), 32)
                if first:
                    exact = Fraction(value, 2**first)
                    yield make_step(f"{name}_shifted", f"{name} >> R", f"{value} >> {first}", shifted, exact, "floor")
                yield from self._high_half(stage.step, shifted, q)
                high = high_part(shifted, q, 31)
                exact, numbers = Fraction(high, 2**last), f"{high} >> {last}" if last else f"{high}"
                result, effect, formula = math.floor(exact), "floor", "high_mul >> R" if last else "high_mul"
            case FixedBits(bits):
                exact, numbers = Fraction(value * q, 2**bits), f"{value} * {q} / 2^{bits}"
                result, effect = round_fraction(exact, "half_up"), "half_up"
                formula = f"({name} * q + 2^{bits - 1}) >> {bits}"
            case ShiftedRight(tie):
                exact, numbers = Fraction(value, 2**right), f"{value} / 2^{right}"
                result, effect, formula = round_fraction(exact, tie), tie, f"round_{tie}({name} / 2^{right})"
            case never:
                assert_never(never)
        yield make_step(stage.step, ("-" if negated else "") + formula, numbers, result, exact, effect)

    @staticmethod
    def _high_half(
        step: str, shifted: int, q: int, how: Literal["half_up", "floor"] = "half_up"
    ) -> Iterator[ExactStep]:
        exact = Fraction(shifted * q, 2**31)
        value, formula = high_part(shifted, q, 31), "(v * q + 2^30) >> 31"
        if how == "floor":
            value, formula = math.floor(exact), "v * q >> 31"
        yield make_step(f"high_mul_of_{step}", formula, f"{shifted} * {q} / 2^31", value, exact, how)

    def _combined(self, step: str, a: int, b: int, how: str, register: Register, names: tuple[str, str]) -> ExactStep:
        if how == "product":
            sign, exact = "*", a * b
        elif self.constants.subtract:
            sign, exact = "-", a - b
        else:
            sign, exact = "+", a + b
        effect = "" if register == "wide" else register
        return make_step(step, f" {sign} ".join(names), f"{a} {sign} ({b})", kept(register, exact), exact, effect)

    def _weighted(self, stage: Weighted) -> Iterator[ExactStep]:
        factors = []
        for n, factor in enumerate(stage.factors, 1):
            yield from self.factor(factor, f"{stage.of[n - 1]}")
            factors.append(exact_factor(factor, self.constants)[0])
        fraction, exponent = split_fraction(max(factors))
        assert fraction < 1
        shift = stage.bits + 1 - exponent
        multipliers = []
        for n, (real, name) in enumerate(zip(factors, stage.of, strict=True)):
            exact = real * Fraction(2) ** shift
            multiplier = round_fraction(exact, "half_even") * (-1 if n and self.constants.subtract else 1)
            exact = -exact if n and self.constants.subtract else exact
            formula = f"round_half_even(factor * 2^{shift})"
            yield make_step(f"multiplier_of_{name}", formula, number_text(exact), multiplier, exact, "half_even")
            multipliers.append(multiplier)
        yield make_step(f"shift_of_{stage.step}", "R: the larger multiplier's bits", f"{shift}", shift, shift)
        a, b = (self.whole(name) for name in stage.of)
        total = multipliers[0] * a + multipliers[1] * b
        numbers = f"{multipliers[0]} * ({a}) + {multipliers[1]} * ({b})"
        yield make_step(stage.total, f"q_1 * {stage.of[0]} + q_2 * {stage.of[1]}", numbers, total, total)
        exact = Fraction(total) / Fraction(2) ** shift
        result = math.floor(Fraction(low_bits(total + 2 ** (shift - 1), 32), 2**shift))
        yield make_step(stage.step, f"({stage.total} + 2^(R-1)) >> R", f"{total} / 2^{shift}", result, exact, "half_up")

    def _total(self, step: str, centered: bool) -> Iterator[ExactStep]:
        members, zero = self.element.members, self.constants.inputs[0].zero_point if centered else 0
        count = len(members)
        if "count" not in self.values:
            yield make_step("count", "elements that are not padding", f"{count}", count, count)
        value = sum(member - zero for member in members)
        formula = "sum of x - zx" if centered else "sum of x"
        shown = " + ".join(f"({member})" if member < 0 else str(member) for member in members[:6])
        shown += " + ..." if count > 6 else ""
        numbers = f"{shown} - {count} * ({zero})" if zero else shown
        yield make_step(step, formula, numbers, value, value)

    def output(self, output: Output | RealOutput) -> Iterator[ExactStep]:
        match output:
            case Output():
                yield from self._integer_output(output)
            case RealOutput():
                yield self._real_output(output)
            case never:
                assert_never(never)

    def _integer_output(self, output: Output) -> Iterator[ExactStep]:
        constants = self.constants
        assert constants.output is not None
        zero, name = constants.output.zero_point, "x" if output.of == "input" else output.of
        value = int(self.element.values[0]) if output.of == "input" else self.whole(output.of)
        match output.add:
            case "nothing":
                total = value
            case "rounded_offset":
                worth = self._rounded_offset()
                total = value + zero - worth
                numbers = f"{value} + ({zero}) - ({worth})"
                yield make_step("with_zero_point", f"{name} + zy - round_half_away(zx*s_1/s_y)", numbers, total, total)
            case "wrap32" | "wrap16" | "saturate16" | "wide":
                held = kept(output.keep, value)
                if held != value:
                    yield make_step("kept", f"{output.keep}({name})", f"{value}", held, value, output.keep)
                total = kept(output.add, held + zero)
                effect = "" if output.add == "wide" else output.add
                yield make_step("with_zero_point", f"{name} + zy", f"{held} + ({zero})", total, held + zero, effect)
            case never:
                assert_never(never)
        low, high = constants.low, constants.high
        clamped = max(low, min(high, total))
        yield make_step("output", "clamp(y, lo, hi)", f"clamp({total}, {low}, {high})", clamped, total, "clamp")

    def _rounded_offset(self) -> int:
        assert self.constants.output is not None
        given = self.constants.inputs[0]
        product = round_to_float(given.zero_point * Fraction(float(given.scale)), 24)
        offset = round_to_float(product / Fraction(float(self.constants.output.scale)), 24)
        half = Fraction(1, 2) if offset > 0 else Fraction(-1, 2)
        return math.trunc(round_to_float(offset + half, 24))

    def _real_output(self, output: RealOutput) -> ExactStep:
        value = self.element.values[0] if output.of == "input" else self.whole(output.of)
        if output.way == "widened":
            # Every float16 is a float32, infinities and NaN too; those have no fraction.
            number = Fraction(float(value)) if math.isfinite(value) else Fraction(0)
            return make_step("output", "float32(x)", repr(value), number, number)
        side = self.constants.inputs[0]
        scale, whole = Fraction(float(side.scale)), int(value)
        if output.way == "difference":
            exact = whole * scale
            rounded = round_to_float(exact, 24)
            return make_step("output", "x * s_x", f"{whole} * {number_text(scale)}", rounded, exact, "float32")
        offset = round_to_float(-side.zero_point * scale, 24)
        if output.way == "fused_plus_offset":
            exact = whole * scale + offset
            numbers = f"{whole} * {number_text(scale)} + ({number_text(offset)})"
            return make_step("output", "fma(x, s_x, -zx * s_x)", numbers, round_to_float(exact, 24), exact, "float32")
        product = round_to_float(whole * scale, 24)
        exact = (whole - side.zero_point) * scale
        numbers = f"{number_text(product)} + ({number_text(offset)})"
        rounded = round_to_float(product + offset, 24)
        return make_step("output", "x * s_x + (-zx * s_x)", numbers, rounded, exact, "float32, three times")
