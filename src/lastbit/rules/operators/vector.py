"""From inputs to outputs of the operators around dense layers, vectorised: the definition that engines are held to.

`exact.py` states the same independently, in Python integers and fractions; neither imports the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import (
    INT32_MIN,
    low_bits,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...arith.floats import fma32
from ...model.types import Array
from ..requantize.forms import TwoRoundings
from ..requantize.vector import right_shift, round_float
from .fold import (
    Constants,
    Numbers,
    Scale,
    added_offset,
    affine_offset,
    factor_value,
    fused_offset,
    leaves,
    numbers_of,
    weighted_numbers,
)
from .forms import (
    Affine,
    Centered,
    Combined,
    CountDivision,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    FusedAffine,
    Halved,
    HighProduct,
    Largest,
    Product15,
    Quotient,
    Register,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Stage,
    Total,
    Weighted,
)
from .rule import (
    Choice,
    Condition,
    NotNegative,
    Output,
    RealOutput,
    Staged,
    StagedRule,
)

__all__ = ["Calculator", "Given", "Holds", "Steps"]

Steps = dict[str, Array]

Given = Mapping[str, Array]
"""What a rule is applied to: `input_1`, `input_2`; of reductions `total` (of the elements as they are), `count` and
`largest`."""

Holds = Callable[[Condition], "bool | npt.NDArray[np.bool_]"]
"""Whether a condition is met: everywhere, nowhere, or where an array of the output's shape says so."""

_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1


class Calculator:
    """A rule with an operator's constants, to be applied to many inputs. Several threads may do so at once.

    Args:
        rule: the rule.
        constants: the operator's.
    """

    def __init__(self, rule: StagedRule, constants: Constants) -> None:
        self.rule, self.constants = rule, constants
        equal: dict[Stage, Stage] = {}
        # Stages are told apart by identity while a rule is applied; equal ones by the first of them.
        self._first = {id(stage): equal.setdefault(stage, stage) for leaf in leaves(rule) for stage in leaf.stages}
        self._numbers: dict[int, Numbers] = {}

    def __call__(self, given: Given, holds: Holds) -> Steps:
        """Apply the rule.

        Args:
            given: the operator's inputs, of shapes that broadcast.
            holds: what is known of the conditions of its choices.

        Returns:
            Every named step in order; the last is `output`, int64 or float32.
        """
        with np.errstate(all="ignore"):
            return _Calculation(self, given, holds).of(self.rule)

    def numbers(self, stage: Rescaled | Fixed16 | ScaledBack) -> Numbers:
        """The stage's multiplier and shift."""
        first = self._first[id(stage)]
        if id(first) not in self._numbers:
            self._numbers[id(first)] = numbers_of(stage, self.constants)
        return self._numbers[id(first)]

    def first(self, stage: Stage) -> Stage:
        """The first stage that is equal to this one."""
        return self._first[id(stage)]


class _Calculation:
    """One application of a rule; a stage that both rules of a choice have is calculated once."""

    def __init__(self, calculator: Calculator, given: Given, holds: Holds) -> None:
        self._calculator, self._given, self._holds = calculator, given, holds
        self._constants = calculator.constants
        self._known: dict[tuple[int, ...], tuple[Steps, tuple[Array, ...]]] = {}

    def of(self, rule: StagedRule) -> Steps:
        match rule:
            case Staged():
                return self._staged(rule)
            case Choice():
                return self._choice(rule)
            case never:
                assert_never(never)

    def _choice(self, choice: Choice) -> Steps:
        if isinstance(choice.when, NotNegative):
            then = self.of(choice.then)
            where: bool | npt.NDArray[np.bool_] = np.asarray(then[choice.when.of] >= 0)
        else:
            where = self._holds(choice.when)
            if where is False or (where is not True and not np.any(where)):
                return self.of(choice.otherwise)
            then = self.of(choice.then)
            if where is True or np.all(where):
                return then
        rest = self.of(choice.otherwise)
        return {
            name: value if value is rest[name] else np.where(where, value, rest[name])
            for name, value in then.items()
            if name in rest
        }

    def _staged(self, rule: Staged) -> Steps:
        steps: Steps = {}
        for stage in rule.stages:
            sources = tuple(steps[name] for name in _reads(stage))
            key = (id(self._calculator.first(stage)), *map(id, sources))
            if key not in self._known:
                # The sources are kept, so that no other array gets the address that is a part of the key.
                self._known[key] = self._stage(stage, steps), sources
            steps.update(self._known[key][0])
        match rule.output:
            case Output():
                return self._output(rule.output, steps)
            case RealOutput():
                return {**steps, "output": self._real(rule.output, steps)}
            case never:
                assert_never(never)

    def _stage(self, stage: Stage, steps: Steps) -> Steps:
        constants, given = self._constants, self._given
        match stage:
            case Centered(step, operand, register):
                x = given[f"input_{operand}"].astype(np.int64)
                return {step: _kept(register, x - constants.inputs[operand - 1].zero_point)}
            case Rescaled(step, of):
                value = steps[of] << constants.headroom if stage.headroom else steps[of]
                return {step: _rescaled(stage, value, *self._calculator.numbers(stage))}
            case Combined(step, (first, second), how, register):
                return {step: _kept(register, _combined(steps[first], steps[second], how, constants.subtract))}
            case Weighted(step, total_step, (first, second)):
                one, two, shift = weighted_numbers(stage, constants)
                total = steps[first] * one + steps[second] * two
                return {total_step: total, step: low_bits(total + (1 << (shift - 1)), 32) >> shift}
            case Total(step, centered):
                zero = constants.inputs[0].zero_point if centered else 0
                total = given["total"] - given["count"] * zero if zero else given["total"]
                return {step: total, "count": np.broadcast_to(given["count"], total.shape)}
            case CountDivision(step, of):
                total, count = steps[of], given["count"]
                return {step: np.sign(total) * ((np.abs(total) + count // 2) // count)}
            case Largest(step):
                return {step: given["largest"]}
            case _:
                return {stage.step: self._float_or_16_bits(stage, steps)}

    def _float_or_16_bits(
        self,
        stage: Quotient
        | FloatScaled
        | Affine
        | FusedAffine
        | FloatRounded
        | Shifted
        | Fixed16
        | Halved
        | Product15
        | ScaledBack,
        steps: Steps,
    ) -> Array:
        constants = self._constants
        match stage:
            case Quotient():
                assert constants.output is not None
                return _quotient(stage, self._given["input_1"], constants.output)
            case FloatScaled(of=of):
                return steps[of].astype(np.float32) * np.float32(factor_value(stage.factor, constants))
            case Affine(of=of):
                return np.asarray(steps[of] + affine_offset(stage, constants))
            case FusedAffine(of=of):
                factor, offset = np.float32(factor_value(stage.factor, constants)), fused_offset(stage, constants)
                return fma32(steps[of].astype(np.float32), factor, offset)
            case FloatRounded(of=of):
                return _float_rounded(stage, steps[of])
            case Shifted(of=of, bits=bits):
                return steps[of] << bits
            case Fixed16(of=of):
                return _fixed16(stage, steps[of], *self._calculator.numbers(stage))
            case Halved(of=of):
                return (steps[of] + (1 << 15)) >> 1
            case Product15(of=(first, second)):
                product = steps[first] * steps[second]
                return np.asarray(np.sign(product) * (np.abs(product) >> 15))
            case ScaledBack(of=of, tie=tie):
                return right_shift(tie, steps[of], np.asarray(-self._calculator.numbers(stage)[1]))
            case never:
                assert_never(never)

    def _output(self, output: Output, steps: Steps) -> Steps:
        constants = self._constants
        assert constants.output is not None
        low, high = constants.low, constants.high
        value = self._given["input_1"].astype(np.int64) if output.of == "input" else steps[output.of]
        match output.add:
            case "nothing":
                moved = value
            case "rounded_offset":
                moved = steps["with_zero_point"] = value + added_offset(output, constants)
            case "wrap32" | "wrap16" | "saturate16" | "wide":
                kept = _kept(output.keep, value) + constants.output.zero_point
                moved = steps["with_zero_point"] = _kept(output.add, kept)
            case never:
                assert_never(never)
        return {**steps, "output": np.minimum(np.maximum(moved, low), high)}

    def _real(self, output: RealOutput, steps: Steps) -> Array:
        x = self._given["input_1"] if output.of == "input" else steps[output.of]
        match output.way:
            case "difference":
                return x.astype(np.float32) * self._constants.inputs[0].scale
            case "product_plus_offset":
                side = self._constants.inputs[0]
                return np.asarray(x.astype(np.float32) * side.scale + np.float32(-side.zero_point) * side.scale)
            case "fused_plus_offset":
                side = self._constants.inputs[0]
                offset = np.float32(-side.zero_point) * side.scale
                return fma32(x.astype(np.float32), side.scale, offset)
            case "widened":
                return x.astype(np.float32)
            case never:
                assert_never(never)


def _reads(stage: Stage) -> tuple[str, ...]:
    """The names of the values that a stage reads."""
    match stage:
        case Centered() | Total() | Largest() | Quotient():
            return ()
        case Combined(of=names) | Weighted(of=names) | Product15(of=names):
            return names
        case _:
            return (stage.of,)


def _kept(register: Register, value: Array) -> Array:
    match register:
        case "wrap32":
            return low_bits(value, 32)
        case "wrap16":
            return low_bits(value, 16)
        case "saturate16":
            return np.clip(value, _INT16_MIN, _INT16_MAX)
        case "wide":
            return value
        case never:
            assert_never(never)


def _combined(first: Array, second: Array, how: str, subtract: bool) -> Array:
    if how == "product":
        return np.asarray(first * second)
    return np.asarray(first - second if subtract else first + second)


def _rescaled(stage: Rescaled, value: Array, multiplier: int, shift: int) -> Array:
    negated = multiplier < 0 and stage.negative == "result" and isinstance(stage.form, TwoRoundings | HighProduct)
    multiplier = -multiplier if negated else multiplier
    left, right = max(shift, 0), max(-shift, 0)
    match stage.form:
        case TwoRoundings(high=how, tie=tie, least_right=least):
            more = max(least - right, 0)
            shifted = low_bits(value << (left + more), 32)
            if how == "floor":
                high = (shifted * multiplier) >> 31
            else:
                high = saturating_rounding_doubling_high_mul(shifted, multiplier)
            result = right_shift(tie, high, np.asarray(right + more))
        case HighProduct(order):
            first, last = (right, 0) if order == "before" else (0, right)
            result = saturating_rounding_doubling_high_mul(low_bits(value >> first, 32), multiplier) >> last
        case FixedBits(bits):
            result = rounding_shift_right_half_up(value * multiplier, bits)
        case ShiftedRight(tie):
            result = right_shift(tie, value, np.asarray(right))
        case never:
            assert_never(never)
    return -result if negated else result


def _quotient(stage: Quotient, x: Array, to: Scale) -> Array:
    if stage.by == "division":
        return np.asarray(x / to.scale if stage.bits == 32 else x.astype(np.float64) / np.float64(to.scale))
    inverse = np.asarray(np.float32(1) / to.scale)
    if stage.flush:
        x, inverse = _flushed(x), _flushed(inverse)
    product = x * inverse
    return np.asarray(product if stage.bits == 32 else product.astype(np.float64))


def _flushed(x: Array) -> Array:
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x).astype(np.float32)


def _float_rounded(stage: FloatRounded, value: Array) -> Array:
    if stage.limit == "int16_max":
        limit = value.dtype.type(_INT16_MAX)
        value = np.where(value < limit, value, limit)
    rounded = round_float(stage.tie, value)
    match stage.out_of_range:
        case "int32_min":
            rounded = np.where((rounded > -(2.0**31) - 1) & (rounded < 2.0**31), rounded, INT32_MIN)
        case "saturate16":
            rounded = np.clip(rounded, _INT16_MIN, _INT16_MAX)
        case "nearest32" | "nearest16":
            low, high = (-(2**31), 2**31 - 1) if stage.out_of_range == "nearest32" else (_INT16_MIN, _INT16_MAX)
            rounded = np.where(np.isnan(rounded), 0, np.clip(rounded.astype(np.float64), low, high))
        case "never":
            pass
        case never:
            assert_never(never)
    return rounded.astype(np.int64)


def _fixed16(stage: Fixed16, value: Array, multiplier: int, shift: int) -> Array:
    applied = shift if stage.shift == "applied" else 0
    if applied > 0:
        value = np.clip(value << (applied - 1), _INT16_MIN, _INT16_MAX)
    high = np.asarray(np.minimum((value * multiplier + (1 << 14)) >> 15, _INT16_MAX))
    if applied > 0:
        return np.asarray(np.clip(high << 1, _INT16_MIN, _INT16_MAX))
    return rounding_divide_by_pot(high, -applied)
