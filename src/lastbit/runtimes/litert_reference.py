"""LiteRT's reference kernels, 1.4.0 and later: requantization in float64, rounded once."""

from __future__ import annotations

from .arm64_rules import ARM64_REFERENCE
from .base import Family, Refusal, Refused, Rule
from .change import (
    BEFORE_FLOAT64,
    BEYOND_WEIGHTS,
    INT16_NO_BIAS,
    LOST,
    PER_CHANNEL_INT16,
    Change,
    dense_rules,
    hybrid_of,
    int16_in_fixed_point,
)
from .cpu import Cpu, Interpreter, Mode
from .derive import DENSE_8BIT, NO_INT16_WEIGHTS, UP_AWAY, beside_dense, hybrid_rules, saturating_int16
from .machine import ARM64, X86_64
from .operator_rules import REFERENCE_HYBRID, REFERENCE_OPERATORS
from .table_parts import (
    INT16_BIASES,
    INT16_GRANULARITIES,
    LITERT_DENSE_REFUSED,
    int16_by_reference,
    int16_variant,
    litert_around_dense,
)
from .variant import Variant, key_of

__all__ = ["LITERT_REFERENCE"]

_X86 = Cpu(
    name="litert-reference",
    title="LiteRT's reference kernels",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_REF",
    platform="x86-64",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("float64-half_away", Family.REFERENCE),
        **int16_by_reference(Family.REFERENCE, *INT16_GRANULARITIES),
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("float64-half_away", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-in_order-bias_last", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        **{
            key_of("FULLY_CONNECTED", f"float32 x {w} -> float32 {g}"): Rule("hybrid-int8-unfused", Family.REFERENCE)
            for w in ("int8", "int4")
            for g in ("per_tensor", "per_channel")
        },
        **litert_around_dense(
            Family.REFERENCE,
            quantize="float32_divide_half_away",
            requantize="q31_half_up_half_away",
            dequantize="float32_difference_times_scale",
            softmax="gemmlowp_fixed_point",
            int16_curves="interpolated_int16",
        ),
        **REFERENCE_OPERATORS,
        **REFERENCE_HYBRID,
        **LITERT_DENSE_REFUSED,
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/internal/reference/integer_ops/fully_connected.h @13eade63b67f",
        "google-ai-edge/LiteRT tflite/kernels/internal/common.cc @14906c9528b1: int16 x int16",
    ),
    machines=X86_64,
)

# LiteRT's reference kernels on ARM64: a float64 that does not fit an int32 saturates, where x86-64 has INT32_MIN.
_ARM64 = Cpu(
    name="litert-reference-arm64",
    title="LiteRT's reference kernels, on ARM64",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_REF, aarch64",
    platform="ARM64 with dot product instructions, shown under qemu-aarch64",
    rules={
        **beside_dense(_X86.rules),
        **ARM64_REFERENCE,
        **saturating_int16(Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.REFERENCE),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.REFERENCE),
        **hybrid_rules(Family.REFERENCE, "hybrid-int8-neon", "hybrid-int8-neon"),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-in_order-fma_tail-bias_last", Family.REFERENCE),
        **{
            key_of("FULLY_CONNECTED", variant): Rule("float64-half_away-saturate", Family.REFERENCE)
            for variant in DENSE_8BIT
        },
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/internal/reference/integer_ops/fully_connected.h @13eade63b67f",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",
        "tflite/kernels/internal/reference/fully_connected.h as compiled: float32, eight products at a time, then one",
    ),
    machines=ARM64,
    vectors=("SME2", "SME", "I8MM", "DOTPROD"),
)

# LiteRT's reference kernels on ARM64 without dot products: hybrid layers never take four rows at once.
_NEON = Cpu(
    name="litert-reference-arm64-neon",
    title="LiteRT's reference kernels, on ARM64 without dot products",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A53, A72 and A73, Raspberry Pi 3 and 4; shown "
    "under qemu-aarch64 as a Cortex-A72",
    rules={
        **hybrid_rules(Family.REFERENCE, "hybrid-int8-neon/never_four_rows", "hybrid-int8-neon/never_four_rows"),
    },
    sources=("google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",),
    like="litert-reference-arm64",
    machines=ARM64,
    vectors=("NEON", "NEON-A53"),
)

_CHANGES: tuple[Change, ...] = (
    Change((_ARM64.name, _NEON.name), (("1.4.0", "2.0.2"),), "int16 weights are taken nowhere", NO_INT16_WEIGHTS),
    Change(
        ("litert-reference",),
        BEFORE_FLOAT64,
        "requantizes in fixed point, rounding twice as gemmlowp does; since 1.3.0 and TensorFlow 2.20 once, in float64",
        {
            **dense_rules(UP_AWAY, Family.REFERENCE, *DENSE_8BIT),
            **int16_in_fixed_point(Family.REFERENCE, *INT16_GRANULARITIES),
        },
    ),
    Change(
        ("litert-reference",),
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the per-channel kernel takes every output for two dimensions: of one with more (keep_num_dims) it leaves a "
        "part unwritten",
        written_in_part=frozenset((Variant.parse("int8 per_channel"), *PER_CHANNEL_INT16)),
    ),
    Change(
        ("litert-reference",),
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.REFERENCE, *INT16_NO_BIAS),
    ),
    Change(
        ("litert-reference",),
        (("tf2.12.1", "tf2.15.1"),),
        LOST,
        hybrid_of(
            Family.REFERENCE,
            "hybrid-int8-unfused/channel_scales_lost",
            "hybrid-int8-unfused/channel_scales_lost",
            "per_channel",
        ),
    ),
    Change(
        ("litert-reference",),
        (("tflite2.14.0", "tflite2.14.0"),),
        f"hybrid layers go through portable code; {LOST}; of int4 weights those after the last depth % 32's first "
        "16 are lost",
        hybrid_of(Family.REFERENCE, "hybrid-int8-portable", "hybrid-int4-nibbles-portable", "per_tensor")
        | hybrid_of(
            Family.REFERENCE,
            "hybrid-int8-portable/channel_scales_lost",
            "hybrid-int4-nibbles-portable/channel_scales_lost",
            "per_channel",
        ),
    ),
    Change(
        ("litert-reference",),
        (("tf2.12.1", "tf2.12.1"),),
        "of an asymmetric hybrid row the last depth % 8 values are -128 where they do not fit an int32",
        {
            key_of("FULLY_CONNECTED", "float32 x int8 -> float32 per_tensor"): Rule(
                "hybrid-int8-tail_32-unfused", Family.REFERENCE
            )
        },
    ),
    Change(
        ("litert-reference-arm64",),
        (("1.4.0", "1.4.0"),),
        "the scales of hybrid weights are left out where there are more than one and rows are symmetric (but in "
        "the 4-bit kernel): wrong results",
        hybrid_of(
            Family.REFERENCE,
            "hybrid-int8-neon/channel_scales_ignored",
            "hybrid-int8-neon/channel_scales_ignored",
            "per_channel",
        ),
    ),
    Change(
        ("litert-reference",),
        (("tf2.15.1", "tf2.17.1"),),
        "of int16 layers with int4 weights every byte is read as one weight, and so beyond the weights' end",
        {int16_variant("int4", "per_tensor", bias): BEYOND_WEIGHTS for bias in INT16_BIASES},
    ),
)

LITERT_REFERENCE = Interpreter(
    Mode("ai-edge-litert", "litert", "reference kernels", ("litert", "BUILTIN_REF")),
    (
        _X86,
        _ARM64,
        _NEON,
    ),
    _CHANGES,
)
