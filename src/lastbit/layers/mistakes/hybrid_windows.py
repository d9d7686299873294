"""Mistakes of hybrid and float32 convolutions: which windows are seen, and how the kernel and the image are laid out.

They are those of integer convolutions, in their words; what padding holds is a matter of its own here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...arith.matmul import integer_product
from ...model.types import Float64Array, Int64Array
from ...ops.products.window_layer import WindowLayer
from .base import Mistake
from .taps import WindowTaps, windows_of
from .windows import WINDOWS

__all__ = ["ImageWindows", "hybrid_window_mistakes", "image_windows"]


@dataclass(frozen=True, eq=False)
class ImageWindows:
    """How the rows of a convolution's products are taken from images; the mistakes of `windows` take it for the case.

    Attributes:
        layer: the convolution as a dense layer over its windows.
        images: how many images there are.
        taps: which values each window sees.
        rows: the rows of the output `[rows, out]` that are calculated, counted through all images.
        fill: what padding holds, `[images]`: 0 where it is right.
    """

    layer: WindowLayer
    images: int
    taps: WindowTaps
    rows: Int64Array
    fill: Float64Array

    @property
    def of_image(self) -> Int64Array:
        """Each row's image."""
        return self.rows // self.taps.pixels

    def products(self, q: Float64Array, weights: Float64Array, *, absolute: bool = False) -> Float64Array:
        """Sums of products `[rows, out]`, or of their magnitudes.

        Args:
            q: the images' values, of the size of all images.
            weights: `[out, depth]`.
            absolute: whether to add up magnitudes.
        """
        groups, channels = self.taps.groups, self.layer.convolution.input.shape[3]
        seen: Any = self.taps.of(q.reshape(self.images, -1, channels), self.rows)
        outside = self.taps.index[self.rows % self.taps.pixels] < 0
        seen = np.where(outside[..., None], self.fill[self.of_image][:, None, None], seen)
        parts = seen.reshape(*seen.shape[:2], groups, channels // groups).transpose(2, 0, 1, 3)
        parts = parts.reshape(groups, len(self.rows), -1)
        if absolute:
            parts, weights = np.abs(parts), np.abs(weights)
        total = np.empty((len(self.rows), len(weights)))
        for group in range(groups):
            units = self.taps.unit_groups == group
            total[:, units] = integer_product(parts[group], weights[units].T)
        return total


def image_windows(layer: WindowLayer, images: int) -> ImageWindows:
    """The right windows of all outputs."""
    taps = windows_of(layer.convolution, fill=0)
    return ImageWindows(layer, images, taps, np.arange(images * taps.pixels), np.zeros(images))


def hybrid_window_mistakes(slot: str, change: Callable[[Mistake], Callable[[Any], Any]]) -> tuple[Mistake, ...]:
    """The mistakes of convolutions in one slot, with functions of another kind of case."""
    return tuple(
        replace(mistake, function=change(mistake), applies=_applies(mistake))
        for mistake in WINDOWS
        if mistake.slot == slot
    )


def _applies(mistake: Mistake) -> Callable[[Any], bool]:
    def applies(case: Any) -> bool:
        return case.windows is not None and mistake.applies(case.windows)

    return applies
