"""Dense layers whose arithmetic depends on how many rows the input has.

Kernel libraries have a product of a matrix with one vector beside the product of two matrices, written by other hands
and rounding in another way. Which of the two runs is known only when the input is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from ..arith.other_rules import EVERY_RULE
from ..model import Model, Operator
from ..types import Array
from .base import PreparedOperator
from .dense_8bit import PreparedDense

__all__ = ["BY_ROWS", "RULES", "PreparedByRows", "RowsRule", "for_rows", "prepare_by_rows"]

# What LiteRT's matrix-vector kernel needs: it takes four units and eight values at a time and has no smaller form.
LEAST_UNITS = 4
LEAST_DEPTH = 8


@dataclass(frozen=True)
class RowsRule:
    """A rule made of two.

    Attributes:
        name: its name.
        one_row: the requantization rule of an input of one row, where there are units and depth enough.
        rows: the requantization rule of everything else.
    """

    name: str
    one_row: str
    rows: str

    @property
    def equation(self) -> str:
        """Both rules in one line."""
        return (
            f"one row, {LEAST_UNITS} units or more and depth {LEAST_DEPTH} or more: "
            f"{EVERY_RULE[self.one_row].equation};  else: {EVERY_RULE[self.rows].equation}"
        )


BY_ROWS: dict[str, RowsRule] = {
    rule.name: rule
    for rule in (
        RowsRule(f"q31-by_rows-{name}/{product}", f"q31-half_up-half_up/{product}", f"q31-{rows}/{product}")
        for name, rows in (("single", "single-half_up"), ("floor", "floor-half_up"))
        for product in ("fd", "dd")
    )
}

RULES: dict[str, str] = {name: rule.equation for name, rule in BY_ROWS.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedByRows(PreparedDense):
    """A dense layer prepared for one of the `BY_ROWS`; the constants are those of an input of several rows.

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
    return replace(chosen, kernel=prepared.kernel, notes=prepared.notes)


def prepare_by_rows(
    prepare: Callable[[Model, Operator, str], PreparedOperator], model: Model, op: Operator, rule: RowsRule
) -> PreparedByRows:
    """Fold a dense layer's constants for both of a rule's parts.

    Args:
        prepare: the layer's family, which knows the parts by their names.
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the rule.

    Returns:
        The layer; its `evaluate` chooses by the input.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/cpu_backend_gemm.h @053a4435e7f5 (when the matrix-vector
    kernel is tried) and cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9 (what it takes).
    """
    several = prepare(model, op, rule.rows)
    assert isinstance(several, PreparedDense)
    layer = several.layer
    one: PreparedOperator = several
    if layer.units >= LEAST_UNITS and layer.depth >= LEAST_DEPTH:
        one = prepare(model, op, rule.one_row)
    assert isinstance(one, PreparedDense)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        chosen = one if values[0].size == layer.depth else several
        return chosen.evaluate(values)

    parts = {field.name: getattr(several, field.name) for field in fields(several)}
    return PreparedByRows(**parts | {"rule": rule.name, "evaluate": evaluate}, one_row=one, several=several)
