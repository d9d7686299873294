"""LiteRT's own optimized kernels on x86-64, without a delegate; dense layers go through the ruy matrix library."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .operator_rules import BUILTIN_OPERATORS
from .shared import (
    COPIED,
    EIGHT_BIT,
    FLOAT_FUNCTIONS,
    INT16_GRANULARITIES,
    LITERT_DENSE_REFUSED,
    RELUS,
    int16_by_reference,
    int16_variant,
)
from .variant import key_of

LITERT_BUILTIN_X86 = Runtime(
    name="litert-builtin-x86",
    title="LiteRT's optimized kernels without a delegate (ruy on x86-64 with AVX or better)",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    platform="x86-64 with AVX, AVX2 or AVX512",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_up/dd", Family.BUILTIN),
        # ruy takes int16 activations unless the bias asks for 64 bits or the weights have a zero point.
        **int16_by_reference(Family.BUILTIN, *INT16_GRANULARITIES),
        **{
            int16_variant(weights, granularity, bias): Rule(f"q31-half_up-half_up/{product}", Family.BUILTIN)
            for weights in ("int8", "int4")
            for granularity, product in (("per_tensor", "fd"), ("per_channel", "dd"))
            for bias in ("int32_bias", "int32_bias_type", "no_bias")
        },
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("q31-half_up-half_up/dd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Refused(
            Refusal.NOT_EXACT,
            "not exact: Eigen's matrix product adds in an order that depends on the layer's shape, the batch and the "
            "CPU's cache sizes",
        ),
        **{
            key_of("FULLY_CONNECTED", f"float32 x {w} -> float32 {g}"): Rule(rule, Family.BUILTIN)
            for w, rule in (("int8", "hybrid-int8-unfused"), ("int4", "hybrid-int4-nibbles"))
            for g in ("per_tensor", "per_channel")
        },
        **{
            key_of("QUANTIZE", f"float32->{t}"): Rule("vector8_inverse_half_even", Family.BUILTIN)
            for t in ("int8", "uint8", "int16")
        },
        **{
            key_of("QUANTIZE", f"{a}->{b}"): Rule("q31_vector16_half_up", Family.BUILTIN)
            for a in EIGHT_BIT
            for b in EIGHT_BIT
        },
        **{
            key_of("QUANTIZE", types): Rule("q31_half_up_half_away", Family.BUILTIN)
            for types in (
                "int8->int16",
                "uint8->int16",
                "int16->int8",
                "int16->int16",
                "int16->int32",
                "int32->int8",
                "int32->int16",
            )
        },
        **{
            key_of("DEQUANTIZE", f"{t}->float32"): Rule("float32_vector8_product_plus_offset", Family.BUILTIN)
            for t in EIGHT_BIT
        },
        key_of("DEQUANTIZE", "int16->float32"): Rule("float32_difference_times_scale", Family.BUILTIN),
        key_of("DEQUANTIZE", "float16->float32"): Rule("float16_widen", Family.BUILTIN),
        **{
            key_of(relu, f"{t}->{t}"): Rule("q31_half_up_half_away/float32_ratio", Family.BUILTIN)
            for relu in RELUS
            for t in EIGHT_BIT
        },
        **{key_of(relu, "float32->float32"): Rule("float32_clamp", Family.BUILTIN) for relu in RELUS},
        key_of("RELU", "int16->int16"): Rule("q31_half_up_half_away/float32_ratio", Family.BUILTIN),
        key_of("RELU6", "int16->int16"): Rule("q31_half_up_half_away/float32_ratio", Family.BUILTIN),
        key_of("RELU_N1_TO_1", "int16->int16"): Refused(
            Refusal.RUNTIME, "the runtime takes float32, uint8 and int8 only"
        ),
        **{
            key_of("SOFTMAX", f"{a}->{b}"): Rule("lut_float32_sum", Family.BUILTIN)
            for a, b in (("int8", "int8"), ("uint8", "uint8"), ("int8", "int16"), ("uint8", "int16"))
        },
        key_of("SOFTMAX", "int16->int16"): Rule("interpolated_int16/float64_tables", Family.BUILTIN),
        **{key_of("LOGISTIC", f"{t}->{t}"): Rule("lut_expf_half_away", Family.BUILTIN) for t in EIGHT_BIT},
        **{key_of("TANH", f"{t}->{t}"): Rule("lut_tanhf_half_away", Family.BUILTIN) for t in EIGHT_BIT},
        key_of("LOGISTIC", "int16->int16"): Rule("interpolated_int16/not_power_of_two", Family.BUILTIN),
        key_of("TANH", "int16->int16"): Rule("interpolated_int16/not_power_of_two", Family.BUILTIN),
        **{key_of("RESHAPE", f"{t}->{t}"): Rule("copy", Family.BUILTIN) for t in COPIED},
        **FLOAT_FUNCTIONS,
        **BUILTIN_OPERATORS,
        **LITERT_DENSE_REFUSED,
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/fully_connected.cc @7a5bccc5801c",
        "google-ai-edge/LiteRT tflite/kernels/internal/common.cc @14906c9528b1: 64-bit accumulators",
        "google/ruy ruy/kernel_avx512.cc @d681fa83a7f3",
    ),
)
