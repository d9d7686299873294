"""What a mistake is: data plus one function, at one slot of the pipeline from the input to the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...model.types import Array, Float64Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.gemv_or_gemm import for_rows
from ...ops.dense.layer import DenseLayer
from ...ops.products.window_layer import WindowLayer
from ...rules.base import Pairs, ScaleProduct, Whole
from ...rules.requantize.forms import OneRounding, TwoRoundings
from .sums import Elements, Everything
from .taps import WindowTaps, as_images, right_windows

__all__ = ["SLOTS", "STAGES", "Case", "Mistake", "ScaleValues", "Shortened", "always", "is_q31"]


# Values of windows that are held at one time.
_VALUES = 1 << 22
# Up to so many of them are kept with the products that follow.
_KEPT = 1 << 20

# Slot -> stage, in order of calculation. A slot is one decision: mistakes of one slot exclude each other.
SLOTS: dict[str, str] = {
    "input": "input read",
    "windows": "windows",
    "weights": "weights read",
    "input_zero_point": "zero-point terms",
    "weights_zero_point": "zero-point terms",
    "product": "product",
    "bias": "bias",
    "channels": "multiplier",
    "members": "multiplier",
    "digits": "multiplier",
    "factor": "multiplier",
    "fixed_point": "multiplier",
    "combine": "multiplier",
    "rounding": "rounding",
    "output_zero_point": "output zero point",
    "activation": "clamp",
    "range": "clamp",
    "layout": "layout",
    "whole": "whole layer",
}

STAGES: tuple[str, ...] = tuple(dict.fromkeys(SLOTS.values()))
"""The stages in order of calculation."""


def always(_prepared: PreparedDense) -> bool:
    """The mistake can be made on any dense layer."""
    return True


def is_q31(prepared: PreparedDense) -> bool:
    """Whether the layer's rule has a multiplier of 31 bits and a shift."""
    form = prepared.requant.rule.requantize
    return isinstance(form, TwoRoundings) or (isinstance(form, OneRounding) and form.multiplier_bits == 31)


@dataclass(frozen=True)
class Shortened:
    """A constant that is kept with too few digits or bits.

    Attributes:
        constant: which one, in words.
        count: with how many.
        unit: of what: "digits", "decimals", "fraction bits" or "bits".
    """

    constant: str
    count: int
    unit: str


@dataclass(frozen=True, eq=False)
class Mistake:
    """One way to get a dense layer wrong that people really take.

    Attributes:
        name: the key in `MISTAKES`, also in text and JSON.
        slot: the decision it gets wrong, a key of `SLOTS`.
        why: what is wrong, in one line.
        fix_numpy: the right line in NumPy. The names are x, w, bias, s_x, s_w, s_y, zx, zw, zy, acc, m (the effective
            scale, one for each unit), lo and hi (the clamp bounds).
        fix_c: the right line in C, with the same names.
        function: what the wrong code does at its slot; see `pipeline` for what each slot is given.
        applies: whether the mistake can make a difference on a prepared layer, by what the file says; of hybrid layers
            on their case.
        rarity: 1 for what is seen all the time, 3 for what is rare: orders explanations of one length.
        seen: links to where it was seen.
        needs_real_input: whether it can be made only where the input is known before it was quantized.
        needs_images: whether it can be made only where the input is images, of which a convolution takes windows.
        skips_padding: whether a convolution's padding adds nothing, whatever the zero points that are subtracted.
        of_the_sum: whether it changes the finished sum of products alone, whatever the products are.
        alone: whether it is one of a family (a number of digits, of bits), which is searched alone or with one mistake
            in the rounding or the output zero point, and not in every set.
        across_rows: whether a row of the output comes to depend on other rows of the input.
        shortened: the constant that it keeps with too few digits or bits, where that is what is wrong.
    """

    name: str
    slot: str
    why: str
    fix_numpy: str
    fix_c: str
    function: Callable[..., Any] = field(repr=False)
    applies: Callable[[Any], bool] = field(default=always, repr=False)
    rarity: float = 2.0
    seen: tuple[str, ...] = ()
    needs_real_input: bool = False
    needs_images: bool = False
    skips_padding: bool = False
    of_the_sum: bool = False
    alone: bool = False
    across_rows: bool = False
    shortened: Shortened | None = None

    @property
    def stage(self) -> str:
        """The stage of the pipeline, one of `STAGES`."""
        return SLOTS[self.slot]


@dataclass(frozen=True, eq=False)
class ScaleValues:
    """A layer's scales, as wrong code may have them: float64 that hold the file's float32 values exactly.

    Attributes:
        input: s_x.
        weights: s_w, `[1]` or `[out]`.
        output: s_y.
        product: the precision of s_x * s_w / s_y, see `ScaleProduct`.
    """

    input: float
    weights: Float64Array
    output: float
    product: ScaleProduct

    @property
    def factor(self) -> Float64Array:
        """s_x * s_w / s_y in float64."""
        return self.input * self.weights / self.output


@dataclass(frozen=True, eq=False)
class Case:
    """A layer and its input as plain integers: what mistakes look at.

    Attributes:
        prepared: the layer in one runtime's arithmetic, for this number of rows.
        x: the input, int64 `[rows, depth]`, `[rows, groups * depth]`, or images `[n, h * w, c]` that have windows.
        w: the weights, int64 `[out, depth]`.
        bias: int64 `[out]`, zeros where there is none.
        zx: the input's zero point.
        zw: the weights' zero point.
        zy: the output's zero point.
        acc_bits: width of the accumulator: 32; 28 or 64 for some kernels.
        shape: the input's own shape.
        real: the input before it was quantized, float32 in the shape of x, where it is known.
        windows: for images, the windows that a convolution takes of them; else None.
    """

    prepared: PreparedDense
    x: Int64Array
    w: Int64Array
    bias: Int64Array
    zx: int
    zw: int
    zy: int
    acc_bits: int
    shape: tuple[int, ...]
    real: Array | None = None
    windows: WindowTaps | None = None

    @classmethod
    def of(cls, prepared: PreparedDense, x: Array, real: Array | None = None) -> Case:
        """Take a layer and its input apart.

        Args:
            prepared: the layer in one runtime's arithmetic.
            x: its input.
            real: the input before it was quantized, as many elements as x has, where it is known.

        Raises:
            InputError: the input's size is not a multiple of the depth.
        """
        layer = prepared.layer
        windows = right_windows(layer.convolution) if isinstance(layer, WindowLayer) and x.ndim == 4 else None
        rows = layer.rows(x).astype(np.int64) if windows is None else as_images(x)
        prepared = for_rows(prepared, len(rows) * (1 if windows is None else windows.pixels))
        return cls(
            prepared,
            rows,
            layer.weights_values.astype(np.int64),
            layer.bias_values,
            layer.input_zero_point,
            layer.weights_zero_point,
            layer.output_zero_point,
            prepared.acc_bits,
            x.shape,
            None if real is None else real.reshape(rows.shape),
            windows,
        )

    @property
    def rows(self) -> int:
        """How many rows the output has."""
        return len(self.x) * (1 if self.windows is None else self.windows.pixels)

    @property
    def sample_rows(self) -> int:
        """How many rows of the output an image makes; of a dense layer, all that there are."""
        return self.rows if self.windows is None else self.windows.pixels

    def everything(self, rows: slice | Int64Array = slice(None)) -> Everything:
        """The grid of every element, or of all in some of the rows."""
        whole = self.windows is None and isinstance(rows, slice) and rows == slice(None)
        which = None if whole else np.arange(self.rows)[rows]
        return Everything(self.windows, self.layer.groups, self.layer.units, which)

    @cached_property
    def grids(self) -> tuple[Everything, ...]:
        """The grids of all elements, some of the rows in each; of few values the right products are kept."""
        right = (self.x, self.w) if self.rows * self.w.shape[1] * self.layer.groups <= _KEPT else None
        found = [self.everything(rows) for rows in self.pieces()]
        return tuple(Everything(grid.windows, grid.groups, grid.count, grid.which, right) for grid in found)

    def pieces(self) -> list[slice]:
        """The rows in so few parts that the values of each part's windows take little memory."""
        if self.windows is None:
            return [slice(None)]
        step = max(_VALUES // (self.windows.index.shape[1] * self.x.shape[2]), 1)
        return [slice(first, first + step) for first in range(0, max(self.rows, 1), step)]

    def elements(self, row: Int64Array, unit: Int64Array) -> Elements:
        """The grid of some elements."""
        return Elements(row, unit, self.windows, self.layer.groups, self.layer.units)

    @property
    def layer(self) -> DenseLayer:
        """The layer as the runtime reads it."""
        return self.prepared.layer

    @property
    def numbers(self) -> tuple[int | bytes | Whole | Pairs, ...]:
        """What the accumulator depends on besides x: equal where two runtimes read a layer in the same way."""
        arrays = self.bias, self.bias_scale, self.w
        return self.acc_bits, self.prepared.products, self.zx, self.zw, *(a.tobytes() for a in arrays)

    @property
    def bias_scale(self) -> Float64Array:
        """s_x * s_w, what a step of the accumulator is worth: float64 `[1]` or `[out]`."""
        result: Float64Array = self.scales.input * self.scales.weights
        return result

    @property
    def scales(self) -> ScaleValues:
        """The right scales."""
        layer = self.layer
        product = self.prepared.requant.rule.scales.product
        return ScaleValues(
            float(layer.input_scale), layer.weights_scale.astype(np.float64), float(layer.output_scale), product
        )
