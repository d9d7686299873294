"""Runtimes that are another one with other rules for some operators: other CPUs, other versions."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Family, Refusal, Refused, Rule
from .table_parts import INT16_GRANULARITIES, int16_by_reference, int16_variant
from .variant import Key, Variant, key_of

__all__ = [
    "AROUND_DENSE",
    "DENSE_8BIT",
    "NO_INT16_WEIGHTS",
    "Q15",
    "SINGLE",
    "UP_AWAY",
    "UP_UP",
    "WHOLE_INT4_SUMS",
    "ByGranularity",
    "Rules",
    "beside_dense",
    "hybrid_rules",
    "kept",
    "matrix_product",
    "of_granularity",
    "saturating_int16",
]

Rules = Mapping[Key, Rule | Refused]

DENSE_8BIT = (
    "int8 per_tensor",
    "int8 per_channel",
    "int8 per_tensor weights_zero_point",
    "uint8 per_tensor",
    "int8 x int4 -> int8 per_tensor",
    "int8 x int4 -> int8 per_channel",
)
"""Variants of FULLY_CONNECTED with an 8-bit input and output that LiteRT's own kernels run."""

AROUND_DENSE = (
    "QUANTIZE",
    "DEQUANTIZE",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
    "SOFTMAX",
    "LOGISTIC",
    "TANH",
    "RESHAPE",
)
"""Operators that other CPUs and versions were asked about, beside dense layers."""


ByGranularity = tuple[str, str]
"""Two rules that differ in how the scales are multiplied: that of layers with one weights scale, and of the others."""

UP_UP: ByGranularity = ("q31-half_up-half_up/fd", "q31-half_up-half_up/dd")
UP_AWAY: ByGranularity = ("q31-half_up-half_away/fd", "q31-half_up-half_away/dd")
SINGLE: ByGranularity = ("q31-single-half_up/fd", "q31-single-half_up/dd")
Q15: ByGranularity = ("q15-half_up/fd", "q15-half_up/dd")


def of_granularity(rules: ByGranularity, variant: Variant) -> str:
    """LiteRT's fixed-point kernels multiply the scales in float32 first where there is one weights scale."""
    return rules[variant.per_channel]


def beside_dense(base: Rules) -> dict[Key, Rule | Refused]:
    """What a runtime says of the operators beside dense layers, and what it refuses of those: where ARM64 begins."""
    return {key: rule for key, rule in base.items() if key[0] != "FULLY_CONNECTED" or isinstance(rule, Refused)}


def kept(base: Rules, *operators: str) -> dict[Key, Rule | Refused]:
    """What a runtime says of some operators, and what it refuses of dense layers."""
    return {
        key: rule
        for key, rule in base.items()
        if key[0] in operators or (key[0] == "FULLY_CONNECTED" and isinstance(rule, Refused))
    }


NO_INT16_WEIGHTS = {
    key_of("FULLY_CONNECTED", f"int16 {granularity}"): Refused(
        Refusal.RUNTIME, "ai-edge-litert up to 2.0.2 takes int16 weights nowhere on ARM64"
    )
    for granularity in ("per_tensor", "per_channel")
}
"""int16 x int16 in older versions on ARM64."""


WHOLE_INT4_SUMS = {
    key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule("float32-half_even", Family.XNNPACK)
    for granularity in ("per_tensor", "per_channel")
}
"""XNNPACK's int4 kernels that have the whole accumulator; that of AVX512-VNNI has its upper 28 bits."""


def hybrid_rules(kernel: Family, int8: str, int4: str) -> dict[Key, Rule | Refused]:
    """Rules of dense layers with float32 activations and integer weights."""
    return {
        key_of("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): Rule(rule, kernel)
        for weights, rule in (("int8", int8), ("int4", int4))
        for granularity in ("per_tensor", "per_channel")
    }


def saturating_int16(kernel: Family) -> dict[Key, Rule | Refused]:
    """LiteRT's reference arithmetic for int16 activations on ARM64: a float64 that does not fit an int32 saturates."""
    names = "float64-half_away-saturate", "float64-half_away-saturate/acc64"
    return {**int16_by_reference(kernel, *INT16_GRANULARITIES, names=names)}


def matrix_product(eight_bit: ByGranularity, int16: ByGranularity, kernel: Family) -> dict[Key, Rule | Refused]:
    """Rules of the dense layers that go through a matrix library.

    Args:
        eight_bit: the rules of 8-bit layers.
        int16: those of layers with int16 activations whose accumulator has 32 bits.
        kernel: the kernel family.
    """
    rules: dict[Key, Rule | Refused] = {
        key_of("FULLY_CONNECTED", variant): Rule(of_granularity(eight_bit, Variant.parse(variant)), kernel)
        for variant in DENSE_8BIT
    }
    for weights in ("int8", "int4"):
        for granularity in INT16_GRANULARITIES:
            for bias in ("int32_bias", "int32_bias_type", "no_bias"):
                if "zero_point" not in granularity:
                    key = int16_variant(weights, granularity, bias)
                    rules[key] = Rule(of_granularity(int16, key[1]), kernel)
    return rules
