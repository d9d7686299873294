"""LiteRT as it comes: an Interpreter made without options hands what it can to the XNNPACK delegate."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .derive import hybrid_rules
from .operator_rules import XNNPACK_OPERATORS
from .shared import FLOAT_FUNCTIONS
from .variant import key_of

LITERT_XNNPACK = Runtime(
    name="litert-xnnpack",
    title="LiteRT's default: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("float32-half_even/acc28", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("float32-half_even/acc28", Family.XNNPACK),
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma", "hybrid-qd8-fma"),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-fma-bias_first", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        # Only what the delegate takes stands here; the rest is the fallback's.
        key_of("QUANTIZE", "float32->int8"): Rule("float32_inverse_half_even_saturate", Family.XNNPACK),
        key_of("QUANTIZE", "float32->uint8"): Rule("float32_inverse_half_even_saturate", Family.XNNPACK),
        key_of("QUANTIZE", "int8->int8"): Rule("q8_half_up", Family.XNNPACK),
        key_of("QUANTIZE", "uint8->uint8"): Rule("q8_half_up", Family.XNNPACK),
        key_of("DEQUANTIZE", "int8->float32"): Rule("float32_difference_times_scale", Family.XNNPACK),
        key_of("DEQUANTIZE", "uint8->float32"): Rule("float32_difference_times_scale", Family.XNNPACK),
        key_of("RELU", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("RELU6", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("RELU_N1_TO_1", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("LOGISTIC", "int8->int8"): Rule("lut_exp_half_even", Family.XNNPACK),
        key_of("LOGISTIC", "uint8->uint8"): Rule("lut_exp_half_even", Family.XNNPACK),
        key_of("TANH", "int8->int8"): Rule("lut_tanhf_half_even", Family.XNNPACK),
        key_of("TANH", "uint8->uint8"): Rule("lut_tanhf_half_even", Family.XNNPACK),
        key_of("RESHAPE", "int8->int8"): Rule("copy", Family.XNNPACK),
        key_of("RESHAPE", "uint8->uint8"): Rule("copy", Family.XNNPACK),
        key_of("RESHAPE", "float32->float32"): Rule("copy", Family.XNNPACK),
        **FLOAT_FUNCTIONS,
        **XNNPACK_OPERATORS,
    },
    sources=(
        "google/XNNPACK src/qs8-qc4w-gemm/gen/qs8-qc4w-gemm-1x16c8-minmax-fp32-avx512vnnigfni.c @e1c0479a0165: int4 "
        "weights, the accumulator's upper 28 bits",
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512vnni.c.in @028aae4f5fcf: the zero point is added in 32 bits",
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565: added in 16 bits, saturating; differs only "
        "where acc times the effective scale is below -2^31",
    ),
    fallback="litert-builtin-x86",
)
