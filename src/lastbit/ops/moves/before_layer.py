"""What only moves a layer's input on its way there: reshapes, which keep the order of values, and transpositions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from .copies import integers

__all__ = ["RESHAPES", "moves_before", "sample_shape", "transposition"]

RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that keep every value and their order."""


def moves_before(model: Model, tensor: int, names: tuple[str, ...] = RESHAPES) -> list[Operator]:
    """The operators of these names that a tensor comes through, one after the other, in order of execution."""
    found: list[Operator] = []
    op = model.writers.get(tensor)
    while op is not None and op.name in names and (not found or op.index < found[0].index):
        found.insert(0, op)
        op = model.writers.get(op.inputs[0])
    return found


def sample_shape(model: Model, tensor: int, size: int) -> tuple[int, ...]:
    """The shape that one sample of a tensor had before it was reshaped: the one with most dimensions.

    Args:
        model: the model.
        tensor: the tensor's index.
        size: elements of a sample.

    Returns:
        Dimensions whose product is the size; `(size,)` where no shape ends with such.
    """
    passed = [tensor, *(op.inputs[0] for op in reversed(moves_before(model, tensor)))]
    shapes = [_last(model.tensors[index].shape, size) for index in passed]
    return max((*shapes, (size,)), key=len)


def transposition(model: Model, tensor: int, size: int) -> npt.NDArray[np.intp] | None:
    """How TRANSPOSE operators before a tensor order the values of each sample.

    Args:
        model: the model.
        tensor: the tensor's index.
        size: elements of a sample.

    Returns:
        `[size]`: for each value of a sample its place before all the transpositions; None where they keep the order,
        move values from one sample to another, or cannot be read from the file.
    """
    moves = moves_before(model, tensor, (*RESHAPES, "TRANSPOSE"))
    if all(op.name != "TRANSPOSE" for op in moves):
        return None
    places: npt.NDArray[np.intp] = np.arange(math.prod(model.tensors[moves[0].inputs[0]].shape))
    try:
        for op in moves:
            moved = places.reshape(model.tensors[op.inputs[0]].shape)
            places = moved.transpose(integers(model, op, 1, "permutation")) if op.name == "TRANSPOSE" else moved
        samples = places.reshape(-1, size)
    except (UnsupportedError, ValueError):  # a permutation or shape that the file leaves open
        return None
    samples = samples - size * np.arange(len(samples))[:, None]
    if not len(samples) or (samples != samples[0]).any() or (np.sort(samples[0]) != np.arange(size)).any():
        return None
    return None if (samples[0] == np.arange(size)).all() else samples[0]


def _last(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The last dimensions whose product is the size; none where there are no such."""
    fitting = (shape[start:] for start in reversed(range(len(shape))) if math.prod(shape[start:]) == size)
    return next(fitting, ())
