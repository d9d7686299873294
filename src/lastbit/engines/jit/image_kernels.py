"""Numba functions of `images`: copies of images with their padding, depthwise convolutions, tables of pairs."""

from __future__ import annotations

from typing import Any

import numba

from .compile import call, inner, int16_at, int32_at, int64_at, uint8_at
from .fields import AT, IN
from .sums import sum_of

__all__ = ["add_windows", "average", "copy", "depthwise", "fill", "largest", "pairs", "repeat", "weighted_pairs"]


def fill(place: int, count: int, to: int, value: int) -> int:
    """So many values of the type that products take, all the same."""
    if to == 0:
        wide = int16_at(place)
        for k in range(count):
            wide[k] = numba.int16(value)
    else:
        taken = uint8_at(place)
        for k in range(count):
            taken[k] = numba.uint8(value)
    return 0


def repeat(fields: int, x: int, place: int) -> int:
    """A row of pixels in the type that products take, every value several times."""
    p = int64_at(fields)
    planes, channels, times = p[AT.planes], p[AT.channels], p[AT.times]
    size = 2 if p[AT.converted_to] == 0 else 1
    pixel = channels * times * size
    for column in range(p[AT.image_columns]):
        at = column + p[AT.left]
        target = place + (at % planes) * (p[AT.copy_bytes] // planes) + at // planes * pixel
        call(p[AT.convert], (x + column * channels * p[AT.input_bytes], 0, 1, channels, target, 0))
        # From the end, so that nothing is written over before it was read.
        wide, taken = int16_at(target), uint8_at(target)
        for c in range(channels - 1, -1, -1):
            for k in range(times - 1, -1, -1):
                if size == 2:
                    wide[c * times + k] = wide[c]
                else:
                    taken[c * times + k] = taken[c]
    return 0


def copy(fields: int, x: int, out: int) -> int:
    """An image in the type that products take, with its padding around it: see `windows.Windows`."""
    p = int64_at(fields)
    to, planes, value, line = p[AT.converted_to], p[AT.planes], p[AT.padding], p[AT.copy_bytes]
    size = 2 if to == 0 else 1
    pixel, pixel_in = p[AT.channels] * size, p[AT.channels] * p[AT.input_bytes]
    values, image_line = line // size, p[AT.image_columns] * p[AT.channels]
    top, rows = p[AT.top], p[AT.image_rows]
    begin, line_in = out + top * line, image_line * p[AT.input_bytes]
    if line == image_line * size and planes == 1:
        call(p[AT.fill], (out, top * values, to, value))
        call(p[AT.fill], (begin + rows * line, (p[AT.copy_rows] - top - rows) * values, to, value))
        call(p[AT.convert], (x, 0, 1, rows * image_line, begin, 0))
        return 0
    for row in range(p[AT.copy_rows]):
        place, given = out + row * line, x + (row - top) * line_in
        call(p[AT.fill], (place, values, to, value))
        if row < top or row >= top + rows:
            continue
        if p[AT.times] > 1:
            call(p[AT.repeat], (fields, given, place))
            continue
        for plane in range(planes):
            first = (plane - p[AT.left]) % planes
            count = (p[AT.image_columns] - first + planes - 1) // planes
            target = place + plane * (line // planes) + (first + p[AT.left]) // planes * pixel
            if planes == 1:
                call(p[AT.convert], (given, 0, 1, image_line, target, 0))
            else:
                call(p[AT.convert], (given + first * pixel_in, planes * pixel_in, count, p[AT.channels], target, pixel))
    return 0


@inner
def add_windows(p: Any, copy: int, out: int) -> None:
    """What the weights' zero point adds to all sums of each window, as int32 that wraps."""
    sums, starts, taps, factor = int32_at(out), int64_at(p[AT.starts]), int64_at(p[AT.taps]), p[AT.weights_zero_point]
    for window in range(p[AT.pixels]):
        total = 0
        if factor != 0:
            for run in range(p[AT.runs]):
                start = copy + starts[window] + taps[run * p[AT.run_groups]]
                total += sum_of(start, p[AT.run_values], p[AT.converted_to])
        sums[window] = numba.int32(total * factor)


def depthwise(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """A depthwise convolution of images, one of a chain's operators: see `depthwise.build_taps`."""
    p, places = int64_at(fields), int64_at(state)
    copied, spare = scratch + places[IN.converted], scratch + places[IN.spare]
    image_bytes = p[AT.image_rows] * p[AT.image_columns] * p[AT.channels] * p[AT.input_bytes]
    values, chunk, period, element = p[AT.window_values], p[AT.chunk], p[AT.period], p[AT.output_bytes]
    whole, rest = values // chunk, values % chunk
    size = 2 if p[AT.converted_to] == 0 else 1
    tables = (p[AT.taps], p[AT.groups], p[AT.weights], p[AT.columns], p[AT.scalars], period)
    target = out
    for image in range(rows):
        call(p[AT.copy], (fields, x + image * image_bytes, copied))
        for row in range(p[AT.window_rows]):
            a = copied + row * p[AT.window_bytes]
            call(p[AT.kernel], (a, *tables, 0, whole, target))
            if rest:
                call(p[AT.kernel], (a + whole * chunk * size, *tables, whole % period, 1, spare))
                given, taken = uint8_at(spare), uint8_at(target + whole * chunk * element)
                for k in range(rest * element):
                    taken[k] = given[k]
            target += values * element
    return 0


@inner
def given_at(p: Any, number: int, state: int, scratch: int) -> int:
    """Where one of the inputs of an operator lies that has several."""
    place: int = int64_at(p[AT.reads])[number]
    return scratch + place if place >= 0 else int(int64_at(scratch + int64_at(state)[IN.now])[0])


def pairs(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """An operator of two arrays of bytes, one of a chain's, by a table of all pairs: see `pairs.PackedPairs`."""
    p = int64_at(fields)
    flip = 0 if p[AT.unsigned] else 128
    one, other, by, taken = uint8_at(x), uint8_at(given_at(p, 1, state, scratch)), uint8_at(p[AT.table]), uint8_at(out)
    for i in range(rows * p[AT.depth]):
        taken[i] = by[((numba.intp(one[i]) ^ flip) << 8) + (numba.intp(other[i]) ^ flip)]
    return 0


def weighted_pairs(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """The same by an expression: vectors by `rows.pairs_address`, what is left one by one."""
    p = int64_at(fields)
    second, count = given_at(p, 1, state, scratch), rows * p[AT.depth]
    vectors = count // p[AT.chunk]
    call(p[AT.kernel], (x, second, vectors, p[AT.scalars], out))
    flip, by = 0 if p[AT.unsigned] else 128, int32_at(p[AT.scalars])
    one, other, taken = uint8_at(x), uint8_at(second), uint8_at(out)
    for i in range(vectors * p[AT.chunk], count):
        # Bytes with a sign: the upper bit changed, less 128.
        a, b = (numba.intp(one[i]) ^ flip) - flip, (numba.intp(other[i]) ^ flip) - flip
        total = (a * by[0] + b * by[1] + by[2]) >> by[3]
        taken[i] = numba.uint8(min(max(total, by[4]), by[5]))
    return 0


@inner
def _limits(p: Any, row: int, column: int) -> tuple[int, int, int, int]:
    """Rows and columns of the image that a window of a pool takes."""
    y = row * p[AT.stride_high] - p[AT.top]
    z = column * p[AT.stride_wide] - p[AT.left]
    return (
        max(y, 0),
        min(y + p[AT.taps_high], p[AT.image_rows]),
        max(z, 0),
        min(z + p[AT.taps_wide], p[AT.image_columns]),
    )


# Channels that are worked on at once.
_CHANNELS = 256


@inner
def _reduce(kept: Any, place: int, apart: Any, sizes: Any, some: int, flip: int, most: bool) -> None:
    """The sums, or the largest, of some channels over the pixels of one window."""
    for c in range(some):
        kept[c] = 0
    for y in range(sizes[0]):
        for z in range(sizes[1]):
            seen = uint8_at(place + y * apart[0] + z * apart[1])
            for c in range(some):
                value = seen[c] ^ flip
                kept[c] = max(kept[c], value) if most else kept[c] + numba.int32(value)


@inner
def _over_windows(p: Any, kept: Any, x: int, rows: int, out: int, most: bool) -> None:
    """What `_reduce` gives for every window, by the table for windows of so many elements."""
    flip = numba.uint8(0 if p[AT.unsigned] else 128)
    begins, channels = int64_at(p[AT.starts]), p[AT.channels]
    line, target = p[AT.image_columns] * channels, out
    for image in range(rows):
        base = x + image * p[AT.image_rows] * line
        for row in range(p[AT.window_rows]):
            for column in range(p[AT.window_columns]):
                top, bottom, left, right = _limits(p, row, column)
                high, wide, place = bottom - top, right - left, base + top * line + left * channels
                by = uint8_at(p[AT.table] + begins[high * wide])
                for first in range(0, channels, _CHANNELS):
                    some = min(channels - first, _CHANNELS)
                    _reduce(kept, place + first, (line, channels), (high, wide), some, flip, most)
                    taken = uint8_at(target + first)
                    for c in range(some):
                        taken[c] = by[kept[c]]
                target += channels


def average(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """A mean of windows, one of a chain's operators: see `pools.PackedPool`."""
    _over_windows(int64_at(fields), int32_at(scratch + int64_at(state)[IN.spare]), x, rows, out, False)
    return 0


def largest(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """The largest of windows, one of a chain's operators."""
    _over_windows(int64_at(fields), uint8_at(scratch + int64_at(state)[IN.spare]), x, rows, out, True)
    return 0
