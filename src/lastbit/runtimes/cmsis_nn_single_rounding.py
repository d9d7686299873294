"""CMSIS-NN's plain C kernels built with CMSIS_NN_USE_SINGLE_ROUNDING; the multiplier is the caller's: TFLM's."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .cmsis_nn import CMSIS_NN, INT16, NO_UINT8
from .variant import key_of

_ONE_ROUNDING = Rule("q31-single_wrap-half_up/dd", Family.CMSIS_NN)

CMSIS_NN_SINGLE_ROUNDING = Runtime(
    name="cmsis-nn-single-rounding",
    title="CMSIS-NN, plain C, built with CMSIS_NN_USE_SINGLE_ROUNDING; multiplier as TensorFlow Lite Micro's",
    oracle=CMSIS_NN.oracle,
    platform=CMSIS_NN.platform,
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): _ONE_ROUNDING,
        key_of("FULLY_CONNECTED", "int8 per_channel"): _ONE_ROUNDING,
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): _ONE_ROUNDING,
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Refused(Refusal.RUNTIME, NO_UINT8),
        **INT16,
    },
    sources=CMSIS_NN.sources,
)
