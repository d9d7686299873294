"""UNPACK: an array cut into the slices along one axis, which is dropped."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import ANY_NUMBER, OperatorEntry, OperatorGroup
from .copies import COPY_RULES, check_axis, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_unpack"]

RULES = COPY_RULES


def prepare_unpack(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare UNPACK of any type.

    Returns:
        Steps: `output_1` and so on, then `output`, the first slice.

    Raises:
        UnsupportedError: the axis does not exist, or there are not as many outputs as slices.
    """
    x = required_operand(model, op, 0, "input")
    axis = check_axis(op, int(op.options.get("axis", 0)), len(x.shape))  # type: ignore[arg-type]
    count = len(op.outputs)
    if x.shape[axis] != count:
        raise refuse(op, f"axis {axis} of {list(x.shape)} has {x.shape[axis]} slices, there are {count} outputs")
    outputs = [model.tensors[i] for i in op.outputs]
    return prepared_copy(
        op,
        rule,
        RULES,
        [x],
        outputs,
        lambda given: [part.squeeze(axis) for part in np.split(given[0], count, axis)],
    )


ENTRIES = {
    "UNPACK": OperatorEntry(prepare_unpack, RULES, OperatorGroup.MOVES, outputs=ANY_NUMBER, reads_scales=False),
}
