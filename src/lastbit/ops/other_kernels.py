"""What CMSIS-NN, ONNX Runtime and PyTorch's fbgemm cannot be given of a .tflite dense layer."""

from __future__ import annotations

import numpy as np

from .base import refuse
from .dense_8bit import PreparedDense

__all__ = ["OTHER_KERNELS", "check_other_kernel"]

OTHER_KERNELS = ("cmsis_nn", "onnxruntime", "fbgemm")
"""Kernel families that know nothing of .tflite files: a layer is handed to them number by number."""


def check_other_kernel(prepared: PreparedDense, kernel: str) -> None:
    """Refuse a layer that these kernels have no form for, or for which their result is undefined.

    Args:
        prepared: the layer with its constants folded.
        kernel: one of `OTHER_KERNELS`.

    Raises:
        UnsupportedError: with the reason.
    """
    layer, requant = prepared.layer, prepared.requant
    assert layer.weights.quant is not None
    if layer.granularity == "per_channel" and (layer.weights.quant.zero_point != 0).any():
        raise refuse(
            layer.operator,
            "the per-channel weights have zero points that are not 0: TensorFlow Lite's kernels ignore them, these "
            "would subtract them; LastBit does not say which is meant",
        )
    if kernel == "cmsis_nn" and layer.input.dtype.name == "int16":
        for what, zero_point in (("input", layer.input_zero_point), ("output", layer.output_zero_point)):
            if zero_point:
                raise refuse(
                    layer.operator, f"the {what}'s zero point is {zero_point}; arm_fully_connected_s16 takes it to be 0"
                )
        if int(requant.shift.max()) > 14:
            raise refuse(
                layer.operator, "an effective scale of 2^14 or more: arm_fully_connected_s16 shifts by 14 - shift"
            )
        return
    if kernel == "cmsis_nn":
        if int(requant.shift.max()) > 30:
            raise refuse(layer.operator, "an effective scale of 2^30 or more: CMSIS-NN's shift goes up to 30")
        return
    if not np.isfinite(requant.effective_scale).all():
        raise refuse(layer.operator, "the effective scale is infinite in float32, as this kernel calculates it")
    if kernel == "fbgemm":
        with np.errstate(over="ignore", under="ignore"):
            scales = np.float32(layer.input_scale) * layer.weights_scale
        zero = bool((layer.weights_scale == 0).any())
        if zero or (layer.bias is not None and not (scales >= np.finfo(np.float32).tiny).all()):
            raise refuse(layer.operator, "input scale x weights scale vanishes in float32; fbgemm divides by it")
        if requant.float_bias is not None and not np.isfinite(requant.float_bias).all():
            raise refuse(layer.operator, "the bias is infinite in float32, as fbgemm takes it")
        dtype = layer.output.dtype
        lower = (dtype.qmin, layer.output_zero_point)
        if requant.activation_max != dtype.qmax or requant.activation_min not in lower:
            raise refuse(
                layer.operator,
                f"the fused activation {layer.activation} limits the output to {requant.activation_min} .. "
                f"{requant.activation_max}; PyTorch has quantized.linear and quantized.linear_relu only",
            )
