"""Dense layers with int16 activations: acc = sum_k (x - zx)(w - zw) + bias in 32 or 64 bits, then requantize.

What the accumulator and the requantization are depends on the bias, so `int16_bias` is a part of the variant that
runtimes look a rule up by. Kernels read the bias as the type that they were told, not as the type that it has:

- int16 x int8 in LiteRT's reference arithmetic reads an int32 bias as int64 unless `quantized_bias_type` says INT32.
  Half of what it reads lies behind the constant, so there is nothing exact to say: refused.
- int16 x int16 in LiteRT reads an int64 bias as int32 unless `quantized_bias_type` says INT64: unit i gets the i-th
  32-bit word, which is all within the constant. Reproduced, with a warning.

Source: google-ai-edge/LiteRT tflite/kernels/fully_connected.cc @02f540346b50 (EvalQuantized, case kTfLiteInt16);
tensorflow/tflite-micro tensorflow/lite/micro/kernels/fully_connected.cc @26a153e764c8. The tflite-micro wheel of
October 2026 is newer than that source: it runs int32 biases and per-channel weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...arith.matmul import ExactWeights, pack_weights
from ...model.graph import Model, Operator
from ...model.types import INT32, Array
from ...rules.base import WHOLE, IntegerRule
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.table import COMMON_INT16
from ...rules.requantize.vector import requantize
from ..base import refuse
from .eight_bit import PreparedDense
from .layer import DenseLayer, check_types, dense_layer

__all__ = ["PreparedDenseInt16", "prepare_dense_int16"]

# (input, weights, output)
TYPES = tuple(("int16", weights, "int16") for weights in ("int8", "int16", "int4"))


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDenseInt16(PreparedDense):
    """A dense layer with int16 activations; `acc_bits` is 32 or 64.

    Where a kernel misreads the bias, `layer.bias` is the bias as it reads it.
    """

    @property
    def rivals(self) -> Mapping[str, IntegerRule]:
        """Every requantization rule that could be thought to be this layer's."""
        return COMMON_INT16


def prepare_dense_int16(model: Model, op: Operator, rule: IntegerRule) -> PreparedDenseInt16:
    """Fold a dense layer's constants for one rule.

    Covered are int16 x int8, int16 x int16 and int16 x int4 -> int16, per-tensor and per-channel, with an int32, int64
    or no bias.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the rule; its sums have whole products.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    layer = dense_layer(model, op)
    check_types(layer, TYPES, ("int32", "int64"))
    if rule.sums.products != WHOLE:
        raise refuse(op, f"a rule of int16 layers has whole products; found products = {rule.sums.products}")
    layer, notes = _with_bias_as_read(layer)
    params = layer.requantization(rule)
    folded = layer.folded_bias
    packed = pack_weights(layer.weights_values, largest_input=2**15)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return _trace(layer, packed, folded, params, values[0])

    return PreparedDenseInt16(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        notes=notes,
        layer=layer,
        folded_bias=folded,
        requant=params,
        acc_bits=rule.sums.bits,
    )


def _with_bias_as_read(layer: DenseLayer) -> tuple[DenseLayer, tuple[str, ...]]:
    """The layer with its bias as the kernel reads it, and a warning where that is not what the file says."""
    bias = layer.bias
    if bias is None or bias.data is None or layer.weights.dtype.name != "int16" or bias.dtype.name != "int64":
        return layer, ()
    if layer.operator.options.get("quantized_bias_type", "float32") != "float32":
        return layer, ()
    words = np.ascontiguousarray(bias.data.reshape(-1), "<i8").view("<i4")[: layer.units].astype(np.int32)
    note = (
        f"the bias ({bias.label}) is int64, and this kernel reads it as int32 since quantized_bias_type does not say "
        "INT64: unit i gets the 32-bit word i, so the low and high halves of the first half of the biases. The numbers "
        "here are those that the kernel adds, not those of the file"
    )
    return replace(layer, bias=replace(bias, dtype=INT32, data=words)), (note,)


def _trace(
    layer: DenseLayer, packed: ExactWeights, folded: npt.NDArray[np.int64], params: RequantParams, x: Array
) -> dict[str, Array]:
    """Every step of the layer for one input; steps are `[rows, out]`, the output has the tensor's own shape."""
    rows = layer.rows(x)
    dot = packed.dot(rows)
    acc = dot + folded
    if layer.weights_zero_point:
        acc = acc - layer.weights_zero_point * rows.astype(np.int64).sum(axis=1, keepdims=True)
    acc = low_bits(acc, params.rule.sums.bits)
    acc = acc if params.rule.sums.bits == 64 else acc.astype(np.int32)
    steps: dict[str, Array] = {"dot": dot, "acc": acc, **requantize(acc, params)}
    steps["output"] = steps["output"].reshape(layer.output_shape(x.shape))
    return steps
