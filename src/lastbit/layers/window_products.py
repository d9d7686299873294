"""The products that one output element of a convolution or of a float32 layer adds up, in exact numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..arith.exact import low_bits
from ..model.types import Array
from ..ops.dense.float32 import PreparedFloat
from ..ops.products.convolution import Convolution, PreparedConvolution
from ..ops.products.float_convolution import PreparedFloatConvolution

__all__ = ["RealProducts", "WindowProducts", "met_inputs", "real_products", "window_products"]

Place = tuple[int, int, int]
"""A row, a column and a channel."""


@dataclass(frozen=True)
class WindowProducts:
    """What one output element is made of.

    Attributes:
        places: (row, column, channel) of each input element that is no padding.
        x: their values.
        weights: the weights that they meet.
        padding: how many taps of the window meet no input value: those in the padding, and of TRANSPOSE_CONV those
            between two input values.
        bias: the channel's bias.
        acc: the sum of the products without zero points, and the bias, in the rule's register.
    """

    places: tuple[Place, ...]
    x: tuple[int, ...]
    weights: tuple[int, ...]
    padding: int
    bias: int
    acc: int


def window_products(prepared: PreparedConvolution, values: Sequence[Array], index: tuple[int, ...]) -> WindowProducts:
    """The products of one output element, from the definition and apart from what calculates whole arrays.

    Args:
        prepared: the convolution.
        values: its inputs, of which the last is `[n, h, w, c]`.
        index: the element's place, (n, row, column, channel).
    """
    layer = prepared.convolution
    n, *place = index
    met = met_inputs(layer, (place[0], place[1], place[2]))
    seen = tuple(int(values[-1][(n, *at)]) for at, _ in met)
    weights = tuple(int(weight) for _, weight in met)
    zx, zw, bias = layer.input_zero_point, layer.weights_zero_point, int(layer.bias_values[index[-1]])
    total = sum((v - zx) * (w - zw) for v, w in zip(seen, weights, strict=True)) + bias
    bits = prepared.parts[0].params.rule.sums.bits
    taps, _ = _taps(layer, index[-1])
    padding = taps.size - len(met)
    return WindowProducts(tuple(at for at, _ in met), seen, weights, padding, bias, low_bits(total, bits))


@dataclass(frozen=True)
class RealProducts:
    """What one output element of a float32 layer is made of.

    Attributes:
        places: of each input element that is no padding: (row, column, channel), or of a dense layer (k,).
        x: their values.
        weights: the weights that they meet.
        padding: how many taps of the window meet no input value.
        bias: the channel's bias; None where the layer has none.
    """

    places: tuple[tuple[int, ...], ...]
    x: tuple[float, ...]
    weights: tuple[float, ...]
    padding: int
    bias: float | None

    @property
    def products(self) -> list[Fraction | None]:
        """Each product in exact numbers; None where one of the two is infinite or no number."""
        return [
            Fraction(x) * Fraction(w) if math.isfinite(x) and math.isfinite(w) else None
            for x, w in zip(self.x, self.weights, strict=True)
        ]

    @property
    def exact(self) -> Fraction | None:
        """The sum of all products and the bias in exact numbers; None where there is none."""
        finite = [product for product in self.products if product is not None]
        bias = 0.0 if self.bias is None else self.bias
        return sum(finite, Fraction(bias)) if len(finite) == len(self.x) and math.isfinite(bias) else None


def real_products(
    prepared: PreparedFloatConvolution | PreparedFloat, values: Sequence[Array], index: tuple[int, ...]
) -> RealProducts:
    """The products of one output element of a float32 layer, from the definition.

    Args:
        prepared: the layer.
        values: its inputs.
        index: the element's place in the output.
    """
    channel = index[-1]
    if isinstance(prepared, PreparedFloat):
        rows = prepared.layer.rows(values[0])
        row = (
            int(np.ravel_multi_index(index[:-1], prepared.layer.output_shape(values[0].shape)[:-1]))
            if index[:-1]
            else 0
        )
        x, weights = rows[row].tolist(), prepared.weights[channel].tolist()
        bias = None if prepared.bias is None else float(prepared.bias[channel])
        return RealProducts(tuple((k,) for k in range(len(x))), tuple(x), tuple(weights), 0, bias)
    layer = prepared.convolution
    met = met_inputs(layer, (index[1], index[2], channel))
    seen = tuple(values[-1][(index[0], *at)].item() for at, _ in met)
    taps, _ = _taps(layer, channel)
    bias = None if layer.bias is None or layer.bias.data is None else float(layer.bias.data.reshape(-1)[channel])
    return RealProducts(tuple(at for at, _ in met), seen, tuple(float(w) for _, w in met), taps.size - len(met), bias)


def met_inputs(layer: Convolution, place: Place) -> list[tuple[Place, int | float]]:
    """Which input values of a sample one output element is made of, each with the weight that it meets.

    Args:
        layer: the convolution.
        place: the output element: its row, column and channel.
    """
    top, left, channel = place
    taps, first = _taps(layer, channel)
    columns = list(enumerate(_spots(layer, 1, left)))
    return [
        ((row, column, first + c), taps[i, j, c].item())
        for i, row in enumerate(_spots(layer, 0, top))
        for j, column in columns
        if row is not None and column is not None
        for c in range(taps.shape[2])
    ]


def _taps(layer: Convolution, channel: int) -> tuple[Array, int]:
    """The channel's weights `[kh, kw, c]`, and the first input channel that they meet."""
    assert layer.weights.data is not None
    if layer.operator.name != "DEPTHWISE_CONV_2D":
        taps = layer.weights.data[channel]
        return taps, channel // (layer.channels // layer.groups) * taps.shape[2]
    return layer.weights.data[0, :, :, channel : channel + 1], channel // (layer.channels // layer.input.shape[3])


def _spots(layer: Convolution, axis: int, place: int) -> list[int | None]:
    """Which input row or column each tap of a window meets along one axis; None where it meets none."""
    window, length = (layer.rows, layer.columns)[axis], layer.input.shape[1 + axis]
    if layer.operator.name == "TRANSPOSE_CONV":
        # Input row i is spread over the output from row i * stride - padding on.
        shifted = place + window.padding(layer.output.shape[1 + axis])[0]
        found = [divmod(shifted - tap, window.stride) for tap in range(window.size)]
        return [row if rest == 0 and 0 <= row < length else None for row, rest in found]
    start = place * window.stride - window.padding(length)[0]
    spots = [start + tap * window.dilation for tap in range(window.size)]
    return [spot if 0 <= spot < length else None for spot in spots]
