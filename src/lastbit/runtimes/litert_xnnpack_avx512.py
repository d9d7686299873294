"""LiteRT as it comes, on x86-64 with AVX512 and without its VNNI: Skylake-X and Skylake servers."""

from __future__ import annotations

from .base import Family, Runtime
from .derive import WHOLE_INT4_SUMS, hybrid_rules
from .litert_xnnpack import LITERT_XNNPACK

__all__ = ["LITERT_XNNPACK_AVX512"]

LITERT_XNNPACK_AVX512 = Runtime(
    name="litert-xnnpack-avx512",
    title="LiteRT's default on x86-64 with AVX512 without VNNI: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64 with AVX512, without AVX512-VNNI",
    rules={
        **LITERT_XNNPACK.rules,
        **WHOLE_INT4_SUMS,
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-bound_first", "hybrid-qd8-fma"),
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565 adds the zero point in 16 bits, saturating; "
        "what 2.3.0 prints wraps, as a sum of 32 bits does",
    ),
    fallback="litert-builtin-x86",
)
