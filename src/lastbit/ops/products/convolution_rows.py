"""A convolution's windows and weights as the rows of a matrix product."""

from __future__ import annotations

import numpy as np

from ...arith.windows import patches
from ...model.types import Array
from .convolution_layer import Convolution

__all__ = ["flat_weights", "windows_as_rows"]


def windows_as_rows(layer: Convolution, x: Array, fill: float) -> Array:
    """Every window of images as a row `[n * out_h * out_w, groups * depth]`, with padding of this value.

    Where the channels are cut into groups, the window of every group stands one behind the other.
    """
    view = patches(x, layer.rows, layer.columns, fill)
    n, height, width, kh, kw, channels = view.shape
    if layer.groups == 1:
        return view.reshape(n * height * width, -1)
    parts = view.reshape(n, height, width, kh, kw, layer.groups, channels // layer.groups)
    return parts.transpose(0, 1, 2, 5, 3, 4, 6).reshape(n * height * width, -1)


def flat_weights(layer: Convolution) -> Array:
    """Each output channel's window as a row: `[out, depth]`, its taps row by row with the channels last."""
    assert layer.weights.data is not None
    values = layer.weights.data
    if layer.operator.name == "DEPTHWISE_CONV_2D":
        values = np.moveaxis(values[0], -1, 0)
    return np.ascontiguousarray(values.reshape(layer.channels, -1))
