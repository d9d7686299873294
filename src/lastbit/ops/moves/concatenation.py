"""CONCATENATION: arrays put one after the other along an axis."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import ANY_NUMBER, OperatorEntry, OperatorGroup
from .copies import COPY_RULES, check_axis, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_concatenation"]

RULES = COPY_RULES


def prepare_concatenation(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare CONCATENATION of any type, where all inputs and the output have one quantization.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: types or quantization differ, a fused activation, or an axis that does not exist.
    """
    tensors = [required_operand(model, op, i, f"input {i}") for i in range(len(op.inputs))]
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        raise refuse(op, "a fused activation is not covered; every runtime refuses or ignores it")
    axis = check_axis(op, int(op.options.get("axis", 0)), len(tensors[0].shape))  # type: ignore[arg-type]
    return prepared_copy(
        op, rule, RULES, tensors, [model.tensors[op.outputs[0]]], lambda given: [np.concatenate(given, axis=axis)]
    )


def _delegate_declines(model: Model, op: Operator) -> str | None:
    return None if len(op.inputs) in (2, 3, 4, 5) else "the delegate joins two to five arrays"


ENTRIES = {
    "CONCATENATION": OperatorEntry(
        prepare_concatenation,
        RULES,
        OperatorGroup.MOVES,
        inputs=ANY_NUMBER,
        reads_scales=False,
        delegate_declines=_delegate_declines,
    ),
}
