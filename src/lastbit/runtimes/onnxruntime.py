"""ONNX Runtime's quantized matrix products on the CPU: a dense layer handed to QGemm or QLinearMatMul."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .shared import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import key_of

_CLIP = Rule("float32-clip-half_even", Family.ONNXRUNTIME)
_NO_TYPE = "NOT_IMPLEMENTED: QGemm and QLinearMatMul take int8 x int8 and uint8 x (u)int8 only"

ONNXRUNTIME = Runtime(
    name="onnxruntime",
    title="ONNX Runtime, CPU: QGemm (layers with a bias), QLinearMatMul (without); fused activation as Clip",
    oracle="onnxruntime 1.32.0, CPUExecutionProvider",
    platform="x86-64 with VNNI; without it all but uint8 x int8, which is right where no two products leave 16 bits",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): _CLIP,
        key_of("FULLY_CONNECTED", "int8 per_channel"): _CLIP,
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): _CLIP,
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): _CLIP,
        key_of("FULLY_CONNECTED", "uint8 x int8 -> uint8 per_tensor"): _CLIP,
        key_of("FULLY_CONNECTED", "uint8 x int8 -> uint8 per_channel"): _CLIP,
        **{
            key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Refused(Refusal.RUNTIME, _NO_TYPE)
            for granularity in ("per_tensor", "per_channel", "per_tensor weights_zero_point")
        },
        **{
            int16_variant(weights, granularity, bias): Refused(Refusal.RUNTIME, _NO_TYPE)
            for weights in ("int8", "int4")
            for granularity in INT16_GRANULARITIES
            for bias in INT16_BIASES
        },
        **{
            key_of("FULLY_CONNECTED", f"int16 {g}"): Refused(Refusal.RUNTIME, _NO_TYPE)
            for g in ("per_tensor", "per_channel")
        },
    },
    sources=(
        "microsoft/onnxruntime onnxruntime/contrib_ops/cpu/quantization/quant_gemm.cc @0353d5f6d604",
        "microsoft/onnxruntime onnxruntime/core/providers/cpu/quantization/quantize_linear_matmul.cc @06ce6eb71a7a",
        "microsoft/onnxruntime onnxruntime/core/mlas/lib/quantize.cpp: MlasRequantizeOutputVector",
    ),
)
