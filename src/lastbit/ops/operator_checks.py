"""What real kernels decline or refuse in convolutions, pools and elementwise operators, apart from arithmetic."""

from __future__ import annotations

import numpy as np

from ..model import Model, Operator
from ._convolution import Convolution, PreparedConvolution
from .base import PreparedOperator, refuse
from .validity import usable_scale

__all__ = ["check_operator_kernel", "xnnpack_declines_operator"]


def xnnpack_declines_operator(model: Model, op: Operator) -> str | None:
    """Why the XNNPACK delegate leaves this operator to the builtin kernels, or None where it takes it.

    Source: google-ai-edge/LiteRT, tflite/delegates/xnnpack/xnnpack_delegate.cc @9320c268153a; each shown at both sides
    of its limit.
    """
    given = model.operand(op, 0)
    if given is not None and given.dtype.name in ("int8", "uint8") and given.quant is None:
        return "the input has no scale"
    if op.name in ("ADD", "SUB", "MUL"):
        return _declines_scales(model, op)
    if op.name == "LEAKY_RELU":
        return _declines_slopes(model, op)
    if op.name == "BATCH_MATMUL":
        second = model.operand(op, 1)
        if second is not None and second.quant is not None and (second.quant.zero_point != 0).any():
            return "the second input's zero point is not 0"
        if second is not None and second.quant is not None and not usable_scale(second):
            return "the second input's scale is not positive, finite and normal"
    if op.name == "MAX_POOL_2D":
        for long, short in (("height", "h"), ("width", "w")):
            if int(op.options.get(f"stride_{short}", 0)) > int(op.options.get(f"filter_{long}", 0)):  # type: ignore[arg-type]
                return "a stride is longer than the filter"
    if op.name == "SPLIT" and len(op.outputs) not in (2, 3, 4):
        return "the delegate makes two to four parts"
    if op.name == "CONCATENATION" and len(op.inputs) not in (2, 3, 4, 5):
        return "the delegate joins two to five arrays"
    if op.name == "STRIDED_SLICE":
        strides = model.operand(op, 3)
        if (
            op.options.get("shrink_axis_mask", 0)
            or strides is None
            or strides.data is None
            or (strides.data != 1).any()
        ):
            return "an axis is dropped, or a stride is not 1"
    if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        bias = model.operand(op, 2)
        if bias is not None and bias.quant is None and bias.dtype.name != "float32":
            return "the bias has no scale"
        if bias is not None and bias.dtype.name != "float32" and not usable_scale(bias):
            return "a scale of the bias is not positive, finite and normal"
        weights = model.operand(op, 1)
        if weights is not None and weights.quant is not None and not usable_scale(weights):
            return "a scale of the weights is not positive, finite and normal"
        if op.name == "DEPTHWISE_CONV_2D" and op.options.get("depth_multiplier") == 0:
            return "the depth multiplier is 0"
        quant = weights.quant if weights is not None else None
        if op.name == "DEPTHWISE_CONV_2D" and weights is not None and weights.dtype.name == "uint8" and quant:
            return "the quantized axis of uint8 weights is not 0" if quant.axis != 0 else None
    return None


def _declines_scales(model: Model, op: Operator) -> str | None:
    first, second, output = model.operand(op, 0), model.operand(op, 1), model.tensors[op.outputs[0]]
    scales = []
    for tensor in (first, second, output):
        if tensor is None or tensor.quant is None or tensor.quant.scale.size != 1:
            return None  # it will be refused anyway
        scales.append(np.float32(tensor.quant.scale[0]))
    with np.errstate(all="ignore"):
        if op.name == "MUL":
            ratios, low = [scales[0] * scales[1] / scales[2]], 2.0**-16
        else:
            ratios, low = [scales[0] / scales[2], scales[1] / scales[2]], 2.0**-10
    if any(not low <= ratio < 2.0**8 for ratio in ratios):
        return f"a factor from an input's scale to the output's is not in [{low!r}, 256)"
    return None


def _declines_slopes(model: Model, op: Operator) -> str | None:
    x, output = model.operand(op, 0), model.tensors[op.outputs[0]]
    if x is not None and x.dtype.name == "float32":
        alpha = np.abs(np.float32(op.options.get("alpha", 0.0)))  # type: ignore[arg-type]
        return None if np.finfo(np.float32).tiny <= alpha < np.inf else "alpha is 0, subnormal or infinite"
    if x is None or x.quant is None or output.quant is None or x.quant.scale.size + output.quant.scale.size != 2:
        return None  # it will be refused anyway
    with np.errstate(all="ignore"):
        positive = np.float32(x.quant.scale[0]) / np.float32(output.quant.scale[0])
        negative = positive * np.float32(op.options.get("alpha", 0.0))  # type: ignore[arg-type]
    if not 2.0**-8 <= positive <= 2.0**7:
        return "the input's scale by the output's is not in [2^-8, 2^7]"
    if not -float.fromhex("0x1.FFFCp+6") <= negative <= 2.0**7 or abs(negative) < 2.0**-8:
        return "alpha times the input's scale by the output's is not within 2^7, or below 2^-8"
    return None


def check_operator_kernel(prepared: PreparedOperator, kernel: str) -> None:
    """Refuse what the real kernel refuses, or crashes on, when it prepares an operator.

    Args:
        prepared: the operator with its constants folded.
        kernel: `xnnpack`, `builtin`, `reference` or `tflm`.

    Raises:
        UnsupportedError: with the kernel's reason.
    """
    op = prepared.operator
    if op.name == "FILL" and kernel == "tflm" and op.inputs[0] in prepared.inputs:
        raise refuse(op, "the interpreter wants a constant shape")
    if isinstance(prepared, PreparedConvolution):
        layer = prepared.convolution
        if kernel == "tflm":
            if layer.bias is None and layer.operator.name == "DEPTHWISE_CONV_2D" and len(layer.operator.inputs) > 2:
                raise refuse(layer.operator, "the interpreter crashes on a depthwise convolution without a bias")
            _check_multiplier(layer, "the interpreter calculates without meaning for")
            return
        _check_bias(layer, kernel)
        if kernel == "xnnpack":
            largest = max(float(params.effective_scale.max()) for _, _, params in prepared.requant)
            if largest >= 256:
                raise refuse(
                    layer.operator,
                    f"XNNPACK fails to prepare a convolution whose effective scale is 256 or more (largest: "
                    f"{largest!r}), and LiteRT does not fall back to another kernel",
                )
            _check_multiplier(layer, "XNNPACK fails on")


def _check_multiplier(layer: Convolution, what: str) -> None:
    multiplier = layer.operator.options.get("depth_multiplier")
    fits = layer.channels // layer.input.shape[3]
    if multiplier is not None and multiplier != fits:
        raise refuse(layer.operator, f"{what} the depth multiplier {multiplier}; by the shapes it is {fits}")


def _check_bias(layer: Convolution, kernel: str) -> None:
    op, bias = layer.operator, layer.bias
    if bias is None:
        if op.name == "CONV_2D" or len(op.inputs) > 2:
            raise refuse(op, "LiteRT refuses a convolution without a bias; TensorFlow Lite Micro takes it")
        if kernel != "reference":
            raise refuse(op, "LiteRT crashes on a depthwise convolution without a bias")
        return
    assert layer.input.quant is not None
    assert layer.weights.quant is not None
    assert layer.output.quant is not None
    if bias.quant is not None and (bias.quant.zero_point != 0).any():
        raise refuse(op, "LiteRT refuses a bias with a zero point that is not 0")
    if layer.input.dtype.name == "uint8" and kernel != "xnnpack":
        product = float(np.float32(layer.input.quant.scale[0]) * np.float32(layer.weights.quant.scale[0]))
        stored = 0.0 if bias.quant is None else float(bias.quant.scale[0])
        if not abs(product - stored) / float(layer.output.quant.scale[0]) <= 0.02:
            raise refuse(
                op,
                f"the bias scale {stored!r} is more than 2 % of the output scale away from input scale x weights "
                f"scale = {product!r}; LiteRT refuses such a uint8 convolution",
            )
