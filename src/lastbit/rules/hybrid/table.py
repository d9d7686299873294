"""Every rule of hybrid layers that a runtime follows, one line each, and the parts that they are made of."""

from __future__ import annotations

from dataclasses import replace

from ..base import Pairs
from .forms import Conversion, Finish, HybridRule, Nibbles, Rows
from .names import canonical_name

__all__ = ["HYBRID_RULES", "line_of"]

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

# Rows. Each was shown on running interpreters; how they are spelled out by hand stands in tests/rules/rows_by_hand.py.
# LiteRT's own kernels on x86-64, in TensorFlow 2.12, and in portable code; its 4-bit kernels. Source:
# google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0
# (NeonSymmetricQuantizeFloats and NeonAsymmetricQuantizeFloats, which x86 builds run through a NEON to SSE
# translation); tensorflow/tensorflow tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc;
# google-ai-edge/LiteRT tflite/kernels/internal/optimized/4bit/sse_fully_connected.cc @7d88950ea445
# (SseBatchQuantizeFloats4Bit).
SSE_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _NUDGED, _AWAY)
SSE_ASYMMETRIC = Rows("ends", "of_scale", "high", "infinite", _NUDGED_ADDED, _AWAY_ADDED)
SSE_ASYMMETRIC_TAIL_32 = Rows("ends", "of_scale", "high", "infinite", _NUDGED_ADDED, _AWAY_ADDED_32)
PORTABLE_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _AWAY, _AWAY)
PORTABLE_ASYMMETRIC = Rows("ends_in_float64", "of_scale", "high", "infinite", _ADDED_BEFORE, _ADDED_BEFORE)
FOR_NIBBLES = Rows("largest_or_127", "of_range", "high", "infinite", _AWAY_LOW, _AWAY_LOW)
# XNNPACK; LiteRT 1.0, which inverts the rounded scale; LiteRT 1.1 to 1.3 for int4. Source: google/XNNPACK
# src/xnnpack/quantization.h (xnn_f32_qd8_asymmetric_quantization_params) and src/f32-qs8-vcvt/avx512skx.c.in.
QD8 = Rows("flushed", "of_range", "high", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
QD8_INVERTED = Rows("flushed", "of_scale", "high", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
QD8_NAN_LOW = Rows("flushed", "of_range", "low", "infinite", _EVEN_LIMITED, _EVEN_LIMITED)
# ARM64: LiteRT's own kernels, its 4-bit kernel, XNNPACK by KleidiAI with and without i8mm (kernels with dot products
# alone take rows in blocks of four values, which the vector code of eight has no use for), and without dot products.
# Source: neon_tensor_utils.cc as above; tflite/kernels/internal/optimized/4bit/neon_fully_connected.cc @01d971c556e3
# (NeonBatchQuantizeFloats4Bit); ARM-software/kleidiai kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_f32.c, in the
# form that the disassembled wheel has it, and Zijie-Tian/kleidiai @3637c6ec5319, a copy; google/XNNPACK
# src/f32-qs8-vcvt/neonv8.c.in @cce7f35a72e4.
NEON_SYMMETRIC = Rows("largest", "of_range", "high", "infinite", _SATURATED, _SATURATED)
NEON_ASYMMETRIC = Rows("ends", "of_scale", "high", "infinite", _SATURATED_ADDED, _AWAY_ADDED)
NEON_FOR_NIBBLES = Rows("largest_or_127", "of_range", "high", "infinite", _SATURATED_FULL, _SATURATED_LOW)
KLEIDIAI = Rows("flushed_arm", "of_range", "high", "zero", _EVEN_16_WRAP, _SATURATED_ADDED)
KLEIDIAI_AWAY = Rows("flushed_arm", "of_range", "high", "zero", _SATURATED_ADDED, _SATURATED_ADDED)
QD8_NEON = Rows("flushed_arm", "of_range", "high", "infinite", _EVEN_16, _EVEN_16)

NIBBLES = Nibbles("vector", "scalar", FOR_NIBBLES, fused=False, row_sums="quantized")
NIBBLES_PORTABLE = Nibbles("scalar", "first_16", FOR_NIBBLES, fused=False, row_sums="quantized")
NIBBLES_NEON = Nibbles("scalar", "scalar", NEON_FOR_NIBBLES, fused=True, row_sums="lanes_of_16_bits")

# Finishes: XNNPACK with AVX512-VNNI, on other x86-64, on ARM64 without dot products; LiteRT's own; KleidiAI.
FUSED = Finish("row_first", True, "same", "upper_28", "multiplied", "x86", "value_first", "bound_first")
FUSED_BOUND_FIRST = replace(FUSED, clamp="bound_first")
FUSED_NEON = replace(FUSED, flush="arm", clamp="maximum", int4_clamp="maximum")
UNFUSED = Finish("scales_first", False, "same", "whole", "skipped", "none", "bound_first_if_any", "bound_first_if_any")
NEON = replace(UNFUSED, fused=True, four_rows="unfused")
UNFUSED_KLEIDIAI = Finish("scales_first", False, "same", "sixteenfold", "multiplied", "arm", "maximum", "maximum")
# Its SME kernels: one row is finished by a fused multiply-add, several rows are not.
SME_KLEIDIAI = replace(UNFUSED_KLEIDIAI, fused=True, four_rows="unfused")

PAIRS = Pairs(8, "wrap16", "alone")
PADDED_PAIRS = Pairs(8, "wrap16")

# The kernels; a line below is one of them, or one of them with a fault.
_QD8 = HybridRule("hybrid-qd8-fma", QD8, QD8, FUSED)
_BOUND_FIRST = replace(_QD8, name="hybrid-qd8-fma-bound_first", finish=FUSED_BOUND_FIRST)
_SSE = HybridRule("hybrid-int8-unfused", SSE_SYMMETRIC, SSE_ASYMMETRIC, UNFUSED, sse_sums="all")
_SSE_NIBBLES = replace(_SSE, name="hybrid-int4-nibbles", nibbles=NIBBLES)
_PORTABLE = HybridRule("hybrid-int8-portable", PORTABLE_SYMMETRIC, PORTABLE_ASYMMETRIC, UNFUSED)
_PORTABLE_NIBBLES = replace(_PORTABLE, name="hybrid-int4-nibbles-portable", nibbles=NIBBLES_PORTABLE)
_NEON = HybridRule("hybrid-int8-neon", NEON_SYMMETRIC, NEON_ASYMMETRIC, NEON, loops="by_size", pairs=PAIRS)
_NEON_NIBBLES = replace(_NEON, name="hybrid-int4-nibbles-neon", nibbles=NIBBLES_NEON)
_KLEIDIAI = HybridRule("hybrid-kleidiai-unfused", KLEIDIAI, KLEIDIAI, UNFUSED_KLEIDIAI)

HYBRID_RULES: dict[str, HybridRule] = {
    rule.name: rule
    for rule in (
        _QD8,
        _BOUND_FIRST,
        replace(
            _BOUND_FIRST,
            name="hybrid-qd8-scale_inverted-fma-bound_first",
            symmetric=QD8_INVERTED,
            asymmetric=QD8_INVERTED,
        ),
        replace(
            _BOUND_FIRST, name="hybrid-qd8-nan_takes_low-fma-bound_first", symmetric=QD8_NAN_LOW, asymmetric=QD8_NAN_LOW
        ),
        _SSE,
        _SSE_NIBBLES,
        replace(_SSE, name="hybrid-int8-tail_32-unfused", asymmetric=SSE_ASYMMETRIC_TAIL_32),
        _PORTABLE,
        _PORTABLE_NIBBLES,
        _NEON,
        _NEON_NIBBLES,
        _KLEIDIAI,
        replace(_KLEIDIAI, name="hybrid-kleidiai_away-unfused", symmetric=KLEIDIAI_AWAY, asymmetric=KLEIDIAI_AWAY),
        HybridRule(
            "hybrid-kleidiai_away-fused_if_one_row", KLEIDIAI_AWAY, KLEIDIAI_AWAY, SME_KLEIDIAI, loops="one_row"
        ),
        HybridRule(
            "hybrid-qd8-fma-pairs_of_16_bits", QD8_NEON, QD8_NEON, FUSED_NEON, loops="pairs", pairs=PADDED_PAIRS
        ),
        replace(_NEON, name="hybrid-int8-neon/never_four_rows", loops="by_size_without_dot"),
        replace(_NEON_NIBBLES, name="hybrid-int4-nibbles-neon/never_four_rows", loops="by_size_without_dot"),
        replace(_SSE, name="hybrid-int8-unfused/channel_scales_lost", weights_scale="zero"),
        replace(_SSE_NIBBLES, name="hybrid-int4-nibbles/channel_scales_lost", weights_scale="zero"),
        replace(_PORTABLE, name="hybrid-int8-portable/channel_scales_lost", weights_scale="zero"),
        replace(_PORTABLE_NIBBLES, name="hybrid-int4-nibbles-portable/channel_scales_lost", weights_scale="zero"),
        replace(_NEON, name="hybrid-int8-neon/channel_scales_ignored", weights_scale="one"),
        replace(_NEON_NIBBLES, name="hybrid-int4-nibbles-neon/channel_scales_ignored", weights_scale="one"),
    )
}
"""Name -> rule."""

_BY_FIELDS = {rule: rule for rule in HYBRID_RULES.values()}


def line_of(rule: HybridRule) -> HybridRule:
    """The table's line with these fields; without one, the rule by a name that is made of its fields."""
    return _BY_FIELDS.get(rule) or replace(rule, name=canonical_name(rule))
