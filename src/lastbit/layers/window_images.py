"""Images that hold chosen windows of a convolution, each where an output element sees it whole and alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from ..arith.windows import WindowAxis
from ..model.errors import InputError
from ..model.graph import Subgraph
from ..model.types import Array, IntArray
from ..ops.products.window_layer import WindowLayer

__all__ = ["images_of", "inner_places", "single_windows", "without_padding"]

Places = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Image, row and column of an output element, for each window."""


def images_of(layer: WindowLayer, rows: IntArray) -> tuple[Array, Places]:
    """Images of the model's size that hold these windows, as many in each as have room; the zero point between them.

    Args:
        layer: the convolution.
        rows: `[n, depth]`, one window for all groups, or `[n, groups * depth]`.

    Returns:
        `[images, h, w, c]`, and where in the output `[images, out_h, out_w, out]` each window is seen.

    Raises:
        InputError: no window of this convolution lies inside the image.
    """
    convolution, zx = layer.convolution, layer.input_zero_point
    height, width = convolution.input.shape[1:3]
    places = inner_places(layer)
    if not places:
        raise InputError(f"{layer.operator.label}: every window reaches into the padding, so none can be chosen freely")
    images = np.full((-(-len(rows) // len(places)), *convolution.input.shape[1:]), zx, layer.input.dtype.numpy)
    down, right = convolution.rows, convolution.columns
    taps = _taps(layer, rows)
    number, at = np.divmod(np.arange(len(rows)), len(places))
    out_row, out_column = (np.asarray([place[axis] for place in places])[at] for axis in (0, 1))
    top = out_row * down.stride - down.padding(height)[0]
    left = out_column * right.stride - right.padding(width)[0]
    for i, j in product(range(down.size), range(right.size)):
        images[number, top + i * down.dilation, left + j * right.dilation] = taps[:, i, j]
    return images, (number, out_row, out_column)


def _taps(layer: WindowLayer, rows: IntArray) -> Array:
    """Rows as windows `[n, kh, kw, c]`."""
    kernel, channels = (layer.convolution.rows.size, layer.convolution.columns.size), layer.convolution.input.shape[3]
    parts = layer.rows(rows).reshape(len(rows), layer.groups, *kernel, channels // layer.groups)
    return np.moveaxis(parts, 1, 3).reshape(len(rows), *kernel, channels)


def single_windows(layer: WindowLayer, rows: IntArray) -> tuple[Array, Places]:
    """An image for each window, just as large as the window reaches, and where in the outputs each is seen."""
    down, right = layer.convolution.rows, layer.convolution.columns
    taps = _taps(layer, rows)
    images = np.full((len(rows), down.reach, right.reach, taps.shape[3]), layer.input_zero_point, taps.dtype)
    images[:, :: down.dilation, :: right.dilation] = taps
    first = np.zeros(len(rows), np.intp)
    return images, (np.arange(len(rows)), first, first)


def without_padding(graph: Subgraph, shape: tuple[int, ...]) -> Subgraph:
    """A convolution's graph for images that are one window each, with the padding VALID."""
    tensors, source, made = list(graph.tensors), graph.inputs[0], graph.outputs[0]
    output = (shape[0], 1, 1, tensors[made].shape[3])
    for index, wanted in ((source, shape), (made, output)):
        tensors[index] = replace(tensors[index], shape=wanted, shape_signature=wanted)
    op = replace(graph.operators[0], options={**graph.operators[0].options, "padding": "VALID"})
    return replace(graph, tensors=tuple(tensors), operators=(op,))


def inner_places(layer: WindowLayer) -> list[tuple[int, int]]:
    """Output places (row, column) whose windows lie inside the image and do not overlap."""
    height, width = layer.convolution.input.shape[1:3]
    rows, columns = layer.convolution.rows, layer.convolution.columns
    return list(product(_along(rows, height), _along(columns, width)))


def _along(axis: WindowAxis, length: int) -> list[int]:
    before = axis.padding(length)[0]
    step = -(-axis.reach // axis.stride)
    first = -(-before // axis.stride)
    return [at for at in range(first, axis.outputs(length), step) if at * axis.stride - before + axis.reach <= length]
