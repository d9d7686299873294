"""What real kernels decline or refuse when they prepare an operator, apart from its arithmetic."""

from __future__ import annotations

import numpy as np

from ..model import Model, Operator
from .base import PreparedOperator, refuse
from .dense_8bit import PreparedDense
from .dense_hybrid import PreparedHybrid, check_hybrid_kernel
from .dense_int16 import check_int16_kernel
from .dense_layer import DenseLayer
from .operator_checks import check_operator_kernel, xnnpack_declines_operator
from .other_kernels import OTHER_KERNELS, check_other_kernel
from .quantize import xnnpack_declines_quantize
from .validity import usable_scale

__all__ = ["check_kernel", "kernel_notes", "xnnpack_declines"]


def xnnpack_declines(model: Model, op: Operator) -> str | None:
    """Why the XNNPACK delegate leaves this operator to the builtin kernels, or None where it takes it."""
    if op.name == "QUANTIZE":
        return xnnpack_declines_quantize(model, op)
    if op.name == "FULLY_CONNECTED":
        weights, bias = model.operand(op, 1), model.operand(op, 2)
        if weights is not None and weights.dtype.name == "int4" and weights.shape[-1:] and weights.shape[-1] % 2:
            return "the depth of int4 weights is odd"
        if bias is not None and bias.dtype.name == "int32":
            if bias.quant is None:
                return "the bias has no scale"
            if not usable_scale(bias):
                return "a scale of the bias is not positive, finite and normal"
            if (bias.quant.zero_point != 0).any():
                return "the bias's zero point is not 0"
    return xnnpack_declines_operator(model, op)


def check_kernel(prepared: PreparedOperator, kernel: str, ignores: frozenset[str] = frozenset()) -> None:
    """Refuse what the real kernel refuses when it prepares an operator.

    Args:
        prepared: the operator with its constants folded.
        kernel: `xnnpack`, `builtin`, `reference` or `tflm`.
        ignores: see `Runtime.ignores`.

    Raises:
        UnsupportedError: with the kernel's reason.
    """
    if isinstance(prepared, PreparedDense):
        _check_dense(prepared, kernel, ignores)
    if isinstance(prepared, PreparedHybrid):
        check_hybrid_kernel(prepared, kernel, ignores)
    check_operator_kernel(prepared, kernel)


def kernel_notes(prepared: PreparedOperator, kernel: str) -> tuple[str, ...]:
    """What a user should be warned of where this kernel calculates this operator: its known faults."""
    if not isinstance(prepared, PreparedDense):
        return ()
    layer, notes = prepared.layer, []
    assert layer.weights.quant is not None
    stored = layer.weights.quant.zero_point
    if layer.granularity == "per_channel" and (stored != 0).any():
        notes.append(
            "the weights have a scale for each unit and zero points that are not 0: this kernel ignores the zero points"
        )
    elif layer.weights_zero_point and layer.weights.dtype.name == "int8" and layer.input.dtype.name == "int8":
        notes.append(
            f"the weights' zero point is {layer.weights_zero_point}, not 0: TensorFlow 2.21's XNNPACK delegate takes "
            "such an int8 layer and ignores that zero point; LiteRT 2.3.0's leaves it to the builtin kernel"
        )
    if prepared.acc_bits < 32:
        low, high = layer.reachable_acc()
        half = 2 ** (prepared.acc_bits - 1)
        beyond = int(((low < -half) | (high >= half)).sum())
        if beyond:
            notes.append(
                f"this kernel's accumulator has {prepared.acc_bits} bits; inputs exist for which it wraps in {beyond} "
                f"of {layer.units} units, where kernels with 32 bits do not"
            )
    if prepared.pairs is not None:
        notes.append(
            "this CPU's kernel adds neighbouring products in 16 bits, which saturate: some inputs make outputs of "
            f"{int(prepared.pairs.units.sum())} of {layer.units} units wrong, where CPUs with VNNI print the right "
            "ones. Weights of 7 bits (-64 to 64, ONNX Runtime's reduce_range) never saturate, nor do inputs of 7 bits "
            "(PyTorch's)"
        )
    if kernel == "xnnpack" and _bias_scale_differs(layer, kernel):
        notes.append(
            "the bias scale is more than 2 % of the output scale away from input scale x weights scale: this kernel "
            "does not check that and takes the bias as it is; LiteRT's others and TensorFlow Lite Micro refuse it"
        )
    return tuple(notes)


def _check_dense(prepared: PreparedDense, kernel: str, ignores: frozenset[str]) -> None:
    if kernel in OTHER_KERNELS:
        check_other_kernel(prepared, kernel)
        return
    layer = prepared.layer
    assert layer.weights.quant is not None
    if not np.isfinite(prepared.requant.effective_scale).all():
        raise refuse(layer.operator, "the effective scale is infinite, which no kernel makes a multiplier of")
    if layer.input.dtype.name == "int16":
        check_int16_kernel(layer, kernel)
    stored = layer.weights.quant.zero_point
    ignored = layer.weights.dtype.name == "int4" and "int4_zero_points" in ignores
    if kernel == "xnnpack" and layer.granularity == "per_channel" and (stored != 0).any() and not ignored:
        raise refuse(layer.operator, "XNNPACK fails on per-channel weights with a zero point that is not 0")
    if kernel in ("builtin", "reference") and layer.weights.dtype.name == "int4" and (stored != 0).any():
        raise refuse(layer.operator, "this kernel takes int4 weights with zero point 0 only")
    if kernel == "xnnpack":
        largest = float(prepared.requant.effective_scale.max())
        if largest >= 256:
            raise refuse(
                layer.operator,
                f"XNNPACK fails to prepare a dense layer whose effective scale is 256 or more (largest: {largest!r}), "
                "and LiteRT does not fall back to another kernel",
            )
    elif _bias_scale_differs(layer, kernel):
        assert layer.bias is not None
        bias_scale = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
        raise refuse(
            layer.operator,
            f"the bias scale {bias_scale!r} is more than 2 % of the output scale away from input scale x weights scale "
            f"= {_scale_product(layer, kernel)!r}; this kernel refuses such a layer (XNNPACK does not check)",
        )


def _bias_scale_differs(layer: DenseLayer, kernel: str) -> bool:
    """Whether the bias's scale is not what LiteRT's and TensorFlow Lite Micro's kernels accept. Per-channel: any is."""
    if layer.bias is None or layer.granularity == "per_channel":
        return False
    bias_scale = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
    # Written so that a scale which is no number differs, as in the kernels.
    return not abs(_scale_product(layer, kernel) - bias_scale) / float(layer.output_scale) <= 0.02


def _scale_product(layer: DenseLayer, kernel: str) -> float:
    if kernel == "tflm":  # it multiplies the scales in float64 everywhere
        return float(layer.input_scale) * float(layer.weights_scale[0])
    with np.errstate(over="ignore", under="ignore"):
        return float(layer.input_scale * layer.weights_scale[0])
