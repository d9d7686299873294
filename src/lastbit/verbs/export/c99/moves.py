"""Operators that move values and calculate nothing as C: loops that copy, read off the prepared operator.

The operator is asked where each output element comes from: its inputs are numbers instead of values. What comes out is
cut into boxes in which both sides step evenly, or is a table where that takes too many; the rest is filled in first.
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
from .text import C_TYPES, decimal, integer, nest

__all__ = ["copied", "moved"]

_FIRST = 1 << 40
_MOST_BOXES = 16


@dataclass(frozen=True)
class _Box:
    """Elements of one input that lie evenly in one output.

    Attributes:
        extents: of the box.
        start: the first place in the output, and in the input.
        steps: along each axis, in the output and in the input.
    """

    extents: tuple[int, ...]
    start: tuple[int, int]
    steps: tuple[tuple[int, int], ...]


def moved(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """Any operator that gives each of its outputs a value of an input or of the file.

    Raises:
        Unsupported: values of the file that are infinite, NaN or as large as places are numbered.
    """
    op = entry.operator
    sources = [model.tensors[i] for i in entry.inputs]
    sizes = [math.prod(tensor.shape) for tensor in sources]
    starts = [_FIRST + sum(sizes[:k]) for k in range(len(sizes))]
    numbers = [start + np.arange(size).reshape(t.shape) for start, size, t in zip(starts, sizes, sources, strict=True)]
    if any(t.dtype.name == "float32" for t in (*sources, *(model.tensors[i] for i in op.outputs))):
        # float64 holds both the numbers of places and what the file has of float32.
        numbers = [values.astype(np.float64) for values in numbers]
    for tensor in (model.tensors[i] for i in op.inputs if i >= 0):
        if tensor.data is not None and not (np.abs(tensor.data.astype(np.float64)) < _FIRST).all():
            raise Unsupported(READER, "constant", f"one of {tensor.label} that is infinite, NaN or beyond 2^40")
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
                lines += _copies(value, inside, start, (names[k], result), f"{prefix}_{result}_of_{names[k]}", library)
    parameters = [f"const {C_TYPES[t.dtype.name]} *{name}" for name, t in zip(names, sources, strict=True)]
    parameters += [f"{C_TYPES[t.dtype.name]} *{name}" for name, t in zip(results, outputs, strict=True)]
    text = "\n".join([f"static void @({', '.join(parameters)}) {{", *lines, "}"])
    return Piece(entry, library.function(prefix, text))


def copied(entry: PreparedOperator, model: Model, library: Library) -> Piece:
    """READ_VARIABLE and ASSIGN_VARIABLE: the whole value, from the state or into it.

    Raises:
        Unsupported: an element type that C does not have.
    """
    op = entry.operator
    tensor = model.tensors[op.outputs[0] if op.outputs else entry.inputs[0]]
    if tensor.dtype.name not in C_TYPES:
        raise Unsupported(READER, "element type", tensor.dtype.name)
    kind = C_TYPES[tensor.dtype.name]
    text = f"""\
static void @(int32_t count, const {kind} *input, {kind} *output) {{
  for (int32_t i = 0; i < count; i++) {{
    output[i] = input[i];
  }}
}}"""
    return Piece(entry, library.function(f"copy_{tensor.dtype.name}", text), (str(math.prod(tensor.shape)),))


def _fill(value: Array, kind: np.dtype | None, name: str, stem: str, library: Library) -> list[str]:
    """What is no element of an input: one value, or values of the file."""
    rest = value < _FIRST
    if not rest.any():
        return []
    assert kind is not None
    first = value[rest].reshape(-1)[0]
    literal = decimal(np.float32(first)) if kind == np.float32 else integer(int(first), 8 * np.dtype(kind).itemsize)
    line = f"{name}[i] = {literal};"
    if (value[rest] != first).any():
        line = f"{name}[i] = {library.table(stem, np.dtype(kind), np.where(rest, value, 0).astype(kind))}[i];"
    return nest([("i", value.size)], [line])


def _copies(
    value: Array, inside: npt.NDArray[np.bool_], start: int, names: tuple[str, str], stem: str,
    library: Library,
) -> list[str]:  # fmt: skip
    """The elements that come from one input: as boxes, or each from a place in a table."""
    name, result = names
    boxes = _boxes(value, inside, start)
    if boxes is not None:
        return [line for box in boxes for line in _copy(box, result, name)]
    places = library.table(stem, np.dtype(np.int32), np.where(inside, value - start, -1).astype(np.int32))
    body = [f"{result}[i] = {name}[{places}[i]];"]
    if not inside.all():
        body = [f"if ({places}[i] >= 0) {{", f"  {body[0]}", "}"]
    return nest([("i", value.size)], body)


def _boxes(value: Array, inside: npt.NDArray[np.bool_], start: int) -> list[_Box] | None:
    """The elements of one input as one box, or as one for each place along some axis; None where they are too many."""
    whole = _box(value, inside, start)
    if whole is not None:
        return [whole]
    for axis in range(value.ndim):
        if value.shape[axis] > _MOST_BOXES:
            continue
        parts = []
        for place in range(value.shape[axis]):
            here = np.zeros(value.shape, bool)
            here[(slice(None),) * axis + (place,)] = True
            here &= inside
            if here.any():
                parts.append(_box(value, here, start))
        if all(part is not None for part in parts):
            return [part for part in parts if part is not None]
    return None


def _box(value: Array, inside: npt.NDArray[np.bool_], start: int) -> _Box | None:
    """These elements as one box; None where they are none."""
    if value.ndim == 0:
        return _Box((), (0, int(value) - start), ())
    where = np.nonzero(inside)
    low = tuple(int(places.min()) for places in where)
    high = tuple(int(places.max()) + 1 for places in where)
    part = value[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] - start
    if not inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].all():
        return None
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
        return None
    begin = sum(a * step for a, step in zip(low, out_steps, strict=True))
    return _Box(part.shape, (begin, first), tuple(zip(out_steps, in_steps, strict=True)))


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
