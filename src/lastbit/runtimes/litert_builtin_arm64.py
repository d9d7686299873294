"""LiteRT's own optimized kernels on ARM64, without a delegate: ruy's NEON kernels, and a matrix-vector kernel."""

from __future__ import annotations

from .base import Runtime
from .derive import UNSETTLED_ARM64, kept_arm64, matrix_product
from .litert_builtin_x86 import LITERT_BUILTIN_X86
from .shared import INT16_GRANULARITIES, int16_by_reference

__all__ = ["LITERT_BUILTIN_ARM64"]

LITERT_BUILTIN_ARM64 = Runtime(
    name="litert-builtin-arm64",
    title="LiteRT's optimized kernels without a delegate, on ARM64 (ruy)",
    oracle="ai-edge-litert 2.0.2, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, aarch64",
    platform="ARM64, shown under qemu-aarch64",
    rules={
        **kept_arm64(
            LITERT_BUILTIN_X86,
            ("DEQUANTIZE", "int8->float32"),
            ("DEQUANTIZE", "uint8->float32"),
            ("SOFTMAX", "int8->int8"),
            ("SOFTMAX", "uint8->uint8"),
        ),
        **dict.fromkeys(int16_by_reference("builtin", *INT16_GRANULARITIES), UNSETTLED_ARM64),
        **matrix_product("q31-by_rows-floor", "q31-single-half_up", "builtin"),
    },
    operator_versions={"FULLY_CONNECTED": 13},
    sources=(
        "google/ruy ruy/kernel_arm64.cc: several rows",
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9: one row",
    ),
)
