"""How many rows are taken at once: as many as are quick to take, so that progress and Ctrl-C come soon."""

from __future__ import annotations

import math

from ...model.graph import Model

__all__ = ["Pace"]

# A chunk's inputs and outputs; the products that the first chunk sums up; and what is quick.
_CHUNK_BYTES = 8 << 20
_FIRST_PRODUCTS = 1e9
_QUICK_SECONDS, _SLOW_SECONDS = 0.25, 2.0


class Pace:
    """The rows of the next chunk.

    Attributes:
        rows: at least one.
    """

    def __init__(self, model: Model, most: int) -> None:
        widest = max(math.prod(tensor.shape[1:]) for tensor in (*model.inputs, *model.outputs))
        self._most = max(min(_CHUNK_BYTES // (8 * max(widest, 1)), most), 1)
        self.rows = max(min(int(_FIRST_PRODUCTS / max(_products(model), 1)), self._most), 1)

    def adapt(self, seconds: float) -> None:
        """Take the time of a chunk into account."""
        if seconds < _QUICK_SECONDS:
            self.rows = min(2 * self.rows, self._most)
        elif seconds > _SLOW_SECONDS:
            self.rows = max(self.rows // 2, 1)


def _products(model: Model) -> float:
    """About how many products one row's outputs are sums of."""
    found = 0.0
    for op in model.operators:
        weights = model.operand(op, 1)
        if weights is not None and weights.data is not None and op.name in _WITH_WEIGHTS:
            found += weights.data.size * math.prod(model.tensors[op.outputs[0]].shape[1:-1])
    return found


_WITH_WEIGHTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
