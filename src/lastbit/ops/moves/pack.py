"""PACK: several arrays of one shape, stacked along a new axis."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, required_operand
from ..entry import ANY_NUMBER, OperatorEntry, OperatorGroup
from .copies import COPY_RULES, check_axis, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_pack"]

RULES = COPY_RULES


def prepare_pack(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare PACK of any type; some inputs may be constants.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the axis does not exist, or types or quantization differ.
    """
    tensors = [required_operand(model, op, i, f"input {i}") for i in range(len(op.inputs))]
    axis = check_axis(op, int(op.options.get("axis", 0)), len(tensors[0].shape) + 1)  # type: ignore[arg-type]
    return prepared_copy(
        op, rule, RULES, tensors, [model.tensors[op.outputs[0]]], lambda given: [np.stack(given, axis=axis)]
    )


ENTRIES = {
    "PACK": OperatorEntry(prepare_pack, RULES, OperatorGroup.MOVES, inputs=ANY_NUMBER, reads_scales=False),
}
