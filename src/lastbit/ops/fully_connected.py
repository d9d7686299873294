"""FULLY_CONNECTED: one operator, several families of arithmetic, told apart by the input's element type."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Model, Operator
from ..rules.base import Either, IntegerRule
from ..rules.requantize import table
from ..rules.requantize.words import choice_equation, equation
from .base import PreparedOperator, refuse, required_operand
from .dense_8bit import prepare_dense_8bit
from .dense_by_rows import prepare_by_rows
from .dense_float import RULES as RULES_FLOAT32
from .dense_float import prepare_dense_float32
from .dense_ignoring import ignores_quantization, prepare_ignoring
from .dense_int16 import prepare_dense_int16

__all__ = ["RULES", "prepare_fully_connected"]

RULES: dict[str, str] = {
    **{name: equation(rule) for name, rule in table.RULES.items()},
    **RULES_FLOAT32,
    **{name: choice_equation(choice) for name, choice in table.CHOICES.items()},
}
"""Every family's rules in one line each."""

# Keyed by the input's element type.
FAMILIES: dict[str, Callable[[Model, Operator, IntegerRule], PreparedOperator]] = {
    "int8": prepare_dense_8bit,
    "uint8": prepare_dense_8bit,
    "int16": prepare_dense_int16,
}


def prepare_fully_connected(model: Model, op: Operator, rule: str | IntegerRule | Either) -> PreparedOperator:
    """Fold a dense layer's constants for one rule of its family.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a key of `RULES`, or an integer layer's rule itself, which needs no line in a table.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    dtype = required_operand(model, op, 0, "input").dtype.name
    if dtype not in (*FAMILIES, "float32"):
        raise refuse(op, f"the input is {dtype}; covered: {', '.join((*FAMILIES, 'float32'))}")
    if isinstance(rule, str):
        if rule in RULES_FLOAT32:
            return prepare_dense_float32(model, op, rule)
        rule = table.CHOICES[rule] if rule in table.CHOICES else table.RULES[rule]
    if dtype not in FAMILIES:
        raise refuse(op, f"the input is {dtype}; the rule is for integers")
    family = FAMILIES[dtype]
    if isinstance(rule, Either):
        return prepare_by_rows(family, model, op, rule)
    return prepare_ignoring(family, model, op, rule) if ignores_quantization(rule) else family(model, op, rule)
