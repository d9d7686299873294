"""LiteRT's reference kernels, 1.4.0 and later: requantization in float64, rounded once."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .operator_rules import REFERENCE_OPERATORS
from .shared import (
    COPIED,
    EIGHT_BIT,
    FLOAT_FUNCTIONS,
    INT16_GRANULARITIES,
    LITERT_DENSE_REFUSED,
    RELUS,
    int16_by_reference,
)
from .variant import key_of

LITERT_REFERENCE = Runtime(
    name="litert-reference",
    title="LiteRT's reference kernels",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_REF",
    platform="x86-64",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float64-half_away", Family.REFERENCE),
        **int16_by_reference(Family.REFERENCE, *INT16_GRANULARITIES),
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-in_order-bias_last", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        **{
            key_of("FULLY_CONNECTED", f"float32 x {w} -> float32 {g}"): Rule("hybrid-int8-unfused", Family.REFERENCE)
            for w in ("int8", "int4")
            for g in ("per_tensor", "per_channel")
        },
        **{
            key_of("QUANTIZE", f"float32->{t}"): Rule("float32_divide_half_away", Family.REFERENCE)
            for t in ("int8", "uint8", "int16")
        },
        **{
            key_of("QUANTIZE", f"{a}->{b}"): Rule("q31_half_up_half_away", Family.REFERENCE)
            for a in EIGHT_BIT
            for b in EIGHT_BIT
        },
        **{
            key_of("QUANTIZE", types): Rule("q31_half_up_half_away", Family.REFERENCE)
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
            key_of("DEQUANTIZE", f"{t}->float32"): Rule("float32_difference_times_scale", Family.REFERENCE)
            for t in EIGHT_BIT
        },
        key_of("DEQUANTIZE", "int16->float32"): Rule("float32_difference_times_scale", Family.REFERENCE),
        key_of("DEQUANTIZE", "float16->float32"): Rule("float16_widen", Family.REFERENCE),
        **{
            key_of(relu, f"{t}->{t}"): Rule("q31_half_up_half_away/float32_ratio", Family.REFERENCE)
            for relu in RELUS
            for t in EIGHT_BIT
        },
        **{key_of(relu, "float32->float32"): Rule("float32_clamp", Family.REFERENCE) for relu in RELUS},
        key_of("RELU", "int16->int16"): Rule("q31_half_up_half_away/float32_ratio", Family.REFERENCE),
        key_of("RELU6", "int16->int16"): Rule("q31_half_up_half_away/float32_ratio", Family.REFERENCE),
        key_of("RELU_N1_TO_1", "int16->int16"): Refused(
            Refusal.RUNTIME, "the runtime takes float32, uint8 and int8 only"
        ),
        **{
            key_of("SOFTMAX", f"{a}->{b}"): Rule("gemmlowp_fixed_point", Family.REFERENCE)
            for a, b in (("int8", "int8"), ("uint8", "uint8"), ("int8", "int16"), ("uint8", "int16"))
        },
        key_of("SOFTMAX", "int16->int16"): Rule("interpolated_int16/float64_tables", Family.REFERENCE),
        **{key_of("LOGISTIC", f"{t}->{t}"): Rule("lut_expf_half_away", Family.REFERENCE) for t in EIGHT_BIT},
        **{key_of("TANH", f"{t}->{t}"): Rule("lut_tanhf_half_away", Family.REFERENCE) for t in EIGHT_BIT},
        key_of("LOGISTIC", "int16->int16"): Rule("interpolated_int16", Family.REFERENCE),
        key_of("TANH", "int16->int16"): Rule("interpolated_int16", Family.REFERENCE),
        **{key_of("RESHAPE", f"{t}->{t}"): Rule("copy", Family.REFERENCE) for t in COPIED},
        **FLOAT_FUNCTIONS,
        **REFERENCE_OPERATORS,
        **LITERT_DENSE_REFUSED,
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/internal/reference/integer_ops/fully_connected.h @13eade63b67f",
        "google-ai-edge/LiteRT tflite/kernels/internal/common.cc @14906c9528b1: int16 x int16",
    ),
)
