"""Where an output differs from the right one, and by how much, as pictures."""

from __future__ import annotations

import numpy as np

from ...model.types import Array, Float64Array, Int64Array
from ...ops.products.window_layer import WindowLayer
from ...report.pictures import HeatMap, Picture, histogram
from .given import Given
from .shape_mistakes import Reading

__all__ = ["difference_of", "difference_pictures", "pictures_of"]


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
    layer = given.prepared.layer
    if isinstance(layer, WindowLayer) and given.x.ndim == 4:
        differences = differences.reshape(layer.output_shape(given.x.shape))
    return pictures_of(given.layer, differences)


def difference_of(mine: Array, right: Array) -> Int64Array | Float64Array:
    """An output less the right one: whole numbers, or real ones where one of them is; NaN counts as 0."""
    if "f" in (mine.dtype.kind, right.dtype.kind):
        found: Float64Array = np.nan_to_num(mine.astype(np.float64) - right.astype(np.float64))
        return found
    return np.asarray(mine, np.int64) - right.astype(np.int64)


def pictures_of(label: str, differences: Int64Array | Float64Array) -> list[Picture]:
    """A plane of the elements that differ, and a histogram of the differences; nothing where none does.

    Args:
        label: what the output is of.
        differences: the output less the right one, in its own shape; of images `[image, row, column, channel]`.
    """
    count = int((differences != 0).sum())
    if not count:
        return []
    unit = "real units" if differences.dtype.kind == "f" else "output steps"
    share = f"{count} of {differences.size} elements differ"
    bars = histogram(f"{label}: yours - right; {share}", differences, f"difference, {unit}", "elements")
    return [_plane(label, differences, unit), bars]


def _plane(label: str, differences: Int64Array | Float64Array, unit: str) -> HeatMap:
    if differences.ndim == 4:
        channels = (differences != 0).sum(axis=3)
        image = int(np.argmax(channels.any(axis=(1, 2))))
        title = f"{label}, image {image}: where channels differ, of {differences.shape[3]}"
        return HeatMap(title, channels[image], "column", "row", "channels that differ")
    plane = differences.reshape(-1, differences.shape[-1]) if differences.ndim else differences.reshape(1, 1)
    return HeatMap(f"{label}: yours - right", plane, "unit", "row", unit)
