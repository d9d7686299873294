"""Mistakes at an image's border, and dilations of one axis alone: rare ones, which are searched alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...model.types import Int64Array
from ...ops.products.convolution import Convolution
from .base import Case, Mistake
from .taps import OUTSIDE, Border, WindowTaps, windows_of
from .window_shapes import PAD, PAD_C, TAP, axes_of, of_windows, pads, right

__all__ = ["BORDERS"]


def _edge(places: Int64Array, length: int) -> Int64Array:
    clipped: Int64Array = np.clip(places, 0, length - 1)
    return clipped


def _reflected(places: Int64Array, length: int) -> Int64Array:
    period = max(2 * (length - 1), 1)
    back = np.abs(places) % period
    mirrored: Int64Array = np.minimum(back, period - back)
    return mirrored


def _circular(places: Int64Array, length: int) -> Int64Array:
    return places % length


def _without_last(places: Int64Array, length: int) -> Int64Array:
    return np.where((places >= 0) & (places < length - 1), places, OUTSIDE)


def _without_first(places: Int64Array, length: int) -> Int64Array:
    return np.where((places > 0) & (places < length), places, OUTSIDE)


def _with(border: Border) -> Callable[[Case], WindowTaps]:
    def windows(case: Case) -> WindowTaps:
        return windows_of(right(case), border=border)

    return windows


def _dilations(take: Callable[[int, int], tuple[int, int]], *, padding_kept: bool) -> Callable[[Case], WindowTaps]:
    """Windows with other dilations, made of those of rows and columns; their own padding, or the right one."""

    def windows(case: Case) -> WindowTaps:
        layer = right(case)
        (rows, height), (columns, width) = axes_of(layer)
        down, across = take(rows.dilation, columns.dilation)
        axes = replace(rows, dilation=down), replace(columns, dilation=across)
        first, second = (rows, columns) if padding_kept else axes
        return windows_of(layer, axes=axes, before=(first.padding(height)[0], second.padding(width)[0]))

    return windows


def _dilated_in_both(layer: Convolution) -> bool:
    return all(axis.dilation > 1 and axis.size > 1 for axis, _ in axes_of(layer))


def _dilated_otherwise(layer: Convolution) -> bool:
    return layer.rows.dilation != layer.columns.dilation and layer.rows.size * layer.columns.size > 1


_INSIDE = "inside = 0 <= y < height and 0 <= x < width"
_INSIDE_C = "inside = y >= 0 && y < height && x >= 0 && x < width;"

_FOUND: tuple[Mistake, ...] = (
    of_windows(
        "padding_edge",
        "the image's border is repeated (mode='edge'); the image is padded with the input's zero point",
        _with(_edge),
        pads,
        (PAD, PAD_C),
    ),
    of_windows(
        "padding_reflect",
        "the image is mirrored at its border (mode='reflect'); it is padded with the input's zero point",
        _with(_reflected),
        lambda layer: pads(layer) and min(layer.input.shape[1:3]) > 1,
        (PAD, PAD_C),
        rarity=3,
    ),
    of_windows(
        "padding_circular",
        "the image goes on from its other side, as with np.roll or an FFT; it is padded with the input's zero point",
        _with(_circular),
        pads,
        (PAD, PAD_C),
        rarity=3,
    ),
    of_windows(
        "last_row_and_column_as_padding",
        "the image's last row and column count as padding (y < height - 1); they belong to the image",
        _with(_without_last),
        lambda layer: True,
        (_INSIDE, _INSIDE_C),
    ),
    of_windows(
        "first_row_and_column_as_padding",
        "the image's first row and column count as padding (y > 0); they belong to the image",
        _with(_without_first),
        lambda layer: True,
        (_INSIDE, _INSIDE_C),
        rarity=3,
    ),
    of_windows(
        "dilation_ignored_in_rows",
        "the dilation is not applied to rows, only to columns, and the padding above is that of a plain kernel",
        _dilations(lambda down, across: (1, across), padding_kept=False),
        _dilated_in_both,
        (TAP, TAP + ";"),
    ),
    of_windows(
        "dilation_ignored_in_columns",
        "the dilation is not applied to columns, only to rows, and the padding on the left is that of a plain kernel",
        _dilations(lambda down, across: (down, 1), padding_kept=False),
        _dilated_in_both,
        (TAP, TAP + ";"),
    ),
    of_windows(
        "dilation_ignored_in_taps_of_rows",
        "the dilation is not applied to rows, only to columns; the padding is right",
        _dilations(lambda down, across: (1, across), padding_kept=True),
        lambda layer: _dilated_in_both(layer) and pads(layer),
        (TAP, TAP + ";"),
    ),
    of_windows(
        "dilation_ignored_in_taps_of_columns",
        "the dilation is not applied to columns, only to rows; the padding is right",
        _dilations(lambda down, across: (down, 1), padding_kept=True),
        lambda layer: _dilated_in_both(layer) and pads(layer),
        (TAP, TAP + ";"),
    ),
    of_windows(
        "dilations_swapped",
        "the dilation of rows is used for columns, and that of columns for rows; the padding is right",
        _dilations(lambda down, across: (across, down), padding_kept=True),
        _dilated_otherwise,
        (TAP, TAP + ";"),
    ),
)

BORDERS: tuple[Mistake, ...] = tuple(replace(mistake, alone=True) for mistake in _FOUND)
