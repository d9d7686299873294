"""Rules that no output tells apart on some element types, and why: their rivals are refuted nowhere, and cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from lastbit.ops import OPERATORS

__all__ = ["ALIKE", "Alike", "why_alike"]


@dataclass(frozen=True)
class Alike:
    """Rules of an operator that give the same bits wherever more than one of them takes a case.

    Attributes:
        operators: the operators.
        types: element types of the first input.
        rules: the rules.
        reason: why.
    """

    operators: frozenset[str]
    types: frozenset[str]
    rules: frozenset[str]
    reason: str


def _alike(operators: str, types: str, rules: tuple[str, ...], reason: str) -> Alike:
    return Alike(frozenset(operators.split()), frozenset(types.split()), frozenset(rules), reason)


MOVED = "values are only moved; the rules differ in what they refuse"
REFUSED = "the same calculation; the rules differ in what they refuse"
NO_ZERO_POINT = "the zero point is 0: a product plus zero is the same, rounded once or twice"

ALIKE = (
    _alike(
        "DEQUANTIZE",
        "int8 uint8",
        ("float32_difference_times_scale", "float32_difference_times_scale/any_zero_point"),
        REFUSED,
    ),
    _alike(
        "DEQUANTIZE",
        "int16",
        (
            "float32_difference_times_scale",
            "float32_difference_times_scale/any_zero_point",
            "float32_vector8_product_plus_offset",
            "float32_vector8_fused_plus_offset",
        ),
        NO_ZERO_POINT,
    ),
    _alike("LOGISTIC TANH", "int16", ("interpolated_int16", "interpolated_int16/not_power_of_two"), REFUSED),
    _alike("SOFTMAX", "int8", ("gemmlowp_fixed_point", "gemmlowp_fixed_point/exact_output_scale"), REFUSED),
    _alike("SUM", "int16", ("float32_sum", "float32_fused_sum", "float32_bias_half_away"), NO_ZERO_POINT),
    _alike("SUM MEAN", "int16", ("float32_bias_half_even", "float32_fused_bias_half_even"), NO_ZERO_POINT),
    _alike(
        "RELU_N1_TO_1",
        "float32",
        ("float32_clamp", "float32_clamp/ordered_zeros", "float32_clamp/vector4_ordered_zeros"),
        "no bound is zero, so zeros keep their sign",
    ),
    _alike(
        "RELU_N1_TO_1",
        "float32",
        ("float32_clamp_flush", "float32_clamp_flush/ordered_zeros"),
        "no bound is zero, so zeros keep their sign",
    ),
    _alike(
        "DEPTHWISE_CONV_2D",
        "float32",
        ("float32_fma_in_order/bias_last", "float32_fma_beyond_eights/bias_last"),
        "no product is beside another channel's",
    ),
    _alike(
        "DEPTHWISE_CONV_2D",
        "float32",
        ("float32_fma_neon/bias_first", "float32_fma_neon_one_row/bias_first", "float32_fma_neon_depthwise/bias_first"),
        "they differ in sums over channels, and a filter has one",
    ),
    _alike(
        "CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV",
        "uint8",
        ("float32-half_even", "float32-half_even-saturate", "float32-half_even/by_window"),
        "they differ where a scaled sum below -2^31 meets a negative zero point, and uint8 has none",
    ),
)


def why_alike(operator: str, dtype: str, rule: str, rival: str) -> str:
    """Why no output tells a rule from its rival on an element type; empty where one may."""
    if not OPERATORS[operator].reads_scales:
        return MOVED
    pair = {rule, rival}
    found = (a for a in ALIKE if operator in a.operators and dtype in a.types and pair <= a.rules)
    return next((alike.reason for alike in found), "")
