"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..model import Model, Operator
from . import dequantize, fully_connected, logistic, quantize, relu, reshape, softmax, tanh
from .base import PreparedOperator
from .dense_layer import dense_variant

__all__ = ["OPERATORS", "OperatorEntry"]


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
        rules: rule name -> what it calculates, in one line.
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    variant: Callable[[Model, Operator], str]
    rules: Mapping[str, str]


def _types_variant(model: Model, op: Operator) -> str:
    """`<input dtype>-><output dtype>`."""
    x = model.operand(op, 0)
    return f"{x.dtype.name if x is not None else 'absent'}->{model.tensors[op.outputs[0]].dtype.name}"


OPERATORS: dict[str, OperatorEntry] = {
    "DEQUANTIZE": OperatorEntry(dequantize.prepare_dequantize, _types_variant, dequantize.RULES),
    "FULLY_CONNECTED": OperatorEntry(fully_connected.prepare_fully_connected, dense_variant, fully_connected.RULES),
    "LOGISTIC": OperatorEntry(logistic.prepare_logistic, _types_variant, logistic.RULES),
    "QUANTIZE": OperatorEntry(quantize.prepare_quantize, _types_variant, quantize.RULES),
    "RELU": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU6": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU_N1_TO_1": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RESHAPE": OperatorEntry(reshape.prepare_reshape, _types_variant, reshape.RULES),
    "SOFTMAX": OperatorEntry(softmax.prepare_softmax, _types_variant, softmax.RULES),
    "TANH": OperatorEntry(tanh.prepare_tanh, _types_variant, tanh.RULES),
}
