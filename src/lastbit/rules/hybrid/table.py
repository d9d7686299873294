"""Every rule of hybrid layers that a runtime follows, one line each, and the parts that they are made of."""

from __future__ import annotations

from ..base import Pairs
from .forms import Conversion, Finish, HybridRule, Nibbles, Rows

__all__ = ["HYBRID_RULES"]

# Conversions. NEON code translated to SSE has lanes of eight, and scalar code for the rest of a row.
_NUDGED = Conversion("nudged", "none", "saturate_up", "none", "symmetric")
_NUDGED_ADDED = Conversion("nudged", "none", "saturate_up", "wrap32", "full")
_AWAY = Conversion("half_away", "none", "int32_min", "none", "symmetric")
_AWAY_ADDED = Conversion("half_away", "none", "saturate32", "float32", "full")
_AWAY_ADDED_32 = Conversion("half_away", "none", "int32_min", "float32", "full")
_AWAY_LOW = Conversion("half_away", "none", "int32_min", "none", "low_8_bits")
_ADDED_BEFORE = Conversion("half_away", "none", "int32_min", "before", "full")
_EVEN_LIMITED = Conversion("half_even", "above", "int32_min", "wide", "full")
_SATURATED = Conversion("half_away", "none", "saturate32", "none", "symmetric")
_SATURATED_FULL = Conversion("half_away", "none", "saturate32", "none", "full")
_SATURATED_LOW = Conversion("half_away", "none", "saturate32", "none", "low_8_bits")
_SATURATED_ADDED = Conversion("half_away", "none", "saturate32", "wrap32", "full")
_EVEN_16 = Conversion("half_even", "none", "saturate16", "wide", "full")
_EVEN_16_WRAP = Conversion("half_even", "none", "saturate16", "wrap16", "full")

# Rows. LiteRT's own kernels on x86-64, in TensorFlow 2.12, and in portable code; its 4-bit kernels.
SSE_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _NUDGED, _AWAY)
SSE_ASYMMETRIC = Rows("ends", "of_scale", "high", "infinite", _NUDGED_ADDED, _AWAY_ADDED)
SSE_ASYMMETRIC_TAIL_32 = Rows("ends", "of_scale", "high", "infinite", _NUDGED_ADDED, _AWAY_ADDED_32)
PORTABLE_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _AWAY, _AWAY)
PORTABLE_ASYMMETRIC = Rows("ends_in_float64", "of_scale", "high", "infinite", _ADDED_BEFORE, _ADDED_BEFORE)
FOR_NIBBLES = Rows("largest_or_127", "of_range", "high", "infinite", _AWAY_LOW, _AWAY_LOW)
# XNNPACK; LiteRT 1.0, which inverts the rounded scale; LiteRT 1.1 to 1.3 for int4.
QD8 = Rows("flushed", "of_range", "high", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
QD8_INVERTED = Rows("flushed", "of_scale", "high", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
QD8_NAN_LOW = Rows("flushed", "of_range", "low", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
# ARM64: LiteRT's own kernels, its 4-bit kernel, XNNPACK by KleidiAI with and without i8mm, and without dot products.
NEON_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _SATURATED, _SATURATED)
NEON_ASYMMETRIC = Rows("ends", "of_scale", "high", "infinite", _SATURATED_ADDED, _AWAY_ADDED)
NEON_FOR_NIBBLES = Rows("largest_or_127", "of_range", "high", "infinite", _SATURATED_FULL, _SATURATED_LOW)
KLEIDIAI = Rows("flushed_arm", "of_range", "high", "zero", _EVEN_16_WRAP, _SATURATED_ADDED)
KLEIDIAI_AWAY = Rows("flushed_arm", "of_range", "high", "zero", _SATURATED_ADDED, _SATURATED_ADDED)
QD8_NEON = Rows("flushed_arm", "of_range", "high", "infinite", _EVEN_16, _EVEN_16)

NIBBLES = Nibbles("vector", "scalar", FOR_NIBBLES, fused=False)
NIBBLES_PORTABLE = Nibbles("scalar", "first_16", FOR_NIBBLES, fused=False)
NIBBLES_NEON = Nibbles("scalar", "scalar", NEON_FOR_NIBBLES, fused=True)

# Finishes: XNNPACK with AVX512-VNNI, on other x86-64, on ARM64 without dot products; LiteRT's own; KleidiAI.
FUSED = Finish("row_first", True, "same", "upper_28", "multiplied", "x86", "value_first", "bound_first")
FUSED_BOUND_FIRST = Finish("row_first", True, "same", "upper_28", "multiplied", "x86", "bound_first", "bound_first")
FUSED_NEON = Finish("row_first", True, "same", "upper_28", "multiplied", "arm", "maximum", "maximum")
UNFUSED = Finish("scales_first", False, "same", "whole", "skipped", "none", "bound_first", "bound_first")
NEON = Finish("scales_first", True, "unfused", "whole", "skipped", "none", "bound_first", "bound_first")
UNFUSED_KLEIDIAI = Finish("scales_first", False, "same", "sixteenfold", "multiplied", "arm", "maximum", "maximum")

PAIRS = Pairs(8, "wrap16", "alone")
PADDED_PAIRS = Pairs(8, "wrap16")

HYBRID_RULES: dict[str, HybridRule] = {
    rule.name: rule
    for rule in (
        HybridRule(
            "hybrid-qd8-fma",
            (
                "q = round_half_even(x * 255/(max-min)) + zp, always asymmetric;  y = fma(float32(acc) * s_row, "
                "s_w, bias)"
            ),
            QD8,
            QD8,
            FUSED,
        ),
        HybridRule(
            "hybrid-qd8-fma-bound_first",
            (
                "q = round_half_even(x * 255/(max-min)) + zp, always asymmetric;  y = fma(float32(acc) * s_row, "
                "s_w, bias);  NaN becomes the lower clamp bound"
            ),
            QD8,
            QD8,
            FUSED_BOUND_FIRST,
        ),
        HybridRule(
            "hybrid-qd8-scale_inverted-fma-bound_first",
            (
                "s_row = 1/(255/(max-min)), and q = round_half_even(x * (1/s_row)) + zp;  always asymmetric;  y ="
                " fma(float32(acc) * s_row, s_w, bias);  NaN becomes the lower clamp bound"
            ),
            QD8_INVERTED,
            QD8_INVERTED,
            FUSED_BOUND_FIRST,
        ),
        HybridRule(
            "hybrid-qd8-nan_takes_low-fma-bound_first",
            (
                "q = round_half_even(x * 255/(max-min)) + zp, always asymmetric;  y = fma(float32(acc) * s_row, "
                "s_w, bias);  zp = -128 where the row has an infinity;  NaN becomes the lower clamp bound"
            ),
            QD8_NAN_LOW,
            QD8_NAN_LOW,
            FUSED_BOUND_FIRST,
        ),
        HybridRule(
            "hybrid-int8-unfused",
            (
                "q = trunc(x * 127/max|x| +- 0.5), last depth % 8 half_away (or asymmetric, as the model says);  "
                "y = bias + float32(acc) * (s_row * s_w)"
            ),
            SSE_SYMMETRIC,
            SSE_ASYMMETRIC,
            UNFUSED,
            sse_sums=True,
        ),
        HybridRule(
            "hybrid-int4-nibbles",
            (
                "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  y = (float32(-7 * sum q) * s_row "
                "* s_w + bias) + float32(sum n*q) * s_row * s_w;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-unfused"
            ),
            SSE_SYMMETRIC,
            SSE_ASYMMETRIC,
            UNFUSED,
            nibbles=NIBBLES,
            sse_sums=True,
        ),
        HybridRule(
            "hybrid-int8-tail_32-unfused",
            (
                "as hybrid-int8-unfused, but if asymmetric, of the last depth % 8, q = -128 where x/s_row is "
                "beyond int32"
            ),
            SSE_SYMMETRIC,
            SSE_ASYMMETRIC_TAIL_32,
            UNFUSED,
            sse_sums=True,
        ),
        HybridRule(
            "hybrid-int8-portable",
            (
                "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says: the range in float64, q ="
                " round_half_away(x/s_row + zp));  y = bias + float32(acc) * (s_row * s_w)"
            ),
            PORTABLE_SYMMETRIC,
            PORTABLE_ASYMMETRIC,
            UNFUSED,
        ),
        HybridRule(
            "hybrid-int4-nibbles-portable",
            (
                "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says: the range in float64, q ="
                " round_half_away(x/s_row + zp));  4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;"
                "  y = (float32(-7 * sum q) * s_row * s_w + bias) + float32(sum n*q) * s_row * s_w, but n = 7 for"
                " the weights after the last depth % 32's first 16;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-portable"
            ),
            PORTABLE_SYMMETRIC,
            PORTABLE_ASYMMETRIC,
            UNFUSED,
            nibbles=NIBBLES_PORTABLE,
        ),
        HybridRule(
            "hybrid-int8-neon",
            (
                "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says);  y = fma(float32(acc), "
                "s_row * s_w, bias), but bias + float32(acc) * (s_row * s_w) where four rows are taken at once"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            loops="by_size",
            pairs=PAIRS,
        ),
        HybridRule(
            "hybrid-int4-nibbles-neon",
            (
                "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  t = fma(float32(-7 * sum q) * "
                "s_row, s_w, bias);  y = fma(float32(sum n*q) * s_row, s_w, t), of several rows t + float32(sum "
                "n*q) * s_row * s_w but in the last units % 4;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-neon"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            nibbles=NIBBLES_NEON,
            loops="by_size",
            pairs=PAIRS,
        ),
        HybridRule(
            "hybrid-kleidiai-unfused",
            (
                "q = round_half_even(x * 255/(max-min)) + zp, last depth % 8 half_away, always asymmetric;  y = "
                "float32(acc) * (s_w * s_row) + bias"
            ),
            KLEIDIAI,
            KLEIDIAI,
            UNFUSED_KLEIDIAI,
        ),
        HybridRule(
            "hybrid-kleidiai_away-unfused",
            (
                "q = round_half_away(x * 255/(max-min)) + zp, always asymmetric;  y = float32(acc) * (s_w * "
                "s_row) + bias"
            ),
            KLEIDIAI_AWAY,
            KLEIDIAI_AWAY,
            UNFUSED_KLEIDIAI,
        ),
        HybridRule(
            "hybrid-qd8-fma-pairs_of_16_bits",
            (
                "q = round_half_even(x * 255/(max-min)) + zp, always asymmetric;  y = fma(float32(acc) * s_row, "
                "s_w, bias);  columns k and k + 8 of every sixteen are added in 16 bits, which wrap; what is "
                "below 2^-126 before it is rounded becomes zero"
            ),
            QD8_NEON,
            QD8_NEON,
            FUSED_NEON,
            loops="pairs",
            pairs=PADDED_PAIRS,
        ),
        HybridRule(
            "hybrid-int8-neon/never_four_rows",
            (
                "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says);  y = fma(float32(acc), "
                "s_row * s_w, bias)"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            loops="by_size_without_dot",
            pairs=PAIRS,
        ),
        HybridRule(
            "hybrid-int4-nibbles-neon/never_four_rows",
            (
                "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  t = fma(float32(-7 * sum q) * "
                "s_row, s_w, bias);  y = fma(float32(sum n*q) * s_row, s_w, t), of several rows t + float32(sum "
                "n*q) * s_row * s_w but in the last units % 4;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-neon"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            nibbles=NIBBLES_NEON,
            loops="by_size_without_dot",
            pairs=PAIRS,
        ),
        HybridRule(
            "hybrid-int8-unfused/channel_scales_lost",
            (
                "s_w = 0 where weights have more than one scale, so y = bias;  q = trunc(x * 127/max|x| +- 0.5), "
                "last depth % 8 half_away (or asymmetric, as the model says);  y = bias + float32(acc) * (s_row *"
                " s_w)"
            ),
            SSE_SYMMETRIC,
            SSE_ASYMMETRIC,
            UNFUSED,
            sse_sums=True,
            weights_scale="zero",
        ),
        HybridRule(
            "hybrid-int4-nibbles/channel_scales_lost",
            (
                "s_w = 0 where weights have more than one scale, but in the 4-bit kernel, so y = bias;  4-bit "
                "kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  y = (float32(-7 * sum q) * s_row * s_w "
                "+ bias) + float32(sum n*q) * s_row * s_w;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-unfused"
            ),
            SSE_SYMMETRIC,
            SSE_ASYMMETRIC,
            UNFUSED,
            nibbles=NIBBLES,
            sse_sums=True,
            weights_scale="zero",
        ),
        HybridRule(
            "hybrid-int8-portable/channel_scales_lost",
            (
                "s_w = 0 where weights have more than one scale, so y = bias;  q = round_half_away(x * "
                "127/max|x|) (or asymmetric, as the model says: the range in float64, q = round_half_away(x/s_row"
                " + zp));  y = bias + float32(acc) * (s_row * s_w)"
            ),
            PORTABLE_SYMMETRIC,
            PORTABLE_ASYMMETRIC,
            UNFUSED,
            weights_scale="zero",
        ),
        HybridRule(
            "hybrid-int4-nibbles-portable/channel_scales_lost",
            (
                "s_w = 0 where weights have more than one scale, but in the 4-bit kernel, so y = bias;  q = "
                "round_half_away(x * 127/max|x|) (or asymmetric, as the model says: the range in float64, q = "
                "round_half_away(x/s_row + zp));  4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  "
                "y = (float32(-7 * sum q) * s_row * s_w + bias) + float32(sum n*q) * s_row * s_w, but n = 7 for "
                "the weights after the last depth % 32's first 16;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-portable"
            ),
            PORTABLE_SYMMETRIC,
            PORTABLE_ASYMMETRIC,
            UNFUSED,
            nibbles=NIBBLES_PORTABLE,
            weights_scale="zero",
        ),
        HybridRule(
            "hybrid-int8-neon/channel_scales_ignored",
            (
                "s_w = 1 where weights have more than one scale and rows are symmetric;  q = round_half_away(x * "
                "127/max|x|) (or asymmetric, as the model says);  y = fma(float32(acc), s_row * s_w, bias), but "
                "bias + float32(acc) * (s_row * s_w) where four rows are taken at once"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            loops="by_size",
            pairs=PAIRS,
            weights_scale="one",
        ),
        HybridRule(
            "hybrid-int4-nibbles-neon/channel_scales_ignored",
            (
                "s_w = 1 where weights have more than one scale and rows are symmetric, but in the 4-bit kernel;"
                "  4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  t = fma(float32(-7 * sum q) * "
                "s_row, s_w, bias);  y = fma(float32(sum n*q) * s_row, s_w, t), of several rows t + float32(sum "
                "n*q) * s_row * s_w but in the last units % 4;  depth odd or < 32, or < 4 units: as "
                "hybrid-int8-neon"
            ),
            NEON_SYMMETRIC,
            NEON_ASYMMETRIC,
            NEON,
            nibbles=NIBBLES_NEON,
            loops="by_size",
            pairs=PAIRS,
            weights_scale="one",
        ),
    )
}
"""Name -> rule."""
