"""CMSIS-NN's plain C kernels, in both builds; the multiplier is the caller's: TensorFlow Lite Micro's is taken."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .cpu import Cpu, Interpreter, Mode
from .table_parts import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import Key, key_of

__all__ = ["CMSIS_NN"]


def _mode(words: str, worker: str) -> Mode:
    return Mode("CMSIS-NN", "", words, (worker, "-"), script="dense_worker", library=True)


_INT64 = ("int64_bias", "no_bias")
_TWO_ROUNDINGS = Rule("q31-half_up-half_away/dd", Family.CMSIS_NN)
_NO_UINT8 = "CMSIS-NN has no uint8 kernels"

# int16 x int8 is the same in both builds.
_INT16: dict[Key, Rule | Refused] = {
    **{int16_variant("int8", "per_tensor", bias): Rule("q15_wrap-half_up/dd", Family.CMSIS_NN) for bias in _INT64},
    **{
        int16_variant("int8", granularity, bias): Refused(
            Refusal.RUNTIME, "arm_fully_connected_s16 takes an int64 bias or none"
        )
        for granularity in INT16_GRANULARITIES
        for bias in INT16_BIASES
        if bias not in _INT64
    },
    **{
        int16_variant("int8", "per_tensor weights_zero_point", bias): Refused(
            Refusal.NOT_COVERED, "arm_fully_connected_s16 ignores the weights' zero point"
        )
        for bias in _INT64
    },
    **{
        int16_variant("int8", "per_channel", bias): Refused(
            Refusal.NOT_ASKED, "arm_fully_connected_per_channel_s16 has not been run against LastBit yet"
        )
        for bias in _INT64
    },
}

_DEFAULT = Cpu(
    name="cmsis-nn",
    title="CMSIS-NN, plain C, as built by default; multiplier, shift and bounds are TensorFlow Lite Micro's",
    oracle="CMSIS-NN 058a6a118d14, arm_fully_connected_s8, ..._per_channel_s8 and arm_fully_connected_s16",
    platform="portable C without DSP or MVE, shown on x86-64 (gcc 12.2)",
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): _TWO_ROUNDINGS,
        key_of("FULLY_CONNECTED", "int8 per_channel"): _TWO_ROUNDINGS,
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): _TWO_ROUNDINGS,
        key_of("FULLY_CONNECTED", "uint8 per_tensor"): Refused(Refusal.RUNTIME, _NO_UINT8),
        **_INT16,
    },
    sources=(
        "ARM-software/CMSIS-NN Source/NNSupportFunctions/arm_nn_vec_mat_mult_t_s8.c @058a6a118d14",
        "ARM-software/CMSIS-NN Source/NNSupportFunctions/arm_nn_vec_mat_mult_t_per_ch_s8.c @058a6a118d14",
        "ARM-software/CMSIS-NN Source/NNSupportFunctions/arm_nn_vec_mat_mult_t_s16.c @46fee474cf96",
        "ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h @bfc54edb61e8: arm_nn_requantize(_s64)",
    ),
)

_ONE_ROUNDING = Rule("q31-single_wrap-half_up/dd", Family.CMSIS_NN)

# CMSIS-NN's plain C kernels built with CMSIS_NN_USE_SINGLE_ROUNDING; the multiplier is the caller's: TFLM's.
_SINGLE = Cpu(
    name="cmsis-nn-single-rounding",
    title="CMSIS-NN, plain C, built with CMSIS_NN_USE_SINGLE_ROUNDING; multiplier as TensorFlow Lite Micro's",
    platform=_DEFAULT.platform,
    rules={
        key_of("FULLY_CONNECTED", "int8 per_tensor"): _ONE_ROUNDING,
        key_of("FULLY_CONNECTED", "int8 per_channel"): _ONE_ROUNDING,
        key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): _ONE_ROUNDING,
    },
    sources=_DEFAULT.sources,
    like="cmsis-nn",
    mode=_mode("arm_fully_connected_s8, plain C, CMSIS_NN_USE_SINGLE_ROUNDING", "cmsis-single"),
)

CMSIS_NN = Interpreter(
    _mode("arm_fully_connected_s8, plain C, two roundings", "cmsis-double"),
    (
        _DEFAULT,
        _SINGLE,
    ),
)
