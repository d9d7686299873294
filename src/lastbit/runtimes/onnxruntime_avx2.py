"""ONNX Runtime on x86-64 without VNNI: uint8 x int8 products of neighbours are added in 16 bits, which saturate."""

from __future__ import annotations

from dataclasses import replace

from .derive import in_pairs
from .onnxruntime import ONNXRUNTIME
from .variant import Variant

__all__ = ["ONNXRUNTIME_AVX2"]

# int8 x int8 is widened to 16 bits and uint8 x uint8 too: only uint8 x int8 goes through VPMADDUBSW.
ONNXRUNTIME_AVX2 = replace(
    ONNXRUNTIME,
    name="onnxruntime-avx2",
    title="ONNX Runtime as `onnxruntime`, on CPUs without VNNI: uint8 x int8 products are added in saturating pairs",
    platform="x86-64 with AVX2, without VNNI",
    rules=in_pairs(
        ONNXRUNTIME, *(Variant("uint8", "uint8", "int8", granularity) for granularity in ("per_tensor", "per_channel"))
    ),
    sources=(
        *ONNXRUNTIME.sources,
        "microsoft/onnxruntime onnxruntime/core/mlas/lib/x86_64/QgemmU8X8KernelAvx2.S @04c3d924bb04: VPMADDUBSW",
    ),
)
