"""Dense layers whose arithmetic depends on how many rows the input has.

Kernel libraries have a product of a matrix with one vector beside the product of two matrices, written by other hands
and rounding in another way. Which of the two runs is known only when the input is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from ...model.graph import Model, Operator
from ...model.types import Array
from ...rules.base import Either, IntegerRule, OneRow
from ..base import PreparedOperator, refuse
from .eight_bit import PreparedDense

__all__ = ["PreparedByRows", "for_rows", "prepare_by_rows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedByRows(PreparedDense):
    """A dense layer prepared for a choice by rows; the constants are those of an input of several rows.

    Attributes:
        one_row: the same layer as an input of one row sees it.
        several: as an input of several rows sees it; `one_row` is the same where the other kernel cannot take it.
    """

    one_row: PreparedDense
    several: PreparedDense


def for_rows(prepared: PreparedDense, rows: int) -> PreparedDense:
    """The layer with the rule and the constants that hold for an input of this many rows."""
    if not isinstance(prepared, PreparedByRows):
        return prepared
    chosen = prepared.one_row if rows == 1 else prepared.several
    return replace(chosen, kernel=prepared.kernel, notes=prepared.notes, choice=prepared.rule)


def prepare_by_rows(
    prepare: Callable[[Model, Operator, IntegerRule], PreparedOperator], model: Model, op: Operator, rule: Either
) -> PreparedByRows:
    """Fold a dense layer's constants for both of a rule's parts.

    Args:
        prepare: the layer's family.
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the choice.

    Returns:
        The layer; its `evaluate` chooses by the input.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/cpu_backend_gemm.h @053a4435e7f5 (when the matrix-vector
    kernel is tried) and cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9 (what it takes).
    """
    if not isinstance(rule.when, OneRow):
        raise refuse(op, "the rule chooses by channels or windows, which a dense layer does not have")
    several = prepare(model, op, rule.otherwise)
    assert isinstance(several, PreparedDense)
    layer = several.layer
    one: PreparedOperator = several
    if layer.units >= rule.when.least_units and layer.depth >= rule.when.least_depth:
        one = prepare(model, op, rule.then)
    assert isinstance(one, PreparedDense)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        chosen = one if values[0].size == layer.depth else several
        return chosen.evaluate(values)

    parts = {field.name: getattr(several, field.name) for field in fields(several)}
    return PreparedByRows(**parts | {"rule": rule.name, "evaluate": evaluate}, one_row=one, several=several)
