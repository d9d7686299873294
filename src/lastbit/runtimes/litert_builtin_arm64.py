"""LiteRT's own optimized kernels on ARM64, without a delegate: ruy's NEON kernels, and a matrix-vector kernel."""

from __future__ import annotations

from .base import Family, Runtime
from .derive import NO_INT16_WEIGHTS, SINGLE, hybrid_rules, kept_arm64, matrix_product, saturating_int16
from .litert_builtin_x86 import LITERT_BUILTIN_X86
from .variant import key_of

__all__ = ["LITERT_BUILTIN_ARM64"]

LITERT_BUILTIN_ARM64 = Runtime(
    name="litert-builtin-arm64",
    title="LiteRT's optimized kernels without a delegate, on ARM64 (ruy)",
    oracle="ai-edge-litert 2.0.2, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, aarch64",
    platform="ARM64 with dot product instructions, shown under qemu-aarch64",
    rules={
        **kept_arm64(
            LITERT_BUILTIN_X86,
            key_of("DEQUANTIZE", "int8->float32"),
            key_of("DEQUANTIZE", "uint8->float32"),
            key_of("SOFTMAX", "int8->int8"),
            key_of("SOFTMAX", "uint8->uint8"),
        ),
        **saturating_int16(Family.BUILTIN),
        **matrix_product(("q31-by_rows-floor/fd", "q31-by_rows-floor/dd"), SINGLE, Family.BUILTIN),
        **NO_INT16_WEIGHTS,
        **hybrid_rules(Family.BUILTIN, "hybrid-int8-neon", "hybrid-int4-nibbles-neon"),
    },
    operator_versions={"FULLY_CONNECTED": 13},
    sources=(
        "google/ruy ruy/kernel_arm64.cc: several rows",
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9: one row",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0, "
        "4bit/neon_fully_connected.cc @01d971c556e3: hybrid",
    ),
)
