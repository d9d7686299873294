"""Operators that only move values, for a chain: PAD, TRANSPOSE, CONCATENATION, SLICE and others, as a few block copies.

What an operator moves where is asked from the reference, with the number of each element in place of its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...model.errors import LastBitError
from ...model.graph import Model, Tensor
from ...model.types import Array, IntArray
from ...ops.base import PreparedOperator
from ..plan import MOVES
from .fields import Move
from .memory import address

__all__ = ["PackedMove", "pack_move"]

# Elements of the first input have numbers from here, those of the second from twice that; constants are below.
_FIRST = 1 << 24
# Loops of one block.
_LOOPS = 3
# What is asked at once, at most: it takes four times as many bytes.
_LARGEST_BATCH = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedMove:
    """An operator that moves values, for a chain.

    Attributes:
        given: bytes of one row of each input.
        elements: of one row of the output.
        output: the type of all.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    given: tuple[int, ...]
    elements: int
    output: np.dtype[Any]
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)


def pack_move(entry: PreparedOperator, model: Model) -> PackedMove | None:
    """None for other operators, for what moves values between samples, and where that is no few blocks."""
    from .compile import function_address
    from .move_kernels import move

    tensors = [model.tensors[index] for index in entry.inputs]
    if entry.operator.name not in MOVES or not tensors or any(len(tensor.shape) < 2 for tensor in tensors):
        return None
    # Constants of larger types would reach the numbers that stand for elements.
    kind, sizes = tensors[0].dtype.numpy, [math.prod(tensor.shape[1:]) for tensor in tensors]
    if kind not in (np.int8, np.uint8, np.int16) or min(sizes) == 0:
        return None
    numbers = _one_sample(entry, tensors, sizes)
    if numbers is None:
        return None
    size, moves = np.dtype(kind).itemsize, []
    for number, count in enumerate(sizes):
        made = _move(numbers, number, count, size)
        if made is None:
            return None
        moves.append(made)
    fill = _fill(numbers[numbers < _FIRST].astype(kind))
    if fill is None:
        return None
    table = np.asarray(moves, np.int64)
    fields = {
        "function": function_address(move),
        "moves": address(table),
        "move_count": len(moves),
        "padding": fill,
        "output_bytes": size,
    }
    return PackedMove(
        given=tuple(count * size for count in sizes),
        elements=numbers.size,
        output=np.dtype(kind),
        fields=fields,
        kept=(table,),
    )


def _one_sample(entry: PreparedOperator, tensors: list[Tensor], sizes: list[int]) -> IntArray | None:
    """Which element each one of a sample's output is, from `_FIRST * (input + 1)`; None where samples are mixed."""
    # Twice the file's batch: what takes some of its samples, and not of every batch, gives no twice as many.
    batch = 2 * tensors[0].shape[0]
    if any(2 * tensor.shape[0] != batch for tensor in tensors) or not 0 < batch * sum(sizes) <= _LARGEST_BATCH:
        return None
    given = [
        np.arange(batch * size, dtype=np.int32).reshape(batch, *tensor.shape[1:]) + _FIRST * (number + 1)
        for number, (tensor, size) in enumerate(zip(tensors, sizes, strict=True))
    ]
    try:
        found = np.asarray(entry.evaluate(given)["output"])
    except LastBitError:
        return None  # constants have no second sample
    if found.dtype != np.int32 or found.shape[:1] != (batch,) or found.ndim < 2 or not found.size:
        return None
    apart = np.asarray([0, *sizes])[np.clip(found[0] // _FIRST, 0, len(sizes))]
    alike = all(np.array_equal(found[k] - found[0], k * apart) for k in range(1, batch))
    return found[0] if alike else None


def _move(numbers: IntArray, number: int, count: int, size: int) -> Move | None:
    """How one input comes into the output; None where that is not one block with equal steps along every axis."""
    own = numbers // _FIRST == number + 1
    axes = range(numbers.ndim)
    extents = [np.flatnonzero(own.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    if not all(place.size for place in extents):
        return None
    box = numbers[tuple(slice(place[0], place[-1] + 1) for place in extents)]
    begin, made = box.flat[0], np.ravel_multi_index([int(place[0]) for place in extents], numbers.shape)
    steps = [int(box.take(1, axis).flat[0] - begin) if box.shape[axis] > 1 else 0 for axis in axes]
    wanted = np.asarray(begin)
    for length, step in zip(box.shape, steps, strict=True):
        wanted = np.add.outer(wanted, np.arange(length) * step)
    if own.sum() != box.size or not np.array_equal(box, wanted):
        return None
    strides = [math.prod(numbers.shape[axis + 1 :]) for axis in axes]
    loops = _joined([loop for loop in zip(box.shape, steps, strides, strict=True) if loop[0] > 1])
    run = loops.pop()[0] if loops and loops[-1][1:] == (1, 1) else 1
    if len(loops) > _LOOPS:
        return None
    loops = [(1, 0, 0)] * (_LOOPS - len(loops)) + loops
    counts, given, there = zip(*loops, strict=True)
    first = int(begin) - _FIRST * (number + 1)
    places = [size * value for value in (first, int(made), count, numbers.size)]
    return Move._make([number, *places, *counts, *(size * step for step in (*given, *there)), run * size])


def _joined(loops: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Loops (how often, steps in the input, in the output), of which those that go on where the next ends are one."""
    found: list[tuple[int, int, int]] = []
    for count, given, made in loops:
        if found and found[-1][1:] == (count * given, count * made):
            count *= found.pop()[0]
        found.append((count, given, made))
    return found


def _fill(constants: Array) -> int | None:
    """The byte that all constants are made of; -1 where there are none, None where they differ."""
    held = np.unique(constants.view(np.uint8))
    return None if held.size > 1 else int(held[0]) if held.size else -1
