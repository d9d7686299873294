"""LiteRT's own optimized kernels on ARM64 without dot products: four rows are never taken at once."""

from __future__ import annotations

from dataclasses import replace

from .base import Family
from .derive import hybrid_rules
from .litert_builtin_arm64 import LITERT_BUILTIN_ARM64

__all__ = ["LITERT_BUILTIN_ARM64_NEON"]

LITERT_BUILTIN_ARM64_NEON = replace(
    LITERT_BUILTIN_ARM64,
    name="litert-builtin-arm64-neon",
    title="LiteRT's optimized kernels without a delegate, on ARM64 without dot products (ruy)",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A53, A72 and A73, Raspberry Pi 3 and 4; shown "
    "under qemu-aarch64 as a Cortex-A72",
    rules={
        **LITERT_BUILTIN_ARM64.rules,
        **hybrid_rules(Family.BUILTIN, "hybrid-int8-neon/never_four_rows", "hybrid-int4-nibbles-neon/never_four_rows"),
    },
    overflowing=frozenset({Family.BUILTIN}),
    sources=(
        "google/ruy ruy/kernel_arm64.cc: several rows, pairs of products in 16 bits",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",
    ),
)
