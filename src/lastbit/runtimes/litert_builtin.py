"""LiteRT's own optimized kernels on x86-64, without a delegate; dense layers go through the ruy matrix library."""

from __future__ import annotations

from .base import Rule, Runtime

LITERT_BUILTIN = Runtime(
    name="litert-builtin",
    title="LiteRT's optimized kernels without a delegate (ruy on x86-64 with AVX or better)",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    platform="x86-64 with AVX, AVX2 or AVX512",
    rules={
        ("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_up/fd", "builtin"),
        ("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_up/dd", "builtin"),
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/fully_connected.cc @7a5bccc5801c",
        "google/ruy ruy/kernel_avx512.cc @d681fa83a7f3",
    ),
)
