"""LiteRT as it comes, on ARM64: XNNPACK saturates where it wraps on x86-64, and its uint8 kernels are fixed point."""

from __future__ import annotations

from .base import Family, Refused, Rule, Runtime
from .derive import UNSETTLED_ARM64, hybrid_rules
from .litert_xnnpack import LITERT_XNNPACK
from .variant import Key, key_of

__all__ = ["LITERT_XNNPACK_ARM64"]

# What the delegate was seen to do as on x86-64. Its tanh was not: one table entry of 44,000 is another, since the C
# library's tanhf is.
_SAME = (
    *(key_of("QUANTIZE", f"{t}->{t}") for t in ("int8", "uint8")),
    *(key_of("DEQUANTIZE", f"{t}->float32") for t in ("int8", "uint8")),
    *(key_of("RESHAPE", f"{t}->{t}") for t in ("float32", "int8", "uint8")),
)

_RULES: dict[Key, Rule | Refused] = {
    **dict.fromkeys((key for key in LITERT_XNNPACK.rules if key[0] != "FULLY_CONNECTED"), UNSETTLED_ARM64),
    **{key: rule for key, rule in LITERT_XNNPACK.rules.items() if key in _SAME},
    key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even-saturate", Family.XNNPACK),
    key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even-saturate", Family.XNNPACK),
    key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
        "float32-half_even-saturate/weights_zero_point_ignored", Family.XNNPACK
    ),
    key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-floor-half_up-saturate/ff", Family.XNNPACK),
    **{
        key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(
            "float32-half_even-saturate/acc28", Family.XNNPACK
        )
        for granularity in ("per_tensor", "per_channel")
    },
    **hybrid_rules(Family.XNNPACK, "hybrid-kleidiai-unfused", "hybrid-kleidiai-unfused"),
}

LITERT_XNNPACK_ARM64 = Runtime(
    name="litert-xnnpack-arm64",
    title="LiteRT's default on ARM64: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.0.2, Interpreter(model), aarch64",
    platform="ARM64, shown under qemu-aarch64; hybrid layers on CPUs with 8-bit matrix multiply instructions (i8mm)",
    rules=_RULES,
    declines=frozenset({"int4_one_scale"}),
    ignores=frozenset({"int4_zero_points", "hybrid_zero_point"}),
    operator_versions={"FULLY_CONNECTED": 13},
    sources=(
        "google/XNNPACK src/qs8-gemm/neonv8-mlal-lane.c.in: int8",
        "google/XNNPACK src/qs8-gemm/neon-mlal-lane.c.in, src/microparams-init.c: uint8 (rndnu)",
        "ARM-software/kleidiai kai/ukernels/matmul: hybrid (qai8dxp x qsi8cxp and qsi4cxp), as disassembled",
    ),
    fallback="litert-builtin-arm64",
)
