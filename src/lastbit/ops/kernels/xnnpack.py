"""XNNPACK, LiteRT's default delegate: what it takes from the builtin kernels, and where it fails or warns not.

Source: google-ai-edge/LiteRT, tflite/delegates/xnnpack/xnnpack_delegate.cc @9320c268153a; each shown at both sides
of its limit.
"""

from __future__ import annotations

import numpy as np

from ...arith.floats import SMALLEST_NORMAL
from ...model.graph import Model, Operator, Tensor
from ...model.types import IntegerType
from ...rules.requantize.fold import activation_bounds
from ...runtimes.base import Family, Refusal, Refused, Runtime
from .. import OPERATORS
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from ..dense.hybrid import PreparedHybrid
from ..dense.layer import dense_layer
from ..elements.quantize import q8_out_of_range
from ..elements.unary import operands, per_tensor
from ..products.convolution import PreparedConvolution
from ..products.float_convolution import PreparedFloatConvolution
from ..products.hybrid_convolution import PreparedHybridConvolution
from ..products.transpose_conv import narrow_window
from ..validity import FileLimits, usable_scale
from .base import Kernel, bias_scale_differs, refused
from .dense import (
    bias_of_convolution,
    depth_multiplier,
    finite_scale,
    hybrid_int4_zero_point,
    weight_notes,
    zero_points,
)

__all__ = ["XNNPACK"]

_LARGEST_SCALE = 256
_NO_FALLBACK = "and LiteRT does not fall back to another kernel"


def _declines(model: Model, op: Operator, runtime: Runtime) -> str | None:
    """Why every version leaves this operator to the builtin kernels."""
    if op.name == "QUANTIZE":
        return _declines_quantize(model, op)
    given = model.operand(op, 0)
    dense = _declines_dense(model, op) if op.name == "FULLY_CONNECTED" else None
    if dense is not None:
        return dense
    if given is not None and given.dtype.name in ("int8", "uint8") and given.quant is None:
        return "the input has no scale"
    match op.name:
        case "ADD" | "SUB" | "MUL":
            return _declines_scales(model, op)
        case "LEAKY_RELU":
            return _declines_slopes(model, op)
        case "BATCH_MATMUL":
            return _declines_product(model.operand(op, 1))
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return _declines_convolution(model, op)
        case "TRANSPOSE_CONV":
            if given is None or given.data is None:
                return "the output shape is computed"
            narrow = "with padding SAME, a side of the window is shorter than its stride"
            return narrow if narrow_window(model, op) else None
    return OPERATORS[op.name].delegate_declines(model, op)


def _declines_quantize(model: Model, op: Operator) -> str | None:
    """From float32 it takes int8 and uint8 outputs; from integers, int8 to int8 and uint8 to uint8 in a range."""
    source, output = operands(model, op)
    pair = source.dtype.name, output.dtype.name
    if pair in (("float32", "int8"), ("float32", "uint8")):
        return None
    if pair not in (("int8", "int8"), ("uint8", "uint8")):
        return f"it does not take {pair[0]} to {pair[1]}"
    return q8_out_of_range(per_tensor(op, source), per_tensor(op, output))


def _declines_dense(model: Model, op: Operator) -> str | None:
    weights, bias = model.operand(op, 1), model.operand(op, 2)
    if weights is not None and weights.dtype.name == "int4" and weights.shape[-1:] and weights.shape[-1] % 2:
        return "the depth of int4 weights is odd"
    if bias is None or bias.dtype.name != "int32":
        return None
    if bias.quant is None:
        return "the bias has no scale"
    if not usable_scale(bias):
        return "a scale of the bias is not positive, finite and normal"
    one = bias.quant.scale.size == 1
    return "the bias's zero point is not 0" if one and bias.quant.shifted else None


def _declines_product(second: Tensor | None) -> str | None:
    if second is None or second.quant is None:
        return None
    if second.quant.shifted:
        return "the second input's zero point is not 0"
    return None if usable_scale(second) else "the second input's scale is not positive, finite and normal"


def _declines_convolution(model: Model, op: Operator) -> str | None:
    weights, bias = model.operand(op, 1), model.operand(op, 2)
    if bias is not None and bias.dtype.name != "float32":
        if bias.quant is None:
            return "the bias has no scale"
        if not usable_scale(bias):
            return "a scale of the bias is not positive, finite and normal"
    quant = weights.quant if weights is not None else None
    if quant is not None and not usable_scale(weights):
        return "a scale of the weights is not positive, finite and normal"
    if op.name != "DEPTHWISE_CONV_2D":
        return None
    if bias is not None and bias.dtype.name == "float32" and weights is not None and weights.dtype.name == "int8":
        return "it takes no depthwise convolution with float32 input and int8 weights"
    if op.options.get("depth_multiplier") == 0:
        return "the depth multiplier is 0"
    if weights is not None and weights.dtype.name == "uint8" and quant is not None and quant.axis != 0:
        return "the quantized axis of uint8 weights is not 0"
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
        return None if SMALLEST_NORMAL <= alpha < np.inf else "alpha is 0, subnormal or infinite"
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


def _version_declines(model: Model, op: Operator, runtime: Runtime) -> str | None:
    """Why this version leaves a layer to the builtin kernels, beside what every version declines."""
    if op.name != "FULLY_CONNECTED" or not runtime.declines:
        return None
    layer = dense_layer(model, op)
    if layer.weights.quant is None:
        return None
    one_scale = layer.weights.dtype.name == "int4" and layer.granularity == "per_tensor" and layer.units > 1
    if "int4_one_scale" in runtime.declines and one_scale:
        return "int4 weights have one scale for several units"
    if layer.output.quant is None or not isinstance(layer.output.dtype, IntegerType):
        return None
    if "per_channel_bias" in runtime.declines and layer.bias is not None and layer.granularity == "per_channel":
        return "the weights have a scale for each unit, and there is a bias"
    if "one_value" in runtime.declines:
        scale, zero_point = layer.output_scale, layer.output_zero_point
        low, high = activation_bounds(layer.activation, scale, zero_point, layer.output.dtype, "half_even")
        if low >= high:
            return f"the fused activation leaves no other output than {low}"
    return None


def _dense(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedDense):
        return None
    layer = prepared.layer
    ignored = layer.weights.dtype.name == "int4" and "int4_zero_points" in runtime.ignores
    if layer.granularity == "per_channel" and zero_points(layer) and not ignored:
        return refused("XNNPACK fails on per-channel weights with a zero point that is not 0")
    if (found := _bias_zero_points(layer.bias)) is not None:
        return found
    largest = float(prepared.requant.effective_scale.max())
    if largest >= _LARGEST_SCALE:
        return refused(
            f"XNNPACK fails to prepare a dense layer whose effective scale is {_LARGEST_SCALE} or more (largest: "
            f"{largest!r}), {_NO_FALLBACK}"
        )
    return None


def _bias_zero_points(bias: Tensor | None) -> Refused | None:
    """XNNPACK takes a bias of several scales with zero points of 0 only."""
    if bias is None or bias.quant is None or bias.quant.scale.size == 1 or not bias.quant.shifted:
        return None
    return refused(f"XNNPACK fails on a bias of several scales with a zero point that is not 0, {_NO_FALLBACK}")


def _hybrid(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedHybrid):
        return None
    layer = prepared.layer
    ignored = "hybrid_zero_point" in runtime.ignores and layer.granularity == "per_tensor"
    if zero_points(layer) and not ignored:
        return refused(
            "XNNPACK fails to prepare a hybrid layer whose weights have a zero point that is not 0, and LiteRT does "
            "not fall back to another kernel"
        )
    if not usable_scale(layer.weights):
        scales = layer.weights_scale
        normal = np.isfinite(scales) & (scales >= SMALLEST_NORMAL)
        return refused(
            f"XNNPACK fails to prepare a layer with the weights scale {float(scales[~normal][0])!r} (it wants positive "
            f"normal numbers), {_NO_FALLBACK}"
        )
    return None


def _convolution(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedConvolution):
        return None
    if (found := _bias_zero_points(prepared.convolution.bias)) is not None:
        return found
    largest = max(float(part.params.effective_scale.max()) for part in prepared.parts)
    if largest < _LARGEST_SCALE:
        return None
    return refused(
        f"XNNPACK fails to prepare a convolution whose effective scale is {_LARGEST_SCALE} or more (largest: "
        f"{largest!r}), {_NO_FALLBACK}"
    )


def _version(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """What some versions fail to prepare."""
    if isinstance(prepared, PreparedDense) and "int4_one_scale" in runtime.declines:
        layer = prepared.layer
        if layer.weights.dtype.name == "int4" and layer.units == 1 and layer.bias is not None:
            return refused("the delegate takes int4 weights with one unit and fails to prepare them if there is a bias")
    if not isinstance(prepared, PreparedHybrid) or "hybrid_one_unit" not in runtime.declines:
        return None
    if prepared.layer.weights.dtype.name == "int8" and prepared.layer.units == 1:
        return refused("this version's delegate fails to prepare hybrid layers of one unit")
    return None


def _input_between_strides(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """Older delegates take a negative padding for a huge one: every window lies beside the image."""
    if "input_between_strides" not in runtime.ignores:
        return None
    if not isinstance(prepared, PreparedConvolution | PreparedFloatConvolution | PreparedHybridConvolution):
        return None
    layer = prepared.convolution
    axes = (layer.rows, layer.input.shape[1]), (layer.columns, layer.input.shape[2])
    left_over = any(
        axis.same and (axis.outputs(length) - 1) * axis.stride + axis.reach < length for axis, length in axes
    )
    if not left_over or layer.rows.size * layer.columns.size == 1:
        return None
    return Refused(
        Refusal.UNDEFINED,
        "padding is SAME and the stride larger than the window, so that the windows end before the image does: this "
        "version's delegate reads padding only, and the output is the bias, which is wrong; 2.2.0 reads the image",
    )


def _notes(prepared: PreparedOperator) -> tuple[str, ...]:
    if not isinstance(prepared, PreparedDense) or not bias_scale_differs(prepared.layer, "float32"):
        return weight_notes(prepared)
    return (
        *weight_notes(prepared),
        "the bias scale is more than 2 % of the output scale away from input scale x weights scale: this kernel "
        "does not check that and takes the bias as it is; LiteRT's others and TensorFlow Lite Micro refuse it",
    )


XNNPACK = Kernel(
    Family.XNNPACK,
    checks=(
        finite_scale,
        _dense,
        hybrid_int4_zero_point,
        _hybrid,
        bias_of_convolution(needed=True, scale_checked=False),
        _convolution,
        depth_multiplier("XNNPACK fails on"),
    ),
    version_checks=(_version, _input_between_strides),
    declines=(_declines, _version_declines),
    notes=_notes,
    file=FileLimits(of_litert=True, normal_scales=True),
    rows_filled=(8, "zeros"),
    widens_uint8=True,
)
