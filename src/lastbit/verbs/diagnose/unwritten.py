"""Rows or units of an array that hold one constant: memory that nobody wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array

__all__ = ["Unwritten", "unwritten"]

# Right values in what is constant, below which it may well be right.
_LEAST_WRONG = 4
_LEAST_VALUES = 3
# Different values in the rest, below which nothing can be said of it.
_LEAST_REST = 3


@dataclass(frozen=True, eq=False)
class Unwritten:
    """Rows or units that hold one constant.

    Attributes:
        axis: `row` or `unit`.
        indices: which.
        of: how many there are.
        value: the constant.
        rest: bool `[rows, out]`: the elements that are in none of them.
    """

    axis: str
    indices: tuple[int, ...]
    of: int
    value: float | int
    rest: npt.NDArray[np.bool_]

    @property
    def text(self) -> str:
        """What they hold, as a sentence.

        >>> Unwritten("row", (1, 2, 3, 7), 9, 0, np.zeros((0, 0), bool)).text
        'Rows 1 to 3 and 7 of 9 hold one constant, 0: they were never written.'
        """
        plural = len(self.indices) != 1
        verbs = ("hold", "they were") if plural else ("holds", "it was")
        return (
            f"{self.axis.capitalize()}{'s' * plural} {_listed(self.indices)} of {self.of} {verbs[0]} one constant, "
            f"{self.value}: {verbs[1]} never written."
        )

    @property
    def block(self) -> bool:
        """Whether they follow one another and are half of all or more."""
        return self.indices[-1] - self.indices[0] + 1 == len(self.indices) >= self.of / 2

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"axis": self.axis, "indices": list(self.indices), "value": self.value}


def unwritten(values: Array, right: Array) -> Unwritten | None:
    """The rows, else the units, of an array that hold one constant where the right output does not; or None.

    Args:
        values: the array, `[rows, out]`.
        right: the right output.
    """
    for axis, mine, wanted in (("row", values, right), ("unit", values.T, right.T)):
        found = _constant(mine, wanted)
        if found is not None:
            rest = np.ones(mine.shape, bool)
            rest[found] = False
            rest = rest if axis == "row" else rest.T
            if np.unique(values[rest]).size >= _LEAST_REST:
                value = mine[found[0], 0].item()
                return Unwritten(axis, tuple(int(i) for i in found), len(mine), value, rest)
    return None


def _constant(mine: Array, right: Array) -> npt.NDArray[np.int64] | None:
    """The lines, two at least and not all, that hold the constant of most lines, and should not."""
    if mine.shape[1] == 0:
        return None
    flat = np.flatnonzero((mine == mine[:, :1]).all(axis=1))
    if not flat.size:
        return None
    constants, counts = np.unique(mine[flat, 0], return_counts=True)
    lines: npt.NDArray[np.int64] = flat[mine[flat, 0] == constants[counts.argmax()]]
    if len(lines) < 2 or len(lines) == len(mine):
        return None
    should = right[lines]
    wrong = should != mine[lines]
    # Each of them is wrong somewhere, and together they should hold more than a few values.
    if not wrong.any(axis=1).all() or wrong.sum() < _LEAST_WRONG or np.unique(should).size < _LEAST_VALUES:
        return None
    return lines


def _listed(indices: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    texts = [str(low) if low == high else f"{low} to {high}" for low, high in runs[:8]]
    if len(runs) > len(texts):
        texts.append(f"{len(runs) - len(texts)} more runs")
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
