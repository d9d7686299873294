"""TensorFlow Lite Micro's portable kernels, as the x86-64 Linux wheel runs them."""

from __future__ import annotations

from .base import Refused, Rule, Runtime
from .shared import COPIED, EIGHT_BIT, FLOAT_FUNCTIONS

_NO_INVOKE = "the interpreter accepts the operator and fails to run it"
_NO_PREPARE = "the interpreter fails to prepare the operator"
_NO_UINT8 = "the interpreter has no uint8 kernel for it"

TFLM = Runtime(
    name="tflm",
    title="TensorFlow Lite Micro's portable reference kernels (no CMSIS-NN)",
    oracle="tflite-micro 0.dev20261023182759, runtime.Interpreter",
    platform="portable C++, shown on x86-64",
    rules={
        ("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_away/dd", "tflm"),
        ("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_away/dd", "tflm"),
        **{("QUANTIZE", f"float32->{t}"): Rule("float32_divide_half_away", "tflm") for t in ("int8", "int16")},
        **{
            ("QUANTIZE", types): Rule("q31_half_up_half_away", "tflm")
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
        **{("QUANTIZE", t): Refused(_NO_INVOKE) for t in ("float32->uint8", "uint8->uint8", "uint8->int16")},
        **{("DEQUANTIZE", f"{t}->float32"): Rule("float32_difference_times_scale", "tflm") for t in EIGHT_BIT},
        ("DEQUANTIZE", "int16->float32"): Rule("float32_difference_times_scale/any_zero_point", "tflm"),
        ("DEQUANTIZE", "float16->float32"): Refused(_NO_PREPARE),
        **{("RELU", f"{t}->{t}"): Rule("q31_half_up_half_away/float64_ratio", "tflm") for t in ("int8", "int16")},
        **{("RELU6", f"{t}->{t}"): Rule("clamp_without_rescale", "tflm") for t in ("int8", "int16")},
        **{(relu, "float32->float32"): Rule("float32_clamp", "tflm") for relu in ("RELU", "RELU6")},
        **{("RELU_N1_TO_1", f"{t}->{t}"): Refused(_NO_PREPARE) for t in ("int8", "uint8", "int16", "float32")},
        **{
            ("SOFTMAX", f"int8->{t}"): Rule("gemmlowp_fixed_point/exact_output_scale", "tflm")
            for t in ("int8", "int16")
        },
        ("SOFTMAX", "int16->int16"): Rule("interpolated_int16/float32_tables", "tflm"),
        ("SOFTMAX", "uint8->int16"): Refused(_NO_UINT8),
        **{(op, "uint8->uint8"): Refused(_NO_UINT8) for op in ("RELU", "RELU6", "SOFTMAX", "LOGISTIC", "TANH")},
        **{(op, "int8->int8"): Rule("gemmlowp_fixed_point", "tflm") for op in ("LOGISTIC", "TANH")},
        **{(op, "int16->int16"): Rule("interpolated_int16", "tflm") for op in ("LOGISTIC", "TANH")},
        **{("RESHAPE", f"{t}->{t}"): Rule("copy_to_output_shape", "tflm") for t in COPIED},
        **FLOAT_FUNCTIONS,
    },
    sources=(
        "tensorflow/tflite-micro tensorflow/lite/micro/kernels/fully_connected_common.cc @0eec4fa5fece",
        "google/gemmlowp fixedpoint/fixedpoint.h: the two rounding steps",
    ),
)
