"""What XNNPACK's depthwise kernels read beside a window, for the zero weights that fill it up to a whole kernel."""

from __future__ import annotations

import numpy as np

from ...model.types import Array, IntArray
from .convolution_layer import Convolution

__all__ = ["values_beside"]

# Taps of the kernels that there are.
_TAPS = (3, 4, 9, 25)


def values_beside(layer: Convolution, x: Array) -> list[Array]:
    """The inputs `[n, out_h, out_w, c]` that zero weights meet behind a window's own taps, one array for each.

    A kernel finds its inputs through a table of pointers, column by column of each window; windows whose columns
    overlap share them. Behind a window's own pointers stand those of the column after it, or of the next window or row
    of windows, and behind the last window its last pointer again.

    Source: google/XNNPACK, src/indirection.c (xnn_indirection_init_dwconv2d) and src/operators/convolution-nhwc.c.
    """
    size, (_, height, width, channels) = layer.taps, x.shape
    more = next(taps for taps in _TAPS if taps >= size) - size
    if not more:
        return []
    pointers, first = _table(layer, height, width, more)
    # Padding has pointers to a buffer of zeros, the value behind the last pixel here.
    pixels = np.concatenate([x.reshape(len(x), -1, channels), np.zeros((len(x), 1, channels), x.dtype)], axis=1)
    return [pixels[:, pointers[first + size + place]] for place in range(more)]


def _table(layer: Convolution, height: int, width: int, more: int) -> tuple[IntArray, IntArray]:
    """The pixel that each pointer means, -1 for padding; and each window's first pointer, `[out_h, out_w]`."""
    rows, columns = layer.rows, layer.columns
    out_rows, out_columns = rows.outputs(height), columns.outputs(width)
    step = min(columns.stride, columns.size) if columns.dilation == 1 else columns.size
    row_step = layer.taps + (out_columns - 1) * step * rows.size
    first = np.arange(out_rows)[:, None] * row_step + np.arange(out_columns) * step * rows.size
    table = np.full(out_rows * row_step + more, -1, np.int64)
    down = np.arange(out_rows) * rows.stride - rows.padding(height)[0]
    across = np.arange(out_columns) * columns.stride - columns.padding(width)[0]
    for i in range(rows.size):
        for j in range(columns.size):
            y, z = (down + i * rows.dilation)[:, None], across + j * columns.dilation
            inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
            table[first + j * rows.size + i] = np.where(inside, y * width + z, -1)
    table[out_rows * row_step :] = table[out_rows * row_step - 1]
    return table, first
