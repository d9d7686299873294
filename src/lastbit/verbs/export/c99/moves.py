"""Operators that move values and calculate nothing as C: loops that copy, read off the prepared operator.

The operator is asked where each output element comes from: its inputs are numbers instead of values. What comes out is
cut into boxes in which both sides step evenly; the rest is filled in first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ....model.graph import Model
from ....model.types import Array
from ....ops.base import PreparedOperator
from ....rules.base import Unsupported
from ..program import Piece
from .library import Library
from .requantize import READER
from .text import C_TYPES, integer, nest

__all__ = ["moved"]

_FIRST = 1 << 40


@dataclass(frozen=True)
class _Box:
    """Elements of one input that lie evenly in one output.

    Attributes:
        source: which input.
        extents: of the box.
        start: the first place in the output, and in the input.
        steps: along each axis, in the output and in the input.
    """

    source: int
    extents: tuple[int, ...]
    start: tuple[int, int]
    steps: tuple[tuple[int, int], ...]


def moved(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """Any operator that gives each of its outputs a value of an input or of the file.

    Raises:
        Unsupported: where the values come from follows no pattern.
    """
    op = entry.operator
    sources = [model.tensors[i] for i in entry.inputs]
    sizes = [math.prod(tensor.shape) for tensor in sources]
    starts = [_FIRST + sum(sizes[:k]) for k in range(len(sizes))]
    numbers = [start + np.arange(size).reshape(t.shape) for start, size, t in zip(starts, sizes, sources, strict=True)]
    steps = entry.evaluate(numbers)
    outputs = [model.tensors[i] for i in op.outputs]
    values = [np.asarray(steps[f"output_{k}" if k else "output"]) for k in range(len(outputs))]
    names = [f"input_{k}" for k in range(len(sources))]
    results = [f"output_{k}" for k in range(len(outputs))]
    lines: list[str] = []
    for result, tensor, value in zip(results, outputs, values, strict=True):
        lines += _fill(value, tensor.dtype.numpy, result, f"{prefix}_{result}", library)
        for k, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            inside = (value >= start) & (value < start + size)
            if inside.any():
                lines += _copy(_box(k, value, inside, start), result, names[k])
    parameters = [f"const {C_TYPES[t.dtype.name]} *{name}" for name, t in zip(names, sources, strict=True)]
    parameters += [f"{C_TYPES[t.dtype.name]} *{name}" for name, t in zip(results, outputs, strict=True)]
    text = "\n".join([f"static void @({', '.join(parameters)}) {{", *lines, "}"])
    return Piece(entry, library.function(prefix, text))


def _fill(value: Array, kind: np.dtype | None, name: str, stem: str, library: Library) -> list[str]:
    """What is no element of an input: one value, or values of the file."""
    rest = value < _FIRST
    if not rest.any():
        return []
    first = int(value[rest].reshape(-1)[0])
    line = f"{name}[i] = {integer(first)};"
    if (value[rest] != first).any():
        assert kind is not None
        line = f"{name}[i] = {library.table(stem, np.dtype(kind), np.where(rest, value, 0).astype(kind))}[i];"
    return nest([("i", value.size)], [line])


def _box(source: int, value: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], start: int) -> _Box:
    """The elements of one input as a box.

    Raises:
        Unsupported: they are none.
    """
    if value.ndim == 0:
        return _Box(source, (), (0, int(value) - start), ())
    where = np.nonzero(inside)
    low = tuple(int(places.min()) for places in where)
    high = tuple(int(places.max()) + 1 for places in where)
    part = value[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] - start
    if not inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].all():
        raise Unsupported(READER, "move", "elements that form no box")
    out_steps = [math.prod(value.shape[k + 1 :]) for k in range(value.ndim)]
    first = int(part.reshape(-1)[0])
    in_steps = [
        int(part[(0,) * k + (1,) + (0,) * (part.ndim - k - 1)]) - first if part.shape[k] > 1 else 0
        for k in range(part.ndim)
    ]
    expected = np.full(part.shape, first)
    for k, step in enumerate(in_steps):
        expected = expected + step * np.arange(part.shape[k]).reshape([-1 if a == k else 1 for a in range(part.ndim)])
    if (expected != part).any():
        raise Unsupported(READER, "move", "elements in no even steps")
    begin = sum(a * step for a, step in zip(low, out_steps, strict=True))
    return _Box(source, part.shape, (begin, first), tuple(zip(out_steps, in_steps, strict=True)))


def _copy(box: _Box, result: str, name: str) -> list[str]:
    axes: list[tuple[int, int, int]] = []
    for extent, (to, of) in zip(box.extents, box.steps, strict=True):
        if extent == 1:
            continue
        if axes and axes[-1][1] == to * extent and axes[-1][2] == of * extent:
            axes[-1] = (axes[-1][0] * extent, to, of)
        else:
            axes.append((extent, to, of))
    loops = [(f"i{k}", extent) for k, (extent, _, _) in enumerate(axes)]
    there = _sum(box.start[0], [to for _, to, _ in axes])
    here = _sum(box.start[1], [of for _, _, of in axes])
    return nest(loops, [f"{result}[{there}] = {name}[{here}];"])


def _sum(start: int, steps: Sequence[int]) -> str:
    terms = [f"i{k}" if step == 1 else f"i{k} * {step}" for k, step in enumerate(steps) if step]
    terms += [str(start)] if start or not terms else []
    return " + ".join(terms)
