"""LiteRT as it comes: an Interpreter made without options hands what it can to the XNNPACK delegate."""

from __future__ import annotations

from .arm64_changes import ARM64_CHANGES
from .arm64_rules import ARM64_SME, ARM64_XNNPACK, xnnpack_float_sums, xnnpack_windows
from .base import Family, Refusal, Refused, Rule
from .cpu import Cpu, Interpreter, Mode
from .derive import WHOLE_INT4_SUMS, beside_dense, hybrid_rules
from .machine import ARM64, X86_64
from .operator_rules import (
    XNNPACK_AVX2_OPERATORS,
    XNNPACK_AVXVNNI_OPERATORS,
    XNNPACK_HYBRID_BOUND_FIRST,
    XNNPACK_OPERATORS,
)
from .table_parts import FLOAT_FUNCTIONS
from .variant import Key, key_of
from .x86_changes import X86_CHANGES

__all__ = ["LITERT_XNNPACK"]

_AVX512_VNNI = Cpu(
    name="litert-xnnpack",
    title="LiteRT's default: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model)",
    platform="x86-64",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("float32-half_even", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("float32-half_even/acc28", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("float32-half_even/acc28", Family.XNNPACK),
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma", "hybrid-qd8-fma"),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-fma-bias_first", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        # Only what the delegate takes stands here; the rest is the fallback's.
        key_of("QUANTIZE", "float32->int8"): Rule("float32_inverse_half_even_saturate", Family.XNNPACK),
        key_of("QUANTIZE", "float32->uint8"): Rule("float32_inverse_half_even_saturate", Family.XNNPACK),
        key_of("QUANTIZE", "int8->int8"): Rule("q8_half_up", Family.XNNPACK),
        key_of("QUANTIZE", "uint8->uint8"): Rule("q8_half_up", Family.XNNPACK),
        key_of("DEQUANTIZE", "int8->float32"): Rule("float32_difference_times_scale", Family.XNNPACK),
        key_of("DEQUANTIZE", "uint8->float32"): Rule("float32_difference_times_scale", Family.XNNPACK),
        key_of("RELU", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("RELU6", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("RELU_N1_TO_1", "float32->float32"): Rule("float32_clamp_flush", Family.XNNPACK),
        key_of("LOGISTIC", "int8->int8"): Rule("lut_exp_half_even", Family.XNNPACK),
        key_of("LOGISTIC", "uint8->uint8"): Rule("lut_exp_half_even", Family.XNNPACK),
        key_of("TANH", "int8->int8"): Rule("lut_tanhf_half_even", Family.XNNPACK),
        key_of("TANH", "uint8->uint8"): Rule("lut_tanhf_half_even", Family.XNNPACK),
        key_of("RESHAPE", "int8->int8"): Rule("copy", Family.XNNPACK),
        key_of("RESHAPE", "uint8->uint8"): Rule("copy", Family.XNNPACK),
        key_of("RESHAPE", "float32->float32"): Rule("copy", Family.XNNPACK),
        **FLOAT_FUNCTIONS,
        **XNNPACK_OPERATORS,
    },
    sources=(
        "google/XNNPACK src/qs8-qc4w-gemm/gen/qs8-qc4w-gemm-1x16c8-minmax-fp32-avx512vnnigfni.c @e1c0479a0165: int4 "
        "weights, the accumulator's upper 28 bits",
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512vnni.c.in @028aae4f5fcf: the zero point is added in 32 bits",
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565: added in 16 bits, saturating; differs only "
        "where acc times the effective scale is below -2^31",
    ),
    fallback="litert-builtin-x86",
    machines=X86_64,
    vectors=("AVX512-VNNI",),
)

# LiteRT as it comes, on x86-64 with AVX512 and without its VNNI: Skylake-X and Skylake servers.
_AVX512 = Cpu(
    name="litert-xnnpack-avx512",
    title="LiteRT's default on x86-64 with AVX512 without VNNI: XNNPACK delegate, builtin kernels for what it declines",
    platform="x86-64 with AVX512, without AVX512-VNNI",
    rules={
        **WHOLE_INT4_SUMS,
        **XNNPACK_HYBRID_BOUND_FIRST,
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx16c8-avx512skx.c.in @01a345b5a565 adds the zero point in 16 bits, saturating; "
        "what 2.3.0 prints wraps, as a sum of 32 bits does",
    ),
    like="litert-xnnpack",
    machines=X86_64,
    vectors=("AVX512",),
)

# LiteRT as it comes, on x86-64 with AVX-VNNI and without AVX512: client CPUs of Intel from Alder Lake on.
_AVX_VNNI = Cpu(
    name="litert-xnnpack-avxvnni",
    title="LiteRT's default on x86-64 with AVX-VNNI: XNNPACK delegate, builtin kernels for what it declines",
    platform="x86-64 with AVX-VNNI, without AVX512",
    rules={
        **XNNPACK_AVXVNNI_OPERATORS,
        **XNNPACK_HYBRID_BOUND_FIRST,
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx8c8-avxvnni.c.in @028aae4f5fcf: the zero point is added in 32 bits; in hybrid "
        "layers the lower bound is the maximum's second operand",
    ),
    like="litert-xnnpack",
    machines=X86_64,
    vectors=("AVX-VNNI",),
)

# LiteRT as it comes, on x86-64 with AVX2 and no better: XNNPACK's AVX2 kernels saturate where those of VNNI wrap.
_AVX2 = Cpu(
    name="litert-xnnpack-avx2",
    title="LiteRT's default on x86-64 with AVX2: XNNPACK delegate, builtin kernels for what it declines",
    platform="x86-64 with AVX2, without AVX512 and AVX-VNNI",
    rules={
        **XNNPACK_AVX2_OPERATORS,
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even-saturate", Family.XNNPACK),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even-saturate", Family.XNNPACK),
        **WHOLE_INT4_SUMS,
        **XNNPACK_HYBRID_BOUND_FIRST,
    },
    sources=(
        "google/XNNPACK src/qs8-gemm/MRx8c8-avx2.c.in @a9fefe77cf0d: the zero point is added in 16 bits, saturating",
    ),
    like="litert-xnnpack",
    machines=X86_64,
    vectors=("AVX2",),
)

_ON_ARM64: dict[Key, Rule | Refused] = {
    **beside_dense({key: rule for key, rule in _AVX512_VNNI.rules.items() if key[0] != "FULLY_CONNECTED"}),
    **ARM64_XNNPACK,
    key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float32-half_even-saturate", Family.XNNPACK),
    key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float32-half_even-saturate", Family.XNNPACK),
    key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-floor-half_up-saturate/ff", Family.XNNPACK),
    **{
        key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(
            "float32-half_even-saturate/acc28", Family.XNNPACK
        )
        for granularity in ("per_tensor", "per_channel")
    },
    **hybrid_rules(Family.XNNPACK, "hybrid-kleidiai_away-unfused", "hybrid-kleidiai_away-unfused"),
}

# LiteRT as it comes, on ARM64: XNNPACK saturates where it wraps on x86-64, and its uint8 kernels are fixed point.
_I8MM = Cpu(
    name="litert-xnnpack-arm64",
    title="LiteRT's default on ARM64: XNNPACK delegate, builtin kernels for what it declines",
    oracle="ai-edge-litert 2.3.0, Interpreter(model), aarch64",
    platform="ARM64 with 8-bit matrix multiply instructions (i8mm) and without SME; shown under qemu-aarch64 as a "
    "Neoverse N2",
    rules={**_ON_ARM64, **xnnpack_float_sums("float32_fma_neon_one_row/bias_first")},
    unstated=frozenset({"growing_3x3"}),
    sources=(
        "google/XNNPACK src/qs8-gemm/neonv8-mlal-lane.c.in: int8",
        "google/XNNPACK src/qs8-gemm/neon-mlal-lane.c.in, src/microparams-init.c: uint8 (rndnu)",
        "ARM-software/kleidiai kai/ukernels/matmul: hybrid (qai8dxp x qsi8cxp and qsi4cxp), as disassembled",
    ),
    fallback="litert-builtin-arm64",
    machines=ARM64,
    vectors=("I8MM",),
)

# LiteRT as it comes, on ARM64 with dot products and without i8mm: other kernels, the same numbers since 2.3.0 except in
# hybrid convolutions and in float32 ones over one pixel.
_DOTPROD = Cpu(
    name="litert-xnnpack-arm64-dotprod",
    title="LiteRT's default on ARM64 with dot products, without i8mm: XNNPACK delegate, builtin kernels for what it "
    "declines",
    platform="ARM64 with dot product instructions (asimddp) and without 8-bit matrix multiply (i8mm): Cortex-A55 to "
    "A78, Raspberry Pi 5, Apple M1; shown under qemu-aarch64 as a Cortex-A76",
    sources=(
        "google/XNNPACK src/configs/gemm-config.c @0011854617d9: which kernels run",
        "Zijie-Tian/kleidiai kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_f32.c @3637c6ec5319: hybrid, rows in "
        "blocks of four",
    ),
    rules={
        **xnnpack_windows("hybrid-qd8-neon-unfused/images"),
        **xnnpack_float_sums("float32_fma_neon/bias_first"),
    },
    like="litert-xnnpack-arm64",
    machines=ARM64,
    vectors=("DOTPROD",),
)

# LiteRT as it comes, on ARM64 without dot products, other than Cortex-A53: sums of two products have 16 bits.
_NEON = Cpu(
    name="litert-xnnpack-arm64-neon",
    title="LiteRT's default on ARM64 without dot products: XNNPACK delegate, builtin kernels for what it declines",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A72 and A73, Raspberry Pi 4, and cores that "
    "XNNPACK does not know; not Cortex-A53, whose uint8 kernel differs; shown under qemu-aarch64 as a Cortex-A72",
    rules={
        **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-pairs_of_16_bits", "hybrid-qd8-fma-pairs_of_16_bits"),
        **xnnpack_windows("hybrid-qd8-fma-pairs_of_16_bits/images"),
        **xnnpack_float_sums("float32_fma_neon/bias_first"),
    },
    overflowing=frozenset({Family.XNNPACK, Family.BUILTIN}),
    sources=(
        "google/XNNPACK src/configs/gemm-config.c @0011854617d9: which kernels run on which core",
        "google/XNNPACK src/qd8-f32-qc8w-gemm/gen/qd8-f32-qc8w-gemm-1x8c2s4-minmax-neon-mlal.c @dd83e68dc013: hybrid, "
        "pairs of products in 16 bits",
    ),
    fallback="litert-builtin-arm64-neon",
    like="litert-xnnpack-arm64",
    machines=ARM64,
    vectors=("NEON",),
)

# LiteRT as it comes, on ARM64 with SME: KleidiAI's kernels add the zero point in 32 bits, and fuse one row's bias.
_SME = Cpu(
    name="litert-xnnpack-arm64-sme",
    title="LiteRT's default on ARM64 with SME: XNNPACK delegate, builtin kernels for what it declines",
    platform="ARM64 with the Scalable Matrix Extension (sme) and without its second version (sme2), which Apple M4 "
    "has; shown under qemu-aarch64 as -cpu max",
    rules=ARM64_SME,
    sources=(
        "google/XNNPACK src/pqs8-qc8w-gemm/pqs8-qc8w-gemm-32x32c4-minmax-neonsme.c @65fc34ac8678: which kernel runs",
        "ARM-software/kleidiai kai/ukernels/matmul/matmul_clamp_qai8_qai8p_qsi8cxp @202e455f2b2f: int8",
    ),
    like="litert-xnnpack-arm64",
    machines=ARM64,
    vectors=("SME",),
)


LITERT_XNNPACK = Interpreter(
    Mode("ai-edge-litert", "litert", "default delegates (XNNPACK)", ("litert", "AUTO")),
    (
        _AVX512_VNNI,
        _AVX512,
        _AVX_VNNI,
        _AVX2,
        _I8MM,
        _SME,
        _DOTPROD,
        _NEON,
    ),
    (*ARM64_CHANGES, *X86_CHANGES),
)
