"""What LiteRT's own kernels did otherwise in older versions, stated by hand; see `lastbit.runtimes.versions`."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .change import Change, dense_rules
from .derive import DENSE_8BIT, Q15, UP_AWAY, of_granularity
from .shared import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import INT64_BIAS, Key, Variant, key_of

__all__ = ["LITERT_CHANGES"]


def _int16(
    kernel: Family, *granularities: str, biases: tuple[str, ...] = INT16_BIASES
) -> dict[Key, Rule | Refused | None]:
    """Gemmlowp's two roundings on 32 bits where the bias says so, else a multiplier of 16 bits on 64."""
    rules: dict[Key, Rule | Refused | None] = {}
    for weights in ("int8", "int4"):
        for granularity in granularities:
            for bias in biases:
                key = int16_variant(weights, granularity, bias)
                both = UP_AWAY if bias == "int32_bias_type" else Q15
                rules[key] = Rule(of_granularity(both, key[1]), kernel)
    return rules


def _hybrid(kernel: Family, int8: str, int4: str, granularity: str) -> dict[Key, Rule | Refused | None]:
    """Rules of hybrid layers of one granularity."""
    return {
        key_of("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): Rule(rule, kernel)
        for weights, rule in (("int8", int8), ("int4", int4))
    }


_PER_CHANNEL_INT16 = tuple(int16_variant(w, "per_channel", b)[1] for w in ("int8", "int4") for b in INT16_BIASES)
_INT16_NO_BIAS = tuple(f"int16 x int8 -> int16 {g} no_bias" for g in INT16_GRANULARITIES)
_LOST = "hybrid weights with a scale for each unit are multiplied with the scale 0: the output is the bias"
_UNWRITTEN = Refused(
    Refusal.NOT_EXACT,
    "not exact: what TensorFlow 2.13 prints for hybrid layers with int4 weights depends on memory that it did not "
    "write",
)
_BEYOND_WEIGHTS = Refused(
    Refusal.NOT_EXACT,
    "not exact: this version reads every byte of int4 weights as one weight; for the second half of the units it reads "
    "beyond the weights' end, and what it prints depends on what lies there in the file",
)
_BEFORE_FLOAT64 = (("1.0.0", "1.2.0"), ("tf2.12.1", "tf2.19.1"), ("tflite2.14.0", "tflite2.14.0"))

LITERT_CHANGES: tuple[Change, ...] = (
    Change(
        "litert-reference",
        _BEFORE_FLOAT64,
        "requantizes in fixed point, rounding twice as gemmlowp does; since 1.3.0 and TensorFlow 2.20 once, in float64",
        {
            **dense_rules(UP_AWAY, Family.REFERENCE, *DENSE_8BIT),
            **_int16(Family.REFERENCE, *INT16_GRANULARITIES),
        },
    ),
    Change(
        "litert-reference",
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the per-channel kernel takes every output for two dimensions: of one with more (keep_num_dims) it leaves a "
        "part unwritten",
        written_in_part=frozenset((Variant.parse("int8 per_channel"), *_PER_CHANNEL_INT16)),
    ),
    Change(
        "litert-builtin-x86",
        _BEFORE_FLOAT64,
        "what it hands to the reference kernels (int16 activations with a 64-bit accumulator, or with a weights zero "
        "point) is requantized as they did",
        {
            **_int16(Family.BUILTIN, "per_tensor weights_zero_point"),
            **_int16(Family.BUILTIN, "per_tensor", "per_channel", biases=("int64_bias",)),
        },
    ),
    Change(
        "litert-reference",
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.REFERENCE, *_INT16_NO_BIAS),
    ),
    Change(
        "litert-builtin-x86",
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias whose weights have a zero point have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.BUILTIN, *(v for v in _INT16_NO_BIAS if "zero_point" in v)),
    ),
    Change(
        "litert-builtin-x86",
        (("tflite2.14.0", "tflite2.14.0"),),
        "QUANTIZE between 8-bit types and DEQUANTIZE have no vector kernels",
        {
            key_of("QUANTIZE", "int8->uint8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "uint8->int8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "uint8->uint8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "int8->int8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("DEQUANTIZE", "int8->float32"): Rule("float32_difference_times_scale", Family.BUILTIN),
            key_of("DEQUANTIZE", "uint8->float32"): Rule("float32_difference_times_scale", Family.BUILTIN),
        },
    ),
    Change(
        "litert-builtin-x86",
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the reference kernel for int16 per-channel layers leaves a part of outputs of more than two dimensions "
        "unwritten",
        written_in_part=frozenset(v for v in _PER_CHANNEL_INT16 if v.bias == INT64_BIAS),
    ),
    Change(
        "litert-builtin-x86",
        (("tflite2.14.0", "tflite2.14.0"),),
        "uint8 goes through the gemmlowp library, not ruy",
        {key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-half_up-half_away-saturate/fd", Family.BUILTIN)},
    ),
    *(
        Change(
            runtime,
            (("tf2.12.1", "tf2.15.1"),),
            _LOST + but,
            _hybrid(kernel, "hybrid-int8-unfused/channel_scales_lost", int4, "per_channel"),
        )
        for runtime, kernel, int4, but in (
            (
                "litert-builtin-x86",
                Family.BUILTIN,
                "hybrid-int4-nibbles/channel_scales_lost",
                " (but in the 4-bit kernel)",
            ),
            ("litert-reference", Family.REFERENCE, "hybrid-int8-unfused/channel_scales_lost", ""),
        )
    ),
    *(
        Change(
            runtime,
            (("tflite2.14.0", "tflite2.14.0"),),
            f"hybrid layers go through portable code; {_LOST}; of int4 weights those after the last depth % 32's first "
            "16 are lost",
            _hybrid(kernel, "hybrid-int8-portable", "hybrid-int4-nibbles-portable", "per_tensor")
            | _hybrid(
                kernel,
                "hybrid-int8-portable/channel_scales_lost",
                "hybrid-int4-nibbles-portable/channel_scales_lost",
                "per_channel",
            ),
        )
        for runtime, kernel in (("litert-builtin-x86", Family.BUILTIN), ("litert-reference", Family.REFERENCE))
    ),
    *(
        Change(
            runtime,
            (("tf2.12.1", "tf2.12.1"),),
            "of an asymmetric hybrid row the last depth % 8 values are -128 where they do not fit an int32",
            {
                key_of("FULLY_CONNECTED", "float32 x int8 -> float32 per_tensor"): Rule(
                    "hybrid-int8-tail_32-unfused", kernel
                )
            },
        )
        for runtime, kernel in (("litert-builtin-x86", Family.BUILTIN), ("litert-reference", Family.REFERENCE))
    ),
    Change(
        "litert-builtin-x86",
        (("tf2.13.1", "tf2.13.1"),),
        "hybrid layers with int4 weights read memory that was not written: some end the process",
        {
            key_of("FULLY_CONNECTED", f"float32 x int4 -> float32 {granularity}"): _UNWRITTEN
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    *(
        Change(
            runtime,
            (("1.4.0", "1.4.0"),),
            "the scales of hybrid weights are left out where there are more than one and rows are symmetric (but in "
            "the 4-bit kernel): wrong results",
            _hybrid(kernel, "hybrid-int8-neon/channel_scales_ignored", int4, "per_channel"),
        )
        for runtime, kernel, int4 in (
            ("litert-builtin-arm64", Family.BUILTIN, "hybrid-int4-nibbles-neon/channel_scales_ignored"),
            ("litert-reference-arm64", Family.REFERENCE, "hybrid-int8-neon/channel_scales_ignored"),
        )
    ),
    Change(
        "litert-builtin-x86",
        (("1.0.0", "1.0.1"), ("tf2.18.1", "tf2.18.1")),
        "int16 layers with int4 weights go through the reference kernels",
        {
            key: rule
            for key, rule in _int16(Family.BUILTIN, "per_tensor", "per_channel").items()
            if key[1].weights == "int4"
        },
    ),
    *(
        Change(
            runtime,
            spans,
            "of int16 layers with int4 weights every byte is read as one weight, and so beyond the weights' end",
            {int16_variant("int4", "per_tensor", bias): _BEYOND_WEIGHTS for bias in INT16_BIASES},
        )
        for runtime, spans in (
            ("litert-builtin-x86", (("tf2.13.1", "tf2.17.1"), ("tflite2.14.0", "tflite2.14.0"))),
            ("litert-reference", (("tf2.15.1", "tf2.17.1"),)),
        )
    ),
)
