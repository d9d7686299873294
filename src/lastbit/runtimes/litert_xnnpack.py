"""LiteRT as it comes: an Interpreter made without options hands what it can to the XNNPACK delegate."""

from __future__ import annotations

from .base import Rule, Runtime

LITERT_XNNPACK = Runtime(
    name="litert-xnnpack",
    title="LiteRT's default: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64",
    rules={
        ("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even", "xnnpack"),
        ("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even", "xnnpack"),
    },
    sources=(
        "google/XNNPACK src/subgraph/fully-connected.c, src/qs8-qc8w-gemm",
        "google-ai-edge/LiteRT tflite/delegates/xnnpack/xnnpack_delegate.cc",
    ),
    fallback="litert-builtin",
)
