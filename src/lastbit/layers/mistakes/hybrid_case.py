"""A hybrid layer on its way from the input to the output, and its calculation with mistakes.

A layer is calculated in float64 here; what float32 loses on the way depends on the order of summation and is a bound,
`HybridCase.bound`, that an output may lie within.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...arith.matmul import integer_product
from ...model.types import Float64Array
from .base import Mistake
from .hybrid_windows import ImageWindows

__all__ = ["HYBRID_SLOTS", "HybridCase", "calculate"]

HYBRID_SLOTS = (
    *("input", "hybrid input", "windows", "weights", "product", "sum", "members", "bias", "activation", "layout"),
)
"""In order of calculation. Each function takes a HybridCase and gives one: the slot's field is changed in it."""

_EPSILON = 2.0**-23


@dataclass(frozen=True, eq=False)
class HybridCase:
    """A hybrid layer on its way from the input to the output; arrays of float64 that hold the file's values exactly.

    Attributes:
        x: the input, `[rows, depth]`; of a convolution a row for each image, or each pixel where that has a scale.
        q: the input as the products take it: whole steps, less their zero point; or real values.
        s_x: what a step of q is worth, `[rows]`; 1 for real values.
        w: the weights as they are stored, `[out, depth]`.
        s_w: the weights' scales, `[1]` or `[out]`.
        bias: `[out]`, zeros where there is none.
        low: the activation's lower bound.
        high: its upper bound.
        y: the output, `[rows, out]`, once it is calculated.
        bound: how far from y float32 may come, in any order of summation; the same shape.
        windows: of a convolution, how rows of products are taken from q.
        zero_point: the rows' zero points, `[rows]`, which are subtracted in q already.
        quantize: the right quantization of rows: x -> (q, s_x, zero_point); None where nothing is quantized.
        sum_bits: of the integer that holds the sums of products, where it is too small; None where it is not.
    """

    x: Float64Array
    q: Float64Array
    s_x: Float64Array
    w: Float64Array
    s_w: Float64Array
    bias: Float64Array
    low: float = -np.inf
    high: float = np.inf
    y: Float64Array | None = None
    bound: Float64Array | None = None
    windows: ImageWindows | None = None
    zero_point: Float64Array | None = None
    quantize: Callable[[Float64Array], tuple[Float64Array, Float64Array, Float64Array]] | None = None
    sum_bits: int | None = None

    def products(self, *, absolute: bool = False) -> Float64Array:
        """Sums of products `[rows, out]`, or of their magnitudes."""
        if self.windows is not None:
            return self.windows.products(self.q, self.w, absolute=absolute)
        q, w = (np.abs(self.q), np.abs(self.w)) if absolute else (self.q, self.w)
        return integer_product(q, w.T)

    @property
    def row_scale(self) -> Float64Array:
        """s_x of each row of the output, `[rows]`."""
        if self.windows is None:
            return self.s_x
        rows = self.windows.rows
        return self.s_x[rows // (self.windows.images * self.windows.taps.pixels // len(self.s_x))]


def calculate(layer: HybridCase, chosen: Mapping[str, Mistake]) -> HybridCase:
    """The layer's output with mistakes, at most one for each slot."""
    made = layer
    for slot in HYBRID_SLOTS[:-2]:
        if slot in chosen:
            made = chosen[slot].function(made)
    scale = made.row_scale[:, None] * made.s_w
    sums = made.products()
    if made.sum_bits is not None:
        half = 2.0 ** (made.sum_bits - 1)
        sums = (sums + half) % (2 * half) - half
    y = sums * scale + made.bias
    size = made.products(absolute=True) * np.abs(scale)
    # Real values lose at most one rounding for each product and each sum, and dequantized ones one more.
    bound = _EPSILON * ((2 * made.w.shape[1] + 6) * size + 2 * np.abs(made.bias) + 1e-30)
    made = replace(made, y=y, bound=bound)
    if "activation" in chosen:
        made = chosen["activation"].function(made)
    assert made.y is not None
    made = replace(made, y=np.clip(made.y, made.low, made.high))
    return chosen["layout"].function(made) if "layout" in chosen else made
