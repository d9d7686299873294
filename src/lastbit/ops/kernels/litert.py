"""LiteRT's own kernels: the optimized ones (`builtin`) and the reference ones."""

from __future__ import annotations

import numpy as np

from ...model.errors import Refusal
from ...runtimes.base import Family, Refused, Runtime
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from ..dense.layer import DenseLayer
from ..products.convolution import PreparedConvolution
from ..products.hybrid_convolution import PreparedHybridConvolution
from ..validity import FileLimits
from .base import Check, Kernel, refused
from .dense import (
    bias_of_convolution,
    bias_scale,
    finite_scale,
    hybrid_int4_zero_point,
    scales_of_hybrid_convolution,
    weight_notes,
    zero_points,
)

__all__ = ["BUILTIN", "REFERENCE"]


def _int4(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedDense) or prepared.layer.weights.dtype.name != "int4":
        return None
    return refused("this kernel takes int4 weights with zero point 0 only") if zero_points(prepared.layer) else None


def _int16(by_reference: bool) -> Check:
    """What these kernels refuse of int16 activations, and what of their bias they read otherwise than it is stored.

    Args:
        by_reference: whether the reference kernels do every such layer; else only those with a weights zero point.
    """

    def check(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
        if not isinstance(prepared, PreparedDense) or prepared.layer.input.dtype.name != "int16":
            return None
        layer = prepared.layer
        return _int16_types(layer) or _misread_bias(layer, by_reference or layer.weights_zero_point != 0)

    return check


def _int16_types(layer: DenseLayer) -> Refused | None:
    for what, zero_point in (("input", layer.input_zero_point), ("output", layer.output_zero_point)):
        if zero_point:
            return refused(f"the {what}'s zero point is {zero_point}; LiteRT takes int16 with a zero point of 0 only")
    if layer.weights.dtype.name == "int4" and zero_points(layer):
        return refused("LiteRT takes int4 weights with a zero point of 0 only")
    stated = _stated_bias(layer)
    stored = stated if layer.bias is None else layer.bias.dtype.name
    if stated not in ("float32", "int32", "int64"):
        return refused(f"quantized_bias_type is {stated}; LiteRT takes INT32, INT64 or none")
    if stated != "float32" and stored != stated:
        return refused(f"the bias is {stored} and quantized_bias_type says {stated}; LiteRT refuses that")
    return None


def _misread_bias(layer: DenseLayer, by_reference: bool) -> Refused | None:
    stated = _stated_bias(layer)
    stored = stated if layer.bias is None else layer.bias.dtype.name
    if layer.weights.dtype.name == "int16" or not by_reference or stored != "int32" or stated != "float32":
        return None
    return Refused(
        Refusal.NOT_EXACT,
        "not exact: this kernel reads the int32 bias as int64 and so beyond its end; what it adds to half of the "
        "units depends on what lies behind the bias in the file. Store the bias as int64, or let "
        "quantized_bias_type say INT32",
    )


def _stated_bias(layer: DenseLayer) -> str:
    return str(layer.operator.options.get("quantized_bias_type", "float32"))


def _growing_3x3(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedConvolution) or "growing_3x3" not in runtime.unstated:
        return None
    layer = prepared.convolution
    if layer.operator.name != "DEPTHWISE_CONV_2D" or layer.input.dtype.name != "int8":
        return None
    if not layer.filter_three_by_three(8) or layer.largest_factor < 1:
        return None
    return Refused(
        Refusal.NOT_EXACT,
        f"not exact: s_x*s_w/s_y is {layer.largest_factor!r}; with 1 or more, this CPU's kernel for 3 * 3 taps shifts "
        "left in a way that is not known",
    )


def _groups_of_one_scale(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """What some versions fail to run, mostly: memory that nobody wrote decides.

    Source: google-ai-edge/LiteRT, tflite/kernels/conv.cc (is_hybrid_per_channel: any scale differs from the first).
    """
    if not isinstance(prepared, PreparedHybridConvolution) or "hybrid_groups_of_one_scale" not in runtime.declines:
        return None
    layer = prepared.convolution
    quant = layer.weights.quant
    if layer.groups == 1 or layer.operator.name != "CONV_2D" or quant is None or np.unique(quant.scale).size > 1:
        return None
    return Refused(
        Refusal.UNDEFINED,
        "this version's kernel takes no groups in a hybrid convolution whose weights have one scale: it asks for a "
        "temporary tensor that it did not make, and fails or prints what has no meaning",
    )


def _kernel(family: Family, *, by_reference: bool) -> Kernel:
    return Kernel(
        family,
        checks=(
            finite_scale,
            _int16(by_reference),
            _int4,
            bias_scale("float32"),
            hybrid_int4_zero_point,
            scales_of_hybrid_convolution,
            _growing_3x3,
            _groups_of_one_scale,
            bias_of_convolution(needed=not by_reference, scale_checked=True),
        ),
        notes=weight_notes,
        file=FileLimits(of_litert=True),
    )


BUILTIN = _kernel(Family.BUILTIN, by_reference=False)
REFERENCE = _kernel(Family.REFERENCE, by_reference=True)
