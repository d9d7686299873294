"""CMSIS-NN, ONNX Runtime and PyTorch's fbgemm: a dense layer is handed to them number by number, not as a file."""

from __future__ import annotations

import numpy as np

from ...arith.floats import SMALLEST_NORMAL
from ...model.errors import Refusal
from ...model.types import integer_type
from ...runtimes.base import Family, Refused, Runtime
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from .base import Kernel, refused
from .dense import weight_notes, zero_points

__all__ = ["CMSIS_NN", "FBGEMM", "ONNXRUNTIME"]


def _channel_zero_points(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedDense) or prepared.layer.granularity != "per_channel":
        return None
    if not zero_points(prepared.layer):
        return None
    return Refused(
        Refusal.NOT_COVERED,
        "the per-channel weights have zero points that are not 0: TensorFlow Lite's kernels ignore them, these "
        "would subtract them; LastBit does not say which is meant",
    )


def _cmsis_shift(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedDense):
        return None
    layer, shift = prepared.layer, int(prepared.requant.shift.max())
    if layer.input.dtype.name != "int16":
        return refused("an effective scale of 2^30 or more: CMSIS-NN's shift goes up to 30") if shift > 30 else None
    for what, zero_point in (("input", layer.input_zero_point), ("output", layer.output_zero_point)):
        if zero_point:
            return refused(f"the {what}'s zero point is {zero_point}; arm_fully_connected_s16 takes it to be 0")
    if shift > 14:
        return refused("an effective scale of 2^14 or more: arm_fully_connected_s16 shifts by 14 - shift")
    return None


def _float32_scale(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if isinstance(prepared, PreparedDense) and not np.isfinite(prepared.requant.effective_scale).all():
        return refused("the effective scale is infinite in float32, as this kernel calculates it")
    return None


def _fbgemm(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedDense):
        return None
    layer, requant = prepared.layer, prepared.requant
    with np.errstate(over="ignore", under="ignore"):
        scales = np.float32(layer.input_scale) * layer.weights_scale
    zero = bool((layer.weights_scale == 0).any())
    if zero or (layer.bias is not None and not (scales >= SMALLEST_NORMAL).all()):
        return refused("input scale x weights scale vanishes in float32; fbgemm divides by it")
    if requant.float_bias is not None and not np.isfinite(requant.float_bias).all():
        return refused("the bias is infinite in float32, as fbgemm takes it")
    dtype = integer_type(layer.output.dtype)
    if requant.activation_max == dtype.qmax and requant.activation_min in (dtype.qmin, layer.output_zero_point):
        return None
    return refused(
        f"the fused activation {layer.activation} limits the output to {requant.activation_min} .. "
        f"{requant.activation_max}; PyTorch has quantized.linear and quantized.linear_relu only"
    )


CMSIS_NN = Kernel(Family.CMSIS_NN, checks=(_channel_zero_points, _cmsis_shift), notes=weight_notes)
ONNXRUNTIME = Kernel(Family.ONNXRUNTIME, checks=(_channel_zero_points, _float32_scale), notes=weight_notes)
FBGEMM = Kernel(Family.FBGEMM, checks=(_channel_zero_points, _float32_scale, _fbgemm), notes=weight_notes)
