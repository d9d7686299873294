"""Mistakes in the multiplier and shift that a factor is written as, and in how it meets the accumulator.

Functions: `fixed_point` (multiplier, shift) -> (multiplier, shift), int64 `[..., out]`, for rules that have them;
`combine` (acc, factor) -> scaled value, all float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...model.types import Float64Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from ...rules.requantize.forms import OneRounding
from .base import Mistake, Shortened, is_q31
from .scaling import QUANTIZE, QUANTIZE_C, several_scales
from .threads import CMSIS_184, FORUM, FORUM_CONVERTED_TO_INT8, SO_PURE_PYTHON, TF_102943

__all__ = ["MULTIPLYING", "THE_MULTIPLIER"]

Fixed = tuple[Int64Array, Int64Array]


def _q15(q: Int64Array, shift: Int64Array) -> Fixed:
    return ((q + (1 << 15)) >> 16) << 16, shift


def _sixteen_bits(prepared: PreparedDense) -> bool:
    form = prepared.requant.rule.requantize
    return isinstance(form, OneRounding) and form.multiplier_bits == 15


def _scale_up(prepared: PreparedDense) -> bool:
    return is_q31(prepared) and bool((prepared.requant.shift > 0).any())


def _right_shifts(prepared: PreparedDense) -> bool:
    return is_q31(prepared) and bool((prepared.requant.shift != 0).any())


def _several_shifts(prepared: PreparedDense) -> bool:
    shift = prepared.requant.shift
    return is_q31(prepared) and bool((shift != shift[:1]).any())


def _several_multipliers(prepared: PreparedDense) -> bool:
    return is_q31(prepared) and several_scales(prepared)


def _divide(acc: Float64Array, factor: npt.NDArray[np.float64]) -> Float64Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return acc / factor


_APPLY = "y = zy + round(acc * m)"
_APPLY_C = "y = zy + round(acc * m[unit]);"

THE_MULTIPLIER = "the multiplier"

MULTIPLYING: tuple[Mistake, ...] = (
    Mistake(
        "multiplier_16_bits",
        "fixed_point",
        "the multiplier is kept with 16 bits; this runtime has 32",
        QUANTIZE,
        QUANTIZE_C,
        _q15,
        is_q31,
        shortened=Shortened(THE_MULTIPLIER, 16, "bits"),
    ),
    Mistake(
        "multiplier_taken_as_q32",
        "fixed_point",
        "the multiplier is taken for a fraction of 2^32, which halves the factor",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q, shift - 1),
        is_q31,
        rarity=1.5,
    ),
    Mistake(
        "multiplier_taken_as_q30",
        "fixed_point",
        "the multiplier is taken for a fraction of 2^30, which doubles the factor",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q, shift + 1),
        is_q31,
        seen=(CMSIS_184,),
    ),
    Mistake(
        "left_shift_left_out",
        "fixed_point",
        "factors of 1 and more need a left shift, and there is none",
        "acc << np.maximum(shift, 0)",
        "acc * (1 << (shift > 0 ? shift : 0))",
        lambda q, shift: (q, np.minimum(shift, 0)),
        _scale_up,
        rarity=1.5,
        seen=(TF_102943,),
    ),
    Mistake(
        "shift_left_out",
        "fixed_point",
        "the multiplier is applied without its shift",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q, np.zeros_like(shift)),
        _right_shifts,
    ),
    Mistake(
        "shift_sign_flipped",
        "fixed_point",
        "the shift goes the wrong way (positive is left)",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q, -shift),
        _right_shifts,
    ),
    Mistake(
        "shift_first_for_all",
        "fixed_point",
        "shift[0] is used for every unit; each has its own",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q, shift[..., :1]),
        _several_shifts,
    ),
    Mistake(
        "multiplier_first_for_all",
        "fixed_point",
        "multiplier[0] is used for every unit, with each unit's own shift",
        QUANTIZE,
        QUANTIZE_C,
        lambda q, shift: (q[..., :1], shift),
        _several_multipliers,
    ),
    Mistake(
        "factor_not_in_16_bits",
        "combine",
        "the factor is used in full; with int16 activations this runtime keeps a multiplier of 16 bits",
        "q16 = np.minimum((q + (1 << 15)) >> 16, 0x7fff); y = (acc * q16 + (1 << (14 - shift))) >> (15 - shift)",
        "int32_t q16 = q < 0x7fff0000 ? (q + (1 << 15)) >> 16 : 0x7fff;  /* acc * q16 in 64 bits, >> 15 - shift */",
        lambda acc, factor: acc * factor,
        _sixteen_bits,
        rarity=1,
    ),
    Mistake(
        "scale_added",
        "combine",
        "the scale is added to the accumulator; it must be multiplied",
        _APPLY,
        _APPLY_C,
        lambda acc, factor: acc + factor,
        rarity=1.5,
        seen=(FORUM,),
    ),
    Mistake(
        "scaling_missing",
        "combine",
        "the accumulator is not scaled at all",
        _APPLY,
        _APPLY_C,
        lambda acc, factor: acc,
        rarity=1.2,
    ),
    Mistake(
        "requantization_missing",
        "combine",
        "the accumulator itself is the output: no scale, no zero point, no clamp (a ReLU is at 0)",
        "y = np.clip(zy + round(acc * m), lo, hi)",
        "y = zy + (int32_t)round(acc * m[unit]); y = y < lo ? lo : y > hi ? hi : y;",
        lambda acc, factor: acc,
        rarity=1,
        seen=(SO_PURE_PYTHON,),
    ),
    Mistake(
        "accumulator_cast_to_output",
        "combine",
        "the accumulator's low bits are the output (a cast): no scale, no zero point, no clamp (a ReLU is at 0)",
        "y = np.clip(zy + round(acc * m), lo, hi)",
        "y = zy + (int32_t)round(acc * m[unit]); y = y < lo ? lo : y > hi ? hi : y;",
        lambda acc, factor: acc,
        rarity=1.5,
        seen=(FORUM_CONVERTED_TO_INT8,),
    ),
    Mistake(
        "accumulator_clamped_to_output",
        "combine",
        "the accumulator, clamped to the output's type, is the output: no scale, no zero point (a ReLU is at 0)",
        "y = np.clip(zy + round(acc * m), lo, hi)",
        "y = zy + (int32_t)round(acc * m[unit]); y = y < lo ? lo : y > hi ? hi : y;",
        lambda acc, factor: acc,
    ),
    Mistake(
        "scale_divided",
        "combine",
        "the accumulator is divided by the factor; it must be multiplied",
        _APPLY,
        _APPLY_C,
        _divide,
    ),
)
