"""What operators around dense layers do otherwise on ARM64 than on x86-64, in each of LiteRT's families of kernels."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .derive import hybrid_rules
from .operator_rules import BUILTIN_HYBRID, REFERENCE_HYBRID, XNNPACK_AVX2_OPERATORS
from .table_parts import EIGHT_BIT, RELUS
from .variant import Key, key_of

__all__ = [
    "ARM64_BUILTIN",
    "ARM64_REFERENCE",
    "ARM64_SME",
    "ARM64_XNNPACK",
    "BUILTIN_PAIRS",
    "xnnpack_float_sums",
    "xnnpack_windows",
]

Rules = dict[Key, Rule | Refused]

_GRANULARITIES = ("per_tensor", "per_channel")
_FLOAT = "float32 unquantized"
_GROUPED = f"{_FLOAT} grouped"
_FLOAT_CONVOLUTIONS = (("CONV_2D", _FLOAT), ("CONV_2D", _GROUPED), ("DEPTHWISE_CONV_2D", _FLOAT))


def _same(operators: tuple[str, ...], types: tuple[str, ...], rule: str, kernel: Family) -> Rules:
    return {key_of(operator, f"{t}->{t}"): Rule(rule, kernel) for operator in operators for t in types}


def _from_float(types: tuple[str, ...], rule: str, kernel: Family) -> Rules:
    return {key_of("QUANTIZE", f"float32->{t}"): Rule(rule, kernel) for t in types}


def xnnpack_float_sums(rule: str) -> Rules:
    """XNNPACK's float32 convolutions on one kind of CPU."""
    return {key_of(operator, variant): Rule(rule, Family.XNNPACK) for operator, variant in _FLOAT_CONVOLUTIONS}


# Hybrid convolutions of LiteRT's own kernels: the same sums and products as on x86-64, other conversions, no faults.
_IN_NEON = {
    "hybrid-int8-scales_first/images": "hybrid-int8-neon-scales_first/images",
    "hybrid-int8-weights_first/images": "hybrid-int8-neon-weights_first/images",
    "hybrid-int8-in_fours/depthwise": "hybrid-int8-neon-in_fours/depthwise",
    "hybrid-int8-scales_first/depthwise": "hybrid-int8-neon-scales_first/depthwise",
}


def _hybrid_convolutions(on_x86: Rules) -> Rules:
    return {key: Rule(_IN_NEON[rule.name], rule.kernel) for key, rule in on_x86.items() if isinstance(rule, Rule)}


def xnnpack_windows(rule: str) -> Rules:
    """XNNPACK's hybrid convolutions on one kind of CPU."""
    return {key: Rule(rule, Family.XNNPACK) for key in BUILTIN_HYBRID if key[0] == "CONV_2D"}


ARM64_XNNPACK: Rules = {
    # 16-bit lanes saturate, as in AVX2's kernels.
    **XNNPACK_AVX2_OPERATORS,
    **{
        key_of("TRANSPOSE_CONV", f"int8 {granularity}"): Rule("float32-half_even-saturate", Family.XNNPACK)
        for granularity in _GRANULARITIES
    },
    key_of("TRANSPOSE_CONV", "uint8 per_tensor"): Rule("q31-floor-half_up-saturate/ff", Family.XNNPACK),
    **_from_float(EIGHT_BIT, "float32_inverse_half_even_nearest", Family.XNNPACK),
    **{
        key_of(operator, "uint8 per_tensor"): Rule("q31-floor-half_up/by_window", Family.XNNPACK)
        for operator in ("CONV_2D", "DEPTHWISE_CONV_2D")
    },
    **_same(("MUL",), EIGHT_BIT, "q31_floor_half_up", Family.XNNPACK),
    **_same(("MEAN", "SUM"), EIGHT_BIT, "float32_fused_bias_half_even", Family.XNNPACK),
    **_same(RELUS, ("float32",), "float32_clamp_flush/ordered_zeros", Family.XNNPACK),
    **_same(("ADD", "SUB", "MUL"), ("float32",), "float32_flush/ordered_zeros", Family.XNNPACK),
    **_same(("MAXIMUM", "MINIMUM"), ("float32",), "compare_flush/ordered_zeros", Family.XNNPACK),
    **xnnpack_windows("hybrid-qd8-neon-fma/images"),
}

_ONE_ROW_FUSED = "hybrid-kleidiai_away-fused_if_one_row"
# What KleidiAI's kernels for SME take: they add the zero point in 32 bits, and a product beyond them saturates.
ARM64_SME: Rules = {
    **xnnpack_windows("hybrid-qd8-neon-fma-sme/images"),
    **xnnpack_float_sums("float32_fma_neon_depthwise/bias_first"),
    **hybrid_rules(Family.XNNPACK, _ONE_ROW_FUSED, _ONE_ROW_FUSED),
    **{
        key_of(operator, f"int8 {granularity}"): Rule("float32-half_even-saturate32", Family.XNNPACK)
        for operator in ("FULLY_CONNECTED", "TRANSPOSE_CONV")
        for granularity in _GRANULARITIES
    },
    **{
        key_of("CONV_2D", f"int8 {granularity}"): Rule("float32-half_even-saturate32/by_window", Family.XNNPACK)
        for granularity in ("per_channel", "per_channel grouped", "per_tensor grouped")
    },
    # With one scale, a window of one tap goes the way of i8mm's kernels.
    key_of("CONV_2D", "int8 per_tensor"): Rule("float32-half_even-saturate32/by_window_or_pixels", Family.XNNPACK),
}

ARM64_BUILTIN: Rules = {
    **_from_float((*EIGHT_BIT, "int16"), "vector8_inverse_half_even/nearest", Family.BUILTIN),
    **{
        key_of("DEQUANTIZE", f"{t}->float32"): Rule("float32_vector8_fused_plus_offset", Family.BUILTIN)
        for t in EIGHT_BIT
    },
    **_same(("SOFTMAX",), EIGHT_BIT, "lut_uint16_sum", Family.BUILTIN),
    **{key_of("CONV_2D", f"int8 {g}"): Rule("q31-by_rows-floor/dd", Family.BUILTIN) for g in _GRANULARITIES},
    key_of("CONV_2D", "uint8 per_tensor"): Rule("q31-by_rows-floor/fd", Family.BUILTIN),
    **{
        key_of("CONV_2D", f"int16 x int8 -> int16 {g} int32_bias_type"): Rule("q31-single-half_up/dd", Family.BUILTIN)
        for g in _GRANULARITIES
    },
    key_of("DEPTHWISE_CONV_2D", "uint8 per_tensor"): Rule("q31-by_filter/fd", Family.BUILTIN),
    **_same(("SUM",), EIGHT_BIT, "float32_fused_sum", Family.BUILTIN),
    **_same(("RELU",), ("float32",), "float32_clamp/vector4_ordered_zeros", Family.BUILTIN),
    **_same(("RELU_N1_TO_1",), ("float32",), "float32_clamp/ordered_zeros", Family.BUILTIN),
    **_same(("HARD_SWISH",), EIGHT_BIT, "fixed_point_int16_vector8", Family.BUILTIN),
    **_same(("ADD", "MUL"), ("float32",), "float32/vector4_ordered_zeros", Family.BUILTIN),
    **_same(("SUB",), ("float32",), "float32/vector4_of_one_shape_ordered_zeros", Family.BUILTIN),
    **_same(("MAX_POOL_2D",), ("float32",), "float32_vector4_ordered_zeros", Family.BUILTIN),
    key_of("DEPTHWISE_CONV_2D", _FLOAT): Rule("float32_fma_in_order/bias_first", Family.BUILTIN),
    key_of("CONV_2D", _FLOAT): Refused(
        Refusal.NOT_EXACT,
        "not exact: on ARM64 some shapes add in another order than one fused multiply-add after the other, bias last",
    ),
    key_of("CONV_2D", _GROUPED): Rule("float32_fma_beyond_eights/bias_last", Family.BUILTIN),
    **_hybrid_convolutions(BUILTIN_HYBRID),
}

BUILTIN_PAIRS: Rules = {
    key_of("CONV_2D", f"float32 x int8 -> float32 {granularity}"): Rule(
        "hybrid-int8-neon-pairs_of_16_bits/images", Family.BUILTIN
    )
    for granularity in _GRANULARITIES
}
"""Hybrid convolutions without groups where there are no dot products."""

ARM64_REFERENCE: Rules = {
    **_from_float((*EIGHT_BIT, "int16"), "float32_divide_half_away/nearest", Family.REFERENCE),
    **_same(("RELU",), ("float32",), "float32_clamp/vector4_ordered_zeros", Family.REFERENCE),
    **_same(("RELU_N1_TO_1",), ("float32",), "float32_clamp/ordered_zeros", Family.REFERENCE),
    key_of("DEPTHWISE_CONV_2D", _FLOAT): Rule("float32_fma_in_order/bias_last", Family.REFERENCE),
    **{
        key_of("CONV_2D", variant): Rule("float32_fma_beyond_eights/bias_last", Family.REFERENCE)
        for variant in (_FLOAT, _GROUPED)
    },
    **_hybrid_convolutions(REFERENCE_HYBRID),
}
