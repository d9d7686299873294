"""Loops over arrays whose axes broadcast: as few as there can be, and where each element lies in flat order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....model.graph import Tensor
from ....ops.elements.binary import PreparedBinary
from .library import Library
from .text import C_TYPES

__all__ = ["Axes", "LoopsOfTwo", "collapsed", "loops_of_two", "operands_of_two", "place_of", "strides_of"]

Axes = list[tuple[str, int]]
"""Loop variables and their extents, the outermost first."""


@dataclass(frozen=True)
class LoopsOfTwo:
    """Loops over the output of an operator of two arrays.

    Attributes:
        parameters: of its function: the inputs that are no constants, and the output.
        axes: the loops.
        reads: the element of each input.
        place: the element of the output, as a flat index.
    """

    parameters: str
    axes: Axes
    reads: tuple[str, str]
    place: str


def operands_of_two(tensors: tuple[Tensor, Tensor], prefix: str, library: Library) -> tuple[list[str], list[str]]:
    """What two inputs are called, and their parameters; a constant is put into a table and has none."""
    names, parameters = [], []
    for number, tensor in enumerate(tensors, 1):
        if tensor.data is None:
            names.append(f"input_{number}")
            parameters.append(f"const {C_TYPES[tensor.dtype.name]} *{names[-1]}")
        else:
            names.append(library.table(f"{prefix}_constant", tensor.data.dtype, tensor.data))
    if tensors[0].index == tensors[1].index:
        return [names[0], names[0]], parameters[:1]
    return names, parameters


def loops_of_two(entry: PreparedBinary, output: Tensor, prefix: str, library: Library) -> LoopsOfTwo:
    """How an operator of two arrays goes over its output; one input may be a constant, which is put into a table."""
    shape, kind = output.shape, C_TYPES[output.dtype.name]
    names, parameters = operands_of_two(entry.tensors, prefix, library)
    parameters.append(f"{kind} *output")
    axes, strides = collapsed(shape, [tensor.shape for tensor in entry.tensors])
    first, second = (f"{name}[{place_of(axes, own)}]" for name, own in zip(names, strides, strict=True))
    return LoopsOfTwo(
        ", ".join(parameters), axes, (first, second), place_of(axes, strides_of([extent for _, extent in axes]))
    )


def strides_of(extents: Sequence[int]) -> list[int]:
    """How many elements one step along each axis is, in flat order."""
    return [math.prod(extents[k + 1 :]) for k in range(len(extents))]


def collapsed(shape: tuple[int, ...], inputs: Sequence[tuple[int, ...]]) -> tuple[Axes, list[list[int]]]:
    """Loops over an output, as few as there can be, and the steps of each input along them."""
    strides = []
    for given in inputs:
        full = (1,) * (len(shape) - len(given)) + given
        strides.append([0 if size == 1 else step for size, step in zip(full, strides_of(full), strict=True)])
    axes: list[list[int]] = []  # extent, then the step of each input
    for k, extent in enumerate(shape):
        steps = [own[k] for own in strides]
        if extent == 1:
            continue
        if axes and all(before == step * extent for before, step in zip(axes[-1][1:], steps, strict=True)):
            axes[-1] = [axes[-1][0] * extent, *steps]
        else:
            axes.append([extent, *steps])
    axes = axes or [[1, *(0 for _ in inputs)]]
    return [(f"i{k}", row[0]) for k, row in enumerate(axes)], [[row[n + 1] for row in axes] for n in range(len(inputs))]


def place_of(axes: Axes, steps: Sequence[int]) -> str:
    """A flat index from loop variables."""
    terms = [
        variable if step == 1 else f"{variable} * {step}"
        for (variable, _), step in zip(axes, steps, strict=True)
        if step
    ]
    return " + ".join(terms) or "0"
