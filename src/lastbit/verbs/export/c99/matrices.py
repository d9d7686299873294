"""BATCH_MATMUL as C: a function for each operator, with its sizes in it."""

from __future__ import annotations

import math

import numpy as np

from ....model.graph import Tensor
from ....model.types import integer_type
from ....ops.products.batch_matmul import PreparedProduct
from ..program import Piece, Probed
from .accumulators import accumulator, finish, multiply_add, requantization, start_of
from .library import Library
from .loops import collapsed, operands_of_two, place_of, strides_of
from .requantize import requantizer
from .text import C_TYPES, nest

__all__ = ["matrix_product"]


def matrix_product(entry: PreparedProduct, prefix: str, library: Library) -> Piece:
    """A product of quantized matrices; either may be stored transposed, one may be a constant of the file.

    Raises:
        Unsupported: a value of a field that C does not have.
    """
    params, output = entry.requant, entry.output_tensor
    made = requantizer(params, library)
    sides = [
        (*t.shape[:-2], *(t.shape[-2:][::-1] if turned else t.shape[-2:]))
        for t, turned in zip(entry.tensors, entry.turned, strict=True)
    ]
    rows, depth, columns = sides[0][-2], sides[0][-1], sides[1][-1]
    reach = depth * math.prod(_largest(t, s.zero_point) for t, s in zip(entry.tensors, entry.scales, strict=False)) + 1
    acc = accumulator(params.rule.sums, reach, library)
    # Loops over the leading axes, and where a matrix begins in each of the three arrays.
    axes, steps = collapsed((*output.shape[:-2], 1), [(*side[:-2], 1) for side in sides])
    steps.append(strides_of([extent for _, extent in axes]))
    sizes = rows * depth, depth * columns, rows * columns
    starts = [_plus(place_of(axes, [n * size for n in own])) for own, size in zip(steps, sizes, strict=True)]
    names, parameters = operands_of_two(entry.tensors, prefix, library)
    first = f"{names[0]}[{starts[0]}{f'k * {rows} + row' if entry.turned[0] else f'row * {depth} + k'}]"
    second = f"{names[1]}[{starts[1]}{f'column * {depth} + k' if entry.turned[1] else f'k * {columns} + column'}]"
    place, call = finish(acc, made, "0")
    kind = C_TYPES[output.dtype.name]
    body = [
        start_of(acc, "0"),
        f"for (int32_t k = 0; k < {depth}; k++) {{",
        f"  {multiply_add(acc, first, second)}",
        "}",
        place,
        f"output[{starts[2]}row * {columns} + column] = ({kind}){call}",
    ]
    loops = nest([*axes, ("row", rows), ("column", columns)], body)
    head = f"static void @(const {made.structure} *q, {', '.join(parameters)}, {kind} *output) {{"
    function = library.function(prefix, "\n".join([head, *loops, "}"]))
    offsets = -entry.scales[0].zero_point, -entry.scales[1].zero_point
    structure = requantization(prefix, offsets, params, made, library)
    probes = (Probed(params, 0, 1, made.function, (made.structure, structure), made.names),)
    return Piece(entry, function, (f"&{structure}",), math.prod(output.shape) * depth, probes)


def _largest(tensor: Tensor, zero_point: int) -> int:
    dtype = integer_type(tensor.dtype)
    if tensor.data is not None:
        return int(np.abs(tensor.data.astype(np.int64) - zero_point).max(initial=0))
    return max(abs(dtype.qmin - zero_point), abs(dtype.qmax - zero_point))


def _plus(place: str) -> str:
    return "" if place == "0" else f"{place} + "
