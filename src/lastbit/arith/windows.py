"""Windows that slide over images `[batch, height, width, channels]`: sizes, padding and the patches themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..model.types import Array

__all__ = ["WindowAxis", "pad_images", "patches", "taps"]


@dataclass(frozen=True)
class WindowAxis:
    """One axis of a sliding window.

    Attributes:
        size: elements that the window takes.
        stride: steps from one window to the next.
        dilation: distance of the elements that it takes; 1 takes neighbours.
        same: whether the input is padded so that only the stride makes the output smaller (padding SAME).

    >>> w = WindowAxis(3, 2, 1, True)
    >>> w.outputs(10), w.padding(10)  # the odd one out is padded behind
    (5, (0, 1))

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/padding.h (ComputeOutSize, ComputePaddingWithOffset).
    """

    size: int
    stride: int
    dilation: int
    same: bool

    @property
    def reach(self) -> int:
        """Elements from the first to the last that the window takes, with those between them."""
        return (self.size - 1) * self.dilation + 1

    def outputs(self, length: int) -> int:
        """How many windows there are along an axis of this length; 0 where the window does not fit."""
        if self.same:
            return -(-length // self.stride)
        return max((length - self.reach) // self.stride + 1, 0)

    def padding(self, length: int) -> tuple[int, int]:
        """Elements in front of and behind the axis; the odd one is behind."""
        if not self.same:
            return 0, 0
        total = max((self.outputs(length) - 1) * self.stride + self.reach - length, 0)
        return total // 2, total - total // 2


def pad_images(x: Array, rows: WindowAxis, columns: WindowAxis, fill: float) -> Array:
    """Images with the padding that the windows need, filled with one value (`[n, h, w, c]`)."""
    widths = ((0, 0), rows.padding(x.shape[1]), columns.padding(x.shape[2]), (0, 0))
    return np.pad(x, widths, constant_values=fill) if any(map(any, widths)) else x


def patches(x: Array, rows: WindowAxis, columns: WindowAxis, fill: float) -> Array:
    """Every window's elements: `[n, h, w, c]` -> a view `[n, out_h, out_w, size_h, size_w, c]` of the padded images."""
    padded = pad_images(x, rows, columns, fill)
    counts = rows.outputs(x.shape[1]), columns.outputs(x.shape[2])
    view = np.lib.stride_tricks.sliding_window_view(padded, (rows.reach, columns.reach), axis=(1, 2))
    taken = view[:, :: rows.stride, :: columns.stride, :, :: rows.dilation, :: columns.dilation]
    return taken[:, : counts[0], : counts[1]].transpose(0, 1, 2, 4, 5, 3)


def taps(x: Array, rows: WindowAxis, columns: WindowAxis, fill: float) -> Iterator[tuple[int, int, Array]]:
    """For each element of the window: its row, its column, and a view `[n, out_h, out_w, c]` of what it meets."""
    padded = pad_images(x, rows, columns, fill)
    height, width = rows.outputs(x.shape[1]), columns.outputs(x.shape[2])
    for i in range(rows.size):
        top = i * rows.dilation
        for j in range(columns.size):
            left = j * columns.dilation
            yield (
                i,
                j,
                padded[
                    :,
                    top : top + (height - 1) * rows.stride + 1 : rows.stride,
                    left : left + (width - 1) * columns.stride + 1 : columns.stride,
                ],
            )
