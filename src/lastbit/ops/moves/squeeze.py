"""SQUEEZE and EXPAND_DIMS: axes of length 1 dropped or put in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from .copies import COPY_RULES, check_axis, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_expand_dims", "prepare_squeeze"]

RULES = COPY_RULES


def prepare_squeeze(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SQUEEZE of any type: the axes named, or all of length 1 in the file's shape.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: a named axis does not have length 1.
    """
    x = required_operand(model, op, 0, "input")
    named = op.options.get("squeeze_dims", ())
    assert isinstance(named, Sequence)
    axes = tuple(check_axis(op, int(axis), len(x.shape)) for axis in named)
    if any(x.shape[axis] != 1 for axis in axes):
        raise refuse(op, f"the axes {list(axes)} of {list(x.shape)} do not all have length 1")
    dropped = axes or tuple(axis for axis, length in enumerate(x.shape) if length == 1)
    return prepared_copy(
        op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [given[0].squeeze(dropped)]
    )


def prepare_expand_dims(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare EXPAND_DIMS of any type at a constant axis.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the axis is not constant or does not exist.
    """
    x = required_operand(model, op, 0, "input")
    axis = check_axis(op, int(integers(model, op, 1, "axis")[0]), len(x.shape) + 1)
    return prepared_copy(
        op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [np.expand_dims(given[0], axis)]
    )


ENTRIES = {
    "SQUEEZE": OperatorEntry(prepare_squeeze, RULES, OperatorGroup.MOVES, reads_scales=False),
    "EXPAND_DIMS": OperatorEntry(prepare_expand_dims, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
}
