"""Which input element an operator that moves values puts at a place of its output: asked from the operator itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model.errors import LastBitError
from ..model.types import Array
from ..ops.base import PreparedOperator

__all__ = ["moved_from"]

_DIGIT = 100  # fits every element type of integers


def moved_from(
    prepared: PreparedOperator, values: Sequence[Array], index: tuple[int, ...], output: int = 0
) -> tuple[int, tuple[int, ...]] | None:
    """(which input, the element's place in it), or None where the output is no input element, moved as it is.

    The operator is run on its inputs' positions, digit by digit, and once more on what each digit lacks: only an
    element that was moved gives both.

    Args:
        prepared: the operator.
        values: its inputs.
        index: the place in the output.
        output: which output.
    """
    if not values or any(value.dtype.kind not in "iuf" for value in values):
        return None
    name = f"output_{output}" if output else "output"
    ends = np.cumsum([0, *(value.size for value in values)])
    position, weight = 0, 1
    while weight <= int(ends[-1]):
        digits = [
            (np.arange(start, start + value.size) // weight % _DIGIT).reshape(value.shape)
            for start, value in zip(ends, values, strict=False)
        ]
        pair = []
        for part in (digits, [_DIGIT - 1 - digit for digit in digits]):
            fed = [digit.astype(value.dtype) for digit, value in zip(part, values, strict=True)]
            try:
                found = np.asarray(prepared.evaluate(fed)[name][index]).item()
            except (IndexError, LastBitError):
                return None  # an input that says where to: another one makes another shape
            if not 0 <= found < _DIGIT or found != int(found):
                return None
            pair.append(int(found))
        if sum(pair) != _DIGIT - 1:
            return None
        position, weight = position + pair[0] * weight, weight * _DIGIT
    number = int(np.searchsorted(ends, position, side="right")) - 1
    if position >= int(ends[-1]):
        return None
    place = np.unravel_index(position - int(ends[number]), values[number].shape)
    return number, tuple(int(i) for i in place)
