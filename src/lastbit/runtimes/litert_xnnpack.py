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
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512vnni.c.in @028aae4f5fcf: the zero point is added in 32 bits",
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565: added in 16 bits, saturating; differs only "
        "where acc times the effective scale is below -2^31",
    ),
    fallback="litert-builtin",
)
