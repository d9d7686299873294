"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model import Model, Operator
from .base import PreparedOperator
from .dequantize import prepare_dequantize
from .fully_connected import dense_variant, prepare_fully_connected
from .logistic import prepare_logistic
from .quantize import prepare_quantize
from .relu import prepare_relu
from .reshape import prepare_reshape
from .softmax import prepare_softmax
from .tanh import prepare_tanh

__all__ = ["OPERATORS", "OperatorEntry"]


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    variant: Callable[[Model, Operator], str]


def _types_variant(model: Model, op: Operator) -> str:
    """`<input dtype>-><output dtype>`."""
    x = model.operand(op, 0)
    return f"{x.dtype.name if x is not None else 'absent'}->{model.tensors[op.outputs[0]].dtype.name}"


OPERATORS: dict[str, OperatorEntry] = {
    "DEQUANTIZE": OperatorEntry(prepare_dequantize, _types_variant),
    "FULLY_CONNECTED": OperatorEntry(prepare_fully_connected, dense_variant),
    "LOGISTIC": OperatorEntry(prepare_logistic, _types_variant),
    "QUANTIZE": OperatorEntry(prepare_quantize, _types_variant),
    "RELU": OperatorEntry(prepare_relu, _types_variant),
    "RELU6": OperatorEntry(prepare_relu, _types_variant),
    "RELU_N1_TO_1": OperatorEntry(prepare_relu, _types_variant),
    "RESHAPE": OperatorEntry(prepare_reshape, _types_variant),
    "SOFTMAX": OperatorEntry(prepare_softmax, _types_variant),
    "TANH": OperatorEntry(prepare_tanh, _types_variant),
}
