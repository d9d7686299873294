"""Which values of an image each window of a convolution sees: right, or as wrong code takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...arith.windows import WindowAxis
from ...model.types import Array, Int64Array
from ...ops.products.convolution import Convolution

__all__ = ["OUTSIDE", "Border", "WindowTaps", "as_images", "right_windows", "windows_of"]

OUTSIDE = -1
"""The place of what is not in the image."""

Border = Callable[[Int64Array, int], Int64Array]
"""Places along an axis, which may lie outside, and its length -> the places that are read; OUTSIDE is padding."""


@dataclass(frozen=True, eq=False)
class WindowTaps:
    """The windows of one image, the same in every image of a batch.

    Attributes:
        index: int64 `[pixels, taps]`: for each output pixel the places that its window sees, in the image with its rows
            one behind the other; -1 in the padding.
        fill: what padding holds.
        groups: into how many parts the channels are cut.
        unit_groups: int64 `[out]`: the part that each output channel sees.
    """

    index: Int64Array
    fill: int
    groups: int
    unit_groups: npt.NDArray[np.int64]

    @property
    def pixels(self) -> int:
        """Output pixels of an image."""
        return len(self.index)

    @property
    def pads(self) -> bool:
        """Whether any window reaches into the padding."""
        return bool((self.index < 0).any())

    @property
    def in_order(self) -> bool:
        """Whether the output channels of a part follow one another, part by part."""
        per_group = len(self.unit_groups) // self.groups
        return bool((self.unit_groups == np.arange(len(self.unit_groups)) // per_group).all())

    def of(self, x: Array, rows: npt.NDArray[np.int64]) -> Array:
        """The windows of some rows of the output `[n * pixels]`: images `[n, h * w, c]` -> `[rows, taps, c]`."""
        image, pixel = np.divmod(rows, self.pixels)
        places = self.index[pixel]
        seen = x[image[:, None], places]
        padding = places < 0
        return np.where(padding[..., None], self.fill, seen) if padding.any() else seen

    def padded(self, rows: npt.NDArray[np.int64], channels: int) -> npt.NDArray[np.bool_]:
        """Which values of a window of one part are padding: bool `[rows, taps * channels]`."""
        return np.repeat(self.index[rows % self.pixels] < 0, channels, axis=1)


def padded(places: Int64Array, length: int) -> Int64Array:
    """Padding around the image: the right border."""
    return np.where((places >= 0) & (places < length), places, OUTSIDE)


def windows_of(
    layer: Convolution,
    *,
    axes: tuple[WindowAxis, WindowAxis] | None = None,
    before: tuple[int, int] | None = None,
    fill: int | None = None,
    unit_groups: npt.NDArray[np.int64] | None = None,
    border: Border = padded,
) -> WindowTaps:
    """The windows of a convolution; what wrong code has otherwise is named.

    Args:
        layer: the convolution.
        axes: other windows along the height and the width, with as many outputs.
        before: padding in front of the height and the width.
        fill: what padding holds; default: the input's zero point.
        unit_groups: the part that each output channel sees.
        border: what is read beyond the image's border.
    """
    height, width = layer.input.shape[1:3]
    rows, columns = axes or (layer.rows, layer.columns)
    top, left = before or (rows.padding(height)[0], columns.padding(width)[0])
    down = border(_places(rows, top, layer.rows.outputs(height)), height)
    right = border(_places(columns, left, layer.columns.outputs(width)), width)
    places = down[:, None, :, None] * width + right[None, :, None, :]
    inside = (down >= 0)[:, None, :, None] & (right >= 0)[None, :, None, :]
    taps = rows.size * columns.size
    index = np.where(inside, places, OUTSIDE).reshape(-1, taps).astype(np.int64)
    own = np.arange(layer.channels) // (layer.channels // layer.groups)
    zero = layer.input_zero_point if fill is None else fill
    return WindowTaps(index, zero, layer.groups, own if unit_groups is None else unit_groups)


@lru_cache(maxsize=64)  # a search asks for the same few layers again and again
def right_windows(layer: Convolution) -> WindowTaps:
    """The windows of a convolution as they are right."""
    return windows_of(layer)


def _places(axis: WindowAxis, before: int, outputs: int) -> Int64Array:
    """Where the taps of each window lie along one axis, outside of it as well: `[outputs, size]`."""
    return np.arange(outputs)[:, None] * axis.stride - before + np.arange(axis.size) * axis.dilation


def as_images(x: Array) -> Int64Array:
    """Images `[n, h, w, c]` with the rows of each one behind the other: int64 `[n, h * w, c]`."""
    return x.reshape(x.shape[0], -1, x.shape[3]).astype(np.int64)
