"""MAXIMUM, MINIMUM, ARG_MAX and ARG_MIN of integers as C: they compare, and calculate nothing."""

from __future__ import annotations

import math

from ....model.graph import Model
from ....model.types import IntegerType
from ....ops.base import PreparedOperator
from ....ops.elements.binary import PreparedBinary
from ....rules.base import Unsupported
from ..program import Piece
from .library import Library
from .loops import loops_of_two
from .requantize import READER
from .text import C_TYPES, nest

__all__ = ["extreme", "position"]


def extreme(entry: PreparedBinary, model: Model, prefix: str, library: Library) -> Piece:
    """MAXIMUM or MINIMUM of two arrays, with broadcasting.

    Raises:
        Unsupported: they are float32.
    """
    output = model.tensors[entry.operator.outputs[0]]
    if not isinstance(output.dtype, IntegerType):
        raise Unsupported(READER, "element type", output.dtype.name)
    loops = loops_of_two(entry, output, prefix, library)
    one, two = loops.reads
    sign = ">" if entry.operator.name == "MAXIMUM" else "<"
    body = nest(loops.axes, [f"output[{loops.place}] = {one} {sign} {two} ? {one} : {two};"])
    text = "\n".join([f"static void @({loops.parameters}) {{", *body, "}"])
    return Piece(entry, library.function(prefix, text))


def position(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    """ARG_MAX or ARG_MIN along one axis: the first position of the largest or the smallest element.

    Raises:
        Unsupported: the elements are float32.
    """
    op = entry.operator
    source, output, axes = model.tensors[entry.inputs[0]], model.tensors[op.outputs[0]], model.operand(op, 1)
    if not isinstance(source.dtype, IntegerType):
        raise Unsupported(READER, "element type", source.dtype.name)
    assert axes is not None
    assert axes.data is not None
    axis = int(axes.data.reshape(-1)[0]) % len(source.shape)
    length, inner = source.shape[axis], math.prod(source.shape[axis + 1 :])
    outer = math.prod(source.shape[:axis])
    sign = ">" if op.name == "ARG_MAX" else "<"
    x, y = C_TYPES[source.dtype.name], C_TYPES[output.dtype.name]
    body = [
        f"const {x} *in = input + i * {length * inner} + j;",
        "int32_t best = 0;",
        f"for (int32_t k = 1; k < {length}; k++) {{",
        f"  best = in[k * {inner}] {sign} in[best * {inner}] ? k : best;",
        "}",
        f"output[i * {inner} + j] = best;",
    ]
    loops = nest([("i", outer), ("j", inner)], body)
    text = "\n".join([f"static void @(const {x} *input, {y} *output) {{", *loops, "}"])
    return Piece(entry, library.function(prefix, text))
