"""What versions of a runtime decline or refuse that today's does not, or the other way round."""

from __future__ import annotations

import numpy as np

from ..arith.neon import pairs_of_lowest
from ..errors import Refusal
from ..model import Model, Operator
from ..rules.requantize.fold import activation_bounds
from ..runtimes.base import Runtime
from ..runtimes.variant import Variant
from .base import PreparedOperator, refuse
from .dense_8bit import PreparedDense
from .dense_hybrid import PreparedHybrid
from .dense_layer import DenseLayer, PreparedLayer, dense_layer

__all__ = ["check_version", "version_declines"]


def version_declines(model: Model, op: Operator, runtime: Runtime) -> str | None:
    """Why this version's delegate leaves an operator to the builtin kernels, beside what every version declines."""
    if op.name != "FULLY_CONNECTED" or not runtime.declines:
        return None
    layer = dense_layer(model, op)
    if layer.weights.quant is None:
        return None
    one_scale = layer.weights.dtype.name == "int4" and layer.granularity == "per_tensor" and layer.units > 1
    if "int4_one_scale" in runtime.declines and one_scale:
        return "int4 weights have one scale for several units"
    if layer.output.quant is None or layer.output.dtype.qmin is None:
        return None
    if "per_channel_bias" in runtime.declines and layer.bias is not None and layer.granularity == "per_channel":
        return "the weights have a scale for each unit, and there is a bias"
    if "one_value" in runtime.declines:
        scale, zero_point = layer.output_scale, layer.output_zero_point
        low, high = activation_bounds(layer.activation, scale, zero_point, layer.output.dtype, "half_even")
        if low >= high:
            return f"the fused activation leaves no other output than {low}"
    return None


def check_version(prepared: PreparedOperator, variant: Variant, runtime: Runtime) -> None:
    """Refuse what this version cannot run, or runs without writing the whole output. `prepared` knows its kernel.

    Raises:
        UnsupportedError: with the reason.
    """
    op = prepared.operator
    largest = runtime.operator_versions.get(op.name)
    if largest is not None and op.version > largest:
        raise refuse(op, f"operator version {op.version}; this version of the runtime knows versions up to {largest}")
    if isinstance(prepared, PreparedDense) and prepared.kernel == "xnnpack" and "int4_one_scale" in runtime.declines:
        layer = prepared.layer
        if layer.weights.dtype.name == "int4" and layer.units == 1 and layer.bias is not None:
            raise refuse(
                op, "the delegate takes int4 weights with one unit and fails to prepare them if there is a bias"
            )
    if isinstance(prepared, PreparedHybrid) and prepared.kernel == "xnnpack" and "hybrid_one_unit" in runtime.declines:
        layer = prepared.layer
        if layer.weights.dtype.name == "int8" and layer.units == 1:
            raise refuse(op, "this version's delegate fails to prepare hybrid layers of one unit")
    if isinstance(prepared, PreparedDense) and prepared.kernel in runtime.overflowing:
        _check_pairs(prepared)
    if isinstance(prepared, PreparedLayer) and variant in runtime.written_in_part:
        layer = prepared.layer
        if layer.keep_num_dims and len(layer.output.shape) > 2:
            raise refuse(
                op,
                f"output of rank {len(layer.output.shape)}: this version's kernel takes it for two dimensions and "
                "leaves the rest unwritten, or ends the process",
            )


def _check_pairs(prepared: PreparedDense) -> None:
    """Refuse 8-bit layers with two weights that, as int8, are -128 and whose products share a sum of 16 bits.

    XNNPACK fills the depth up to whole eights with zeros, ruy up to whole sixteens with zero points.
    """
    layer = prepared.layer
    if layer.input.dtype.name not in ("int8", "uint8") or layer.weights.dtype.name not in ("int8", "uint8"):
        return
    lowest = np.asarray(layer.weights_values == layer.weights.dtype.qmin)
    if prepared.kernel == "xnnpack" and layer.input.dtype.name == "uint8":
        return  # widened to 16 bits before they are multiplied
    step, filled = (8, False) if prepared.kernel == "xnnpack" else (16, _zero_points_are_lowest(layer))
    pairs = pairs_of_lowest(np.pad(lowest, ((0, 0), (0, -layer.depth % step)), constant_values=filled))
    if pairs.any():
        units = np.flatnonzero(pairs.any(axis=1))
        raise refuse(
            layer.operator,
            f"not exact: {int(pairs.sum())} pairs of weights in {units.size} units (first: {int(units[0])}) are the "
            f"lowest value, {layer.weights.dtype.qmin}, eight columns apart; where both inputs are the lowest too, "
            "this CPU's kernel adds their products in 16 bits, which overflow. Quantize the weights so that the lowest "
            "value does not occur (int8: -127 ... 127)",
            Refusal.NOT_EXACT,
        )


def _zero_points_are_lowest(layer: DenseLayer) -> bool:
    return layer.weights_zero_point == layer.weights.dtype.qmin and layer.input_zero_point == layer.input.dtype.qmin
