"""PyTorch's fbgemm on x86-64 without AVX512-VNNI: products of neighbours are added in 16 bits, which saturate."""

from __future__ import annotations

from dataclasses import replace

from .base import Rule
from .derive import in_pairs
from .torch_fbgemm import TORCH_FBGEMM

__all__ = ["TORCH_FBGEMM_AVX2"]

TORCH_FBGEMM_AVX2 = replace(
    TORCH_FBGEMM,
    name="torch-fbgemm-avx2",
    title="PyTorch quantized.linear as `torch-fbgemm`, on CPUs without VNNI: products are added in saturating pairs",
    platform="x86-64 with AVX2, without VNNI",
    rules=in_pairs(TORCH_FBGEMM, *(variant for (_, variant), r in TORCH_FBGEMM.rules.items() if isinstance(r, Rule))),
    sources=(
        *TORCH_FBGEMM.sources,
        "pytorch/FBGEMM src/GenerateKernelU8S8S32ACC32.cc @0055968febd1: VPMADDUBSW, then VPMADDWD by ones",
    ),
)
