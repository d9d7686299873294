"""The same once more, slowly: one output element at a time, in Python integers and fractions, from the equations.

Written apart from `vector.py`, so that the two can disagree; neither imports the other, and tests compare them. Each
stage records its numbers and what it cut off: explanations and `verify`'s worked element print these steps.
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
    split_fraction,
)
from ..requantize.forms import TwoRoundings
from .fold import Constants
from .forms import (
    HEADROOM,
    Affine,
    Centered,
    Choice,
    Combined,
    Condition,
    CountDivision,
    Factor,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    Halved,
    HighProduct,
    Largest,
    NotNegative,
    Output,
    Product15,
    Quantity,
    Quotient,
    RealOutput,
    Register,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Stage,
    Staged,
    StagedRule,
    Total,
    Weighted,
)
from .words import factor_text

__all__ = ["ElementInput", "exact_factor", "exact_numbers", "exact_steps"]

_SIGNIFICAND = {32: 24, 64: 53}
_SMALLEST_NORMAL = Fraction(1, 2**126)
_LARGEST_FLOAT = (2 - Fraction(1, 2**23)) * 2**127


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


def exact_factor(factor: Factor, constants: Constants) -> tuple[Fraction, Fraction]:
    """A factor with the roundings of its precision, and without any."""
    bits = _SIGNIFICAND[factor.bits]

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


def _saturate(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return max(-half, min(half - 1, value))


def _kept(register: Register, value: int) -> int:
    match register:
        case "wrap32":
            return low_bits(value, 32)
        case "wrap16":
            return low_bits(value, 16)
        case "saturate16":
            return _saturate(value, 16)
        case "wide":
            return value
        case never:
            assert_never(never)


def _high(value: int, multiplier: int, bits: int) -> int:
    """The high part of a product, half up; the one product that does not fit saturates."""
    return min(round_fraction(Fraction(value * multiplier, 2**bits), "half_up"), (1 << bits) - 1)


class _Worked:
    """The values of one element, by name, and the steps that made them."""

    def __init__(self, constants: Constants, element: ElementInput) -> None:
        self._constants, self._element = constants, element
        self.steps: list[ExactStep] = []
        self._values: dict[str, Fraction] = {}
        # What no fraction holds: infinities and NaN.
        self._special: dict[str, float] = {}

    def put(self, step: ExactStep) -> None:
        self.steps.append(step)
        self._values[step.name] = step.value

    def _whole(self, name: str) -> int:
        return int(self._values[name])

    def stage(self, stage: Stage) -> Iterator[ExactStep]:
        constants, element = self._constants, self._element
        match stage:
            case Centered(step, operand, register):
                x, zero = int(element.values[operand - 1]), constants.inputs[operand - 1].zero_point
                effect = "" if register == "wide" else register
                yield make_step(
                    step, f"x_{operand} - z_{operand}", f"{x} - ({zero})", _kept(register, x - zero), x - zero, effect
                )
            case Rescaled():
                yield from self._rescaled(stage)
            case Combined(step, (first, second), how, register):
                yield self._combined(step, self._whole(first), self._whole(second), how, register, (first, second))
            case Weighted():
                yield from self._weighted(stage)
            case Total(step, centered):
                yield from self._total(step, centered)
            case CountDivision(step, of, tie):
                total, count = self._whole(of), len(element.members)
                exact = Fraction(total, count)
                value = round_fraction(exact, tie)
                yield make_step(step, f"round_{tie}({of} / count)", f"{total} / {count}", value, exact, tie)
            case Largest(step):
                value = max(element.members)
                yield make_step(step, "max(x)", f"of {len(element.members)} elements", value, value)
            case Quotient() | FloatScaled() | Affine() | FloatRounded():
                yield from self._float(stage)
            case _:
                yield from self._sixteen(stage)

    def _factor(self, factor: Factor, step: str) -> Iterator[ExactStep]:
        value, exact = exact_factor(factor, self._constants)

        def product(quantities: tuple[Quantity, ...]) -> str:
            text = " * ".join(number_text(_quantity(quantity, self._constants)) for quantity in quantities)
            return f"({text})" if len(quantities) > 1 else text

        numbers = f"{product(factor.times)} / {product(factor.by)}"
        numbers += f" * {product(factor.then)}" if factor.then else ""
        yield make_step(f"factor_of_{step}", factor_text(factor), numbers, value, exact, f"float{factor.bits}")

    def _rescaled(self, stage: Rescaled) -> Iterator[ExactStep]:
        yield from self._factor(stage.factor, stage.step)
        q, shift, made = exact_numbers(stage, self._constants)
        yield make_step(f"multiplier_of_{stage.step}", made, f"{q}", q, q)
        yield make_step(f"shift_of_{stage.step}", "positive = left", f"{shift}", shift, shift)
        value, name = self._whole(stage.of), stage.of
        if stage.headroom:
            bits = HEADROOM[self._constants.inputs[0].bits]
            yield make_step(f"{name}_wide", f"{name} << {bits}", f"{value} << {bits}", value * 2**bits, value * 2**bits)
            value, name = value * 2**bits, f"{name}_wide"
        negated = q < 0 and stage.negative == "result" and isinstance(stage.form, TwoRoundings | HighProduct)
        q, sign = (-q, -1) if negated else (q, 1)
        effect: str
        left, right = max(shift, 0), max(-shift, 0)
        match stage.form:
            case TwoRoundings(tie=tie):
                shifted = low_bits(value * 2**left, 32)
                if left:
                    yield make_step(
                        f"{name}_shifted", f"{name} << L", f"{value} << {left}", shifted, value * 2**left, "wrap32"
                    )
                yield from self._high_half(stage.step, shifted, q)
                high = _high(shifted, q, 31)
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
                high = _high(shifted, q, 31)
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
    def _high_half(step: str, shifted: int, q: int) -> Iterator[ExactStep]:
        exact = Fraction(shifted * q, 2**31)
        value = _high(shifted, q, 31)
        yield make_step(
            f"high_mul_of_{step}", "(v * q + 2^30) >> 31", f"{shifted} * {q} / 2^31", value, exact, "half_up"
        )

    def _combined(self, step: str, a: int, b: int, how: str, register: Register, names: tuple[str, str]) -> ExactStep:
        if how == "product":
            sign, exact = "*", a * b
        elif self._constants.subtract:
            sign, exact = "-", a - b
        else:
            sign, exact = "+", a + b
        effect = "" if register == "wide" else register
        return make_step(step, f" {sign} ".join(names), f"{a} {sign} ({b})", _kept(register, exact), exact, effect)

    def _weighted(self, stage: Weighted) -> Iterator[ExactStep]:
        factors = []
        for n, factor in enumerate(stage.factors, 1):
            yield from self._factor(factor, f"{stage.of[n - 1]}")
            factors.append(exact_factor(factor, self._constants)[0])
        fraction, exponent = split_fraction(max(factors))
        assert fraction < 1
        shift = stage.bits + 1 - exponent
        multipliers = []
        for n, (real, name) in enumerate(zip(factors, stage.of, strict=True)):
            exact = real * Fraction(2) ** shift
            multiplier = round_fraction(exact, "half_even") * (-1 if n and self._constants.subtract else 1)
            exact = -exact if n and self._constants.subtract else exact
            formula = f"round_half_even(factor * 2^{shift})"
            yield make_step(f"multiplier_of_{name}", formula, number_text(exact), multiplier, exact, "half_even")
            multipliers.append(multiplier)
        yield make_step(f"shift_of_{stage.step}", "R: the larger multiplier's bits", f"{shift}", shift, shift)
        a, b = (self._whole(name) for name in stage.of)
        total = multipliers[0] * a + multipliers[1] * b
        numbers = f"{multipliers[0]} * ({a}) + {multipliers[1]} * ({b})"
        yield make_step(stage.total, f"q_1 * {stage.of[0]} + q_2 * {stage.of[1]}", numbers, total, total)
        exact = Fraction(total) / Fraction(2) ** shift
        result = math.floor(Fraction(low_bits(total + 2 ** (shift - 1), 32), 2**shift))
        yield make_step(stage.step, f"({stage.total} + 2^(R-1)) >> R", f"{total} / 2^{shift}", result, exact, "half_up")

    def _total(self, step: str, centered: bool) -> Iterator[ExactStep]:
        members, zero = self._element.members, self._constants.inputs[0].zero_point if centered else 0
        count = len(members)
        if "count" not in self._values:
            yield make_step("count", "elements that are no padding", f"{count}", count, count)
        value = sum(member - zero for member in members)
        formula = "sum of x - zx" if centered else "sum of x"
        shown = " + ".join(f"({member})" if member < 0 else str(member) for member in members[:6])
        shown += " + ..." if count > 6 else ""
        numbers = f"{shown} - {count} * ({zero})" if zero else shown
        yield make_step(step, formula, numbers, value, value)

    def _float(self, stage: Quotient | FloatScaled | Affine | FloatRounded) -> Iterator[ExactStep]:
        constants = self._constants
        match stage:
            case Quotient():
                yield from self._quotient(stage)
            case FloatScaled(step, of, factor):
                yield from self._factor(factor, step)
                value, _ = exact_factor(factor, constants)
                whole = round_to_float(self._values[of], 24)
                product = round_to_float(whole * value, 24)
                numbers = f"{number_text(whole)} * {number_text(value)}"
                yield make_step(step, f"float32({of}) * m", numbers, product, self._values[of] * value, "float32")
            case Affine(step, of, offset, factor):
                moved, text = self._offset(offset, exact_factor(factor, constants)[0])
                yield make_step("offset", text, number_text(moved), moved, moved)
                exact = self._values[of] + moved
                numbers = f"{number_text(self._values[of])} + ({number_text(moved)})"
                yield make_step(step, f"{of} + offset", numbers, round_to_float(exact, 24), exact, "float32")
            case FloatRounded():
                yield self._float_rounded(stage)
            case never:
                assert_never(never)

    def _offset(self, offset: str, m: Fraction) -> tuple[Fraction, str]:
        zero, count = self._constants.inputs[0].zero_point, self._constants.count
        if offset == "input":
            first = round_to_float(-zero * m, 24)
            return round_to_float(first * round_to_float(Fraction(count), 24), 24), "-zx * m * count in float32"
        assert self._constants.output is not None
        worth = round_to_float(round_to_float(Fraction(count * zero), 24) * m, 24)
        return round_to_float(self._constants.output.zero_point - worth, 24), "zy - (count * zx) * m in float32"

    def _quotient(self, stage: Quotient) -> Iterator[ExactStep]:
        assert self._constants.output is not None
        x, scale = float(self._element.values[0]), Fraction(float(self._constants.output.scale))
        if not math.isfinite(x):
            self._special[stage.step] = x
            yield make_step(stage.step, "x / s_y", repr(x), 0, 0)
            return
        given = Fraction(x)
        if stage.flush and abs(given) < _SMALLEST_NORMAL:
            given = Fraction(0)
        bits = _SIGNIFICAND[stage.bits]
        if stage.by == "division":
            exact, formula, numbers = given / scale, "x / s_y", f"{x!r} / {number_text(scale)}"
            value = round_to_float(exact, bits)
        else:
            inverse = round_to_float(1 / scale, 24)
            yield make_step("inverse", "1 / s_y in float32", f"1 / {number_text(scale)}", inverse, 1 / scale, "float32")
            inverse = Fraction(0) if stage.flush and inverse < _SMALLEST_NORMAL else inverse
            exact, formula, numbers = given * inverse, "x * (1/s_y)", f"{x!r} * {number_text(inverse)}"
            value = round_to_float(round_to_float(exact, 24), bits)
        if stage.bits == 32 and abs(value) > _LARGEST_FLOAT:
            self._special[stage.step] = math.copysign(math.inf, x)
        yield make_step(stage.step, formula, numbers, value, exact, f"float{stage.bits}")

    def _float_rounded(self, stage: FloatRounded) -> ExactStep:
        special = self._special.get(stage.of)
        value = self._values[stage.of]
        formula, shown = f"round_{stage.tie}({stage.of})", number_text(value) if special is None else repr(special)
        if stage.limit == "int16_max":
            formula = f"round_{stage.tie}(min({stage.of}, 32767))"
            if special is not None and (math.isnan(special) or special > 0):
                special, value = None, Fraction(2**15 - 1)
            value = min(value, Fraction(2**15 - 1))
        if special is not None:
            kept = -(2**15) if stage.out_of_range == "saturate16" else -(2**31)
            return make_step(stage.step, formula, shown, kept, kept, stage.out_of_range)
        rounded = round_fraction(value, stage.tie)
        match stage.out_of_range:
            case "int32_min":
                kept = rounded if -(2**31) <= rounded < 2**31 else -(2**31)
            case "saturate16":
                kept = _saturate(rounded, 16)
            case "never":
                kept = rounded
            case never:
                assert_never(never)
        effect = stage.tie if kept == rounded else f"{stage.tie}, then {stage.out_of_range}"
        return make_step(stage.step, formula, shown, kept, self._values[stage.of], effect)

    def _sixteen(self, stage: Shifted | Fixed16 | Halved | Product15 | ScaledBack) -> Iterator[ExactStep]:
        match stage:
            case Shifted(step, of, bits):
                value = self._whole(of) * 2**bits
                yield make_step(step, f"{of} << {bits}", f"{self._whole(of)} << {bits}", value, value)
            case Fixed16():
                yield from self._fixed16(stage)
            case Halved(step, of):
                exact = Fraction(self._whole(of) + 2**15, 2)
                yield make_step(
                    step,
                    f"({of} + 2^15) >> 1",
                    f"({self._whole(of)} + 32768) / 2",
                    math.floor(exact),
                    exact,
                    "floor",
                )
            case Product15(step, (first, second)):
                a, b = self._whole(first), self._whole(second)
                exact = Fraction(a * b, 2**15)
                yield make_step(
                    step,
                    f"trunc({first} * {second} / 2^15)",
                    f"{a} * {b} / 2^15",
                    math.trunc(exact),
                    exact,
                    "truncated",
                )
            case ScaledBack(step, of, factor, tie):
                right = -round_multiplier(exact_factor(factor, self._constants)[0])[1]
                exact = Fraction(self._whole(of), 2**right)
                numbers = f"{self._whole(of)} / 2^{right}"
                yield make_step(step, f"round_{tie}({of} / 2^R)", numbers, round_fraction(exact, tie), exact, tie)
            case never:
                assert_never(never)

    def _fixed16(self, stage: Fixed16) -> Iterator[ExactStep]:
        yield from self._factor(stage.factor, stage.step)
        q, shift = round_multiplier(exact_factor(stage.factor, self._constants)[0])
        multiplier = min(round_fraction(Fraction(q, 2**16), "half_up"), 2**15 - 1)
        yield make_step(
            f"multiplier_of_{stage.step}",
            "q15 = min(round_half_up(q / 2^16), 0x7fff)",
            f"{q} / 2^16",
            multiplier,
            Fraction(q, 2**16),
            "half_up",
        )
        yield make_step(f"shift_of_{stage.step}", "positive = left", f"{shift}", shift, shift)
        value, applied = self._whole(stage.of), shift if stage.shift == "applied" else 0
        exact = Fraction(value * multiplier, 2**15) * Fraction(2) ** applied
        if applied > 0:
            value = _saturate(value * 2 ** (applied - 1), 16)
        high = _high(value, multiplier, 15)
        if applied > 0:
            result, effect = _saturate(2 * high, 16), "half_up, saturate16"
        else:
            result, effect = round_fraction(Fraction(high, 2**-applied), "half_away"), "half_up"
            effect = "half_up, then half_away" if applied else effect
        numbers = f"{value} * {multiplier} / 2^15"
        yield make_step(stage.step, f"({stage.of} * q15 + 2^14) >> 15", numbers, result, exact, effect)

    def output(self, output: Output | RealOutput) -> Iterator[ExactStep]:
        match output:
            case Output():
                yield from self._integer_output(output)
            case RealOutput():
                yield self._real_output(output)
            case never:
                assert_never(never)

    def _integer_output(self, output: Output) -> Iterator[ExactStep]:
        constants = self._constants
        assert constants.output is not None
        zero, name = constants.output.zero_point, "x" if output.of == "input" else output.of
        value = int(self._element.values[0]) if output.of == "input" else self._whole(output.of)
        match output.add:
            case "nothing":
                total = value
            case "rounded_offset":
                worth = self._rounded_offset()
                total = value + zero - worth
                numbers = f"{value} + ({zero}) - ({worth})"
                yield make_step("with_zero_point", f"{name} + zy - round_half_away(zx*s_1/s_y)", numbers, total, total)
            case "wrap32" | "wrap16" | "saturate16" | "wide":
                kept = _kept(output.keep, value)
                if kept != value:
                    yield make_step("kept", f"{output.keep}({name})", f"{value}", kept, value, output.keep)
                total = _kept(output.add, kept + zero)
                effect = "" if output.add == "wide" else output.add
                yield make_step("with_zero_point", f"{name} + zy", f"{kept} + ({zero})", total, kept + zero, effect)
            case never:
                assert_never(never)
        low, high = constants.low, constants.high
        clamped = max(low, min(high, total))
        yield make_step("output", "clamp(y, lo, hi)", f"clamp({total}, {low}, {high})", clamped, total, "clamp")

    def _rounded_offset(self) -> int:
        assert self._constants.output is not None
        given = self._constants.inputs[0]
        product = round_to_float(given.zero_point * Fraction(float(given.scale)), 24)
        offset = round_to_float(product / Fraction(float(self._constants.output.scale)), 24)
        half = Fraction(1, 2) if offset > 0 else Fraction(-1, 2)
        return math.trunc(round_to_float(offset + half, 24))

    def _real_output(self, output: RealOutput) -> ExactStep:
        value = self._element.values[0] if output.of == "input" else self._whole(output.of)
        if output.way == "widened":
            # Every float16 is a float32, infinities and NaN too; those have no fraction.
            number = Fraction(float(value)) if math.isfinite(value) else Fraction(0)
            return make_step("output", "float32(x)", repr(value), number, number)
        side = self._constants.inputs[0]
        scale, whole = Fraction(float(side.scale)), int(value)
        if output.way == "difference":
            exact = whole * scale
            rounded = round_to_float(exact, 24)
            return make_step("output", "x * s_x", f"{whole} * {number_text(scale)}", rounded, exact, "float32")
        product = round_to_float(whole * scale, 24)
        offset = round_to_float(-side.zero_point * scale, 24)
        exact = (whole - side.zero_point) * scale
        numbers = f"{number_text(product)} + ({number_text(offset)})"
        rounded = round_to_float(product + offset, 24)
        return make_step("output", "x * s_x + (-zx * s_x)", numbers, rounded, exact, "float32, three times")
