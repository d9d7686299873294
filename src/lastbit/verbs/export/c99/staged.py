"""Operators whose rule is made of stages as C: element by element, of two inputs, windows and reductions.

Each has a function of its own, with its constants in it. Where a rule is a choice, which elements follow the first part
is read off the prepared operator and written as a pattern that repeats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ....arith.windows import WindowAxis
from ....model.graph import Model, Tensor
from ....model.types import Array, integer_type
from ....ops.base import PreparedOperator, StagedOperator
from ....ops.elements.binary import PreparedBinary
from ....rules.base import Unsupported
from ....rules.operators.fold import leaves
from ....rules.operators.forms import Centered, Largest
from ....rules.operators.rule import Choice, NotNegative, RealOutput, Staged, StagedRule
from ..program import ElementFunction, Piece, elements
from .library import Library
from .loops import loops_of_two, place_of, strides_of
from .requantize import READER
from .stages import statements
from .text import C_TYPES, nest

__all__ = ["binary", "pool", "reduction", "unary"]


class _Rule:
    """A rule's leaves as C functions, and which one an element follows.

    Args:
        staged: the rule with its constants, and how it meets the inputs.
        zeros: inputs of the file's own shapes.
        shape: the output's shape.
        given: what the rule calls its arguments, and their ranges; no ranges for a float32.
        library: where they go.
        stem: what their names begin with.
    """

    def __init__(
        self, staged: StagedOperator, zeros: Sequence[Array], shape: tuple[int, ...], given: _Given, library: Library,
        stem: str,
    ) -> None:  # fmt: skip
        self._constants, self._shape = staged.calculator.constants, shape
        self._holds = staged.holds(zeros)
        self._given, self._library, self._stem = given, library, stem
        self._rule = staged.calculator.rule
        self.asked: dict[str, ElementFunction] = {}

    def call(self, arguments: str, place: str) -> str:
        """The expression of one output; `place` is its number in the output."""
        return self._expression(self._rule, arguments, place)

    def _expression(self, rule: StagedRule, arguments: str, place: str) -> str:
        if isinstance(rule, Staged):
            return f"{self._function(rule)}({arguments})"
        if isinstance(rule.when, NotNegative):
            return self._by_sign(rule, rule.when.of, arguments, place)
        where = self._where(rule)
        if where is True:
            return self._expression(rule.then, arguments, place)
        if where is False:
            return self._expression(rule.otherwise, arguments, place)
        then = self._expression(rule.then, arguments, place)
        otherwise = self._expression(rule.otherwise, arguments, place)
        return f"({place} % {where[0]} < {where[1]} ? {then} : {otherwise})"

    def _by_sign(self, choice: Choice, of: str, arguments: str, place: str) -> str:
        """A choice by the sign of a value that both rules begin with: the input without its zero point."""
        first = leaves(choice)[0].stages[0]
        if not isinstance(first, Centered) or first.step != of:
            raise Unsupported(READER, "when", choice.when)
        then = self._expression(choice.then, arguments, place)
        otherwise = self._expression(choice.otherwise, arguments, place)
        return f"({arguments} >= {self._constants.inputs[0].zero_point} ? {then} : {otherwise})"

    def _where(self, choice: Choice) -> bool | tuple[int, int]:
        """Everywhere, nowhere, or the first so many of every so many outputs in flat order."""
        found = self._holds(choice.when)
        if isinstance(found, bool):
            return found
        mask = np.broadcast_to(found, self._shape).reshape(-1)
        if mask.all() or not mask.any():
            return bool(mask.all())
        ends = np.flatnonzero(mask[:-1] & ~mask[1:]) + 1
        starts = np.flatnonzero(~mask[:-1] & mask[1:]) + 1
        period = int(starts[0]) if len(starts) else mask.size
        split = int(ends[0])
        if not mask[0] or (mask != (np.arange(mask.size) % period < split)).any():
            raise Unsupported(READER, "when", "elements in no pattern that repeats")
        return period, split

    def _function(self, rule: Staged) -> str:
        names, ranges = self._given
        kind = "int64_t" if ranges else "float"
        parameters = ", ".join(f"{kind} {_PARAMETERS[name]}" for name in names)
        gives = "float" if isinstance(rule.output, RealOutput) else "int32_t"
        body = "\n".join(f"  {line}" for line in statements(rule, self._constants, self._library))
        unread = [name for name in names if not re.search(rf"\b{_PARAMETERS[name]}\b", body)]
        body = "\n".join([*(f"  (void){_PARAMETERS[name]};" for name in unread), body])
        text = f"/* {rule.name} */\nstatic {gives} @({parameters}) {{\n{body}\n}}"
        function = self._library.function(self._stem, text)
        self.asked[function] = ElementFunction(function, rule, self._constants, names, ranges)
        return function


_Given = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]

_PARAMETERS = {
    "input_1": "input_1",
    "input_2": "input_2",
    "total": "sum_of_inputs",
    "count": "count",
    "largest": "largest",
}
"""What a rule calls an argument -> its name in C."""


def _range(tensor: Tensor) -> tuple[int, int]:
    dtype = integer_type(tensor.dtype)
    return dtype.qmin, dtype.qmax


def _zeros(model: Model, entry: PreparedOperator) -> list[Array]:
    return [np.zeros(model.tensors[i].shape, model.tensors[i].dtype.numpy) for i in entry.inputs]


def _cast(output: Tensor, call: str) -> str:
    return call if output.dtype.name == "float32" else f"({C_TYPES[output.dtype.name]}){call}"


def _operator(
    entry: PreparedOperator, prefix: str, rule: _Rule, parameters: str, body: Sequence[str], library: Library
) -> Piece:
    """An operator that has a function of its own."""
    text = "\n".join([f"static void @({parameters}) {{", *body, "}"])
    return Piece(entry, library.function(prefix, text), asked=tuple(rule.asked.values()))


def unary(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """QUANTIZE, DEQUANTIZE, RELU and their like, where they are no table.

    Raises:
        Unsupported: a stage or a condition that C does not have.
    """
    assert entry.staged is not None
    source, output = model.tensors[entry.inputs[0]], model.tensors[entry.operator.outputs[0]]
    x = C_TYPES[source.dtype.name]
    given: _Given = ("input_1",), () if x == "float" else (_range(source),)
    rule = _Rule(entry.staged, _zeros(model, entry), source.shape, given, library, f"{prefix}_element")
    line = f"output[i] = {_cast(output, rule.call('input[i]', 'i'))};"
    parameters = f"const {x} *input, {C_TYPES[output.dtype.name]} *output"
    return _operator(entry, prefix, rule, parameters, nest([("i", elements(source))], [line]), library)


def binary(entry: PreparedBinary, model: Model, prefix: str, library: Library) -> Piece:
    """ADD, SUB and MUL of quantized arrays, with broadcasting; one may be a constant of the file.

    Raises:
        Unsupported: a stage or a condition that C does not have.
    """
    assert entry.staged is not None
    output = model.tensors[entry.operator.outputs[0]]
    shape = output.shape
    zeros = _zeros(model, entry)
    given: _Given = ("input_1", "input_2"), tuple(_range(tensor) for tensor in entry.tensors)
    rule = _Rule(entry.staged, zeros, shape, given, library, f"{prefix}_element")
    loops = loops_of_two(entry, output, prefix, library)
    line = f"output[{loops.place}] = {_cast(output, rule.call(', '.join(loops.reads), f'({loops.place})'))};"
    return _operator(entry, prefix, rule, loops.parameters, nest(loops.axes, [line]), library)


def pool(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """AVERAGE_POOL_2D and MAX_POOL_2D of quantized images. Elements of the padding take no part.

    Raises:
        Unsupported: a stage that C does not have.
    """
    assert entry.staged is not None
    op = entry.operator
    source, output = model.tensors[entry.inputs[0]], model.tensors[op.outputs[0]]
    (n, h, w, c), (_, out_h, out_w, _) = source.shape, output.shape
    same = op.options.get("padding", "SAME") == "SAME"
    rows, columns = (
        WindowAxis(int(op.options[f"filter_{long}"]), int(op.options[f"stride_{short}"]), 1, same)  # type: ignore[arg-type]
        for long, short in (("height", "h"), ("width", "w"))
    )
    largest = any(isinstance(stage, Largest) for leaf in leaves(entry.staged.calculator.rule) for stage in leaf.stages)
    rule = _Rule(
        entry.staged, _zeros(model, entry), output.shape, _reduced(source, rows.size * columns.size, largest), library,
        f"{prefix}_window",
    )  # fmt: skip
    assert entry.staged.calculator.constants.output is not None
    least = entry.staged.calculator.constants.output.qmin
    start = f"int32_t largest = {least};" if largest else "int32_t sum_of_inputs = 0, count = 0;"
    value = f"input[((n * {h} + row) * {w} + column) * {c} + c]"
    step = (
        [f"largest = largest > {value} ? largest : {value};"] if largest else [f"sum_of_inputs += {value};", "count++;"]
    )
    call = rule.call("largest" if largest else "sum_of_inputs, count", "place")
    windows = nest(
        [("i", rows.size), ("j", columns.size)],
        [
            f"const int32_t row = y * {rows.stride} - {rows.padding(h)[0]} + i;",
            f"const int32_t column = x * {columns.stride} - {columns.padding(w)[0]} + j;",
            f"if (row >= 0 && row < {h} && column >= 0 && column < {w}) {{",
            *(f"  {line}" for line in step),
            "}",
        ],
        "",
    )
    store = f"output[((n * {out_h} + y) * {out_w} + x) * {c} + c] = {_cast(output, call)};"
    body = nest([("n", n), ("y", out_h), ("x", out_w), ("c", c)], [start, *windows, store])
    kind = C_TYPES[source.dtype.name]
    return _operator(entry, prefix, rule, f"const {kind} *input, {kind} *output", body, library)


def reduction(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """MEAN and SUM of quantized arrays over some axes.

    Raises:
        Unsupported: a stage or a condition that C does not have.
    """
    assert entry.staged is not None
    op = entry.operator
    source, output = model.tensors[entry.inputs[0]], model.tensors[op.outputs[0]]
    given = model.operand(op, 1)
    assert given is not None
    assert given.data is not None
    shape = source.shape
    reduced = {int(axis) % len(shape) for axis in given.data.reshape(-1)}
    count = math.prod(shape[axis] for axis in reduced)
    given_to = _reduced(source, count, False, exact=True)
    rule = _Rule(entry.staged, _zeros(model, entry), output.shape, given_to, library, f"{prefix}_element")
    steps = strides_of(shape)
    kept = [(f"i{k}", shape[k]) for k in range(len(shape)) if k not in reduced and shape[k] > 1]
    inner = [(f"i{k}", shape[k]) for k in range(len(shape)) if k in reduced]
    everywhere = [*kept, *inner]
    source_place = place_of(everywhere, [steps[int(name[1:])] for name, _ in everywhere])
    place = place_of(kept, strides_of([extent for _, extent in kept]))
    call = rule.call(f"sum_of_inputs, {count}", f"({place})")
    body = [
        "int64_t sum_of_inputs = 0;",
        *nest(inner, [f"sum_of_inputs += input[{source_place}];"], ""),
        f"output[{place}] = {_cast(output, call)};",
    ]
    kind = C_TYPES[source.dtype.name]
    loops = nest(kept, body) if kept else ["  " + line for line in body]
    return _operator(entry, prefix, rule, f"const {kind} *input, {kind} *output", loops, library)


def _reduced(source: Tensor, count: int, largest: bool, *, exact: bool = False) -> _Given:
    """What a rule is told of elements that become one: their largest, or their sum and how many they are."""
    low, high = _range(source)
    if largest:
        return ("largest",), ((low, high),)
    return ("total", "count"), ((low * count, high * count), (count if exact else 1, count))
