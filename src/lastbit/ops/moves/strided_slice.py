"""STRIDED_SLICE: a part of an array, from begin to end in steps, along each axis."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from .copies import COPY_RULES, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_strided_slice"]

RULES = COPY_RULES


def prepare_strided_slice(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare STRIDED_SLICE of any type with constant begin, end and strides.

    Negative positions count from the end and everything is limited to the array. Bit i of `begin_mask` or `end_mask`
    takes axis i from its start or to its end; of `shrink_axis_mask` it takes the one element at begin and drops the
    axis. `offset` says that end counts from begin.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: positions are not constant, or an ellipsis or a new axis is asked for.

    Source: google-ai-edge/LiteRT, tflite/kernels/strided_slice.cc and tflite/kernels/internal/strided_slice_logic.h.
    """
    x = required_operand(model, op, 0, "input")
    begin, end, strides = (
        [int(value) for value in integers(model, op, i, what)] for i, what in ((1, "begin"), (2, "end"), (3, "strides"))
    )
    masks = {
        name: int(op.options.get(f"{name}_mask", 0))  # type: ignore[arg-type]
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    if masks["ellipsis"] or masks["new_axis"]:
        raise refuse(op, "an ellipsis or a new axis is not covered")
    if not len(begin) == len(end) == len(strides) <= len(x.shape) or 0 in strides:
        raise refuse(op, f"begin {begin}, end {end} and strides {strides} do not fit {len(x.shape)} axes")
    parts: list[int | slice] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if masks["shrink_axis"] >> axis & 1:
            position = 0 if masks["begin"] >> axis & 1 else first
            if not -x.shape[axis] <= position < x.shape[axis] or step < 1:
                raise refuse(op, f"position {position} of axis {axis} is outside of {list(x.shape)}")
            parts.append(position)
            continue
        if op.options.get("offset", False):
            last += first
        parts.append(
            slice(None if masks["begin"] >> axis & 1 else first, None if masks["end"] >> axis & 1 else last, step)
        )
    index = tuple(parts)
    return prepared_copy(op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [given[0][index]])


def _delegate_declines(model: Model, op: Operator) -> str | None:
    steps = model.operand(op, 3)
    every = steps is not None and steps.data is not None and bool((steps.data == 1).all())
    dropped = bool(op.options.get("shrink_axis_mask", 0))
    return None if every and not dropped else "an axis is dropped, or a stride is not 1"


ENTRIES = {
    "STRIDED_SLICE": OperatorEntry(
        prepare_strided_slice,
        RULES,
        OperatorGroup.MOVES,
        inputs=(4, 4),
        reads_scales=False,
        delegate_declines=_delegate_declines,
    ),
}
