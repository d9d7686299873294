"""LiteRT as it comes, on x86-64 with AVX512 and without its VNNI: Skylake-X and Skylake servers."""

from __future__ import annotations

from .base import Rule, Runtime
from .litert_xnnpack import LITERT_XNNPACK

__all__ = ["LITERT_XNNPACK_AVX512"]

LITERT_XNNPACK_AVX512 = Runtime(
    name="litert-xnnpack-avx512",
    title="LiteRT's default on x86-64 with AVX512 without VNNI: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64 with AVX512, without AVX512-VNNI",
    rules={
        **LITERT_XNNPACK.rules,
        # As AVX2's kernels: the int4 kernel has the whole accumulator; that of VNNI has its upper 28 bits.
        ("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("float32-half_even", "xnnpack"),
        ("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("float32-half_even", "xnnpack"),
        **{
            ("FULLY_CONNECTED", f"float32 x int8 -> float32 {g}"): Rule("hybrid-qd8-fma-bound_first", "xnnpack")
            for g in ("per_tensor", "per_channel")
        },
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565 adds the zero point in 16 bits, saturating; "
        "what 2.3.0 prints wraps, as a sum of 32 bits does",
    ),
    fallback="litert-builtin-x86",
)
