"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model import Model, Operator
from .base import PreparedOperator
from .fully_connected import dense_variant, prepare_fully_connected

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
    "FULLY_CONNECTED": OperatorEntry(prepare_fully_connected, dense_variant),
}
