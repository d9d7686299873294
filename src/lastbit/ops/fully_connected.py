"""FULLY_CONNECTED: one operator, several families of arithmetic, told apart by the input's element type."""

from __future__ import annotations

from collections.abc import Callable

from ..arith.requantize import RULES as REQUANT_RULES
from ..model import Model, Operator
from .base import PreparedOperator, refuse, required_operand
from .dense_8bit import prepare_dense_8bit

__all__ = ["RULES", "prepare_fully_connected"]

# Every family's rules in one line each.
RULES: dict[str, str] = {name: rule.equation for name, rule in REQUANT_RULES.items()}

# Keyed by the input's element type.
FAMILIES: dict[str, Callable[[Model, Operator, str], PreparedOperator]] = {
    "int8": prepare_dense_8bit,
}


def prepare_fully_connected(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Fold a dense layer's constants for one rule of its family.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the rule's name in the family's own table.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    dtype = required_operand(model, op, 0, "input").dtype.name
    if dtype not in FAMILIES:
        raise refuse(op, f"the input is {dtype}; covered: {', '.join(FAMILIES)}")
    return FAMILIES[dtype](model, op, rule)
