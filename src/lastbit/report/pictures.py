"""What a report can show as pictures, as data: nothing here draws (see `plot`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.types import Array, Float64Array, Int64Array

__all__ = ["Bars", "HeatMap", "Picture", "Steps", "histogram"]

# A histogram with more different values is drawn in so many intervals.
_MOST_BARS = 61
# Intervals of real differences.
_REAL_BARS = 41


@dataclass(frozen=True)
class Bars:
    """A bar for each name.

    Attributes:
        title: what is shown.
        names: what stands below each bar.
        values: how long each bar is.
        x: what the names are.
        y: what the values are.
        log: whether long and short bars differ so much that the axis is logarithmic.
        marked: numbers of the bars that the reader should see first: what is wrong.
    """

    title: str
    names: Sequence[str]
    values: Sequence[float]
    x: str
    y: str
    log: bool = False
    marked: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class Steps:
    """Functions that are constant between thresholds.

    Attributes:
        title: what is shown.
        lines: name -> (where each run begins, its value).
        end: the last place, included.
        x: what the places are.
        y: what the values are.
        marked: ranges of places (first, last) at which the lines differ.
    """

    title: str
    lines: Mapping[str, tuple[Int64Array, Int64Array]]
    end: int
    x: str
    y: str
    marked: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A number for each cell of a plane, as colour.

    Attributes:
        title: what is shown.
        values: `[rows, columns]`; 0 has the background's colour.
        x: what the columns are.
        y: what the rows are.
        scale: what the colours are.
        numbered: whether the numbers are written into the cells.
    """

    title: str
    values: Array
    x: str
    y: str
    scale: str
    numbered: bool = False


Picture = Bars | Steps | HeatMap


def histogram(title: str, differences: Int64Array | Float64Array, x: str, y: str) -> Bars:
    """How often each difference occurs; of many different ones, and of real ones, how often those of an interval do.

    >>> histogram("t", np.array([0, 1, 1, -1]), "by", "elements").values
    [1, 1, 2]
    """
    if differences.dtype.kind == "f":
        counts, edges = np.histogram(differences, bins=_REAL_BARS)
        names = [f"{low:.3g} .. {high:.3g}" for low, high in itertools.pairwise(edges)]
        return Bars(title, names, counts.tolist(), x, y, log=_uneven(counts))
    low, high = int(differences.min()), int(differences.max())
    width = -(-(high - low + 1) // _MOST_BARS)
    counts = np.bincount((differences.ravel() - low) // width)
    starts = [low + width * number for number in range(len(counts))]
    names = [f"{start:+d}" if start else "0" for start in starts]
    if width > 1:
        names = [f"{start} .. {start + width - 1}" for start in starts]
    return Bars(title, names, counts.tolist(), x, y, log=_uneven(counts))


def _uneven(counts: Int64Array) -> bool:
    return bool(counts.max() > 50 * max(1, counts[counts > 0].min()))
