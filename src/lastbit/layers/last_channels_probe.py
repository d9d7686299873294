"""A depthwise convolution of a few channels that prints its requantization at chosen accumulators.

Some kernels take eight channels at a time and requantize the last ones in another way. A probe with a channel for each
accumulator would have hardly any last ones, so here the channels are few and the images many: each image is one
window, whose values make the accumulator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..model.graph import Subgraph, Tensor
from ..model.tflite.synthesize import quant
from ..model.types import Array, Int64Array, integer_type
from ..ops.products.window_layer import WindowLayer
from .window_probe import like

__all__ = ["ImageProbe", "last_channels_probes"]

_WEIGHT = 127
"""Of every tap except the first, whose weight is 1: so every accumulator near the bias can be made."""


@dataclass(frozen=True, eq=False)
class ImageProbe:
    """One model and its input.

    Attributes:
        graph: a convolution with one output pixel for each image.
        images: `[n, h, w, channels]`.
        printed: for each channel the numbers of its accumulators, in order of the images; fewer than images perhaps.
    """

    graph: Subgraph
    images: Array
    printed: tuple[Int64Array, ...]


def last_channels_probes(
    layer: WindowLayer, accs: Sequence[Int64Array], channels: Sequence[int]
) -> Iterator[ImageProbe]:
    """Probes with these channels alone, as many as the accumulators need.

    Args:
        layer: the depthwise convolution.
        accs: for each channel the accumulators to print, ascending, within the bias's type.
        channels: the output channels.
    """
    at = [0] * len(channels)
    while any(start < len(values) for start, values in zip(at, accs, strict=True)):
        biases, printed, taps = [], [], []
        for place, values in enumerate(accs):
            bias, count = _reached(layer, values[at[place] :])
            part = values[at[place] : at[place] + count]
            biases.append(bias)
            printed.append(np.arange(at[place], at[place] + count))
            taps.append(_taps(layer, part - bias))
            at[place] += count
        count = max(map(len, taps))
        shape = (count, layer.convolution.rows.size, layer.convolution.columns.size, len(channels))
        windows = np.zeros(shape, np.int64)
        for place, values in enumerate(taps):
            windows[: len(values), ..., place] = values.reshape(-1, *shape[1:3])
        yield ImageProbe(_graph(layer, biases, channels, count), _images(layer, windows), tuple(printed))


def _ends(layer: WindowLayer) -> tuple[int, int]:
    """The smallest and the largest value less the zero point."""
    dtype = integer_type(layer.input.dtype)
    return dtype.qmin - layer.input_zero_point, dtype.qmax - layer.input_zero_point


def _reached(layer: WindowLayer, values: Int64Array) -> tuple[int, int]:
    """A bias from which the first of the accumulators can be reached, and how many of them can."""
    if not len(values):
        return 0, 0
    low, high = _ends(layer)
    others = layer.depth - 1
    if others:  # the first tap makes what is left of a division by the others' weight
        low, high = (_WEIGHT * (end * others - np.sign(end)) for end in (low, high))
    kind = np.int64 if layer.input.dtype.name == "int16" else np.int32
    bias = int(min(values[0] - low, np.iinfo(kind).max))
    return bias, int(np.searchsorted(values, bias + high, "right"))


def _taps(layer: WindowLayer, sums: Int64Array) -> Int64Array:
    """Values less the zero point, `[n, depth]`, whose products with the weights 1, 127, 127, ... add up to the sums."""
    low, high = _ends(layer)
    taps = np.zeros((len(sums), layer.depth), np.int64)
    if layer.depth == 1:
        taps[:, 0] = sums
        return taps
    rest = sums - _WEIGHT * np.rint(sums / _WEIGHT).astype(np.int64)
    rest = np.where(rest < low, rest + _WEIGHT, np.where(rest > high, rest - _WEIGHT, rest))
    taps[:, 0], left = rest, (sums - rest) // _WEIGHT
    for tap in range(1, layer.depth):
        taps[:, tap] = np.clip(left, low, high)
        left = left - taps[:, tap]
    assert not left.any()
    return taps


def _images(layer: WindowLayer, windows: Int64Array) -> Array:
    down, right = layer.convolution.rows, layer.convolution.columns
    shape = (len(windows), down.reach, right.reach, windows.shape[3])
    images = np.full(shape, layer.input_zero_point, layer.input.dtype.numpy)
    images[:, :: down.dilation, :: right.dilation] = windows + layer.input_zero_point
    return images


def _graph(layer: WindowLayer, biases: Sequence[int], channels: Sequence[int], images: int) -> Subgraph:
    stored, count = layer.convolution.weights, len(channels)
    assert stored.quant is not None
    shape = (1, *stored.shape[1:3], count)
    weights = np.full(shape, _WEIGHT)
    weights[0, 0, 0] = 1
    scales = layer.weights_scale
    scales = scales[list(channels)] if scales.size > 1 else scales
    down, right = layer.convolution.rows, layer.convolution.columns
    wide = "int64" if layer.input.dtype.name == "int16" else "int32"
    kind = wide if layer.bias is None else layer.bias.dtype.name
    bias = like(layer.bias or layer.input, 2, (count,), np.asarray(biases), quant(layer.input_scale * scales), kind)
    tensors: tuple[Tensor, ...] = (
        like(layer.input, 0, (images, down.reach, right.reach, count)),
        like(stored, 1, shape, weights, replace(quant(scales, 0), axis=stored.quant.axis)),
        replace(bias, name="bias"),
        like(layer.output, 3, (images, 1, 1, count)),
    )
    options = {**layer.operator.options, "padding": "VALID", "depth_multiplier": 1}
    op = replace(layer.operator, index=0, inputs=(0, 1, 2), outputs=(3,), options=options)
    return Subgraph("main", tensors, (op,), (0,), (3,))
