"""What real kernels decline or refuse when they prepare an operator, apart from its arithmetic."""

from __future__ import annotations

from ..model import Model, Operator
from .base import PreparedOperator, refuse
from .dense_8bit import PreparedDense
from .quantize import xnnpack_declines_quantize

__all__ = ["check_kernel", "xnnpack_declines"]


def xnnpack_declines(model: Model, op: Operator) -> str | None:
    """Why the XNNPACK delegate leaves this operator to the builtin kernels, or None where it takes it."""
    if op.name == "QUANTIZE":
        return xnnpack_declines_quantize(model, op)
    if op.name == "FULLY_CONNECTED":
        weights, bias = model.operand(op, 1), model.operand(op, 2)
        quant = weights.quant if weights is not None else None
        if quant is not None and not quant.per_channel and quant.zero_point[0] != 0:
            return "the weights' zero point is not 0"
        if bias is not None and bias.dtype.name == "int32":
            if bias.quant is None:
                return "the bias has no scale"
            if (bias.quant.zero_point != 0).any():
                return "the bias's zero point is not 0"
    return None


def check_kernel(prepared: PreparedOperator, kernel: str) -> None:
    """Refuse what the real kernel refuses when it prepares an operator.

    Args:
        prepared: the operator with its constants folded.
        kernel: `xnnpack`, `builtin`, `reference` or `tflm`.

    Raises:
        UnsupportedError: with the kernel's reason.
    """
    if isinstance(prepared, PreparedDense):
        _check_dense(prepared, kernel)


def _check_dense(prepared: PreparedDense, kernel: str) -> None:
    layer = prepared.layer
    assert layer.weights.quant is not None
    if kernel == "xnnpack" and (layer.weights.quant.zero_point != 0).any():
        raise refuse(layer.operator, "XNNPACK fails on per-channel weights with a zero point that is not 0")
    if kernel == "xnnpack":
        largest = float(prepared.requant.effective_scale.max())
        if largest >= 256:
            raise refuse(
                layer.operator,
                f"XNNPACK fails to prepare a dense layer whose effective scale is 256 or more (largest: {largest!r}), "
                "and LiteRT does not fall back to another kernel",
            )
    elif layer.bias is not None and layer.granularity == "per_tensor":
        bias_scale = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
        product = float(layer.input_scale * layer.weights_scale[0])
        if kernel == "tflm":  # it multiplies the scales in float64 everywhere
            product = float(layer.input_scale) * float(layer.weights_scale[0])
        if abs(product - bias_scale) / float(layer.output_scale) > 0.02:
            raise refuse(
                layer.operator,
                f"the bias scale {bias_scale!r} is more than 2 % of the output scale away from input scale x weights "
                f"scale = {product!r}; this kernel refuses such a layer (XNNPACK does not check)",
            )
