"""FULLY_CONNECTED: one operator, several families of arithmetic, told apart by their types of rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from ...model.graph import Model, Operator
from ...rules.base import Either, IntegerRule
from ...rules.floats import table as float_table
from ...rules.floats import words as float_words
from ...rules.floats.forms import ByUnits, FloatRule
from ...rules.hybrid.forms import HybridRule
from ...rules.hybrid.table import HYBRID_RULES
from ...rules.hybrid.words import equation as hybrid_equation
from ...rules.requantize import table
from ...rules.requantize.words import choice_equation, equation
from ..base import PreparedOperator, refuse, required_operand
from ..entry import LAYER_ROLES, OperatorEntry, OperatorGroup
from .eight_bit import prepare_dense_8bit
from .faulty_kernels import ignores_quantization, prepare_ignoring
from .float32 import prepare_dense_float
from .gemv_or_gemm import prepare_by_rows
from .hybrid import prepare_dense_hybrid
from .int16 import prepare_dense_int16
from .layer import dense_layer, dense_variant

__all__ = ["ENTRIES", "RULES", "DenseRule", "prepare_fully_connected"]

DenseRule = IntegerRule | Either | HybridRule | FloatRule | ByUnits

RULES: dict[str, str] = {
    **{name: equation(rule) for name, rule in table.RULES.items()},
    **{name: hybrid_equation(rule) for name, rule in HYBRID_RULES.items()},
    **{name: float_words.equation(rule) for name, rule in float_table.FLOAT_RULES.items()},
    **{name: float_words.choice_equation(choice) for name, choice in float_table.FLOAT_CHOICES.items()},
    **{name: choice_equation(choice) for name, choice in table.CHOICES.items()},
}
"""Every family's rules in one line each."""

_BY_NAME: dict[str, DenseRule] = {
    **table.RULES,
    **HYBRID_RULES,
    **float_table.FLOAT_RULES,
    **float_table.FLOAT_CHOICES,
    **table.CHOICES,
}

# Keyed by the input's element type.
FAMILIES: dict[str, Callable[[Model, Operator, IntegerRule], PreparedOperator]] = {
    "int8": prepare_dense_8bit,
    "uint8": prepare_dense_8bit,
    "int16": prepare_dense_int16,
}


def prepare_fully_connected(model: Model, op: Operator, rule: str | DenseRule) -> PreparedOperator:
    """Fold a dense layer's constants for one rule of its family.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a key of `RULES`, or a rule itself, which needs no line in a table.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    dtype = required_operand(model, op, 0, "input").dtype.name
    if dtype not in (*FAMILIES, "float32"):
        raise refuse(op, f"the input is {dtype}; covered: {', '.join((*FAMILIES, 'float32'))}")
    found = _BY_NAME[rule] if isinstance(rule, str) else rule
    if isinstance(found, HybridRule | FloatRule | ByUnits) != (dtype == "float32"):
        wanted = "integers" if dtype == "float32" else "float32"
        raise refuse(op, f"the input is {dtype}; the rule is for {wanted}")
    match found:
        case IntegerRule():
            family = FAMILIES[dtype]
            ignoring = ignores_quantization(found)
            return prepare_ignoring(family, model, op, found) if ignoring else family(model, op, found)
        case Either():
            return prepare_by_rows(FAMILIES[dtype], model, op, found)
        case HybridRule():
            return prepare_dense_hybrid(model, op, found)
        case FloatRule():
            return prepare_dense_float(model, op, found)
        case ByUnits():
            chosen = found.wide if dense_layer(model, op).units >= found.least else found.narrow
            return replace(prepare_dense_float(model, op, chosen), rule=found.name)
        case never:
            assert_never(never)


ENTRIES = {
    "FULLY_CONNECTED": OperatorEntry(
        prepare_fully_connected, RULES, OperatorGroup.DENSE, dense_variant, (2, 3), roles=LAYER_ROLES
    ),
}
