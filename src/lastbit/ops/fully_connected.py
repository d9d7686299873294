"""FULLY_CONNECTED: one operator, several families of arithmetic, told apart by the input's element type."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Model, Operator
from .base import PreparedOperator, refuse, required_operand
from .dense_8bit import RULES as RULES_8BIT
from .dense_8bit import prepare_dense_8bit
from .dense_by_rows import BY_ROWS, prepare_by_rows
from .dense_by_rows import RULES as RULES_BY_ROWS
from .dense_float import RULES as RULES_FLOAT32
from .dense_float import prepare_dense_float32
from .dense_ignoring import RULES as RULES_IGNORING
from .dense_ignoring import prepare_ignoring
from .dense_int16 import RULES as RULES_INT16
from .dense_int16 import prepare_dense_int16

__all__ = ["RULES", "prepare_fully_connected"]

# Every family's rules in one line each.
RULES: dict[str, str] = {**RULES_8BIT, **RULES_INT16, **RULES_FLOAT32, **RULES_BY_ROWS, **RULES_IGNORING}

# Keyed by the input's element type.
FAMILIES: dict[str, Callable[[Model, Operator, str], PreparedOperator]] = {
    "int8": prepare_dense_8bit,
    "uint8": prepare_dense_8bit,
    "int16": prepare_dense_int16,
    "float32": prepare_dense_float32,
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
    if rule in BY_ROWS:
        return prepare_by_rows(FAMILIES[dtype], model, op, BY_ROWS[rule])
    if rule in RULES_IGNORING:
        return prepare_ignoring(FAMILIES[dtype], model, op, rule)
    return FAMILIES[dtype](model, op, rule)
