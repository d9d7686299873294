"""Inputs on which rivals are tried: what the right layer and its rivals make of them, each calculation done once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import accumulate, wrong_matrix
from ...layers.running import LayerSums, accumulators
from ...model.types import Array, IntArray
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.window_layer import WindowLayer
from .rivals import Key, Rival, arithmetic_of

__all__ = ["Trial"]

_FEW = 24
"""Rows that are asked first."""
_OF_ALL = ("layout", "whole")
"""Slots of mistakes that are about all rows at once."""


class Trial:
    """Rows of a layer, and what rivals make of them.

    Args:
        sums: the right layer's sums.
        right: the right layer.
        rows: `[n, depth]`, or the windows of images.
        images: the images, of which `rows` are the windows; None where the rows are inputs of their own.
    """

    def __init__(self, sums: LayerSums, right: PreparedDense, rows: IntArray, images: IntArray | None = None) -> None:
        self._right, self._rows = right, rows
        self._case = Case.of(right, _in_shape(right, rows) if images is None else images)
        self._totals = sums.totals(rows)
        self._wanted = right.outputs_of(low_bits(self._totals, right.acc_bits)).astype(np.int64)
        self._known: dict[Key, npt.NDArray[np.bool_]] = {}

    def differs(self, rival: Rival) -> npt.NDArray[np.bool_]:
        """For which rows a rival prints another output at any unit: bool `[n]`."""
        if rival.equal:
            return np.zeros(len(self._rows), bool)
        if rival.prepared is not None:
            key = arithmetic_of(rival.prepared)
            if key not in self._known:
                self._known[key] = (self._outputs(rival.prepared) != self._wanted).any(axis=1)
            return self._known[key]
        assert rival.mistake is not None
        made = wrong_matrix(self._case, {rival.mistake.slot: rival.mistake})[: len(self._rows)]
        return np.asarray((made != self._wanted).any(axis=1))

    def shows(self, rival: Rival) -> bool:
        """Whether a rival prints another output at any of the rows; a few rows of many are asked first."""
        mistake = rival.mistake
        if not rival.equal and mistake is not None and mistake.slot not in _OF_ALL and len(self._rows) > 2 * _FEW:
            some = np.arange(0, len(self._rows), len(self._rows) // _FEW)
            chosen = {mistake.slot: mistake}
            start = accumulate(self._case, self._case.everything(some), chosen)
            if (wrong_matrix(self._case, chosen, start) != self._wanted[some]).any():
                return True
        return bool(self.differs(rival).any())

    def _outputs(self, other: PreparedDense) -> Array:
        right = self._right
        same = (other.pairs, other.layer.weights_zero_point) == (right.pairs, right.layer.weights_zero_point)
        accs = low_bits(self._totals, other.acc_bits) if same else accumulators(other, self._rows)
        return other.outputs_of(accs).astype(np.int64)


def _in_shape(right: PreparedDense, rows: IntArray) -> IntArray:
    """In the layer's own shape, since some mistakes are about it; what is over is filled up with the first rows."""
    layer = right.layer
    shape = layer.input.shape
    if isinstance(layer, WindowLayer) or len(shape) < 2:
        return rows
    inner = math.prod(shape[1:]) // layer.depth
    samples = -(-len(rows) // max(inner, 1))
    x: IntArray = np.resize(rows, (samples * max(inner, 1), layer.depth))
    return x.reshape(samples, *shape[1:]) if inner else x
