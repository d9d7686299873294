"""Which output element is meant: by row and unit, by its own index, or by its number in the whole output."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from ...model.errors import InputError

__all__ = ["At", "element_position", "output_position"]

At = int | Sequence[int]
"""A number counted through the whole output, (row, unit), or an index of the output's own shape."""


def output_position(label: str, at: At, shape: Sequence[int]) -> tuple[int, int]:
    """(row, unit) of an element of a dense layer's output.

    Args:
        label: the operator, for the message.
        at: which element.
        shape: of the output, units last.

    Raises:
        InputError: it is no such number or index, or there is no such element.

    >>> output_position("op", 37, (1, 2, 32)), output_position("op", (1, 5), (1, 2, 32))
    ((1, 5), (1, 5))
    >>> output_position("op", (0, 1, 5), (1, 2, 32))
    (1, 5)
    """
    units = shape[-1]
    rows = int(np.prod(shape[:-1]))
    whole = f", or an index of shape {list(shape)}" if len(shape) > 2 else ""
    wanted = (
        f"wanted (row, unit) with row 0 to {rows - 1} and unit 0 to {units - 1}, "
        f"or one number from 0 to {rows * units - 1}{whole}"
    )
    try:
        index = tuple(operator.index(part) for part in (at if isinstance(at, Iterable) else (at,)))
    except TypeError:
        raise InputError(f"{label}: found at={at!r}; {wanted}") from None
    sizes = {1: (rows * units,), 2: (rows, units), len(shape): tuple(shape)}.get(len(index))
    if sizes is None or not all(0 <= i < size for i, size in zip(index, sizes, strict=True)):
        shown = index[0] if len(index) == 1 else index
        raise InputError(f"{label}: there is no output element {shown}; {wanted}")
    row, unit = divmod(int(np.ravel_multi_index(index, sizes)), units)
    return row, unit


def element_position(label: str, at: At, shape: Sequence[int]) -> tuple[int, ...]:
    """The place of an element in an output of any shape.

    Args:
        label: the operator, for the message.
        at: which element: an index of the output's shape, or one number counted through it.
        shape: of the output.

    Raises:
        InputError: it is no such number or index, or there is no such element.

    >>> element_position("op", 37, (1, 2, 32)), element_position("op", (0, 1, 5), (1, 2, 32))
    ((0, 1, 5), (0, 1, 5))
    """
    size = int(np.prod(shape))
    wanted = f"wanted an index of shape {list(shape)}, or one number from 0 to {size - 1}"
    try:
        index = tuple(operator.index(part) for part in (at if isinstance(at, Iterable) else (at,)))
    except TypeError:
        raise InputError(f"{label}: found at={at!r}; {wanted}") from None
    sizes = (size,) if len(index) == 1 and len(shape) != 1 else tuple(shape)
    if len(index) != len(sizes) or not all(0 <= i < length for i, length in zip(index, sizes, strict=True)):
        shown = index[0] if len(index) == 1 else index
        raise InputError(f"{label}: there is no output element {shown}; {wanted}")
    return tuple(int(i) for i in np.unravel_index(np.ravel_multi_index(index, sizes), tuple(shape)))
