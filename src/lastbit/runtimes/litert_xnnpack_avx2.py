"""LiteRT as it comes, on x86-64 with AVX2 and no better: XNNPACK's AVX2 kernels saturate where those of VNNI wrap."""

from __future__ import annotations

from .base import Family, Rule, Runtime
from .derive import WHOLE_INT4_SUMS, hybrid_rules
from .litert_xnnpack import LITERT_XNNPACK
from .operator_rules import XNNPACK_AVX2_OPERATORS
from .variant import key_of

__all__ = ["LITERT_XNNPACK_AVX2"]

LITERT_XNNPACK_AVX2 = Runtime(
    name="litert-xnnpack-avx2",
    title="LiteRT's default on x86-64 with AVX2: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64 with AVX2, without AVX512 and AVX-VNNI",
    rules={
        **LITERT_XNNPACK.rules,
        **XNNPACK_AVX2_OPERATORS,
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even-saturate", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even-saturate", Family.XNNPACK),
        **WHOLE_INT4_SUMS,
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-bound_first", "hybrid-qd8-fma"),
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx8c8-avx2.c.in @a9fefe77cf0d: the zero point is added in 16 bits, saturating",
    ),
    fallback="litert-builtin-x86",
)
