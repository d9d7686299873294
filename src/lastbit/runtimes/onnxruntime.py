"""ONNX Runtime's quantized matrix products on the CPU: a dense layer handed to QGemm or QLinearMatMul."""

from __future__ import annotations

from ..rules.base import NEIGHBOURS
from .base import Family, Refusal, Refused, Rule
from .cpu import Cpu, Interpreter, Mode
from .machine import X86_64
from .table_parts import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import Variant, key_of

__all__ = ["ONNXRUNTIME"]

_CLIP = Rule("float32-clip-half_even", Family.ONNXRUNTIME)
_NO_TYPE = "NOT_IMPLEMENTED: QGemm and QLinearMatMul take int8 x int8 and uint8 x (u)int8 only"

_VNNI = Cpu(
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
    vectors=("AVX512-VNNI", "AVX-VNNI"),
)

# int8 x int8 is widened to 16 bits and uint8 x uint8 too: only uint8 x int8 goes through VPMADDUBSW.

# ONNX Runtime on x86-64 without VNNI: uint8 x int8 products of neighbours are added in 16 bits, which saturate.
_AVX2 = Cpu(
    name="onnxruntime-avx2",
    title="ONNX Runtime as `onnxruntime`, on CPUs without VNNI: uint8 x int8 products are added in saturating pairs",
    platform="x86-64 with AVX2, without VNNI",
    products=NEIGHBOURS,
    in_products=tuple(Variant("uint8", "uint8", "int8", granularity) for granularity in ("per_tensor", "per_channel")),
    sources=(
        *_VNNI.sources,
        "microsoft/onnxruntime onnxruntime/core/mlas/lib/x86_64/QgemmU8X8KernelAvx2.S @04c3d924bb04: VPMADDUBSW",
    ),
    like="onnxruntime",
    machines=X86_64,
    vectors=("AVX2", "AVX512"),
)

ONNXRUNTIME = Interpreter(
    Mode("onnxruntime", "onnxruntime", "CPU, QGemm and QLinearMatMul", ("onnxruntime", "-"), script="dense_worker"),
    (
        _VNNI,
        _AVX2,
    ),
)
