"""Where an output differs from the right one, and by how much, as pictures."""

from __future__ import annotations

import numpy as np

from ...model.types import Array, Int64Array
from ...ops.products.window_layer import WindowLayer
from ...report.pictures import HeatMap, Picture, histogram
from .given import Given
from .shape_mistakes import Reading

__all__ = ["difference_pictures"]


def difference_pictures(given: Given, right: Array, reading: Reading | None) -> list[Picture]:
    """A plane of the elements that differ, and a histogram of the differences.

    A convolution's plane is its first image with a difference: how many channels differ at each position.

    Args:
        given: what was diagnosed.
        right: the right output, `[rows, out]`.
        reading: the array, read as the layer's output.
    """
    if reading is None or reading.values.dtype.kind == "f" or reading.values.shape != right.shape:
        return []
    values = reading.values if reading.layout is None else reading.layout.function(reading.values)
    differences = np.asarray(values, np.int64) - right.astype(np.int64)
    count = int((differences != 0).sum())
    if not count:
        return []
    share = f"{count} of {differences.size} elements differ"
    bars = histogram(f"{given.layer}: yours - right; {share}", differences, "difference, output steps", "elements")
    return [_plane(given, differences), bars]


def _plane(given: Given, differences: Int64Array) -> HeatMap:
    layer = given.prepared.layer
    if isinstance(layer, WindowLayer) and given.x.ndim == 4:
        images = differences.reshape(layer.output_shape(given.x.shape))
        channels = (images != 0).sum(axis=3)
        image = int(np.argmax(channels.any(axis=(1, 2))))
        title = f"{given.layer}, image {image}: where channels differ, of {layer.units}"
        return HeatMap(title, channels[image], "column", "row", "channels that differ")
    return HeatMap(f"{given.layer}: yours - right", differences, "unit", "row", "output steps")
