"""LiteRT's own optimized kernels, without a delegate; dense layers go through the ruy matrix library."""

from __future__ import annotations

from .arm64_rules import ARM64_BUILTIN, BUILTIN_PAIRS
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
from .derive import (
    AROUND_DENSE,
    NO_INT16_WEIGHTS,
    SINGLE,
    UP_AWAY,
    UP_UP,
    beside_dense,
    hybrid_rules,
    kept,
    matrix_product,
    saturating_int16,
)
from .machine import ARM64, X86_64
from .operator_rules import BUILTIN_HYBRID, BUILTIN_OPERATORS
from .table_parts import (
    INT16_BIASES,
    INT16_GRANULARITIES,
    LITERT_DENSE_REFUSED,
    int16_by_reference,
    int16_variant,
    litert_around_dense,
)
from .variant import INT64_BIAS, key_of

__all__ = ["LITERT_BUILTIN"]

_RESOLVER = ("litert", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")

_X86 = Cpu(
    name="litert-builtin-x86",
    title="LiteRT's optimized kernels without a delegate (ruy on x86-64 with AVX or better)",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    platform="x86-64 with AVX, AVX2 or AVX512",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_up/dd", Family.BUILTIN),
        # ruy takes int16 activations unless the bias asks for 64 bits or the weights have a zero point.
        **int16_by_reference(Family.BUILTIN, *INT16_GRANULARITIES),
        **{
            int16_variant(weights, granularity, bias): Rule(rule, Family.BUILTIN)
            for weights in ("int8", "int4")
            for granularity, rule in (
                ("per_tensor", "q31-half_up-half_up/fd"),
                ("per_channel", "q31-half_up-half_up/dd"),
            )
            for bias in ("int32_bias", "int32_bias_type", "no_bias")
        },
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule("q31-half_up-half_up/dd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Refused(
            Refusal.NOT_EXACT,
            "not exact: Eigen's matrix product adds in an order that depends on the layer's shape, the batch and the "
            "CPU's cache sizes",
        ),
        **{
            key_of("FULLY_CONNECTED", f"float32 x {w} -> float32 {g}"): Rule(rule, Family.BUILTIN)
            for w, rule in (("int8", "hybrid-int8-unfused"), ("int4", "hybrid-int4-nibbles"))
            for g in ("per_tensor", "per_channel")
        },
        **litert_around_dense(
            Family.BUILTIN,
            quantize="vector8_inverse_half_even",
            requantize="q31_vector16_half_up",
            dequantize="float32_vector8_product_plus_offset",
            softmax="lut_float32_sum",
            int16_curves="interpolated_int16/not_power_of_two",
        ),
        **BUILTIN_OPERATORS,
        **BUILTIN_HYBRID,
        **LITERT_DENSE_REFUSED,
    },
    sources=(
        "google-ai-edge/LiteRT tflite/kernels/fully_connected.cc @7a5bccc5801c",
        "google-ai-edge/LiteRT tflite/kernels/internal/common.cc @14906c9528b1: 64-bit accumulators",
        "google/ruy ruy/kernel_avx512.cc @d681fa83a7f3",
    ),
    machines=X86_64,
)

_UNSETTLED_CONVOLUTION = Refused(
    Refusal.NOT_EXACT,
    "not exact: ruy's portable product rounds once, but one output pixel goes another way, which is not known",
)

# LiteRT's own kernels where ruy runs its portable code: CPUs without a vector path of their own, or RUY_PATHS=0x1.
_PORTABLE = Cpu(
    name="litert-builtin-portable",
    title="LiteRT's optimized kernels without a delegate, ruy's portable code (RUY_PATHS=0x1)",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, RUY_PATHS=0x1",
    platform="portable C++ in ruy, shown on x86-64",
    rules={
        # Only the matrix product is ruy's; the operators around it are the same code.
        **BUILTIN_OPERATORS,
        **{
            key: _UNSETTLED_CONVOLUTION
            for key, rule in BUILTIN_OPERATORS.items()
            if key[0] == "CONV_2D" and isinstance(rule, Rule) and rule.name in UP_UP
        },
        **kept(_X86.rules, *AROUND_DENSE),
        **int16_by_reference(Family.BUILTIN, *INT16_GRANULARITIES),
        **matrix_product(("q31-by_rows-single/fd", "q31-by_rows-single/dd"), SINGLE, Family.BUILTIN),
        # Hybrid layers multiply integers without rounding: whose product it is changes nothing.
        **{key: rule for key, rule in _X86.rules.items() if key[1].hybrid},
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.BUILTIN),
    },
    sources=(
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm.h @053a4435e7f5: which kernel runs",
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9: one row",
        "google/ruy ruy/apply_multiplier.cc @0aa3f8b422f8: several rows",
    ),
    mode=Mode(
        "ai-edge-litert",
        "litert",
        "builtin, no delegate, ruy's portable code",
        _RESOLVER,
        environment={"RUY_PATHS": "0x1"},
    ),
)

# LiteRT's own optimized kernels on ARM64, without a delegate: ruy's NEON kernels, and a matrix-vector kernel.
_ARM64 = Cpu(
    name="litert-builtin-arm64",
    title="LiteRT's optimized kernels without a delegate, on ARM64 (ruy)",
    unstated=frozenset({"growing_3x3"}),
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, aarch64",
    platform="ARM64 with dot product instructions, shown under qemu-aarch64",
    rules={
        **beside_dense(_X86.rules),
        **ARM64_BUILTIN,
        **saturating_int16(Family.BUILTIN),
        **matrix_product(("q31-by_rows-floor/fd", "q31-by_rows-floor/dd"), SINGLE, Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.BUILTIN),
        **hybrid_rules(Family.BUILTIN, "hybrid-int8-neon", "hybrid-int4-nibbles-neon"),
    },
    sources=(
        "google/ruy ruy/kernel_arm64.cc: several rows",
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9: one row",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0, "
        "4bit/neon_fully_connected.cc @01d971c556e3: hybrid",
    ),
    machines=ARM64,
    vectors=("SME2", "SME", "I8MM", "DOTPROD"),
)

# LiteRT's own optimized kernels on ARM64 without dot products: four rows are never taken at once.
_NEON = Cpu(
    name="litert-builtin-arm64-neon",
    title="LiteRT's optimized kernels without a delegate, on ARM64 without dot products (ruy)",
    platform="ARM64 without dot product instructions (asimddp): Cortex-A53, A72 and A73, Raspberry Pi 3 and 4; shown "
    "under qemu-aarch64 as a Cortex-A72",
    rules={
        **hybrid_rules(Family.BUILTIN, "hybrid-int8-neon/never_four_rows", "hybrid-int4-nibbles-neon/never_four_rows"),
        **BUILTIN_PAIRS,
    },
    overflowing=frozenset({Family.BUILTIN}),
    sources=(
        "google/ruy ruy/kernel_arm64.cc: several rows, pairs of products in 16 bits",
        "google-ai-edge/LiteRT tflite/kernels/internal/optimized/neon_tensor_utils.cc @0b6aab64e2b0: hybrid",
    ),
    like="litert-builtin-arm64",
    machines=ARM64,
    vectors=("NEON", "NEON-A53"),
)

_UNWRITTEN = Refused(
    Refusal.NOT_EXACT,
    "not exact: what TensorFlow 2.13 prints for hybrid layers with int4 weights depends on memory that it did not "
    "write",
)

_CHANGES: tuple[Change, ...] = (
    Change(
        ("litert-builtin-x86",),
        (("1.4.0", "2.1.6"),),
        "MEAN over height and width, where an axis is counted from the end (-2), is calculated as over other ones",
        {key_of("MEAN", f"{t}->{t}"): Rule("q31_height_width_as_written", Family.BUILTIN) for t in ("int8", "uint8")},
    ),
    Change(
        ("litert-builtin-x86", "litert-reference"),
        (("1.4.0", "2.2.0"),),
        "hybrid convolutions with groups whose weights have one scale fail",
        declines=frozenset({"hybrid_groups_of_one_scale"}),
    ),
    Change(
        ("litert-builtin-x86", "litert-reference"),
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "quantized_bias_type is not known: int16 layers without a bias have one accumulator, whatever it says",
        ignores=frozenset({"quantized_bias_type"}),
    ),
    Change(
        ("litert-builtin-x86",),
        BEFORE_FLOAT64,
        "what it hands to the reference kernels (int16 activations with a 64-bit accumulator, or with a weights zero "
        "point) is requantized as they did",
        {
            **int16_in_fixed_point(Family.BUILTIN, "per_tensor weights_zero_point"),
            **int16_in_fixed_point(Family.BUILTIN, "per_tensor", "per_channel", biases=("int64_bias",)),
        },
    ),
    Change(
        ("litert-builtin-x86",),
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias whose weights have a zero point have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.BUILTIN, *(v for v in INT16_NO_BIAS if "zero_point" in v)),
    ),
    Change(
        ("litert-builtin-x86",),
        (("tflite2.14.0", "tflite2.14.0"),),
        "QUANTIZE between 8-bit types and DEQUANTIZE have no vector kernels",
        {
            key_of("QUANTIZE", "int8->uint8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "uint8->int8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "uint8->uint8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("QUANTIZE", "int8->int8"): Rule("q31_half_up_half_away", Family.BUILTIN),
            key_of("DEQUANTIZE", "int8->float32"): Rule("float32_difference_times_scale", Family.BUILTIN),
            key_of("DEQUANTIZE", "uint8->float32"): Rule("float32_difference_times_scale", Family.BUILTIN),
        },
    ),
    Change(
        ("litert-builtin-x86",),
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the reference kernel for int16 per-channel layers leaves a part of outputs of more than two dimensions "
        "unwritten",
        written_in_part=frozenset(v for v in PER_CHANNEL_INT16 if v.bias == INT64_BIAS),
    ),
    Change(
        ("litert-builtin-x86",),
        (("tflite2.14.0", "tflite2.14.0"),),
        "uint8 goes through the gemmlowp library, not ruy",
        {key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-half_up-half_away-saturate/fd", Family.BUILTIN)},
    ),
    Change(
        ("litert-builtin-x86",),
        (("tf2.12.1", "tf2.15.1"),),
        LOST + " (but in the 4-bit kernel)",
        hybrid_of(
            Family.BUILTIN,
            "hybrid-int8-unfused/channel_scales_lost",
            "hybrid-int4-nibbles/channel_scales_lost",
            "per_channel",
        ),
    ),
    Change(
        ("litert-builtin-x86",),
        (("tflite2.14.0", "tflite2.14.0"),),
        f"hybrid layers go through portable code; {LOST}; of int4 weights those after the last depth % 32's first "
        "16 are lost",
        hybrid_of(Family.BUILTIN, "hybrid-int8-portable", "hybrid-int4-nibbles-portable", "per_tensor")
        | hybrid_of(
            Family.BUILTIN,
            "hybrid-int8-portable/channel_scales_lost",
            "hybrid-int4-nibbles-portable/channel_scales_lost",
            "per_channel",
        ),
    ),
    Change(
        ("litert-builtin-x86",),
        (("tf2.12.1", "tf2.12.1"),),
        "of an asymmetric hybrid row the last depth % 8 values are -128 where they do not fit an int32",
        {
            key_of("FULLY_CONNECTED", "float32 x int8 -> float32 per_tensor"): Rule(
                "hybrid-int8-tail_32-unfused", Family.BUILTIN
            )
        },
    ),
    Change(
        ("litert-builtin-x86",),
        (("tf2.13.1", "tf2.13.1"),),
        "hybrid layers with int4 weights read memory that was not written: some end the process",
        {
            key_of("FULLY_CONNECTED", f"float32 x int4 -> float32 {granularity}"): _UNWRITTEN
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change((_ARM64.name, _NEON.name), (("1.4.0", "2.0.2"),), "int16 weights are taken nowhere", NO_INT16_WEIGHTS),
    Change(
        (_ARM64.name,),
        (("1.4.0", "1.4.0"),),
        "the scales of hybrid weights are left out where there are more than one and rows are symmetric (but in "
        "the 4-bit kernel): wrong results",
        hybrid_of(
            Family.BUILTIN,
            "hybrid-int8-neon/channel_scales_ignored",
            "hybrid-int4-nibbles-neon/channel_scales_ignored",
            "per_channel",
        ),
    ),
    Change(
        ("litert-builtin-x86",),
        (("1.0.0", "1.0.1"), ("tf2.18.1", "tf2.18.1")),
        "int16 layers with int4 weights go through the reference kernels",
        {
            key: rule
            for key, rule in int16_in_fixed_point(Family.BUILTIN, "per_tensor", "per_channel").items()
            if key[1].weights == "int4"
        },
    ),
    Change(
        ("litert-builtin-x86",),
        (("tf2.13.1", "tf2.17.1"), ("tflite2.14.0", "tflite2.14.0")),
        "of int16 layers with int4 weights every byte is read as one weight, and so beyond the weights' end",
        {int16_variant("int4", "per_tensor", bias): BEYOND_WEIGHTS for bias in INT16_BIASES},
    ),
)

LITERT_BUILTIN = Interpreter(
    Mode("ai-edge-litert", "litert", "builtin, no delegate", _RESOLVER),
    (
        _X86,
        _PORTABLE,
        _ARM64,
        _NEON,
    ),
    _CHANGES,
)
