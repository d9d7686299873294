"""From a rule and an operator's scales to the numbers that its stages multiply and shift with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from ...arith.fixedpoint import quantize_multiplier
from ...arith.floats import fma32
from ..base import Bounds
from ..requantize.forms import TwoRoundings
from .forms import (
    HEADROOM,
    Affine,
    Factor,
    Fixed16,
    FixedBits,
    FusedAffine,
    HighProduct,
    Quantity,
    Rescaled,
    ScaledBack,
    ShiftedRight,
    Weighted,
)
from .rule import (
    Choice,
    Output,
    Staged,
    StagedRule,
)

__all__ = [
    "Constants",
    "Numbers",
    "Scale",
    "added_offset",
    "affine_offset",
    "bounds_of",
    "factor_value",
    "fused_offset",
    "leaves",
    "numbers_of",
    "rescalings",
    "weighted_numbers",
]

Numbers = tuple[int, int]
"""A multiplier and its shift, positive = left."""


@dataclass(frozen=True)
class Scale:
    """One tensor's per-tensor quantization and integer range.

    Attributes:
        scale: float32, positive and normal.
        zero_point: in the element type's range.
        qmin: smallest integer of the element type.
        qmax: largest integer.
    """

    scale: np.float32
    zero_point: int
    qmin: int
    qmax: int

    @property
    def bits(self) -> int:
        """Of the element type."""
        return (self.qmax - self.qmin).bit_length()


@dataclass(frozen=True)
class Constants:
    """What a file says of one operator, as far as rules read it.

    Attributes:
        inputs: the quantization of input 1, and of input 2 where there is one; empty for float32.
        output: that of the output; None where it gives float32.
        low: the output's lower bound with the activation.
        high: its upper bound.
        subtract: whether sums are differences.
        alpha: LEAKY_RELU's.
        count: how many elements are reduced to one, where that is the same everywhere.
    """

    inputs: tuple[Scale, ...]
    output: Scale | None
    low: int = 0
    high: int = 0
    subtract: bool = False
    alpha: np.float32 = field(default_factory=lambda: np.float32(0))
    count: int = 1

    @property
    def headroom(self) -> int:
        """By how many bits sums shift their inputs left."""
        return HEADROOM[self.inputs[0].bits]


def leaves(rule: StagedRule) -> tuple[Staged, ...]:
    """The rules without a choice that a rule is made of, in order."""
    match rule:
        case Staged():
            return (rule,)
        case Choice():
            return (*leaves(rule.then), *leaves(rule.otherwise))
        case never:
            assert_never(never)


def bounds_of(rule: StagedRule) -> Bounds:
    """Tie rule of an activation's bounds, which is one for all parts of a rule."""
    first = leaves(rule)[0].output
    return first.bounds if isinstance(first, Output) else "half_away"


def rescalings(rule: StagedRule) -> tuple[Rescaled, ...]:
    """All stages of a rule that multiply a whole number with a factor."""
    return tuple(stage for leaf in leaves(rule) for stage in leaf.stages if isinstance(stage, Rescaled))


def factor_value(factor: Factor, constants: Constants) -> np.floating:
    """A factor in its own precision. What leaves it becomes infinite or 0."""
    kind = np.float32 if factor.bits == 32 else np.float64

    def product(quantities: tuple[Quantity, ...]) -> np.floating:
        value = kind(1)
        for quantity in quantities:
            value = kind(value * kind(_quantity(quantity, constants)))
        return value

    with np.errstate(all="ignore"):
        value = product(factor.times) / product(factor.by)
        for quantity in factor.then:
            value = value * kind(_quantity(quantity, constants))
    return kind(value)


def _quantity(quantity: Quantity, constants: Constants) -> np.floating:
    match quantity:
        case "s_1" | "s_2":
            return constants.inputs[0 if quantity == "s_1" else 1].scale
        case "s_y":
            assert constants.output is not None
            return constants.output.scale
        case "alpha":
            return constants.alpha
        case "count":
            return np.float32(constants.count)
        case "one_by_count":
            return np.float32(1) / np.float32(constants.count)
        case "twice_larger":
            return np.float64(2.0 * max(float(side.scale) for side in constants.inputs))
        case "headroom":
            return np.float64(1 << constants.headroom)
        case "one_by_128":
            return np.float32(1 / 128)
        case "three_by_2_15":
            return np.float32(np.float32(3) / np.float32(32768))
        case never:
            assert_never(never)


def numbers_of(stage: Rescaled | Fixed16 | ScaledBack, constants: Constants) -> Numbers:
    """The multiplier of a stage, negative where the stage's multiplier is, and its shift."""
    factor = float(factor_value(stage.factor, constants))
    if isinstance(stage, Fixed16 | ScaledBack):
        multiplier, shift = _pair(factor)
        return min((multiplier + (1 << 15)) >> 16, 2**15 - 1), shift
    match stage.form:
        case TwoRoundings() | HighProduct():
            multiplier, shift = _pair(abs(factor))
            multiplier = -multiplier if factor < 0 else multiplier
        case FixedBits(bits):
            multiplier, shift = int(np.rint(np.float32(2.0**bits) * np.float32(factor))), -bits
        case ShiftedRight():
            multiplier, shift = 1, round(float(np.log2(factor)))
        case never:
            assert_never(never)
    if stage.count_in_multiplier:
        bits = min(constants.count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // constants.count, shift - bits
    return multiplier, shift


def _pair(factor: float) -> Numbers:
    multiplier, shift = quantize_multiplier(factor)
    return int(multiplier), int(shift)


def weighted_numbers(stage: Weighted, constants: Constants) -> tuple[int, int, int]:
    """The multipliers of both values, the second one negative for a difference, and the right shift of their sum."""
    factors = [factor_value(factor, constants) for factor in stage.factors]
    shift = stage.bits + 1 - int(np.frexp(max(factors))[1])
    one, two = (int(np.rint(np.ldexp(factor, shift))) for factor in factors)
    return one, -two if constants.subtract else two, shift


def affine_offset(stage: Affine, constants: Constants) -> np.float32:
    """What a sum of floats is moved by."""
    given = constants.inputs[0]
    with np.errstate(all="ignore"):
        factor = np.float32(factor_value(stage.factor, constants))
        match stage.offset:
            case "input":
                return np.float32(np.float32(-given.zero_point) * factor * np.float32(constants.count))
            case "both":
                assert constants.output is not None
                return np.float32(
                    np.float32(constants.output.zero_point) - np.float32(constants.count * given.zero_point) * factor
                )
            case never:
                assert_never(never)


def fused_offset(stage: FusedAffine, constants: Constants) -> np.float32:
    """What a product of floats is moved by before it is rounded."""
    if stage.offset == "input":
        return affine_offset(Affine(stage.step, stage.of, stage.offset, stage.factor), constants)
    assert constants.output is not None
    with np.errstate(all="ignore"):
        factor = np.float32(factor_value(stage.factor, constants))
        zeros = np.float32(-constants.count * constants.inputs[0].zero_point)
        return np.float32(fma32(zeros, factor, np.float32(constants.output.zero_point)))


def added_offset(output: Output, constants: Constants) -> int:
    """What is added before the clamp."""
    assert constants.output is not None
    to = constants.output
    match output.add:
        case "wrap32" | "wrap16" | "saturate16" | "wide":
            return to.zero_point
        case "nothing":
            return 0
        case "rounded_offset":
            given = constants.inputs[0]
            offset = np.float32(given.zero_point) * given.scale / to.scale
            return to.zero_point - int(offset + np.float32(0.5 if offset > 0 else -0.5))
        case never:
            assert_never(never)
