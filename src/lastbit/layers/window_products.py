"""The products that one output element of a convolution adds up, in Python integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arith.exact import low_bits
from ..model.types import Array
from ..ops.products.convolution import Convolution, PreparedConvolution

__all__ = ["WindowProducts", "window_products"]


@dataclass(frozen=True)
class WindowProducts:
    """What one output element is made of.

    Attributes:
        places: (row, column, channel) of each input element that is no padding.
        x: their values.
        weights: the weights that they meet.
        padding: how many taps of the window lie in the padding, whose products are 0.
        bias: the channel's bias.
        acc: the sum of the products without zero points, and the bias, in the rule's register.
    """

    places: tuple[tuple[int, int, int], ...]
    x: tuple[int, ...]
    weights: tuple[int, ...]
    padding: int
    bias: int
    acc: int


def window_products(
    prepared: PreparedConvolution, values: Sequence[Array], index: tuple[int, ...]
) -> WindowProducts | None:
    """The products of one output element; None for TRANSPOSE_CONV, whose windows are laid out by its output.

    Args:
        prepared: the convolution.
        values: its input `[n, h, w, c]`.
        index: the element's place, (n, row, column, channel).
    """
    layer = prepared.convolution
    if layer.operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    n, top, left, channel = index
    taps, first = _taps(layer, channel)
    found, padding = [], 0
    for i, row in enumerate(_spots(layer, 0, top)):
        for j, column in enumerate(_spots(layer, 1, left)):
            inside = 0 <= row < layer.input.shape[1] and 0 <= column < layer.input.shape[2]
            for c in range(taps.shape[2]):
                if inside:
                    at = (row, column, first + c)
                    found.append((at, int(values[0][(n, *at)]), int(taps[i, j, c])))
                else:
                    padding += 1
    zx, zw, bias = layer.input_zero_point, layer.weights_zero_point, int(layer.bias_values[channel])
    total = sum((x - zx) * (w - zw) for _, x, w in found) + bias
    bits = prepared.requant[0][2].rule.sums.bits
    places, x, weights = zip(*found, strict=True) if found else ((), (), ())
    return WindowProducts(places, x, weights, padding, bias, low_bits(total, bits))


def _taps(layer: Convolution, channel: int) -> tuple[Array, int]:
    """The channel's weights `[kh, kw, c]`, and the first input channel that they meet."""
    assert layer.weights.data is not None
    if layer.operator.name == "CONV_2D":
        taps = layer.weights.data[channel]
        return taps, channel // (layer.channels // layer.groups) * taps.shape[2]
    return layer.weights.data[0, :, :, channel : channel + 1], channel // (layer.channels // layer.input.shape[3])


def _spots(layer: Convolution, axis: int, place: int) -> list[int]:
    """Where the taps of a window lie along one axis."""
    window = (layer.rows, layer.columns)[axis]
    start = place * window.stride - window.padding(layer.input.shape[1 + axis])[0]
    return [int(spot) for spot in start + np.arange(window.size) * window.dilation]
