"""What TensorFlow Lite Micro did otherwise in older versions, stated by hand; see `lastbit.runtimes.versions`."""

from __future__ import annotations

from .base import Family, Rule
from .change import Change, dense_rules
from .derive import UP_AWAY
from .shared import INT16_GRANULARITIES, int16_variant
from .variant import Variant, key_of

__all__ = ["TFLM_CHANGES"]

_UP_AWAY_FIRST = "q31-half_up-half_away/fd/first_weights_scale"
_Q15_FIRST = "q15-half_up/fd/first_weights_scale"
# First and last wheel that was run; the next one has something else.
_TFLM_FLOAT32 = ("20231010131554", "20261009205824")
_TFLM_NO_BIAS = ("20250604163413", "20260203175027")
_TFLM_PER_TENSOR = tuple(
    f"{types} per_tensor{zero_point}"
    for types in ("int8", "int8 x int4 -> int8")
    for zero_point in ("", " weights_zero_point")
)
_TFLM_FIRST_SCALE = ("20231010131554", "20240418150435")
_INT16_NO_BIAS = tuple(f"int16 x int8 -> int16 {g} no_bias" for g in INT16_GRANULARITIES)

TFLM_CHANGES: tuple[Change, ...] = (
    Change(
        "tflm",
        (_TFLM_FLOAT32,),
        "the product of the scales is rounded to float32",
        {
            **dense_rules(UP_AWAY, Family.TFLM, *_TFLM_PER_TENSOR),
            **{
                int16_variant("int8", granularity, bias): Rule(rule, Family.TFLM)
                for granularity in ("per_tensor", "per_tensor weights_zero_point")
                for rule, biases in (
                    ("q15-half_up/fd", ("int64_bias", "no_bias")),
                    ("q31-half_up-half_away/fd", ("int32_bias", "int32_bias_type")),
                )
                for bias in biases
            },
        },
    ),
    Change(
        "tflm",
        (_TFLM_NO_BIAS,),
        "int16 layers without a bias have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.TFLM, *_INT16_NO_BIAS),
    ),
    Change(
        "tflm",
        (("20241025232721", "20241025232721"),),
        "a per-channel layer whose output has more than two dimensions (keep_num_dims) ends the process",
        written_in_part=frozenset({Variant.parse("int8 per_channel")}),
    ),
    Change(
        "tflm",
        (_TFLM_FIRST_SCALE,),
        "the first unit's weights scale is taken for every unit: wrong results per-channel",
        {
            key_of("FULLY_CONNECTED", "int8 per_channel"): Rule(_UP_AWAY_FIRST, Family.TFLM),
            key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule(_UP_AWAY_FIRST, Family.TFLM),
            **{
                int16_variant("int8", "per_channel", bias): Rule(_Q15_FIRST, Family.TFLM)
                for bias in ("int64_bias", "no_bias")
            },
        },
    ),
)
