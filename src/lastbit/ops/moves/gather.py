"""GATHER: elements of one axis, chosen by positions."""

from __future__ import annotations

import numpy as np

from ...model.errors import Refusal
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import COPY_RULES, check_axis, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_gather"]

_INT32 = "copy/int32_positions"
RULES = {**COPY_RULES, _INT32: "the same values, moved; nothing is rescaled, and positions are int32"}


def prepare_gather(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare GATHER of any type by constant positions, along any axis, without batch dimensions.

    Output `[..., positions' shape, ...]`: what stands at each position of the axis. Along the first axis the positions
    are those of one call.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: positions are computed at run time or outside of the axis, or there are batch dimensions.

    Source: google-ai-edge/LiteRT, tflite/kernels/gather.cc.
    """
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    positions = integers(model, op, 1, "positions")
    kind = required_operand(model, op, 1, "positions").dtype.name
    if rule == _INT32 and kind != "int32":
        raise refuse(op, f"the positions are {kind}; the interpreter takes int32", Refusal.RUNTIME)
    axis = check_axis(op, int(op.options.get("axis", 0)), len(x.shape))  # type: ignore[arg-type]
    if int(op.options.get("batch_dims", 0)):  # type: ignore[arg-type]
        raise refuse(op, "positions for each row of a batch (batch_dims) are not covered")
    if positions.size and not 0 <= positions.min() <= positions.max() < x.shape[axis]:
        ends = f"{positions.min()} to {positions.max()}"
        raise refuse(op, f"positions {ends} are outside of axis {axis} of {list(x.shape)}")
    shape = required_operand(model, op, 1, "positions").shape
    wanted = (*x.shape[:axis], *shape, *x.shape[axis + 1 :])
    check_growth(op, wanted, x.shape)

    def move(given: Array) -> Array:
        return np.take(given, positions.reshape(shape), axis)

    return prepared_copy(op, rule, RULES, [x], [output], lambda given: [move(given[0])])


ENTRIES = {
    "GATHER": OperatorEntry(prepare_gather, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
}
