"""LiteRT as it comes, on x86-64 with AVX-VNNI and without AVX512: client CPUs of Intel from Alder Lake on."""

from __future__ import annotations

from .base import Family, Runtime
from .derive import hybrid_rules
from .litert_xnnpack import LITERT_XNNPACK
from .operator_rules import XNNPACK_AVXVNNI_OPERATORS

__all__ = ["LITERT_XNNPACK_AVXVNNI"]

LITERT_XNNPACK_AVXVNNI = Runtime(
    name="litert-xnnpack-avxvnni",
    title="LiteRT's default on x86-64 with AVX-VNNI: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64 with AVX-VNNI, without AVX512",
    rules={
        **LITERT_XNNPACK.rules,
        **XNNPACK_AVXVNNI_OPERATORS,
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-bound_first", "hybrid-qd8-fma"),
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx8c8-avxvnni.c.in @028aae4f5fcf: the zero point is added in 32 bits; in hybrid "
        "layers the lower bound is the maximum's second operand",
    ),
    fallback="litert-builtin-x86",
)
