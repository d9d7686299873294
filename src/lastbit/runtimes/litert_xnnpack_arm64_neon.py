"""LiteRT as it comes, on ARM64 without dot products, other than Cortex-A53: sums of two products have 16 bits."""

from __future__ import annotations

from dataclasses import replace

from .base import Family
from .derive import hybrid_rules
from .litert_xnnpack_arm64 import LITERT_XNNPACK_ARM64

__all__ = ["LITERT_XNNPACK_ARM64_NEON"]

LITERT_XNNPACK_ARM64_NEON = replace(
    LITERT_XNNPACK_ARM64,
    name="litert-xnnpack-arm64-neon",
    title="LiteRT's default on ARM64 without dot products: XNNPACK delegate, builtin kernels for what it declines",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A72 and A73, Raspberry Pi 4, and cores that "
    "XNNPACK does not know; not Cortex-A53, whose uint8 kernel is another; shown under qemu-aarch64 as a Cortex-A72",
    rules={
        **LITERT_XNNPACK_ARM64.rules,
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-pairs_of_16_bits", "hybrid-qd8-fma-pairs_of_16_bits"),
    },
    overflowing=frozenset({Family.XNNPACK, Family.BUILTIN}),
    sources=(
        "google/XNNPACK src/configs/gemm-config.c @0011854617d9: which kernels run on which core",
        "google/XNNPACK src/qd8-f32-qc8w-gemm/gen/qd8-f32-qc8w-gemm-1x8c2s4-minmax-neon-mlal.c @dd83e68dc013: hybrid, "
        "pairs of products in 16 bits",
    ),
    fallback="litert-builtin-arm64-neon",
)
