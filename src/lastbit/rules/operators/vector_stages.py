"""One stage of a rule with an operator's constants, as a function of arrays.

A part of `vector`, which puts the stages of a rule together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar, assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import (
    INT32_MIN,
    low_bits,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...arith.floats import flush_subnormals, fma32
from ...model.types import Array
from ..requantize.forms import TwoRoundings
from ..requantize.vector import right_shift, round_float
from .fold import (
    Constants,
    Scale,
    added_offset,
    affine_offset,
    factor_value,
    fused_offset,
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
from .rule import Condition, Output, RealOutput

__all__ = ["Calculate", "Given", "Holds", "Steps", "last", "one_stage"]

Steps = dict[str, Array]

Given = Mapping[str, Array]
"""What a rule is applied to: `input_1`, `input_2`; of reductions `total` (of the elements as they are), `count` and
`largest`."""

Holds = Callable[[Condition], "bool | npt.NDArray[np.bool_]"]
"""Whether a condition is met: everywhere, nowhere, or where an array of the output's shape says so."""

Calculate = Callable[[Given, Steps], Steps]
"""A stage with an operator's constants: (the operator's inputs, the steps before it) -> the steps that it writes."""

T = TypeVar("T")

_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1


def _once(function: Callable[..., T], *arguments: object) -> Callable[[], T]:
    """A constant that is folded when it is first asked for: a rule that is not chosen may have none."""
    return functools.cache(functools.partial(function, *arguments))


def one_stage(stage: Stage, constants: Constants) -> Calculate:
    """The stage with its constants."""
    match stage:
        case Centered(step, operand, register):
            name, zero_point = f"input_{operand}", constants.inputs[operand - 1].zero_point
            return lambda given, _: {step: _kept(register, given[name].astype(np.int64) - zero_point)}
        case Combined(step, (first, second), how, register):
            return lambda _, steps: {
                step: _kept(register, _combined(steps[first], steps[second], how, constants.subtract))
            }
        case Weighted(step, total_step, (first, second)):
            weights = _once(weighted_numbers, stage, constants)

            def weighted(_: Given, steps: Steps) -> Steps:
                one, two, shift = weights()
                total = steps[first] * one + steps[second] * two
                return {total_step: total, step: low_bits(total + (1 << (shift - 1)), 32) >> shift}

            return weighted
        case Total(step, centered):
            zero = constants.inputs[0].zero_point if centered else 0

            def totalled(given: Given, _: Steps) -> Steps:
                total = given["total"] - given["count"] * zero if zero else given["total"]
                return {step: total, "count": np.broadcast_to(given["count"], total.shape)}

            return totalled
        case CountDivision(step, of):
            return lambda given, steps: {step: _divided(steps[of], given["count"])}
        case Largest(step):
            return lambda given, _: {step: given["largest"]}
        case Quotient(step):
            divided = _quotient(stage, constants)
            return lambda given, _: {step: divided(given["input_1"])}
        case Product15(step, (first, second), rounding):
            return lambda _, steps: {step: _product15(steps[first] * steps[second], rounding)}
        case _:
            step, of, calculate = stage.step, stage.of, _of_one(stage, constants)
            return lambda _, steps: {step: calculate(steps[of])}


def _of_one(
    stage: Rescaled | FloatScaled | Affine | FusedAffine | FloatRounded | Shifted | Fixed16 | Halved | ScaledBack,
    constants: Constants,
) -> Callable[[Array], Array]:
    """A stage that reads one value."""
    match stage:
        case Rescaled():
            left = constants.headroom if stage.headroom else 0
            numbers = _once(numbers_of, stage, constants)
            return lambda value: _rescaled(stage, value << left if left else value, *numbers())
        case FloatScaled():
            factor = _once(factor_value, stage.factor, constants)
            return lambda value: np.asarray(value.astype(np.float32) * np.float32(factor()))
        case Affine():
            offset = _once(affine_offset, stage, constants)
            return lambda value: np.asarray(value + offset())
        case FusedAffine():
            factor, offset = _once(factor_value, stage.factor, constants), _once(fused_offset, stage, constants)
            return lambda value: fma32(value.astype(np.float32), np.float32(factor()), offset())
        case FloatRounded():
            return lambda value: _float_rounded(stage, value)
        case Shifted(bits=bits):
            return lambda value: value << bits
        case Fixed16():
            numbers = _once(numbers_of, stage, constants)
            return lambda value: _fixed16(stage, value, *numbers())
        case Halved():
            return lambda value: (value + (1 << 15)) >> 1
        case ScaledBack(tie=tie):
            numbers = _once(numbers_of, stage, constants)
            return lambda value: right_shift(tie, value, np.asarray(-numbers()[1]))
        case never:
            assert_never(never)


def last(output: Output | RealOutput, constants: Constants) -> Calculate:
    """A rule's output with its constants."""
    match output:
        case Output():
            return _output(output, constants)
        case RealOutput():
            real = _real(output, constants)
            return lambda given, steps: {"output": real(given["input_1"] if output.of == "input" else steps[output.of])}
        case never:
            assert_never(never)


def _output(output: Output, constants: Constants) -> Calculate:
    assert constants.output is not None
    low, high, zero_point = constants.low, constants.high, constants.output.zero_point
    offset = _once(added_offset, output, constants)

    def clamped(given: Given, steps: Steps) -> Steps:
        value = given["input_1"].astype(np.int64) if output.of == "input" else steps[output.of]
        match output.add:
            case "nothing":
                return {"output": np.minimum(np.maximum(value, low), high)}
            case "rounded_offset":
                moved = value + offset()
            case "wrap32" | "wrap16" | "saturate16" | "wide":
                moved = _kept(output.add, _kept(output.keep, value) + zero_point)
            case never:
                assert_never(never)
        return {"with_zero_point": moved, "output": np.minimum(np.maximum(moved, low), high)}

    return clamped


def _real(output: RealOutput, constants: Constants) -> Callable[[Array], Array]:
    if output.way == "widened":
        return lambda x: x.astype(np.float32)
    side = constants.inputs[0]
    scale, offset = side.scale, _once(_zero_product, side)
    match output.way:
        case "difference":
            return lambda x: x.astype(np.float32) * scale
        case "product_plus_offset":
            return lambda x: np.asarray(x.astype(np.float32) * scale + offset())
        case "fused_plus_offset":
            return lambda x: fma32(x.astype(np.float32), scale, offset())
        case never:
            assert_never(never)


def _zero_product(side: Scale) -> np.float32:
    return np.float32(-side.zero_point) * side.scale


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


def _divided(total: Array, count: Array) -> Array:
    return np.asarray(np.sign(total) * ((np.abs(total) + count // 2) // count))


def _product15(product: Array, rounding: Literal["truncated", "floor"]) -> Array:
    return product >> 15 if rounding == "floor" else np.asarray(np.sign(product) * (np.abs(product) >> 15))


def _quotient(stage: Quotient, constants: Constants) -> Callable[[Array], Array]:
    assert constants.output is not None
    kind = np.dtype(np.float32 if stage.bits == 32 else np.float64)
    scale = constants.output.scale
    if stage.by == "division":
        return lambda x: np.asarray(x.astype(kind, copy=False) / kind.type(scale))
    inverse = np.asarray(np.float32(1) / scale)
    if stage.flush:
        inverse = flush_subnormals(inverse)
        return lambda x: np.asarray((flush_subnormals(x) * inverse).astype(kind, copy=False))
    return lambda x: np.asarray((x * inverse).astype(kind, copy=False))


def _float_rounded(stage: FloatRounded, value: Array) -> Array:
    if stage.limit == "int16_max":
        limit = value.dtype.type(_INT16_MAX)
        value = np.where(value < limit, value, limit)
    rounded = round_float(stage.tie, value)
    match stage.out_of_range:
        case "int32_min":
            rounded = np.where((rounded > -(2.0**31) - 1) & (rounded < 2.0**31), rounded, INT32_MIN)
        case "saturate16":
            rounded = np.minimum(np.maximum(rounded, _INT16_MIN), _INT16_MAX)
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
