"""Inputs that tell mistakes apart, and the search for one on which two explanations part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..mistakes import MISTAKES
from ..mistakes.base import Case
from ..mistakes.pipeline import unrounded_matrix, wrong_matrix
from ..ops.dense_layer import DenseLayer
from ..probing import all_rules, boundary_inputs, tie_seeking_inputs
from ..types import Array
from .search import Explanation

__all__ = ["Separation", "Separator", "Tie", "outputs", "separating_inputs", "trial_inputs"]

_REAL = 1e-3
"""Values before the rounding part where they are further apart than this."""


@dataclass(frozen=True, eq=False)
class Separation:
    """An input on which two explanations part.

    Attributes:
        x: the layer's input, one row `[1, depth]`.
        unit: the first unit at which they part.
        values: what each prints there.
    """

    x: Array
    unit: int
    values: tuple[float | int, float | int]

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"x": self.x.tolist(), "unit": self.unit, "values": list(self.values)}


@dataclass(frozen=True, eq=False)
class Tie:
    """Another explanation of the same length.

    Attributes:
        other: the explanation.
        separation: an input on which it parts from the first, or None where none was found.
        tried: whether an input was sought.
    """

    other: Explanation
    separation: Separation | None
    tried: bool = True


def separating_inputs(ties: Sequence[Tie]) -> Array | None:
    """All inputs that tell ties apart, `[n, depth]`, or None where there are none."""
    rows = [tie.separation.x for tie in ties if tie.separation is not None]
    return np.concatenate(rows) if rows else None


def trial_inputs(layer: DenseLayer, rng: np.random.Generator, solved: int = 0) -> Array:
    """Rows that make mistakes show: `[n, depth]` of the input's type.

    Random ones over the whole range; near the zero point, so that nothing saturates; with one value that is not the
    zero point; the ends; and some solved so that an accumulator lies at a rounding tie.
    """
    dtype = layer.input.dtype
    assert dtype.numpy is not None
    assert dtype.qmin is not None
    assert dtype.qmax is not None
    depth, zx = layer.depth, layer.input_zero_point
    parts: list[Array] = [rng.integers(dtype.qmin, dtype.qmax, (24, depth), endpoint=True)]
    for spread in (1, 4, 12, 40):
        near = zx + rng.integers(-spread, spread, (12, depth), endpoint=True)
        parts.append(np.clip(near, dtype.qmin, dtype.qmax))
    alone = np.full((16, depth), zx)
    places = rng.integers(0, depth, len(alone))
    # The first and the last product are left out by loops that start or stop one off.
    places[:2] = 0, depth - 1
    alone[np.arange(len(alone)), places] = rng.integers(dtype.qmin, dtype.qmax, len(alone), endpoint=True)
    parts += [alone, boundary_inputs(layer, rng)]
    if solved:
        parts.append(tie_seeking_inputs(layer, all_rules(layer), solved, rng)[0])
    return np.concatenate(parts).astype(dtype.numpy)


class Separator:
    """Finds inputs of one layer on which explanations part; what was calculated once is kept.

    Args:
        layer: the layer.
        real: whether values before the rounding are compared.
        seed: of the inputs tried.
    """

    def __init__(self, layer: DenseLayer, real: bool, seed: int) -> None:
        self._layer, self._real, self._seed = layer, real, seed
        self._rows: dict[int, Array] = {}
        self._outputs: dict[tuple[int, int], Array] = {}

    def between(self, one: Explanation, other: Explanation) -> Separation | None:
        """An input on which the two print different numbers, or None where none was found."""
        for pool in range(2):
            first, second = self._of(one, pool), self._of(other, pool)
            parted = np.abs(first - second) > (_REAL if self._real else 0)
            if parted.any():
                # Where both stay inside the range, the numbers say most.
                low, high = first.min(), first.max()
                inside = parted & (first > low) & (first < high) & (second > low) & (second < high)
                row, unit = (int(i) for i in np.argwhere(inside if inside.any() else parted)[0])
                x = self._rows[pool][row : row + 1]
                return Separation(x, unit, (first[row, unit].item(), second[row, unit].item()))
        return None

    @property
    def tried(self) -> int:
        """How many inputs were tried."""
        return sum(len(rows) for rows in self._rows.values())

    def _of(self, explanation: Explanation, pool: int) -> Array:
        if pool not in self._rows:
            rng = np.random.default_rng([self._seed, pool])
            self._rows[pool] = trial_inputs(self._layer, rng, 128 * pool)
        key = id(explanation), pool
        if key not in self._outputs:
            self._outputs[key] = outputs(self._rows[pool], explanation, self._real)
        return self._outputs[key]


def outputs(rows: Array, explanation: Explanation, real: bool) -> Array:
    """What an explanation prints for several rows, `[rows, out]`; a layout mistake among several rows is left out."""
    case = Case.of(explanation.prepared, rows)
    chosen = {MISTAKES[name].slot: MISTAKES[name] for name in explanation.mistakes if name != "output_column_major"}
    return unrounded_matrix(case, chosen) if real else wrong_matrix(case, chosen)
