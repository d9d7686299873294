"""Mistakes in rounding the scaled accumulator to a whole output step.

Function: (unrounded, zy) -> int64, without the output zero point. `Unrounded` has the value before rounding: a float64
for rules with a floating-point factor, and an integer over a power of two for those with a multiplier and a shift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...arith.fixedpoint import (
    round_half_away,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...model.types import Float64Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from ...rules.requantize.forms import Float, Tie, TwoRoundings
from ...rules.requantize.vector import right_shift
from ...rules.requantize.words import last_tie, only_tie
from .base import Mistake
from .threads import (
    ARM_COMPUTE_834,
    CMSIS_214,
    GEMMLOWP_66,
    LITERT_7441,
    LITERT_8567,
    MURISCV_3,
    PYRTLNET_6,
    SO_CONVOLVE,
    TF_62110,
    TF_102943,
    TF_104605,
    TT_METAL_56525,
)

__all__ = ["FARTHEST", "LIMIT", "ROUNDING", "Unrounded", "round_ratio", "to_int"]


def _none() -> Int64Array:
    return np.zeros(1, np.int64)


LIMIT = 2**30
"""Scaled values beyond this are cut to it: far outside every output type."""


FARTHEST = 2**62
"""Accumulators beyond this are cut to it: far outside every accumulator."""


def to_int(value: Float64Array, limit: int = LIMIT) -> Int64Array:
    """Whole float64 values as integers; what does not fit, and NaN, is cut to the limit."""
    return np.clip(np.nan_to_num(value, nan=-limit, posinf=limit, neginf=-limit), -limit, limit).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Unrounded:
    """A scaled accumulator before it is rounded.

    Attributes:
        tie: the last rounding's tie rule.
        value: float64, where the rule has a floating-point factor or the mistakes so far leave only a real number.
        numerator: else the value times 2^bits, int64.
        bits: 0 to 62.
        acc: for the two-step forms, the accumulator shifted left, within int32.
        multiplier: the same of the multiplier.
        right: the same, bits of the right shift after the multiplication's own 31.
    """

    tie: Tie
    value: Float64Array | None = None
    numerator: Int64Array = field(default_factory=_none)
    bits: Int64Array = field(default_factory=_none)
    acc: Int64Array = field(default_factory=_none)
    multiplier: Int64Array = field(default_factory=_none)
    right: Int64Array = field(default_factory=_none)

    @property
    def fixed(self) -> bool:
        """Whether this is an integer over a power of two."""
        return self.value is None

    @cached_property
    def real(self) -> Float64Array:
        """The value as float64 (for an integer over a power of two, the nearest)."""
        if self.value is not None:
            return self.value
        return np.ldexp(self.numerator.astype(np.float64), -self.bits.astype(np.int32))

    def round(self, tie: str) -> Int64Array:
        """The nearest integer by a tie rule, or `floor`, `ceil`, `truncate`."""
        if self.value is None:
            return round_ratio(self.numerator, self.bits, tie)
        return to_int(_FLOAT[tie](self.value))


def _floor_half(v: Float64Array) -> Float64Array:
    whole = np.floor(v)
    return whole + (v - whole >= 0.5)


_FLOAT: dict[str, Callable[[Float64Array], Float64Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "truncate": np.trunc,
    "half_even": np.rint,
    "half_up": _floor_half,
    "half_away": round_half_away,
}


def round_ratio(numerator: Int64Array, bits: Int64Array, tie: str) -> Int64Array:
    """An integer over 2**bits (0 to 62), rounded.

    >>> ties = "floor", "truncate", "half_up", "half_even"
    >>> [round_ratio(np.asarray(-3), np.asarray(1), tie).item() for tie in ties]
    [-2, -1, -1, -2]
    """
    below = numerator >> bits
    rest = numerator - (below << bits)
    half = np.where(bits > 0, np.int64(1) << np.maximum(bits - 1, 0), np.int64(1))
    if tie == "floor":
        up = np.zeros_like(rest, bool)
    elif tie == "ceil":
        up = rest > 0
    elif tie == "truncate":
        up = (rest > 0) & (numerator < 0)
    elif tie == "half_up":
        up = rest >= half
    elif tie == "half_away":
        up = (rest > half) | ((rest == half) & (numerator > 0))
    else:
        up = (rest > half) | ((rest == half) & (below & 1 == 1))
    result: Int64Array = below + up
    return result


def _by(tie: str) -> Callable[[Unrounded, int], Int64Array]:
    return lambda unrounded, _zy: unrounded.round(tie)


def _half_added(unrounded: Unrounded, _zy: int) -> Int64Array:
    return to_int(np.trunc(unrounded.real + 0.5))


def _after_zero_point(tie: str) -> Callable[[Unrounded, int], Int64Array]:
    def function(unrounded: Unrounded, zy: int) -> Int64Array:
        return to_int(_FLOAT[tie or unrounded.tie](unrounded.real + zy)) - zy

    return function


def _high_mul(unrounded: Unrounded) -> Int64Array:
    return saturating_rounding_doubling_high_mul(unrounded.acc, unrounded.multiplier)


def _two_steps(
    first: Callable[[Unrounded], Int64Array], second: Callable[[Int64Array, Int64Array], Int64Array]
) -> Callable[[Unrounded, int], Int64Array]:
    def function(unrounded: Unrounded, _zy: int) -> Int64Array:
        if not unrounded.fixed:  # another mistake has left no multiplier
            return unrounded.round("floor")
        return second(first(unrounded), unrounded.right)

    return function


def _own_second_step(first: Callable[[Unrounded], Int64Array]) -> Callable[[Unrounded, int], Int64Array]:
    """The first step changed, the second as the rule has it."""

    def function(unrounded: Unrounded, _zy: int) -> Int64Array:
        if not unrounded.fixed:
            return unrounded.round("floor")
        return right_shift(unrounded.tie, first(unrounded), unrounded.right)

    return function


def _negative_nudge_shifted(unrounded: Unrounded) -> Int64Array:
    product = unrounded.acc * unrounded.multiplier
    return (product + np.where(product >= 0, 2**30, 1 - 2**30)) >> 31


def _not_tie(tie: str) -> Callable[[PreparedDense], bool]:
    """The rule's only rounding is not this one."""
    return lambda prepared: only_tie(prepared.requant.rule.requantize) != tie


def _two(prepared: PreparedDense) -> bool:
    form = prepared.requant.rule.requantize
    return isinstance(form, TwoRoundings) and form.high == "half_up"


def _second_tie(tie: Tie) -> Callable[[PreparedDense], bool]:
    """The rule rounds twice, the second time by this tie rule."""
    return lambda prepared: _two(prepared) and last_tie(prepared.requant.rule.requantize) == tie


def _float_without(tie: Tie) -> Callable[[PreparedDense], bool]:
    """The rule rounds a float, by another tie rule."""

    def applies(prepared: PreparedDense) -> bool:
        form = prepared.requant.rule.requantize
        return isinstance(form, Float) and form.tie != tie

    return applies


def _real_tie(prepared: PreparedDense) -> bool:
    """Adding the zero point first can change how the rule's own ties fall: half up it cannot."""
    return isinstance(prepared.requant.rule.requantize, Float) and prepared.layer.output_zero_point != 0


def _shifted(prepared: PreparedDense) -> bool:
    return prepared.layer.output_zero_point != 0


_TIE = "np.rint(v) ties to even; np.floor(v + 0.5) ties up; np.trunc(v + np.copysign(0.5, v)) ties away from zero"
_TIE_C = "rint(v) ties to even; floor(v + 0.5) ties up; round(v) ties away from zero"
_TWO = "v = (acc * q + (1 << 30)) >> 31; y = (v + (1 << (R - 1))) >> R  # int64; second step as the runtime ties"
_TWO_C = "v = (int32_t)(((int64_t)acc * q + (1LL << 30)) >> 31);  /* then the rounding shift by R */"

ROUNDING: tuple[Mistake, ...] = (
    Mistake(
        "rounding_truncated",
        "rounding",
        "the scaled value is truncated towards zero (a cast to int); it must be rounded",
        _TIE,
        _TIE_C,
        _by("truncate"),
        rarity=1,
        seen=(ARM_COMPUTE_834,),
    ),
    Mistake(
        "rounding_floor",
        "rounding",
        "the scaled value is rounded down (a plain right shift, or //); it must be rounded to the nearest",
        _TIE,
        _TIE_C,
        _by("floor"),
        rarity=1,
    ),
    Mistake("rounding_ceil", "rounding", "the scaled value is rounded up", _TIE, _TIE_C, _by("ceil"), rarity=3),
    Mistake(
        "ties_half_even",
        "rounding",
        "ties are rounded to even (np.round, rint); this runtime does not",
        _TIE,
        _TIE_C,
        _by("half_even"),
        _not_tie("half_even"),
        rarity=1.2,
        seen=(TF_102943,),
    ),
    Mistake(
        "ties_half_up",
        "rounding",
        "ties are rounded up (floor(v + 0.5)); this runtime does not",
        _TIE,
        _TIE_C,
        _by("half_up"),
        _float_without("half_up"),
        rarity=1.2,
        seen=(TT_METAL_56525,),
    ),
    Mistake(
        "ties_half_away",
        "rounding",
        "ties are rounded away from zero (C's round); this runtime does not",
        _TIE,
        _TIE_C,
        _by("half_away"),
        _not_tie("half_away"),
        rarity=1.2,
        seen=(
            TF_102943,
            TT_METAL_56525,
        ),
    ),
    Mistake(
        "half_added_then_truncated",
        "rounding",
        "0.5 is added and the sum truncated: wrong for negative values",
        _TIE,
        _TIE_C,
        _half_added,
        rarity=1.2,
    ),
    Mistake(
        "truncated_after_zero_point",
        "rounding",
        "the zero point is added to the unrounded value, and the sum is truncated towards zero",
        "y = zy + round(acc * m)  # " + _TIE,
        "y = zy + (int32_t)round(acc * m);",
        _after_zero_point("truncate"),
        _shifted,
        rarity=1.2,
        seen=(SO_CONVOLVE,),
    ),
    Mistake(
        "rounded_after_zero_point",
        "rounding",
        "the zero point is added before the rounding, which turns ties another way",
        "y = zy + round(acc * m)  # " + _TIE,
        "y = zy + (int32_t)round(acc * m);",
        _after_zero_point(""),
        _real_tie,
        rarity=1.5,
        seen=(TF_62110,),
    ),
    Mistake(
        "ties_half_even_after_zero_point",
        "rounding",
        "the zero point is added before the rounding, and ties go to even (np.round(acc * m + zy))",
        "y = zy + round(acc * m)  # " + _TIE,
        "y = zy + (int32_t)round(acc * m);",
        _after_zero_point("half_even"),
        lambda prepared: _shifted(prepared) and last_tie(prepared.requant.rule.requantize) != "half_even",
        rarity=1.5,
        seen=(TF_62110,),
    ),
    Mistake(
        "rounded_once",
        "rounding",
        "acc * q is rounded once, half up; this runtime rounds twice",
        _TWO,
        _TWO_C,
        _by("half_up"),
        _two,
        rarity=1.2,
        seen=(
            CMSIS_214,
            LITERT_7441,
            TF_102943,
            TF_104605,
            PYRTLNET_6,
        ),
    ),
    Mistake(
        "first_step_not_rounded",
        "rounding",
        "the high half of the product is taken without rounding (>> 31, no nudge)",
        _TWO,
        _TWO_C,
        _own_second_step(lambda u: (u.acc * u.multiplier) >> 31),
        _two,
    ),
    Mistake(
        "negative_nudge_then_shift",
        "rounding",
        "the nudge for negative products, 1 - 2^30, is followed by a shift; in C a division follows, which truncates",
        _TWO,
        _TWO_C,
        _own_second_step(_negative_nudge_shifted),
        _two,
        rarity=1.5,
    ),
    Mistake(
        "second_step_not_rounded",
        "rounding",
        "the right shift after the multiplication does not round",
        _TWO,
        _TWO_C,
        _two_steps(_high_mul, lambda v, right: v >> right),
        _two,
        rarity=1.2,
    ),
    Mistake(
        "second_step_half_up",
        "rounding",
        "the second rounding takes ties up; this runtime takes them away from zero",
        "(v >> R) + ((v & mask) > (mask >> 1) + (v < 0))  # mask = (1 << R) - 1",
        "(v >> R) + ((v & mask) > (mask >> 1) + (v < 0))",
        _two_steps(_high_mul, rounding_shift_right_half_up),
        _second_tie("half_away"),
        rarity=1.2,
        seen=(LITERT_8567, GEMMLOWP_66, MURISCV_3),
    ),
    Mistake(
        "second_step_half_away",
        "rounding",
        "the second rounding takes ties away from zero; this runtime takes them up",
        "(v + (1 << (R - 1))) >> R",
        "(v + (1 << (R - 1))) >> R",
        _two_steps(_high_mul, rounding_divide_by_pot),
        _second_tie("half_up"),
        rarity=1.2,
        seen=(LITERT_8567,),
    ),
)
