"""LiteRT's reference kernels, 1.4.0 and later: requantization in float64, rounded once."""

from __future__ import annotations

from .base import Rule, Runtime

LITERT_REFERENCE = Runtime(
    name="litert-reference",
    title="LiteRT's reference kernels",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_REF",
    platform="x86-64",
    rules={
        ("FULLY_CONNECTED", "int8 per_tensor"): Rule("float64-half_away", "reference"),
        ("FULLY_CONNECTED", "int8 per_channel"): Rule("float64-half_away", "reference"),
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/internal/reference/integer_ops/fully_connected.h @13eade63b67f",
    ),
)
