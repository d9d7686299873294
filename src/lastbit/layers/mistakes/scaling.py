"""Mistakes in the scales and in the factor that is made of them.

Functions: `channels`, `members`, `digits` and `factor` (case, scales) -> scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...model.types import Float64Array
from ...ops.dense.eight_bit import PreparedDense
from ...rules.base import ScaleProduct
from ...rules.requantize.forms import Float
from .base import Case, Mistake, ScaleValues, Shortened
from .threads import (
    CMSIS_5_327,
    CMSIS_184,
    FLATBUFFERS_6980,
    FORUM,
    FORUM_SCALE_ZERO,
    MGECONVERT_51,
    TF_23800,
    TF_42648,
    TINYENGINE_59,
)

__all__ = [
    "ALL_DIGITS",
    "ALL_DIGITS_C",
    "FACTOR",
    "FACTOR_C",
    "QUANTIZE",
    "QUANTIZE_C",
    "SCALES",
    "SCALING",
    "THE_FACTOR",
    "factor_changed",
    "has_scales",
    "scales_changed",
    "several_scales",
    "to_digits",
]


def several_scales(prepared: PreparedDense) -> bool:
    """Whether the units have different weights scales."""
    weights = prepared.layer.weights_scale
    return bool((weights != weights[:1]).any())


def has_scales(prepared: PreparedDense) -> bool:
    """Whether the layer has scales: one that is given by multiplier and shift has none to get wrong."""
    return prepared.layer.given is None


def _units_of_group(prepared: PreparedDense) -> int:
    """Output channels that see one input channel of a depthwise convolution; all units of another layer."""
    return prepared.layer.units // prepared.layer.groups


def _channels(pick: Callable[[Float64Array], Float64Array]) -> Callable[[Case, ScaleValues], ScaleValues]:
    return lambda _case, scales: replace(scales, weights=pick(scales.weights))


def _decimals(count: int) -> Callable[[Case, ScaleValues], ScaleValues]:
    """All three scales as `%.Nf` prints them."""
    return scales_changed(lambda value: np.round(value, count))


def _significant(count: int) -> Callable[[Case, ScaleValues], ScaleValues]:
    """All three scales as `%.Ng` prints them."""
    return scales_changed(lambda value: to_digits(value, count))


def to_digits(value: Float64Array, count: int) -> Float64Array:
    """Numbers as `%.Ng` prints them."""
    return np.asarray([float(f"{v:.{count}g}") for v in value.ravel()]).reshape(value.shape)


def scales_changed(cut: Callable[[Float64Array], Float64Array]) -> Callable[[Case, ScaleValues], ScaleValues]:
    """All three scales are cut in the same way."""

    def change(_case: Case, scales: ScaleValues) -> ScaleValues:
        ends = cut(np.asarray([scales.input, scales.output]))
        return replace(scales, input=float(ends[0]), weights=cut(scales.weights), output=float(ends[1]))

    return change


def _half_precision(value: Float64Array) -> Float64Array:
    with np.errstate(over="ignore"):
        return value.astype(np.float16).astype(np.float64)


def factor_changed(change: Callable[[Float64Array], Float64Array]) -> Callable[[Case, ScaleValues], ScaleValues]:
    """The factor itself is changed, after it has been calculated in float64."""
    return lambda _case, scales: ScaleValues(1.0, change(scales.factor), 1.0, scales.product)


def _fraction_bits(bits: int) -> Callable[[Case, ScaleValues], ScaleValues]:
    return factor_changed(lambda m: np.rint(m * 2.0**bits) / 2.0**bits)


def _nearest_power(m: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore"):
        return np.where(m > 0, np.exp2(np.rint(np.log2(m))), 0.0)


def _precision(product: ScaleProduct) -> Callable[[Case, ScaleValues], ScaleValues]:
    return lambda _case, scales: replace(scales, product=product)


def _not_precision(product: ScaleProduct) -> Callable[[PreparedDense], bool]:
    return lambda prepared: prepared.requant.rule.scales.product != product


def _not_float32(prepared: PreparedDense) -> bool:
    """The rule does not multiply by a float32."""
    form = prepared.requant.rule.requantize
    return not (isinstance(form, Float) and form.bits == 32)


FACTOR = "m = s_x * s_w / s_y  # s_w: one for each unit"
FACTOR_C = "double m = (double)s_x * s_w[unit] / s_y;"
ALL_DIGITS = "np.asarray(details['quantization_parameters']['scales'])  # all digits: never printed and typed in"
ALL_DIGITS_C = "static const float s_x = 0x1.b1de8ep-5f;  /* all bits: hexadecimal, or nine digits */"
QUANTIZE = "fraction, shift = np.frexp(m); q = np.floor(fraction * 2.0**31 + 0.5)  # q / 2^31 * 2^shift"
QUANTIZE_C = "q = (int32_t)round(frexp(m, &shift) * 2147483648.0);  /* q == 2^31: q /= 2, ++shift */"

SCALES, THE_FACTOR = "all scales", "the factor"

SCALING: tuple[Mistake, ...] = (
    Mistake(
        "scales_first_for_all",
        "channels",
        "scales[0] is used for every unit of a per-channel layer",
        FACTOR,
        FACTOR_C,
        _channels(lambda s: s[:1]),
        several_scales,
        rarity=1,
        seen=(FORUM,),
    ),
    Mistake(
        "scales_last_for_all",
        "channels",
        "the last unit's scale is used for every unit",
        FACTOR,
        FACTOR_C,
        _channels(lambda s: s[-1:]),
        several_scales,
        rarity=2.5,
    ),
    Mistake(
        "scales_largest_for_all",
        "channels",
        "the largest scale is used for every unit",
        FACTOR,
        FACTOR_C,
        _channels(lambda s: s.max(keepdims=True)),
        several_scales,
        rarity=2.5,
    ),
    Mistake(
        "scales_mean_for_all",
        "channels",
        "the mean of the scales is used for every unit",
        FACTOR,
        FACTOR_C,
        _channels(lambda s: s.mean(keepdims=True)),
        several_scales,
        rarity=2.5,
    ),
    Mistake(
        "scales_next_unit",
        "channels",
        "every unit has the scale of the next one",
        FACTOR,
        FACTOR_C,
        _channels(lambda s: np.roll(s, -1)),
        several_scales,
        rarity=2.5,
    ),
    Mistake(
        "scales_of_the_input_channel",
        "channels",
        "output channel o has the scale of channel o // depth_multiplier",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, weights=s.weights[np.arange(len(s.weights)) // _units_of_group(case.prepared)]),
        lambda prepared: several_scales(prepared) and 1 < _units_of_group(prepared) < prepared.layer.units,
        rarity=2.5,
        seen=(MGECONVERT_51,),
    ),
    Mistake(
        "weights_scale_read_as_zero",
        "channels",
        "the weights' scale is 0: `quantization` of a per-channel tensor reads as (0, 0)",
        "s_w = details['quantization_parameters']['scales']  # not details['quantization']",
        "const float *s_w = ((TfLiteAffineQuantization *)weights->quantization.params)->scale->data;",
        _channels(lambda s: np.zeros(1)),
        several_scales,
        rarity=1.5,
        seen=(FORUM_SCALE_ZERO,),
    ),
    Mistake(
        "output_scale_missing",
        "members",
        "the result is not divided by the output's scale",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, output=1.0),
        has_scales,
        rarity=1.2,
    ),
    Mistake(
        "input_scale_missing",
        "members",
        "the input's scale is not in the factor",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, input=1.0),
        has_scales,
    ),
    Mistake(
        "weights_scale_missing",
        "members",
        "the weights' scale is not in the factor",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, weights=np.ones(1)),
        has_scales,
    ),
    Mistake(
        "output_scale_multiplied",
        "members",
        "the factor is multiplied by the output's scale; it is divided by it",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, output=1.0 / s.output),
        has_scales,
    ),
    Mistake(
        "input_and_output_scales_swapped",
        "members",
        "the input's and the output's scale are swapped",
        FACTOR,
        FACTOR_C,
        lambda case, s: replace(s, input=s.output, output=s.input),
        has_scales,
    ),
    Mistake(
        "scales_six_decimals",
        "digits",
        "the scales are copied with six decimals",
        ALL_DIGITS,
        ALL_DIGITS_C,
        _decimals(6),
        has_scales,
        rarity=1.2,
        seen=(FLATBUFFERS_6980,),
        shortened=Shortened(SCALES, 6, "decimals"),
    ),
    Mistake(
        "scales_four_decimals",
        "digits",
        "the scales are copied with four decimals",
        ALL_DIGITS,
        ALL_DIGITS_C,
        _decimals(4),
        has_scales,
        rarity=1.5,
        shortened=Shortened(SCALES, 4, "decimals"),
    ),
    Mistake(
        "scales_six_digits",
        "digits",
        "the scales are copied with six significant digits",
        ALL_DIGITS,
        ALL_DIGITS_C,
        _significant(6),
        has_scales,
        rarity=1.2,
        shortened=Shortened(SCALES, 6, "digits"),
    ),
    Mistake(
        "scales_four_digits",
        "digits",
        "the scales are copied with four significant digits",
        ALL_DIGITS,
        ALL_DIGITS_C,
        _significant(4),
        has_scales,
        rarity=1.5,
        shortened=Shortened(SCALES, 4, "digits"),
    ),
    Mistake(
        "scales_float16",
        "digits",
        "the scales are held in float16",
        ALL_DIGITS,
        ALL_DIGITS_C,
        scales_changed(_half_precision),
        has_scales,
    ),
    Mistake(
        "factor_in_float32",
        "factor",
        "s_x * s_w / s_y is calculated in float32; this runtime does it in float64",
        "m = np.float64(s_x) * s_w.astype(np.float64) / np.float64(s_y)",
        FACTOR_C,
        _precision("ff"),
        _not_precision("ff"),
        rarity=1.5,
        seen=(TINYENGINE_59, TF_42648),
    ),
    Mistake(
        "factor_in_float64",
        "factor",
        "s_x * s_w / s_y is calculated in float64; this runtime multiplies in float32",
        "m = np.float32(s_x) * s_w.astype(np.float32) / np.float32(s_y)",
        "float m = s_x * s_w[unit] / s_y;",
        _precision("dd"),
        _not_precision("dd"),
        rarity=1.5,
        seen=(TF_23800, TF_42648),
    ),
    Mistake(
        "factor_stored_as_float32",
        "factor",
        "s_x * s_w / s_y is calculated in float64 and kept as a float32",
        "m = np.float64(s_x) * s_w.astype(np.float64) / np.float64(s_y)  # stays float64",
        FACTOR_C,
        factor_changed(lambda m: m.astype(np.float32).astype(np.float64)),
        _not_float32,
        rarity=1.5,
    ),
    Mistake(
        "factor_six_decimals",
        "factor",
        "the factor s_x * s_w / s_y is copied with six decimals",
        FACTOR,
        FACTOR_C,
        factor_changed(lambda m: np.round(m, 6)),
        rarity=1.5,
        shortened=Shortened(THE_FACTOR, 6, "decimals"),
    ),
    Mistake(
        "factor_six_digits",
        "factor",
        "the factor s_x * s_w / s_y is copied with six significant digits",
        FACTOR,
        FACTOR_C,
        factor_changed(lambda m: to_digits(m, 6)),
        rarity=1.5,
        shortened=Shortened(THE_FACTOR, 6, "digits"),
    ),
    Mistake(
        "factor_16_fraction_bits",
        "factor",
        "the factor is rounded to 16 fraction bits",
        QUANTIZE,
        QUANTIZE_C,
        _fraction_bits(16),
        seen=(CMSIS_184,),
        shortened=Shortened(THE_FACTOR, 16, "fraction bits"),
    ),
    Mistake(
        "factor_8_fraction_bits",
        "factor",
        "the factor is rounded to 8 fraction bits",
        QUANTIZE,
        QUANTIZE_C,
        _fraction_bits(8),
        rarity=2.5,
        shortened=Shortened(THE_FACTOR, 8, "fraction bits"),
    ),
    Mistake(
        "factor_power_of_two",
        "factor",
        "the factor is replaced by the nearest power of two (a shift alone)",
        QUANTIZE,
        QUANTIZE_C,
        factor_changed(_nearest_power),
        rarity=2.5,
        seen=(CMSIS_5_327,),
    ),
)
