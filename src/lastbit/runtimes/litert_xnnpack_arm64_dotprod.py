"""LiteRT as it comes, on ARM64 with dot products and without i8mm: KleidiAI rounds all of a row half away there."""

from __future__ import annotations

from dataclasses import replace

from .base import Family
from .derive import hybrid_rules
from .litert_xnnpack_arm64 import LITERT_XNNPACK_ARM64

__all__ = ["LITERT_XNNPACK_ARM64_DOTPROD"]

LITERT_XNNPACK_ARM64_DOTPROD = replace(
    LITERT_XNNPACK_ARM64,
    name="litert-xnnpack-arm64-dotprod",
    title="LiteRT's default on ARM64 with dot products, without i8mm: XNNPACK delegate, builtin kernels for what it "
    "declines",
    platform="ARM64 with dot product instructions (asimddp) and without 8-bit matrix multiply (i8mm): Cortex-A55 to "
    "A78, Raspberry Pi 5, Apple M1; shown under qemu-aarch64 as a Cortex-A76",
    rules={
        **LITERT_XNNPACK_ARM64.rules,
        **hybrid_rules(Family.XNNPACK, "hybrid-kleidiai_away-unfused", "hybrid-kleidiai_away-unfused"),
    },
    sources=(
        "google/XNNPACK src/configs/gemm-config.c @0011854617d9: which kernels run",
        "Zijie-Tian/kleidiai kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_f32.c @3637c6ec5319: hybrid, rows in "
        "blocks of four",
    ),
)
