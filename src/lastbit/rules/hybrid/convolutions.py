"""Every rule of hybrid convolutions that a runtime follows, one line each."""

from __future__ import annotations

from dataclasses import replace

from .forms import Finish, HybridConvolution, HybridRule
from .table import (
    FUSED_NEON,
    HYBRID_RULES,
    NEON_ASYMMETRIC,
    NEON_SYMMETRIC,
    PADDED_PAIRS,
    QD8_NEON,
    SSE_ASYMMETRIC,
    SSE_SYMMETRIC,
    UNFUSED,
    UNFUSED_KLEIDIAI,
)

__all__ = ["HYBRID_CONVOLUTIONS"]

# LiteRT's own kernels; one of them takes four channels at a time. Source: google-ai-edge/LiteRT tflite/kernels/conv.cc
# and depthwise_conv.cc @01d971c556e3, tflite/kernels/internal/optimized/integer_ops/depthwise_conv_hybrid.h
# @7d88950ea445; tensorflow/tensorflow tensorflow/lite/kernels/internal/optimized/optimized_ops.h (HybridConv,
# HybridConvPerChannel). Every line was shown on the running interpreters.
_SCALES_FIRST = replace(UNFUSED, zeros="multiplied", clamp="value_first", int4_clamp="value_first", ends="finite")
_WEIGHTS_FIRST = replace(_SCALES_FIRST, order="weights_first")
_IN_FOURS = replace(_WEIGHTS_FIRST, clamp="bound_first", int4_clamp="bound_first")
_LAST = replace(_SCALES_FIRST, order="row_first")


def _litert(name: str, finish: Finish, last: Finish | None = None) -> HybridRule:
    """One of LiteRT's own kernels, which have a zero point for each image."""
    return HybridRule(name, SSE_ASYMMETRIC, SSE_ASYMMETRIC, finish, last_units=last)


# Where all channels have one scale, the images have no zero point, and the sums are those of dense layers.
_ONE_SCALE = HybridRule("hybrid-int8-symmetric", SSE_SYMMETRIC, SSE_SYMMETRIC, _SCALES_FIRST, sse_sums="unless_fours")
_BUILTIN = replace(_litert("hybrid-int8-scales_first", _SCALES_FIRST), sse_sums="weights")
_REFERENCE = _litert("hybrid-int8-weights_first", _WEIGHTS_FIRST)
_DEPTHWISE = _litert("hybrid-int8-in_fours", _IN_FOURS, _LAST)
_DEPTHWISE_REFERENCE = _litert("hybrid-int8-scales_first-whole_sums", _SCALES_FIRST)


def _neon(rule: HybridRule, name: str) -> HybridRule:
    """The same kernel on ARM64: rows as NEON code converts them, NaN that stays, and none of the faults."""
    rows = NEON_ASYMMETRIC if rule.symmetric == SSE_ASYMMETRIC else NEON_SYMMETRIC
    finish, last = (
        None if part is None else replace(part, clamp="maximum", int4_clamp="maximum")
        for part in (rule.finish, rule.last_units)
    )
    assert finish is not None
    return HybridRule(name, rows, rows, finish, last_units=last)


_ONE_SCALE_NEON = _neon(_ONE_SCALE, "hybrid-int8-neon-symmetric")
_BUILTIN_NEON = _neon(_BUILTIN, "hybrid-int8-neon-scales_first")
# Without dot products LiteRT's matrix product adds two products of the whole window in 16 bits.
_BUILTIN_PAIRS = replace(_BUILTIN_NEON, name="hybrid-int8-neon-pairs_of_16_bits", loops="pairs", pairs=PADDED_PAIRS)
# XNNPACK on ARM64: windows are products of its own, pixels go the way of dense layers, which is KleidiAI's with dot
# products. Those with dot products and without i8mm have a kernel for a single window and one for several, in assembly,
# that rounds the product before the bias is added. Without dot products each tap's channels are added in pairs.
_ARM_WINDOWS = HybridRule("hybrid-qd8-neon-fma", QD8_NEON, QD8_NEON, FUSED_NEON)
_ARM_WINDOWS_DOT = replace(_ARM_WINDOWS, name="hybrid-qd8-neon-unfused", finish=UNFUSED_KLEIDIAI)
_ARM_PIXELS = HYBRID_RULES["hybrid-kleidiai_away-unfused"]
_SME_PIXELS = HYBRID_RULES["hybrid-kleidiai_away-fused_if_one_row"]
_ARM_PAIRS = HYBRID_RULES["hybrid-qd8-fma-pairs_of_16_bits"]
_QD8, _BOUND_FIRST = HYBRID_RULES["hybrid-qd8-fma"], HYBRID_RULES["hybrid-qd8-fma-bound_first"]


def _same(name: str, rule: HybridRule) -> HybridConvolution:
    """A kernel that does not ask whether channels have one scale."""
    return HybridConvolution(name, rule, rule)


HYBRID_CONVOLUTIONS: dict[str, HybridConvolution] = {
    rule.name: rule
    for rule in (
        HybridConvolution("hybrid-qd8-fma/images", _BOUND_FIRST, _BOUND_FIRST, pixels=_QD8),
        HybridConvolution("hybrid-qd8-fma-bound_first/images", _BOUND_FIRST, _BOUND_FIRST, pixels=_BOUND_FIRST),
        HybridConvolution("hybrid-int8-scales_first/images", _BUILTIN, _ONE_SCALE),
        HybridConvolution("hybrid-int8-weights_first/images", _REFERENCE, _ONE_SCALE),
        _same("hybrid-int8-in_fours/depthwise", _DEPTHWISE),
        _same("hybrid-int8-scales_first/depthwise", _DEPTHWISE_REFERENCE),
        HybridConvolution("hybrid-qd8-neon-fma/images", _ARM_WINDOWS, _ARM_WINDOWS, pixels=_ARM_PIXELS),
        HybridConvolution("hybrid-qd8-neon-fma-sme/images", _ARM_WINDOWS, _ARM_WINDOWS, pixels=_SME_PIXELS),
        HybridConvolution(
            "hybrid-qd8-neon-unfused/images",
            _ARM_WINDOWS_DOT,
            _ARM_WINDOWS_DOT,
            pixels=_ARM_PIXELS,
            one_output=_ARM_WINDOWS,
        ),
        HybridConvolution("hybrid-qd8-fma-pairs_of_16_bits/images", _ARM_PAIRS, _ARM_PAIRS, pixels=_ARM_PAIRS),
        HybridConvolution("hybrid-int8-neon-scales_first/images", _BUILTIN_NEON, _ONE_SCALE_NEON),
        HybridConvolution(
            "hybrid-int8-neon-pairs_of_16_bits/images", _BUILTIN_PAIRS, _ONE_SCALE_NEON, pairs_across_taps=True
        ),
        HybridConvolution(
            "hybrid-int8-neon-weights_first/images",
            _neon(_REFERENCE, "hybrid-int8-neon-weights_first"),
            _ONE_SCALE_NEON,
        ),
        _same("hybrid-int8-neon-in_fours/depthwise", _neon(_DEPTHWISE, "hybrid-int8-neon-in_fours")),
        _same(
            "hybrid-int8-neon-scales_first/depthwise",
            _neon(_DEPTHWISE_REFERENCE, "hybrid-int8-neon-scales_first-whole_sums"),
        ),
    )
}
"""Name -> rule."""
