"""PyTorch's quantized linear on fbgemm: uint8 activations, int8 weights, the bias added in float32."""

from __future__ import annotations

from ..rules.base import NEIGHBOURS
from .base import Family, Refusal, Refused, Rule
from .cpu import Cpu, Interpreter, Mode
from .machine import X86_64
from .table_parts import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import key_of

__all__ = ["TORCH_FBGEMM"]

_FUSED = Rule("float32-bias_fused-half_even", Family.FBGEMM)
_DIVISION = Rule("float32-bias_by_division-half_even", Family.FBGEMM)
_NO_TYPE = "quantized.linear takes uint8 activations and int8 weights only"

_VNNI = Cpu(
    name="torch-fbgemm",
    title="PyTorch quantized.linear, engine fbgemm; int8 is handed over as uint8 with 128 added to both zero points",
    oracle="torch 2.13.0, torch.ops.quantized.linear",
    platform="x86-64 with AVX512-VNNI; without it, where no two neighbouring products leave 16 bits",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): _FUSED,
        key_of("FULLY_CONNECTED", "int8 per_channel"): _DIVISION,
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): _FUSED,
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): _FUSED,
        key_of("FULLY_CONNECTED", "uint8 x int8 -> uint8 per_tensor"): _FUSED,
        key_of("FULLY_CONNECTED", "uint8 x int8 -> uint8 per_channel"): _DIVISION,
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
        "pytorch/FBGEMM src/QuantUtilsAvx2.cc @5d2ade5deb71: requantizeOutputProcessingAvx2",
        "pytorch/pytorch aten/src/ATen/native/quantized/cpu/qlinear.cpp: scales in float32",
    ),
    vectors=("AVX512-VNNI",),
)

# PyTorch's fbgemm on x86-64 without AVX512-VNNI: products of neighbours are added in 16 bits, which saturate.
_AVX2 = Cpu(
    name="torch-fbgemm-avx2",
    title="PyTorch quantized.linear as `torch-fbgemm`, on CPUs without VNNI: products are added in saturating pairs",
    platform="x86-64 with AVX2, without VNNI",
    products=NEIGHBOURS,
    in_products=tuple(variant for (_, variant), rule in _VNNI.rules.items() if isinstance(rule, Rule)),
    sources=(
        *_VNNI.sources,
        "pytorch/FBGEMM src/GenerateKernelU8S8S32ACC32.cc @0055968febd1: VPMADDUBSW, then VPMADDWD by ones",
    ),
    like="torch-fbgemm",
    machines=X86_64,
    vectors=("AVX2", "AVX512", "AVX-VNNI"),
)

TORCH_FBGEMM = Interpreter(
    Mode("torch", "torch", "quantized.linear, engine fbgemm", ("torch", "-"), script="dense_worker"),
    (
        _VNNI,
        _AVX2,
    ),
)
