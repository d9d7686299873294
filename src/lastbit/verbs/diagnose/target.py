"""What the search for mistakes is given, and what it finds: the target, explanations of it, and what comes nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import MISTAKES, Mistake
from ...model.types import Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from .after_scaling import Stage

__all__ = ["Arithmetic", "Nearest", "Reproduction", "Target", "equal"]

REAL_TOLERANCE = 2.0**-20
"""How near a real value must come, relative to its size and its zero point's: code may have calculated in float32."""


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """One way to calculate the right output, and the runtimes that do it so.

    Attributes:
        prepared: the layer in it.
        members: runtime -> the layer prepared for it. They differ at most where values leave an int32.
    """

    prepared: PreparedDense
    members: Mapping[str, PreparedDense]


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be reproduced.

    Attributes:
        values: `[rows, out]`: int64, or float64 where it is not rounded yet.
        acc: the accumulator that is given, int64 `[rows, out]`, to go on from; None where it is not.
        layout: the mistake in the layout that has been undone, or None.
        wide: whether values outside the output's type can occur.
        scaled: whether the values are without the output's zero point.
        counted: bool `[rows, out]`: the elements that are to be reproduced; None for all.
    """

    values: Array
    acc: Int64Array | None = None
    layout: Mistake | None = None
    wide: bool = False
    scaled: bool = False
    counted: npt.NDArray[np.bool_] | None = None

    @property
    def size(self) -> int:
        """Elements that are to be reproduced."""
        return self.values.size if self.counted is None else int(self.counted.sum())

    def of(self, values: Array) -> Array:
        """Of a matrix what is to be reproduced, `[size]`."""
        return values.ravel() if self.counted is None else values[self.counted]

    def matches(self, values: Array, limit: float = np.inf) -> npt.NDArray[np.bool_]:
        """Where a matrix has what is to be reproduced, `[size]`."""
        return equal(self.of(values), self.of(self.values), limit)

    @property
    def stage(self) -> Stage:
        """How far the layer is calculated to get there."""
        return Stage(self.values.dtype.kind == "f", self.scaled, self.wide)


@dataclass(frozen=True, eq=False)
class Reproduction:
    """Mistakes that reproduce every element.

    Attributes:
        mistakes: names in `MISTAKES`, in order of calculation; empty where the array is right.
        runtimes: in whose arithmetic they do.
        prepared: the layer in the first one's.
    """

    mistakes: tuple[str, ...]
    runtimes: tuple[str, ...]
    prepared: PreparedDense

    @property
    def rarity(self) -> float:
        """How unlikely, among explanations of one length."""
        return sum(MISTAKES[name].rarity for name in self.mistakes)

    @property
    def needs_real_input(self) -> bool:
        """Whether one of them is about quantizing the input."""
        return any(MISTAKES[name].needs_real_input for name in self.mistakes)


@dataclass(frozen=True, eq=False)
class Nearest:
    """What comes nearest where nothing fits.

    Attributes:
        mistakes: names in `MISTAKES`.
        runtime: in whose arithmetic.
        prepared: the layer in it.
        matching: elements reproduced.
        values: what the layer computes with these mistakes, `[rows, out]`.
        wanted: what it was compared with: the array, with a mistake in its layout undone.
    """

    mistakes: tuple[str, ...]
    runtime: str
    prepared: PreparedDense
    matching: int
    values: Array
    wanted: Array


def equal(values: Array, wanted: Array, limit: float = np.inf) -> npt.NDArray[np.bool_]:
    """Where values are what is wanted: integers exactly, real values to float32's precision and within a limit."""
    if wanted.dtype.kind != "f":
        return np.asarray(values == wanted)
    size = np.maximum(np.maximum(np.abs(wanted), np.abs(values)), 128.0)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(values - wanted) <= np.minimum(REAL_TOLERANCE * size, limit)
    return np.asarray(near & np.isfinite(values))
