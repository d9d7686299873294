"""Dense layers that are float32 throughout: an order of summation, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...model.graph import Model, Operator
from ...model.types import Array, Float32Array
from ...rules.floats.forms import FloatRule
from ...rules.floats.vector import limit, sums
from .layer import PreparedLayer, check_types, dense_layer

__all__ = ["PreparedFloat", "Summation", "prepare_dense_float"]

# (rule, rows [rows, depth], weights [out, depth], bias [out] or None) -> the sums with the bias, [rows, out].
Summation = Callable[[FloatRule, Float32Array, Float32Array, Float32Array | None], Float32Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedFloat(PreparedLayer):
    """A float32 dense layer, for one runtime.

    Attributes:
        arithmetic: the rule.
        weights: float32 `[out, depth]`.
        bias: float32 `[out]`, or None.
    """

    arithmetic: FloatRule
    weights: Float32Array
    bias: Float32Array | None


def prepare_dense_float(model: Model, op: Operator, rule: FloatRule, *, summation: Summation = sums) -> PreparedFloat:
    """Fold the constants of a dense layer that is float32 throughout.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the rule, which needs no line in a table.
        summation: what reads the rule's order. A rival that no rule describes has another one.

    Returns:
        The prepared operator, whose steps are `with_bias` `[rows, out]` and `output`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    Source: google/XNNPACK src/f32-gemm/avx512-broadcast.c.in, src/f32-gemm/MRx2c4-sse.c.in @028aae4f5fcf;
    tensorflow/tensorflow tensorflow/lite/kernels/internal/reference/fully_connected.h, which tensorflow/tflite-micro
    has too; what a compiler made of it for ARM64, from the disassembled wheel. Shown on the running interpreters.
    """
    layer = dense_layer(model, op)
    check_types(layer, (("float32", "float32", "float32"),), ("float32",))
    assert layer.weights.data is not None
    weights = np.asarray(layer.weights.data, np.float32)
    bias = None
    if layer.bias is not None and layer.bias.data is not None:
        bias = np.asarray(layer.bias.data, np.float32).reshape(-1)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        rows = layer.rows(np.asarray(values[0], np.float32))
        with_bias = summation(rule, rows, weights, bias)
        output = limit(rule, with_bias, layer.activation)
        return {"with_bias": with_bias, "output": output.reshape(layer.output_shape(values[0].shape))}

    return PreparedFloat(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        layer=layer,
        arithmetic=rule,
        weights=weights,
        bias=bias,
    )
