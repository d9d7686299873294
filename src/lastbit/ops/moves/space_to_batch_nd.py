"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: every n-th row and column as an image of its own, and back."""

from __future__ import annotations

import math

import numpy as np

from ...model.errors import Refusal
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import COPY_RULES, integers, per_call, prepared_copy

__all__ = ["ENTRIES", "RULES", "TO_BATCH_RULES", "prepare_batch_to_space_nd", "prepare_space_to_batch_nd"]

RULES = COPY_RULES
NEVER_SET = "copy/without_padding"
TO_BATCH_RULES = {
    **COPY_RULES,
    NEVER_SET: "the same values, moved; what an image would be padded with the kernel never sets",
}


def prepare_space_to_batch_nd(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SPACE_TO_BATCH_ND `[n, ...]` of any type, with constant blocks and paddings.

    The image is padded with the output's zero point, or 0 where there is none. Image `b * n + i` of the output has what
    stands in image i at place b of each block, counted row by row.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: blocks or paddings are not constant, or do not fit.

    Source: google-ai-edge/LiteRT, tflite/kernels/space_to_batch_nd.cc, .../internal/reference/space_to_batch_nd.h;
    tensorflow/tflite-micro, tensorflow/lite/micro/kernels/space_to_batch_nd.cc @20e98e040fb7 (parameters never set).
    """
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    blocks, around = _blocks(model, op, x, "paddings")
    widths = np.concatenate([[[0, 0]], around, np.zeros((len(x.shape) - 1 - len(blocks), 2), np.int64)])
    padded = [size + int(sum(pair)) for size, pair in zip(x.shape, widths, strict=True)]
    if any(size % block for size, block in zip(padded[1:], blocks, strict=False)):
        raise refuse(op, f"blocks {blocks} do not divide the padded shape {padded}")
    check_growth(op, padded, x.shape)
    fill = int(output.quant.zero_point[0]) if output.quant is not None and output.quant.zero_point.size else 0
    if rule == NEVER_SET and widths.any():
        reason = "not exact: the kernel pads with a number that it never sets, so with what the memory held"
        raise refuse(op, reason, Refusal.NOT_EXACT)
    count = len(blocks)

    def move(given: Array) -> Array:
        image = np.pad(given, widths, constant_values=fill)
        cut = image.reshape(image.shape[0], *_pairs(image.shape[1:], blocks), *image.shape[1 + count :])
        inner = [2 + 2 * i for i in range(count)]
        outer = [1 + 2 * i for i in range(count)]
        moved = cut.transpose(*inner, 0, *outer, *range(1 + 2 * count, cut.ndim))
        return moved.reshape(-1, *moved.shape[1 + count :])

    return prepared_copy(op, rule, TO_BATCH_RULES, [x], [output], lambda given: [per_call(move, given[0], x)])


def prepare_batch_to_space_nd(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare BATCH_TO_SPACE_ND `[n, ...]` of any type, with constant blocks and crops: the way back.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: blocks or crops are not constant, or do not fit.

    Source: google-ai-edge/LiteRT, tflite/kernels/batch_to_space_nd.cc, .../internal/reference/batch_to_space_nd.h.
    """
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    blocks, crops = _blocks(model, op, x, "crops")
    whole = [size * block for size, block in zip(x.shape[1:], blocks, strict=False)]
    if x.shape[0] % math.prod(blocks):
        raise refuse(op, f"blocks {blocks} do not divide {x.shape[0]} images")
    if any(size <= int(sum(pair)) for size, pair in zip(whole, crops, strict=True)):
        raise refuse(op, f"the crops {crops.tolist()} leave nothing of {whole}")
    kept = tuple(slice(int(front), size - int(behind)) for size, (front, behind) in zip(whole, crops, strict=True))
    count = len(blocks)

    def move(given: Array) -> Array:
        cut = given.reshape(*blocks, -1, *given.shape[1:])
        order = [count, *(axis for i in range(count) for axis in (count + 1 + i, i)), *range(2 * count + 1, cut.ndim)]
        moved = cut.transpose(order).reshape(-1, *whole, *given.shape[1 + count :])
        return moved[(slice(None), *kept)]

    return prepared_copy(op, rule, RULES, [x], [output], lambda given: [per_call(move, given[0], x)])


def _pairs(shape: tuple[int, ...], blocks: list[int]) -> list[int]:
    return [size for length, block in zip(shape, blocks, strict=False) for size in (length // block, block)]


def _blocks(model: Model, op: Operator, x: Tensor, what: str) -> tuple[list[int], Array]:
    """The blocks, and what is around them `[axes, 2]`; checked against the input."""
    blocks = [int(size) for size in integers(model, op, 1, "block shape")]
    around = integers(model, op, 2, what)
    if len(x.shape) not in (3, 4) or len(blocks) != len(x.shape) - 2:
        raise refuse(op, f"{len(blocks)} blocks for an input of {len(x.shape)} dimensions; kernels take 1 of 3, 2 of 4")
    if min(blocks) < 1 or around.size != 2 * len(blocks) or around.min(initial=0) < 0:
        raise refuse(op, f"blocks {blocks} and {what} {around.tolist()} do not fit")
    return blocks, around.reshape(-1, 2)


ENTRIES = {
    "SPACE_TO_BATCH_ND": OperatorEntry(
        prepare_space_to_batch_nd, TO_BATCH_RULES, OperatorGroup.MOVES, inputs=(3, 3), reads_scales=False
    ),
    "BATCH_TO_SPACE_ND": OperatorEntry(
        prepare_batch_to_space_nd, RULES, OperatorGroup.MOVES, inputs=(3, 3), reads_scales=False
    ),
}
