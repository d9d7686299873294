"""Dense layers with 8-bit input and a 32-bit accumulator: acc = sum_k (x - zx)(w - zw) + bias, then requantize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import wrap32
from ..arith.matmul import ExactWeights, pack_weights
from ..arith.requantize import RULES as REQUANT_RULES
from ..arith.requantize import RequantParams, prepare_requantize, requantize
from ..model import Model, Operator
from ..types import Array
from .base import PreparedOperator
from .dense_layer import DenseLayer, check_types, dense_layer

__all__ = ["PreparedDense", "prepare_dense_8bit"]

# (input, weights, output)
TYPES = (("int8", "int8", "int8"),)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDense(PreparedOperator):
    """A dense layer with its constants folded for one runtime.

    Attributes:
        layer: the layer as the file has it.
        folded_bias: int64 `[out]`: bias - zx * sum(weights) + depth * zx * zw, the part of acc that no input changes.
        requant: the requantization's folded constants.
    """

    layer: DenseLayer
    folded_bias: npt.NDArray[np.int64]
    requant: RequantParams


def prepare_dense_8bit(model: Model, op: Operator, rule: str) -> PreparedDense:
    """Fold a dense layer's constants for one requantization rule.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a name in `lastbit.arith.requantize.RULES`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    layer = dense_layer(model, op)
    check_types(layer, TYPES, ("int32",))
    params = prepare_requantize(
        REQUANT_RULES[rule],
        input_scale=layer.input_scale,
        weights_scale=layer.weights_scale,
        output_scale=layer.output_scale,
        output_zero_point=layer.output_zero_point,
        activation=layer.activation,
        dtype=layer.output.dtype,
    )
    w = layer.weights_values
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    folded = layer.bias_values - zx * w.astype(np.int64).sum(axis=1) + layer.depth * zx * zw
    packed = pack_weights(w, largest_input=128)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return _trace(layer, packed, folded, params, values[0])

    return PreparedDense(
        operator=op,
        rule=rule,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        layer=layer,
        folded_bias=folded,
        requant=params,
    )


def _trace(
    layer: DenseLayer, packed: ExactWeights, folded: npt.NDArray[np.int64], params: RequantParams, x: Array
) -> dict[str, Array]:
    """Every step of the layer for one input; steps are `[rows, out]`, the output has the tensor's own shape."""
    rows = layer.rows(x)
    dot = packed.dot(rows)
    total = dot + folded
    if layer.weights_zero_point:
        total = total - layer.weights_zero_point * rows.astype(np.int64).sum(axis=1, keepdims=True)
    acc = wrap32(total)
    steps: dict[str, Array] = {"dot": dot, "acc": acc.astype(np.int32), **requantize(acc, params)}
    steps["output"] = steps["output"].reshape(layer.output_shape(x.shape))
    return steps
