"""What a layer is fed with at one time: a row of a dense layer, an image of a convolution."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...layers.mistakes.taps import windows_of
from ...layers.window_images import images_of, inner_places
from ...model.types import Array, integer_type
from ...ops.dense.layer import DenseLayer
from ...ops.products.window_layer import WindowLayer
from ...report.phrases import numbers

__all__ = [
    "first_rows",
    "image_places",
    "images_with",
    "options_text",
    "output_shape",
    "place_text",
    "rows_of_sample",
    "samples_of",
    "size_of_sample",
]

_ELEMENTS = 12_000
"""Output elements of all images that are chosen, about: user code may take long for each."""

_SPREADS = (200, 200, 12, 4)
"""How far values of random images lie from the zero point; of the last nothing saturates."""


_WIDEST_EDGE = 3
"""Rows or columns at an image's edge that are told as one place."""


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


def output_shape(layer: DenseLayer, x: Array, rows: int) -> tuple[int, ...]:
    """The shape in which an element is named: of whole images `[n, h, w, c]`, else `[rows, out]`."""
    if isinstance(layer, WindowLayer) and x.ndim == 4:
        return layer.output_shape(x.shape)
    return (rows, layer.units)


def place_text(layer: DenseLayer, x: Array, row: int, unit: int) -> str:
    """Where an element of the output `[rows, out]` is, in words."""
    if not isinstance(layer, WindowLayer) or x.ndim != 4:
        return f"row {row}, unit {unit}"
    place = np.unravel_index(row, layer.output_shape(x.shape)[:3])
    return "image {}, row {}, column {}, ".format(*map(int, place)) + f"channel {unit}"


def options_text(layer: WindowLayer, found: tuple[int, ...]) -> str:
    """Which option of the convolution gives an output of this shape, as the end of a sentence; else empty."""
    convolution = layer.convolution
    axes = convolution.rows, convolution.columns
    other = "VALID" if axes[0].same else "SAME"
    ways = {
        f"the padding {other} gives; the layer's is {'SAME' if axes[0].same else 'VALID'}": {"same": not axes[0].same},
        f"the stride 1 gives; the layer's is {axes[0].stride} x {axes[1].stride}": {"stride": 1},
        f"no dilation gives; the layer's is {axes[0].dilation} x {axes[1].dilation}": {"dilation": 1},
    }
    for said, change in ways.items():
        changed = [replace(axis, **change) for axis in axes]  # type: ignore[arg-type]
        shape = [axis.outputs(length) for axis, length in zip(changed, convolution.input.shape[1:3], strict=True)]
        if list(found[-3:]) == [*shape, layer.units]:
            return f"; that is what {said}"
    return ""


def image_places(layer: DenseLayer, x: Array, wrong: npt.NDArray[np.bool_]) -> list[str]:
    """Where the wrong elements `[rows, out]` of a convolution's output lie: channels, rows, columns, images."""
    if not isinstance(layer, WindowLayer) or x.ndim != 4 or not wrong.any():
        return []
    bad = wrong.reshape(layer.output_shape(x.shape))
    said = [
        _few_text(np.asarray(bad.any(axis=(0, 1, 2))), "channel"),
        _pixels_text(layer, np.asarray(bad.any(axis=(0, 3)))),
        _few_text(np.asarray(bad.any(axis=(1, 2, 3))), "image"),
    ]
    return [text for text in said if text]


def _few_text(bad: npt.NDArray[np.bool_], what: str) -> str:
    """That only a few of all are wrong, or that only a few are right."""
    for these, word in ((bad, "only in"), (~bad, "everywhere except in")):
        listed = np.flatnonzero(these)
        if 0 < len(listed) <= max(len(bad) // 4, 1) and len(listed) < len(bad):
            return f"{word} {what}{'s' * (len(listed) != 1)} {numbers(listed.tolist(), 8)}"
    return ""


def _pixels_text(layer: WindowLayer, bad: npt.NDArray[np.bool_]) -> str:
    """Where the wrong pixels of an image lie, if that is at its edges."""
    sides = _edges(bad)
    if any(sides):
        names = ("first {}row{}", "last {}row{}", "first {}column{}", "last {}column{}")
        pairs = zip(names, sides, strict=True)
        said = [name.format(f"{n} " * (n > 1), "s" * (n > 1)) for name, n in pairs if n]
        return f"only in the {' and the '.join(said)}"
    padded = windows_of(layer.convolution).index.min(axis=1).reshape(bad.shape) < 0
    if not (bad & ~padded).any() and not padded.all():
        return "only where the window reaches into the padding"
    return ""


def _edges(bad: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """In how many rows above and below, columns on the left and right all of them lie; zeros if that is no edge."""
    height, width = bad.shape
    best: tuple[int, ...] = (0, 0, 0, 0)
    area = 0
    for sides in sorted(itertools.product(range(_WIDEST_EDGE + 1), repeat=4), key=sum):
        top, bottom, left, right = sides
        rows, columns = height - top - bottom, width - left - right
        inside = rows * columns if min(rows, columns) > 0 else 0
        most = bad.sum() * 4 >= bad.size - inside and (max(sides) == 1 or 4 * inside >= bad.size)
        if inside > area and most and not bad[top : height - bottom, left : width - right].any():
            best, area = sides, inside
    return best
