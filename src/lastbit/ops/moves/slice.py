"""SLICE: a part of an array, from begin on, so many elements along each axis."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from .copies import COPY_RULES, integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_slice"]

RULES = COPY_RULES


def prepare_slice(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SLICE of any type with constant begin and size; a size of -1 goes to the end of its axis.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: begin or size is not constant, or outside of the input.

    Source: google-ai-edge/LiteRT, tflite/kernels/slice.cc.
    """
    x = required_operand(model, op, 0, "input")
    begin, sizes = ([int(value) for value in integers(model, op, i, what)] for i, what in ((1, "begin"), (2, "size")))
    if not len(begin) == len(sizes) == len(x.shape):
        raise refuse(op, f"begin {begin} and size {sizes} do not fit {len(x.shape)} axes")
    ends = [length if size == -1 else first + size for first, size, length in zip(begin, sizes, x.shape, strict=True)]
    if any(not 0 <= first < end <= length for first, end, length in zip(begin, ends, x.shape, strict=True)):
        raise refuse(op, f"begin {begin} and size {sizes} reach outside of {list(x.shape)}, or leave nothing")
    # An axis of one call that is taken whole is taken whole of a batch too.
    index = tuple(
        slice(None) if (first, end) == (0, length) else slice(first, end)
        for first, end, length in zip(begin, ends, x.shape, strict=True)
    )
    return prepared_copy(op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [given[0][index]])


def _delegate_declines(model: Model, op: Operator) -> str | None:
    sizes = model.operand(op, 2)
    whole = sizes is not None and sizes.data is not None and bool((sizes.data >= 0).all())
    return None if whole else "a size is -1, to the end"


ENTRIES = {
    "SLICE": OperatorEntry(
        prepare_slice,
        RULES,
        OperatorGroup.MOVES,
        inputs=(3, 3),
        reads_scales=False,
        delegate_declines=_delegate_declines,
    ),
}
