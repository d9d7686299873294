"""TRANSPOSE: axes in another order."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from .copies import COPY_RULES, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_transpose"]

RULES = COPY_RULES


def prepare_transpose(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare TRANSPOSE of any type, by a constant permutation.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the permutation is not constant, or none.
    """
    x = required_operand(model, op, 0, "input")
    order = [int(axis) for axis in integers(model, op, 1, "permutation")]
    if sorted(axis % max(len(x.shape), 1) for axis in order) != list(range(len(x.shape))):
        raise refuse(op, f"{order} is not a permutation of {len(x.shape)} axes")
    return prepared_copy(
        op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [given[0].transpose(order)]
    )


ENTRIES = {
    "TRANSPOSE": OperatorEntry(prepare_transpose, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
}
