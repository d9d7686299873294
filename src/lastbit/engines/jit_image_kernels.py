"""Numba functions of `jit_images`: gathering patches, depthwise products with their requantization, tables of pairs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .jit_compile import compiled, float32_at, int16_at, int32_at, int64_at, uint8_at

__all__ = ["depthwise", "gather", "look_up_pairs"]

FLOAT32, FLOAT32_SATURATE, Q31_UP_UP, Q31_UP_AWAY = 0, 1, 2, 3


@compiled
def _copy(source, target, size):  # type: ignore[no-untyped-def]
    """Bytes from address to address, and up to 7 more."""
    given, taken = int64_at(source), int64_at(target)
    for k in range((size + 7) >> 3):
        taken[k] = given[k]


@compiled
def gather(  # type: ignore[no-untyped-def]
    x, padded, top, left, height, width, taps, runs, run, stride, step, dilation, gap, out
):
    """Windows of images as rows.

    Args:
        x: images `[n, h, bytes]`.
        padded: room for one image, filled with the padding's byte, uint8 `[h + 1, bytes]`; the last row is to spare.
        top: rows of padding above.
        left: bytes of padding at the left.
        height: windows along the height.
        width: windows along the width.
        taps: rows of a window.
        runs: how many pieces of one row a window takes.
        run: bytes of one piece.
        stride: rows from window to window.
        step: bytes from window to window along the width.
        dilation: rows from tap to tap.
        gap: bytes from piece to piece.
        out: `[n * height * width + 8, taps * runs * run]`; the last rows are to spare: every piece is copied in words,
            and what is too much is written over by the next one.
    """
    target, base = out.ctypes.data, padded.ctypes.data
    row_bytes = padded.shape[1]
    for n in range(x.shape[0]):
        for i in range(x.shape[1]):
            given, taken = (
                uint8_at(x.ctypes.data + (n * x.shape[1] + i) * x.shape[2]),
                uint8_at(base + (top + i) * row_bytes + left),
            )
            for k in range(x.shape[2]):
                taken[k] = given[k]
        for oy in range(height):
            for ox in range(width):
                corner = base + oy * stride * row_bytes + ox * step
                for i in range(taps):
                    source = corner + i * dilation * row_bytes
                    for _ in range(runs):
                        _copy(source, target, run)
                        target += run
                        source += gap


@compiled
def _wrapped(value):  # type: ignore[no-untyped-def]
    """The low 32 bits of an int64, as a number."""
    return numba.int64(numba.int32(value))


@compiled
def _requantize(  # type: ignore[no-untyped-def]
    form, acc, start, stop, factor, multiplier, left, right, zero_point, low, high, qmax, out
):
    """One pixel's channels from int32 sums to bytes, by the address of each, as `arith.requantize` does it."""
    sums, by, taken = int32_at(acc), float32_at(factor), uint8_at(out)
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
            shifted = _wrapped(numba.int64(sums[c]) << left[c])
            value = (shifted * multiplier[c] + 1073741824) >> 31
            if form == Q31_UP_UP:
                value = (value + ((numba.int64(1) << right[c]) >> 1)) >> right[c]
            else:
                mask = (numba.int64(1) << right[c]) - 1
                rest = value & mask
                above = (mask >> 1) + (1 if value < 0 else 0)
                value = (value >> right[c]) + (1 if rest > above else 0)
            moved = _wrapped(value + zero_point)
            taken[c] = numba.uint8(max(min(moved, high), low))


@compiled
def depthwise(  # type: ignore[no-untyped-def]
    x: Any,
    zero: int,
    padded: Any,
    top: int,
    left_pad: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    weights: Any,
    begin: Any,
    forms: Any,
    ends: Any,
    factor: Any,
    multiplier: Any,
    left: Any,
    right: Any,
    bounds: Any,
    out: Any,
):
    """A depthwise convolution.

    Args:
        x: `[n, h, w * c]` int8 or uint8.
        zero: its zero point.
        padded: zeros with room for one image, int16 `[h, w, c]`.
        top: rows of padding above.
        left_pad: columns of padding at the left.
        stride_h: rows from window to window.
        stride_w: columns from window to window.
        dilation_h: rows from tap to tap.
        dilation_w: columns from tap to tap.
        weights: int32 `[kh, kw, out]`, without their zero point.
        begin: int32 `[out]`, the bias.
        forms: the requantization's form for each part of the channels.
        ends: where each part ends.
        factor: float32 `[out]`.
        multiplier: int64 `[out]`.
        left: int64 `[out]`, the left shift.
        right: int64 `[out]`, the right shift.
        bounds: the output's zero point, lower and upper bound, and the type's greatest number.
        out: `[n, out_h, out_w, out]` as bytes.
    """
    depth, channels = padded.shape[2], weights.shape[2]
    times = channels // depth
    acc = np.empty(channels, np.int32)
    zero_point, low, high, qmax = bounds[0], bounds[1], bounds[2], bounds[3]
    sums, first = int32_at(acc.ctypes.data), int32_at(begin.ctypes.data)
    image, kernel = padded.ctypes.data, weights.ctypes.data
    pixel_bytes = 2 * depth
    line_bytes = pixel_bytes * padded.shape[1]
    target = out.ctypes.data
    for n in range(x.shape[0]):
        for i in range(x.shape[1]):
            line = int16_at(image + (top + i) * line_bytes + left_pad * pixel_bytes)
            for k in range(x.shape[2]):
                line[k] = numba.int16(numba.int16(x[n, i, k]) - numba.int16(zero))
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                for c in range(channels):
                    sums[c] = first[c]
                for i in range(weights.shape[0]):
                    at = image + (oy * stride_h + i * dilation_h) * line_bytes + ox * stride_w * pixel_bytes
                    factors = kernel + 4 * channels * weights.shape[1] * i
                    j = 0
                    while j < weights.shape[1]:
                        seen, by = int16_at(at), int32_at(factors)
                        if times == 1 and j + 3 <= weights.shape[1]:
                            # Three taps at once: the sums are read and written once.
                            seen_1, by_1 = int16_at(at + dilation_w * pixel_bytes), int32_at(factors + 4 * channels)
                            seen_2, by_2 = (
                                int16_at(at + 2 * dilation_w * pixel_bytes),
                                int32_at(factors + 8 * channels),
                            )
                            for c in range(channels):
                                two = seen[c] * by[c] + seen_1[c] * by_1[c]
                                sums[c] = numba.int32(sums[c] + two + seen_2[c] * by_2[c])
                            j += 2
                            at += 2 * dilation_w * pixel_bytes
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
                        at += dilation_w * pixel_bytes
                        factors += 4 * channels
                start = 0
                for part in range(forms.shape[0]):
                    _requantize(
                        forms[part],
                        acc.ctypes.data,
                        start,
                        ends[part],
                        factor.ctypes.data,
                        multiplier,
                        left,
                        right,
                        zero_point,
                        low,
                        high,
                        qmax,
                        target,
                    )
                    start = ends[part]
                target += channels


@compiled
def look_up_pairs(first, second, flip, table, out):  # type: ignore[no-untyped-def]
    """Outputs of two byte arrays by a table of 256 x 256."""
    for i in range(first.shape[0]):
        out[i] = table[(numba.intp(first[i] ^ flip) << 8) + (second[i] ^ flip)]
