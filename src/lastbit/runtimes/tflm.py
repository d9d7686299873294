"""TensorFlow Lite Micro's portable kernels, as the x86-64 Linux wheel runs them."""

from __future__ import annotations

from .base import Rule, Runtime

TFLM = Runtime(
    name="tflm",
    title="TensorFlow Lite Micro's portable reference kernels (no CMSIS-NN)",
    oracle="tflite-micro 0.dev20261023182759, runtime.Interpreter",
    platform="portable C++, shown on x86-64",
    rules={
        ("FULLY_CONNECTED", "int8 per_tensor"): Rule("q31-half_up-half_away/dd", "tflm"),
        ("FULLY_CONNECTED", "int8 per_channel"): Rule("q31-half_up-half_away/dd", "tflm"),
    },
    sources=(
        "tensorflow/tflite-micro tensorflow/lite/micro/kernels/fully_connected_common.cc @0eec4fa5fece",
        "google/gemmlowp fixedpoint/fixedpoint.h: the two rounding steps",
    ),
)
