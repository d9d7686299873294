"""What a layer is fed with at one time: a row of a dense layer, an image of a convolution."""

from __future__ import annotations

import math

import numpy as np

from ...layers.window_images import images_of, inner_places
from ...model.types import Array, integer_type
from ...ops.dense.layer import DenseLayer
from ...ops.products.window_layer import WindowLayer

__all__ = ["first_rows", "images_with", "place_text", "rows_of_sample", "samples_of", "size_of_sample"]

_ELEMENTS = 12_000
"""Output elements of all images that are chosen, about: user code may take long for each."""

_SPREADS = (200, 200, 12, 4)
"""How far values of random images lie from the zero point; of the last nothing saturates."""


def samples_of(layer: DenseLayer, x: Array) -> Array:
    """The layer's input cut into samples: rows `[n, depth]`, or images `[n, h, w, c]`."""
    return x if isinstance(layer, WindowLayer) else layer.rows(x)


def first_rows(layer: DenseLayer, x: Array, real: Array | None, rows: int) -> tuple[Array, Array | None]:
    """The input of the first rows of the output `[rows, out]`, and the same before it was quantized, if it is known.

    Of a convolution whole images where the rows are those of whole images; else windows, of which nothing is known
    before they were quantized.
    """
    images, rest = divmod(rows, rows_of_sample(layer, x))
    if isinstance(layer, WindowLayer) and x.ndim == 4 and rest:
        return layer.rows(x)[:rows], None
    if isinstance(layer, WindowLayer) and x.ndim == 4:
        return x[:images], None if real is None else real[:images]
    return layer.rows(x)[:rows], None if real is None else layer.rows(real)[:rows]


def rows_of_sample(layer: DenseLayer, x: Array) -> int:
    """How many rows of the output `[rows, out]` a sample of this input makes."""
    if not isinstance(layer, WindowLayer) or x.ndim != 4:
        return 1
    return math.prod(layer.output_shape((1, *x.shape[1:]))[1:3])


def size_of_sample(layer: DenseLayer, x: Array) -> int:
    """How many output elements a sample of this input makes."""
    return rows_of_sample(layer, x) * layer.units


def images_with(layer: WindowLayer, windows: Array, rng: np.random.Generator) -> Array:
    """Images of a convolution: random ones, and some that hold these windows `[n, depth]`."""
    dtype = integer_type(layer.input.dtype)
    shape = layer.input.shape[1:]
    drawn = []
    for spread in _SPREADS:
        near = layer.input_zero_point + rng.integers(-spread, spread, shape, endpoint=True)
        drawn.append(np.clip(near, dtype.qmin, dtype.qmax))
    images = np.stack(drawn).astype(dtype.numpy)
    if inner_places(layer):
        most = max(_ELEMENTS // math.prod(layer.output_shape((1, *shape))) - len(images), 2)
        images = np.concatenate([images, images_of(layer, windows)[0][:most]])
    return images


def place_text(layer: DenseLayer, x: Array, row: int, unit: int) -> str:
    """Where an element of the output `[rows, out]` is, in words."""
    if not isinstance(layer, WindowLayer) or x.ndim != 4:
        return f"row {row}, unit {unit}"
    _, height, width, _ = layer.output_shape(x.shape)
    image, place = divmod(row, height * width)
    y, x_place = divmod(place, width)
    return f"image {image}, row {y}, column {x_place}, channel {unit}"
