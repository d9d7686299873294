"""What is known of one explained output element of a hybrid dense layer, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.types import Array
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.products.window_layer import WindowLayer
from ...rules.hybrid.sums import lost_by
from ...runtimes import Runtime
from .hybrid_steps import HybridStep

__all__ = ["HybridNumbers", "HybridRuntime"]


@dataclass(frozen=True)
class HybridRuntime:
    """What one runtime prints for the element.

    Attributes:
        runtime: its name.
        rule: its rule, empty where it refuses.
        output: the value.
        mismatched: how many elements of the whole output are not those of the explained runtime.
        first_difference: the first step that is not the same, in words; empty where none is.
        refused: why it does not run the layer.
    """

    runtime: str
    rule: str = ""
    output: float | None = None
    mismatched: int = 0
    first_difference: str = ""
    refused: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class HybridNumbers:
    """One output element of a hybrid layer, and what every runtime makes of it.

    Attributes:
        prepared: the layer, prepared for the runtime.
        runtime: the runtime.
        source: the model's path.
        input_source: where the layer's input came from.
        row: the element's row.
        unit: the element's unit.
        rows: how many rows the input has.
        x: the row's values; of a convolution those of the window that the unit sees, 0 in the padding.
        trace: the steps of this row, unit and element.
        steps: the calculations in float32, in order.
        others: every runtime, the explained one included.
    """

    prepared: PreparedHybrid
    runtime: Runtime
    source: str
    input_source: str
    row: int
    unit: int
    rows: int
    x: Array
    trace: Mapping[str, Any]
    steps: tuple[HybridStep, ...]
    others: tuple[HybridRuntime, ...]

    @property
    def output(self) -> float:
        """The element's value."""
        return float(self.trace["output"])

    @property
    def products(self) -> list[int]:
        """Quantized input times the weight that the kernel uses, with its sign."""
        q, w = self.trace["quantized_input"], self.prepared.weights_used[self.unit]
        products = q.astype(np.int64) * w
        fault = self.prepared.wrong_signs[self.unit] & (q < 0)
        products = np.where(fault, -products, products)
        pairs = self.prepared.arithmetic.pairs
        if pairs is not None:
            # A sum of two that leaves 16 bits is too small: that is told of the second product.
            first, away = np.flatnonzero(self.prepared.wrapping_pairs(self.rows)[self.unit]), pairs.partner
            products[[k + away for k in first if q[k] == q[k + away] == -128]] -= lost_by(pairs)
        return [int(v) for v in products]

    @property
    def answer(self) -> str:
        """Operator, element, runtime and value in a line."""
        return f"{self.prepared.layer.operator.label}, {self.place}, on {self.runtime.name}: {self.output!r}"

    @property
    def place(self) -> str:
        """Which element it is: of a dense layer its row and unit, of a convolution its index."""
        layer = self.prepared.layer
        if not isinstance(layer, WindowLayer):
            return f"element (row {self.row}, unit {self.unit})"
        image, row, column = np.unravel_index(self.row, (self.rows, *layer.output.shape[1:3]))
        return f"element [{image}, {row}, {column}, {self.unit}]"

    def tap(self, k: int) -> int | str:
        """The k-th product's name: its number, in a window its row, column and channel."""
        layer = self.prepared.layer
        if not isinstance(layer, WindowLayer):
            return k
        columns, channels = layer.convolution.columns.size, layer.depth // layer.taps
        return f"{k // channels // columns}, {k // channels % columns}, {k % channels}"
