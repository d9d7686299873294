"""LiteRT's reference kernels on ARM64: a float64 that does not fit an int32 saturates, where x86-64 has INT32_MIN."""

from __future__ import annotations

from .base import Family, Rule, Runtime
from .derive import DENSE_8BIT, NO_INT16_WEIGHTS, hybrid_rules, kept_arm64, saturating_int16
from .litert_reference import LITERT_REFERENCE
from .variant import key_of

__all__ = ["LITERT_REFERENCE_ARM64"]

LITERT_REFERENCE_ARM64 = Runtime(
    name="litert-reference-arm64",
    title="LiteRT's reference kernels, on ARM64",
    oracle="ai-edge-litert 2.0.2, OpResolverType.BUILTIN_REF, aarch64",
    platform="ARM64 with dot product instructions, shown under qemu-aarch64",
    rules={
        **kept_arm64(LITERT_REFERENCE),
        **saturating_int16(Family.REFERENCE),
        **NO_INT16_WEIGHTS,
        **hybrid_rules(Family.REFERENCE, "hybrid-int8-neon", "hybrid-int8-neon"),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-in_order-fma_tail-bias_last", Family.REFERENCE),
        **{
            key_of("FULLY_CONNECTED", variant): Rule("float64-half_away-saturate", Family.REFERENCE)
            for variant in DENSE_8BIT
        },
    },
    operator_versions={"FULLY_CONNECTED": 11},
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/internal/reference/integer_ops/fully_connected.h @13eade63b67f",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",
        "tflite/kernels/internal/reference/fully_connected.h as compiled: float32, eight products at a time, then one",
    ),
)
