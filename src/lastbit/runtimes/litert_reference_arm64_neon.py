"""LiteRT's reference kernels on ARM64 without dot products: hybrid layers never take four rows at once."""

from __future__ import annotations

from dataclasses import replace

from .base import Family
from .derive import hybrid_rules
from .litert_reference_arm64 import LITERT_REFERENCE_ARM64

__all__ = ["LITERT_REFERENCE_ARM64_NEON"]

LITERT_REFERENCE_ARM64_NEON = replace(
    LITERT_REFERENCE_ARM64,
    name="litert-reference-arm64-neon",
    title="LiteRT's reference kernels, on ARM64 without dot products",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A53, A72 and A73, Raspberry Pi 3 and 4; shown "
    "under qemu-aarch64 as a Cortex-A72",
    rules={
        **LITERT_REFERENCE_ARM64.rules,
        **hybrid_rules(Family.REFERENCE, "hybrid-int8-neon/never_four_rows", "hybrid-int8-neon/never_four_rows"),
    },
    sources=("google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",),
)
