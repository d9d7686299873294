"""Numba functions of `images`: gathering patches, depthwise products with their requantization, tables of pairs."""

from __future__ import annotations

from typing import NamedTuple

import numba

from .compile import float32_at, inner, int8_at, int16_at, int32_at, int64_at, uint8_at

__all__ = ["Depthwise", "Windows", "depthwise", "gather", "look_up_pairs"]

FLOAT32, FLOAT32_SATURATE, Q31_UP_UP, Q31_UP_AWAY = 0, 1, 2, 3


@inner
def _copy(source, target, size):  # type: ignore[no-untyped-def]
    """Bytes from address to address, and up to 7 more."""
    given, taken = int64_at(source), int64_at(target)
    for k in range((size + 7) >> 3):
        taken[k] = given[k]


class Windows(NamedTuple):
    """How windows of images are gathered as rows. Images are `[images, rows, row_bytes]`."""

    source: int  # the address of the images
    images: int
    rows: int
    row_bytes: int
    padded: int  # of room for one image and a row to spare, filled with the padding's byte
    padded_bytes: int  # of one of its rows
    top: int  # rows of padding above
    left: int  # bytes of padding at the left
    height: int  # windows along the height
    width: int  # windows along the width
    taps: int  # rows of a window
    runs: int  # how many pieces of one row a window takes
    run: int  # bytes of one piece
    stride: int  # rows from window to window
    step: int  # bytes from window to window along the width
    dilation: int  # rows from tap to tap
    gap: int  # bytes from piece to piece
    out: int  # the address of [images * height * width + 8, taps * runs * run] bytes


_W = Windows(*range(len(Windows._fields)))


def gather(windows: int) -> int:
    """Windows of images as rows.

    Every piece is copied in words. What is too much is written over by the next one; the last rows of the output, and
    the last row of the padded image, are to spare.

    Args:
        windows: the address of int64 `Windows`.
    """
    w = int64_at(windows)
    target, base, row_bytes = w[_W.out], w[_W.padded], w[_W.padded_bytes]
    for n in range(w[_W.images]):
        for i in range(w[_W.rows]):
            given = uint8_at(w[_W.source] + (n * w[_W.rows] + i) * w[_W.row_bytes])
            taken = uint8_at(base + (w[_W.top] + i) * row_bytes + w[_W.left])
            for k in range(w[_W.row_bytes]):
                taken[k] = given[k]
        for oy in range(w[_W.height]):
            for ox in range(w[_W.width]):
                corner = base + oy * w[_W.stride] * row_bytes + ox * w[_W.step]
                for i in range(w[_W.taps]):
                    source = corner + i * w[_W.dilation] * row_bytes
                    for _ in range(w[_W.runs]):
                        _copy(source, target, w[_W.run])
                        target += w[_W.run]
                        source += w[_W.gap]
    return 0


@inner
def _low_32_bits(value):  # type: ignore[no-untyped-def]
    """The low 32 bits of an int64, as a number."""
    return numba.int64(numba.int32(value))


class Depthwise(NamedTuple):
    """A depthwise convolution. Images are `[images, rows, columns, depth]` of one byte."""

    source: int  # the address of the images
    images: int
    rows: int
    columns: int
    depth: int
    unsigned: int
    zero: int  # their zero point
    padded: int  # the address of zeros with room for one image, int16
    padded_columns: int
    top: int  # rows of padding above
    left_columns: int  # columns of padding at the left
    height: int  # of the output
    width: int
    channels: int
    taps_high: int
    taps_wide: int
    stride_high: int  # rows from window to window
    stride_wide: int
    dilation_high: int  # rows from tap to tap
    dilation_wide: int
    weights: int  # int32 [kh, kw, out], without their zero point
    begin: int  # int32 [out], the bias
    sums: int  # room for int32 [out]
    parts: int  # of the channels, each with a form of its own
    forms: int  # int64 [parts]
    ends: int  # int64 [parts], where each part ends
    factor: int  # float32 [out]
    multiplier: int  # int64 [out]
    left: int  # int64 [out], the left shift
    right: int  # int64 [out], the right shift
    zero_point: int  # the output's
    low: int
    high: int
    qmax: int  # the type's greatest number
    out: int  # the address of [images, height, width, out] bytes


_D = Depthwise(*range(len(Depthwise._fields)))


@inner
def _pad(d, number):  # type: ignore[no-untyped-def]
    """One image less its zero point, as int16 into the padded room."""
    line = d[_D.columns] * d[_D.depth]
    for i in range(d[_D.rows]):
        start = d[_D.source] + (number * d[_D.rows] + i) * line
        place = ((d[_D.top] + i) * d[_D.padded_columns] + d[_D.left_columns]) * d[_D.depth]
        taken, zero = int16_at(d[_D.padded] + 2 * place), numba.int16(d[_D.zero])
        if d[_D.unsigned]:
            unsigned = uint8_at(start)
            for k in range(line):
                taken[k] = numba.int16(numba.int16(unsigned[k]) - zero)
        else:
            signed = int8_at(start)
            for k in range(line):
                taken[k] = numba.int16(numba.int16(signed[k]) - zero)


@inner
def _window(d, corner, depth, channels):  # type: ignore[no-untyped-def]
    """The sums of one window, which begins at an address of the padded image."""
    times = channels // depth
    sums, first = int32_at(d[_D.sums]), int32_at(d[_D.begin])
    apart = 2 * depth * d[_D.dilation_wide]
    for c in range(channels):
        sums[c] = first[c]
    for i in range(d[_D.taps_high]):
        at = corner + i * d[_D.dilation_high] * 2 * depth * d[_D.padded_columns]
        factors = d[_D.weights] + 4 * channels * d[_D.taps_wide] * i
        j = 0
        while j < d[_D.taps_wide]:
            seen, by = int16_at(at), int32_at(factors)
            if times == 1 and j + 3 <= d[_D.taps_wide]:
                # Three taps at once: the sums are read and written once.
                seen_1, by_1 = int16_at(at + apart), int32_at(factors + 4 * channels)
                seen_2, by_2 = int16_at(at + 2 * apart), int32_at(factors + 8 * channels)
                for c in range(channels):
                    two = seen[c] * by[c] + seen_1[c] * by_1[c]
                    sums[c] = numba.int32(sums[c] + two + seen_2[c] * by_2[c])
                j += 2
                at += 2 * apart
                factors += 8 * channels
            elif times == 1:
                for c in range(channels):
                    sums[c] = numba.int32(sums[c] + seen[c] * by[c])
            else:
                for c in range(depth):
                    value = seen[c]
                    for k in range(c * times, (c + 1) * times):
                        sums[k] = numba.int32(sums[k] + value * by[k])
            j += 1
            at += apart
            factors += 4 * channels


@inner
def _requantize(d, form, start, stop, out):  # type: ignore[no-untyped-def]
    """One pixel's channels from int32 sums to bytes, as the vector reader does it."""
    sums, by, taken = int32_at(d[_D.sums]), float32_at(d[_D.factor]), uint8_at(out)
    multiplier, left, right = int64_at(d[_D.multiplier]), int64_at(d[_D.left]), int64_at(d[_D.right])
    zero_point, low, high, qmax = d[_D.zero_point], d[_D.low], d[_D.high], d[_D.qmax]
    if form <= FLOAT32_SATURATE:
        # Adding and taking off 1.5 * 2^23 rounds half even, and unlike a function is vector code.
        magic = numba.float32(12582912.0)
        lowest, highest = numba.float32(-32768.0), numba.float32(32767.0)
        for c in range(start, stop):
            product = numba.float32(sums[c]) * by[c]
            rounded = (min(max(product, lowest), highest) + magic) - magic
            moved = numba.int32(rounded) + zero_point  # beyond 16 bits the bounds below limit it all the same
            taken[c] = numba.uint8(max(min(moved, high), low))
        if form == FLOAT32 and zero_point < 0:
            # INT32_MIN plus a negative zero point wraps, and the upper bound came before it.
            for c in range(start, stop):
                if numba.float32(sums[c]) * by[c] <= numba.float32(-2147483648.0):
                    taken[c] = numba.uint8(qmax)
    else:
        for c in range(start, stop):
            shifted = _low_32_bits(numba.int64(sums[c]) << left[c])
            value = (shifted * multiplier[c] + 1073741824) >> 31
            if form == Q31_UP_UP:
                value = (value + ((numba.int64(1) << right[c]) >> 1)) >> right[c]
            else:
                mask = (numba.int64(1) << right[c]) - 1
                rest = value & mask
                above = (mask >> 1) + (1 if value < 0 else 0)
                value = (value >> right[c]) + (1 if rest > above else 0)
            moved = _low_32_bits(value + zero_point)
            taken[c] = numba.uint8(max(min(moved, high), low))


def depthwise(convolution: int) -> int:
    """A depthwise convolution.

    Args:
        convolution: the address of int64 `Depthwise`.
    """
    d = int64_at(convolution)
    depth, channels, target = d[_D.depth], d[_D.channels], d[_D.out]
    forms, ends = int64_at(d[_D.forms]), int64_at(d[_D.ends])
    for n in range(d[_D.images]):
        _pad(d, n)
        for oy in range(d[_D.height]):
            for ox in range(d[_D.width]):
                place = oy * d[_D.stride_high] * d[_D.padded_columns] + ox * d[_D.stride_wide]
                _window(d, d[_D.padded] + 2 * depth * place, depth, channels)
                start = 0
                for part in range(d[_D.parts]):
                    _requantize(d, forms[part], start, ends[part], target)
                    start = ends[part]
                target += channels
    return 0


def look_up_pairs(first: int, second: int, count: int, flip: int, table: int, out: int) -> int:
    """Outputs of two byte arrays by a table of 256 x 256."""
    one, other, by, taken = uint8_at(first), uint8_at(second), uint8_at(table), uint8_at(out)
    for i in range(count):
        taken[i] = by[((numba.intp(one[i]) ^ flip) << 8) + (numba.intp(other[i]) ^ flip)]
    return 0
