"""SPLIT and SPLIT_V: an array cut along one axis, into equal parts or into parts of given sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import ANY_NUMBER, OperatorEntry, OperatorGroup
from .copies import COPY_RULES, check_axis, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_split"]

RULES = COPY_RULES


def prepare_split(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SPLIT (axis, input) or SPLIT_V (input, sizes, axis) of any type; one size may be -1.

    Returns:
        Steps: `output_1` and so on, then `output`, the first part.

    Raises:
        UnsupportedError: axis or sizes are not constant, or do not fit the input and the number of outputs.
    """
    place, data = (0, 1) if op.name == "SPLIT" else (2, 0)
    x = required_operand(model, op, data, "input")
    axis = check_axis(op, int(integers(model, op, place, "axis")[0]), len(x.shape))
    count, length = len(op.outputs), x.shape[axis]
    if op.name == "SPLIT":
        if length % count:
            raise refuse(op, f"axis {axis} of {list(x.shape)} has no {count} equal parts")
        sizes = [length // count] * count
    else:
        sizes = [int(size) for size in integers(model, op, 1, "sizes")]
        if sizes.count(-1) == 1:
            sizes = [length - sum(sizes) - 1 if size == -1 else size for size in sizes]
    if len(sizes) != count or sum(sizes) != length or min(sizes) < 0:
        raise refuse(op, f"the sizes {sizes} do not fit axis {axis} of {list(x.shape)} and {count} outputs")
    ends = np.cumsum(sizes)[:-1]

    def move(given: Sequence[Array]) -> list[Array]:
        if given[0].shape[axis] != length:
            raise ValueError(f"wanted {length} along axis {axis}, which is cut into {sizes}")
        return np.split(given[0], ends, axis)

    return prepared_copy(op, rule, RULES, [x], [model.tensors[i] for i in op.outputs], move)


def _delegate_declines(model: Model, op: Operator) -> str | None:
    return None if len(op.outputs) in (2, 3, 4) else "the delegate makes two to four parts"


ENTRIES = {
    "SPLIT": OperatorEntry(
        prepare_split,
        RULES,
        OperatorGroup.MOVES,
        inputs=(2, 2),
        outputs=ANY_NUMBER,
        reads_scales=False,
        delegate_declines=_delegate_declines,
    ),
    "SPLIT_V": OperatorEntry(
        prepare_split, RULES, OperatorGroup.MOVES, inputs=(3, 3), outputs=ANY_NUMBER, reads_scales=False
    ),
}
