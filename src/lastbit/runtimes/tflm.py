"""TensorFlow Lite Micro's portable kernels, as the x86-64 Linux wheel runs them."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .change import INT16_NO_BIAS, Change, dense_rules
from .cpu import Cpu, Interpreter, Mode
from .derive import UP_AWAY
from .operator_rules import TFLM_OPERATORS
from .table_parts import (
    COPIED,
    EIGHT_BIT,
    FLOAT_FUNCTIONS,
    INT16_BIASES,
    INT16_GRANULARITIES,
    TFLM_DENSE_REFUSED,
    int16_variant,
)
from .variant import Variant, key_of

__all__ = ["TFLM"]

_NO_INVOKE = "the interpreter accepts the operator and fails to run it"
_NO_PREPARE = "the interpreter fails to prepare the operator"
_NO_INT16_BY = "the interpreter takes int16 activations with int8 weights only"
_NO_HYBRID = "the interpreter takes a float32 input with float32 weights only, not with integer ones"
_NO_UINT8 = "the interpreter has no uint8 kernel for it"

_PORTABLE = Cpu(
    name="tflm",
    title="TensorFlow Lite Micro's portable reference kernels (no CMSIS-NN)",
    oracle="tflite-micro 0.dev20261023182759, runtime.Interpreter",
    platform="portable C++, shown on x86-64",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_away/dd", Family.TFLM),
        key_of("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_away/dd", Family.TFLM),
        # The bias's own type chooses the accumulator; without a bias, quantized_bias_type does.
        **{
            int16_variant("int8", granularity, bias): Rule(rule, Family.TFLM)
            for granularity in INT16_GRANULARITIES
            for bias, rule in (
                ("int64_bias", "q15-half_up/dd"),
                ("no_bias", "q15-half_up/dd"),
                ("int32_bias", "q31-half_up-half_away/dd"),
                ("int32_bias_type", "q31-half_up-half_away/dd"),
            )
        },
        **{
            int16_variant("int4", g, b): Refused(Refusal.RUNTIME, _NO_INT16_BY)
            for g in INT16_GRANULARITIES
            for b in INT16_BIASES
        },
        **{
            key_of("FULLY_CONNECTED", f"int16 {g}"): Refused(Refusal.RUNTIME, _NO_INT16_BY)
            for g in ("per_tensor", "per_channel")
        },
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule("q31-half_up-half_away/dd", Family.TFLM),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor"): Rule("q31-half_up-half_away/dd", Family.TFLM),
        key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor weights_zero_point"): Rule(
            "q31-half_up-half_away/dd", Family.TFLM
        ),
        key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-in_order-bias_last", Family.TFLM),
        key_of("FULLY_CONNECTED", "float32 x float16 -> float32 unquantized"): Refused(
            Refusal.RUNTIME, "the runtime takes float16 weights through a DEQUANTIZE only"
        ),
        **{
            key_of("FULLY_CONNECTED", f"float32 x {w} -> float32 {g}"): Refused(Refusal.RUNTIME, _NO_HYBRID)
            for w in ("int8", "int4", "uint8")
            for g in ("per_tensor", "per_channel")
        },
        **{
            key_of("QUANTIZE", f"float32->{t}"): Rule("float32_divide_half_away", Family.TFLM)
            for t in ("int8", "int16")
        },
        **{
            key_of("QUANTIZE", types): Rule("q31_half_up_half_away", Family.TFLM)
            for types in (
                "int8->int8",
                "int8->uint8",
                "uint8->int8",
                "int8->int16",
                "int8->int32",
                "int16->int8",
                "int16->int16",
                "int16->int32",
                "int32->int8",
                "int32->int16",
            )
        },
        **{
            key_of("QUANTIZE", t): Refused(Refusal.RUNTIME, _NO_INVOKE)
            for t in ("float32->uint8", "uint8->uint8", "uint8->int16")
        },
        **{
            key_of("DEQUANTIZE", f"{t}->float32"): Rule("float32_difference_times_scale", Family.TFLM)
            for t in EIGHT_BIT
        },
        key_of("DEQUANTIZE", "int16->float32"): Rule("float32_difference_times_scale/any_zero_point", Family.TFLM),
        key_of("DEQUANTIZE", "float16->float32"): Refused(Refusal.RUNTIME, _NO_PREPARE),
        **{
            key_of("RELU", f"{t}->{t}"): Rule("q31_half_up_half_away/float64_ratio", Family.TFLM)
            for t in ("int8", "int16")
        },
        **{key_of("RELU6", f"{t}->{t}"): Rule("clamp_without_rescale", Family.TFLM) for t in ("int8", "int16")},
        **{key_of(relu, "float32->float32"): Rule("float32_clamp", Family.TFLM) for relu in ("RELU", "RELU6")},
        **{
            key_of("RELU_N1_TO_1", f"{t}->{t}"): Refused(Refusal.RUNTIME, _NO_PREPARE)
            for t in ("int8", "uint8", "int16", "float32")
        },
        **{
            key_of("SOFTMAX", f"int8->{t}"): Rule("gemmlowp_fixed_point/exact_output_scale", Family.TFLM)
            for t in ("int8", "int16")
        },
        key_of("SOFTMAX", "int16->int16"): Rule("interpolated_int16/float32_tables", Family.TFLM),
        key_of("SOFTMAX", "uint8->int16"): Refused(Refusal.RUNTIME, _NO_UINT8),
        **{
            key_of(op, "uint8->uint8"): Refused(Refusal.RUNTIME, _NO_UINT8)
            for op in ("RELU", "RELU6", "SOFTMAX", "LOGISTIC", "TANH")
        },
        **{key_of(op, "int8->int8"): Rule("gemmlowp_fixed_point", Family.TFLM) for op in ("LOGISTIC", "TANH")},
        **{key_of(op, "int16->int16"): Rule("interpolated_int16", Family.TFLM) for op in ("LOGISTIC", "TANH")},
        **{key_of("RESHAPE", f"{t}->{t}"): Rule("copy_to_output_shape", Family.TFLM) for t in COPIED},
        **FLOAT_FUNCTIONS,
        **TFLM_OPERATORS,
        **TFLM_DENSE_REFUSED,
    },
    sources=(
        "tensorflow/tflite-micro tensorflow/lite/micro/kernels/fully_connected_common.cc @0eec4fa5fece",
        "google/gemmlowp fixedpoint/fixedpoint.h: the two rounding steps",
        "tensorflow/tflite-micro tensorflow/lite/kernels/internal/common.cc @2e50943472e6: 64-bit accumulators",
    ),
)

_UP_AWAY_FIRST = "q31-half_up-half_away/fd/first_weights_scale"
_Q15_FIRST = "q15-half_up/fd/first_weights_scale"
# First and last wheel that was run; the next one has something else.
_TFLM_FLOAT32 = ("20231010131554", "20261009205824")
_TFLM_NO_BIAS = ("20250604163413", "20260203175027")
_TFLM_PER_TENSOR = tuple(
    f"{types} per_tensor{zero_point}"
    for types in ("int8", "int8 x int4 -> int8")
    for zero_point in ("", " weights_zero_point")
)
_TFLM_FIRST_SCALE = ("20231010131554", "20240418150435")

_CHANGES: tuple[Change, ...] = (
    Change(
        ("tflm",),
        (_TFLM_FLOAT32,),
        "the product of the scales is rounded to float32",
        {
            **dense_rules(UP_AWAY, Family.TFLM, *_TFLM_PER_TENSOR),
            **{
                int16_variant("int8", granularity, bias): Rule(rule, Family.TFLM)
                for granularity in ("per_tensor", "per_tensor weights_zero_point")
                for rule, biases in (
                    ("q15-half_up/fd", ("int64_bias", "no_bias")),
                    ("q31-half_up-half_away/fd", ("int32_bias", "int32_bias_type")),
                )
                for bias in biases
            },
        },
    ),
    Change(
        ("tflm",),
        (_TFLM_NO_BIAS,),
        "int16 layers without a bias have an accumulator of 32 bits",
        dense_rules(UP_AWAY, Family.TFLM, *INT16_NO_BIAS),
    ),
    Change(
        ("tflm",),
        (("20241025232721", "20241025232721"),),
        "a per-channel layer whose output has more than two dimensions (keep_num_dims) ends the process",
        written_in_part=frozenset({Variant.parse("int8 per_channel")}),
    ),
    Change(
        ("tflm",),
        (_TFLM_FIRST_SCALE,),
        "the first unit's weights scale is taken for every unit: wrong results per-channel",
        {
            key_of("FULLY_CONNECTED", "int8 per_channel"): Rule(_UP_AWAY_FIRST, Family.TFLM),
            key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule(_UP_AWAY_FIRST, Family.TFLM),
            **{
                int16_variant("int8", "per_channel", bias): Rule(_Q15_FIRST, Family.TFLM)
                for bias in ("int64_bias", "no_bias")
            },
        },
    ),
)

TFLM = Interpreter(
    Mode(
        "tflite-micro",
        "tflm",
        "TensorFlow Lite Micro",
        ("tflm", "-"),
        where="Its wheels exist for Linux on x86-64 only.",
    ),
    (_PORTABLE,),
    _CHANGES,
)
