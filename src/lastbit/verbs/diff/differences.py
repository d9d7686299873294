"""What differs between two tensors or two operators at the same place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ...model.graph import Operator, Subgraph, Tensor
from ...model.types import Array
from .canonical import Pair, Pairing, pair_graphs

__all__ = ["FileDifference", "What", "compare_graphs", "ulps"]


class What(Enum):
    """The part that differs; the value is its name in JSON and tables."""

    OPERATORS = "operators"
    OPTIONS = "options"
    WIRING = "wiring"
    TYPE = "type"
    SHAPE = "shape"
    GRANULARITY = "granularity"
    SCALE = "scale"
    ZERO_POINT = "zero point"
    DATA = "data"


@dataclass(frozen=True)
class FileDifference:
    """One difference.

    Attributes:
        what: the part that differs.
        where: the place in words.
        role: see `Pair.role`; `operator` for operators.
        first: what the first model has, in words.
        second: what the second has.
        amount: how much: ulp of scales, steps of zero points and integers; None where that has no meaning.
        count: how many scales, zero points or values differ.
        total: of how many.
        tensors: the tensors' indices in both models, -1 for none.
    """

    what: What
    where: str
    role: str
    first: str
    second: str
    amount: float | None = None
    count: int = 1
    total: int = 1
    tensors: tuple[int, int] = (-1, -1)


def ulps(first: Array, second: Array) -> Array:
    """How many float32 lie between two floats of one sign, int64; NaN are equal to NaN.

    >>> ulps(np.float32([1, 0]), np.float32([1 + 2**-22, 2**-149])).tolist()
    [2, 1]
    """
    keys = []
    for values in (first, second):
        bits = np.asarray(values, np.float32).view(np.int32).astype(np.int64)
        keys.append(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))
    both_nan = np.isnan(first) & np.isnan(second)
    return np.where(both_nan, 0, np.abs(keys[0] - keys[1]))


def compare_graphs(first: Subgraph, second: Subgraph) -> tuple[Pairing, list[FileDifference]]:
    """Two graphs in canonical form: how they lie side by side, and every difference in order."""
    pairing = pair_graphs(first, second)
    found = list(_missing(pairing))
    for ours, theirs in pairing.operators:
        found += _operators(first, second, ours, theirs)
    for what, counts in (("inputs", (first.inputs, second.inputs)), ("outputs", (first.outputs, second.outputs))):
        if len(counts[0]) != len(counts[1]):
            texts = [str(len(part)) for part in counts]
            found.append(FileDifference(What.WIRING, f"number of graph {what}", "operator", texts[0], texts[1]))
    for pair in pairing.tensors:
        found += _pair(pair)
    return pairing, found


def _missing(pairing: Pairing) -> Iterator[FileDifference]:
    for op in pairing.only_first:
        yield FileDifference(What.OPERATORS, op.label, "operator", op.name, "-")
    for op in pairing.only_second:
        yield FileDifference(What.OPERATORS, op.label, "operator", "-", op.name)


def _operators(first: Subgraph, second: Subgraph, ours: Operator, theirs: Operator) -> Iterator[FileDifference]:
    for what in ("inputs", "outputs"):
        counts = [len(_present(getattr(op, what))) for op in (ours, theirs)]
        if counts[0] != counts[1]:
            yield FileDifference(What.WIRING, f"{ours.label}: {what}", "operator", str(counts[0]), str(counts[1]))
    for key in dict.fromkeys((*ours.options, *theirs.options)):
        if key == "new_shape" and min(len(ours.inputs), len(theirs.inputs)) > 1:
            continue  # the second input says it
        if key == "quantized_bias_type" and not (bias_type_counts(first, ours) or bias_type_counts(second, theirs)):
            continue
        values = [op.options.get(key) for op in (ours, theirs)]
        if values[0] != values[1]:
            yield FileDifference(What.OPTIONS, f"{ours.label}: {key}", "operator", str(values[0]), str(values[1]))


def bias_type_counts(graph: Subgraph, op: Operator) -> bool:
    """Whether the option changes anything: beside int16 activations, where the bias is not int64 anyway."""
    bias = graph.tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    return graph.tensors[op.inputs[0]].dtype.name == "int16" and (bias is None or bias.dtype.name != "int64")


def _present(indices: tuple[int, ...]) -> tuple[int, ...]:
    """Without absent operands at the end, which may be left out."""
    end = len(indices)
    while end and indices[end - 1] < 0:
        end -= 1
    return indices[:end]


def _pair(pair: Pair) -> Iterator[FileDifference]:
    first, second = pair.first, pair.second
    if first is None or second is None:
        if first is not second:
            texts = ["absent" if t is None else f"{t.dtype.name}{list(t.shape)}" for t in (first, second)]
            yield FileDifference(What.WIRING, pair.where, pair.role, texts[0], texts[1])
        return
    tensors = (first.index, second.index)
    if pair.source_differs:
        yield FileDifference(What.WIRING, pair.where, pair.role, first.label, second.label, tensors=tensors)
    if pair.role == "graph output":
        return  # its tensor has been compared where it is computed
    for what, (ours, theirs) in _kinds(first, second):
        yield FileDifference(what, pair.where, pair.role, ours, theirs, tensors=tensors)
    yield from _quantization(pair, first, second, tensors)
    if first.dtype == second.dtype and first.shape == second.shape:
        yield from _data(pair, first, second, tensors)


def _kinds(first: Tensor, second: Tensor) -> Iterator[tuple[What, tuple[str, str]]]:
    if first.dtype != second.dtype:
        yield What.TYPE, (first.dtype.name, second.dtype.name)
    shapes = [tensor.shape for tensor in (first, second)]
    if shapes[0] != shapes[1]:
        yield What.SHAPE, (str(list(shapes[0])), str(list(shapes[1])))
    if first.is_variable != second.is_variable:
        kinds = {True: "a variable", False: "no variable"}
        yield What.TYPE, (kinds[first.is_variable], kinds[second.is_variable])


def _quantization(pair: Pair, first: Tensor, second: Tensor, tensors: tuple[int, int]) -> Iterator[FileDifference]:
    ours, theirs = first.quant, second.quant
    if ours is None or theirs is None:
        if ours is not theirs and first.dtype == second.dtype:  # another type tells it already
            texts = ["no scale" if q is None else f"{q.scale[0]:.9g}" for q in (ours, theirs)]
            yield FileDifference(What.SCALE, pair.where, pair.role, texts[0], texts[1], tensors=tensors)
        return
    along = [q.axis if q.scale.size > 1 else -1 for q in (ours, theirs)]
    if ours.scale.size != theirs.scale.size or along[0] != along[1]:
        texts = ["one scale" if q.scale.size == 1 else f"{q.scale.size} scales, axis {q.axis}" for q in (ours, theirs)]
        yield FileDifference(What.GRANULARITY, pair.where, pair.role, texts[0], texts[1], tensors=tensors)
        return
    far = ulps(ours.scale, theirs.scale)
    if far.any():
        at = int(np.argmax(far))
        texts = [f"{q.scale[at]:.9g}" for q in (ours, theirs)]
        counts = int(np.count_nonzero(far)), far.size
        yield FileDifference(
            What.SCALE, pair.where, pair.role, texts[0], texts[1], float(far[at]), *counts, tensors=tensors
        )
    steps = np.abs(ours.zero_point - theirs.zero_point)
    if steps.any():
        at = int(np.argmax(steps))
        texts = [str(int(q.zero_point[at])) for q in (ours, theirs)]
        counts = int(np.count_nonzero(steps)), steps.size
        amount = float(steps[at])
        yield FileDifference(
            What.ZERO_POINT, pair.where, pair.role, texts[0], texts[1], amount, *counts, tensors=tensors
        )


def _data(pair: Pair, first: Tensor, second: Tensor, tensors: tuple[int, int]) -> Iterator[FileDifference]:
    ours, theirs = first.data, second.data
    if ours is None or theirs is None:
        if ours is not theirs and not pair.source_differs:
            texts = ["none" if data is None else "constant" for data in (ours, theirs)]
            yield FileDifference(What.DATA, pair.where, pair.role, texts[0], texts[1], tensors=tensors)
        return
    if ours.tobytes() == theirs.tobytes():
        return
    flat = [data.reshape(-1) for data in (ours, theirs)]
    width = flat[0].dtype.itemsize
    rows = [np.ascontiguousarray(data).view(np.uint8).reshape(-1, width) for data in flat]
    differ = (rows[0] != rows[1]).any(axis=1)
    amount = _largest(flat[0][differ], flat[1][differ])
    at = int(np.argmax(differ))
    place = [int(i) for i in np.unravel_index(at, first.shape)] if first.shape else []
    texts = [f"{_shown(data[at])} at {place}" if k == 0 else _shown(data[at]) for k, data in enumerate(flat)]
    counts = int(np.count_nonzero(differ)), int(differ.size)
    yield FileDifference(What.DATA, pair.where, pair.role, texts[0], texts[1], amount, *counts, tensors=tensors)


def _largest(first: Array, second: Array) -> float | None:
    """The largest difference: steps of integers, ulp of float32."""
    if first.dtype.kind in "iu":
        # Python's integers: int64 differences wrap.
        return float(max(abs(int(a) - int(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)))
    return float(ulps(first, second).max()) if first.dtype == np.float32 else None


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, np.floating) else str(value)
