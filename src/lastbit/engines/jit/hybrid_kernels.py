"""Numba functions of hybrid dense layers: float32 rows to 8 bits, laid out for the products.

They are `rules.hybrid.rows_x86` row by row, with the same roundings in the same order and the same results for
infinities. What is subnormal is set to zero where XNNPACK runs in that mode. `hybrid_forms` makes float32 of the
sums again.
"""

from __future__ import annotations

import numpy as np

from .compile import float32_at, inner, int16_at, int32_at, uint8_at
from .hybrid_vectors import LEAST, row_range, row_steps_away, row_steps_even

__all__ = ["ASYMMETRIC", "DONE", "NAN", "QD8", "SYMMETRIC", "ZEROS", "quantize_rows"]

# How rows are quantized.
SYMMETRIC, ASYMMETRIC, QD8 = 0, 1, 2
DONE, ZEROS, NAN = 0, 1, 2
_TOGETHER = 8

_F32, _F64, _I32 = np.float32, np.float64, np.int32
_SMALLEST = np.float32(2.0**-126)
_BELOW_HALF = np.float32(0.49999997)
# With an inverse up to this, a subnormal value comes to less than one half: it need not be set to zero.
_NO_FLUSH, _INFINITY = np.float32(2.0**125), np.float32(np.inf)


@inner
def _flush(value):  # type: ignore[no-untyped-def]
    return _F32(0.0) if abs(value) < _SMALLEST else value


@inner
def _away(value):  # type: ignore[no-untyped-def]
    """Float32 to the nearest integer, ties away from zero."""
    return np.trunc(value + (_BELOW_HALF if value >= _F32(0.0) else -_BELOW_HALF))


@inner
def _range(row, depth):  # type: ignore[no-untyped-def]
    """The smallest and the largest value of a row, zero among them, and whether there is a NaN."""
    low, high, nan = _F32(0.0), _F32(0.0), False
    for k in range(depth):
        nan |= row[k] != row[k]
        low, high = row[k] if row[k] < low else low, row[k] if row[k] > high else high
    return low, high, nan


@inner
def _qd8_factors(low, high):  # type: ignore[no-untyped-def]
    """What a row is multiplied with, its scale and its zero point, by XNNPACK's rule."""
    low, high = _flush(low), _flush(high)
    width = _flush(_F32(high - low))
    inverse = _F32(1.0) if low == high else _flush(_F32(_F32(255.0) / width))
    below, above = _F32(low * inverse), _F32(high * inverse)
    left, right = _F32(_F32(-128.0) + below), _F32(_F32(127.0) + above)
    better = _F32(left + right) > _F32(0.0)
    exact = _F32(_F32(-128.0) - below) if better else _F32(_F32(127.0) - above)
    limited = min(exact, _F32(127.0)) if exact > _F32(-128.0) else _F32(-128.0)
    return inverse, _flush(_F32(_F32(1.0) / inverse)), _I32(np.rint(limited))


@inner
def _qd8(row, depth, inverse, zero, flip, taken):  # type: ignore[no-untyped-def]
    largest = _F32(_I32(127) - zero)
    for k in range(depth):
        scaled = _F32(_flush(row[k]) * inverse)
        scaled = scaled if scaled < largest else largest
        # Everything below comes out at the lower end; this keeps it within an int.
        scaled = scaled if scaled > _F32(-300.0) else _F32(-300.0)
        taken[k] = max(_I32(_I32(np.rint(scaled)) + zero), _I32(-128)) ^ flip


@inner
def _symmetric_factors(low, high):  # type: ignore[no-untyped-def]
    size = max(_F32(-low), high)
    if size == _F32(0.0):
        return _F32(0.0), _F32(1.0), _I32(0)
    return _F32(_F32(127.0) / size), _F32(size / _F32(127.0)), _I32(0)


@inner
def _asymmetric_factors(low, high):  # type: ignore[no-untyped-def]
    empty = low == high
    wide = 1.0 if empty else _F64(_F32(high - low)) / 255.0
    from_low, from_high = _F64(low) / wide, _F64(high) / wide
    better = 128.0 + abs(from_low) < 127.0 + abs(from_high)
    exact = -128.0 - from_low if better else 127.0 - from_high
    trunc = np.trunc(exact)
    if abs(exact - trunc) >= 0.5:
        trunc += 1.0 if exact > 0.0 else -1.0
    zero = 0 if empty or trunc != trunc else int(min(max(trunc, -128.0), 127.0))
    scale = _F32(wide)
    inverse = _F32(0.0) if empty or scale == _F32(0.0) else _F32(_F32(1.0) / scale)
    return inverse, scale, _I32(zero)


@inner
def _to_steps(row, begin, depth, empty, inverse, zero, lower, flip, taken):  # type: ignore[no-untyped-def]
    """See `rules.hybrid.rows_x86._to_steps`: the vector code's part, from `begin` on, then the last few."""
    whole = depth - depth % 8
    # The vector code makes an int32 of a scaled value, the nearest end where there is none (the lower one for NaN),
    # then adds the zero point, which wraps.
    over = lower if zero > _I32(0) else _I32(127)
    under = _I32(127) if zero < _I32(0) else lower
    for k in range(begin, whole):
        v = _F32(row[k] * inverse)  # zeros where the row is empty
        nudged = v + (_F32(-0.5) if v < _F32(0.0) else _F32(0.5))
        near = nudged if nudged < _F32(1000.0) else _F32(1000.0)
        near = near if near > _F32(-1000.0) else _F32(-1000.0)
        inside = min(max(_I32(_I32(near) + zero), lower), _I32(127))
        inside = over if nudged >= _F32(2147483648.0) else inside
        taken[k] = (inside if nudged > _F32(-2147483648.0) else under) ^ flip
    for k in range(whole, depth):
        last = _away(_F32(0.0) if empty else _F32(row[k] * inverse))
        step = 0
        if lower == _I32(-127):
            fits = abs(last) < _F32(2147483648.0)
            step = int(min(max(last, _F32(-127.0)), _F32(127.0))) if fits else -127
        else:
            moved = _F32(last + _F32(zero))
            step = 0 if moved != moved else int(min(max(moved, _F32(-128.0)), _F32(127.0)))
        taken[k] = _I32(step) ^ flip


@inner
def _ranges(x, first, last, depth, found):  # type: ignore[no-untyped-def]
    """The range of each row, zero among it, in its record; whether there is a NaN."""
    ends = float32_at(found)
    for r in range(first, last):
        start = x + 4 * r * depth
        if depth >= LEAST:
            low, high, nan = row_range(start, depth)
            bad = nan != 0
        else:
            low, high, bad = _range(float32_at(start), depth)
        if bad:
            return True
        ends[2 * r], ends[2 * r + 1] = low, high
    return False


@inner
def _factors(first, last, kind, out, row_bytes, found):  # type: ignore[no-untyped-def]
    """Zero point and scale of each row in its record, from its range; whether all ranges are empty.

    Where the row will be written stand, until then, what it is multiplied with, whether it has nothing unusual (1), and
    whether its range is empty (2).
    """
    ends, zeros, nothing = float32_at(found), int32_at(found), True
    for r in range(first, last):
        low, high = ends[2 * r], ends[2 * r + 1]
        if kind == QD8:
            inverse, scale, zero = _qd8_factors(low, high)
            usual = inverse <= _NO_FLUSH
        else:
            if kind == SYMMETRIC:
                inverse, scale, zero = _symmetric_factors(low, high)
            else:
                inverse, scale, zero = _asymmetric_factors(low, high)
            # Where the range and its inverse are finite, no product is beyond it. For QD8 a NaN, made of an infinite
            # value and the inverse 0, is the largest step.
            usual = max(_F32(-low), high) < _INFINITY and inverse < _INFINITY
        empty = low == high
        nothing &= empty
        zeros[2 * r], ends[2 * r + 1] = zero, scale
        float32_at(out + r * row_bytes)[0] = inverse
        int32_at(out + r * row_bytes)[1] = (1 if usual else 0) + (2 if empty else 0)
    return nothing


@inner
def _write_row(start, depth, kind, to, end, zero):  # type: ignore[no-untyped-def]
    """One row's steps."""
    row, wide, taken = float32_at(start), int16_at(end), uint8_at(end)
    inverse, known = float32_at(end)[0], int32_at(end)[1]
    usual, empty = known & 1 != 0, known & 2 != 0
    lower = _I32(-127) if kind == SYMMETRIC else _I32(-128)
    flip = _I32(128 if to == 1 else 0)
    if kind == QD8:
        if usual and depth >= LEAST:
            if to == 0:
                row_steps_even(16, start, depth, inverse, zero, lower, flip, end)
            else:
                row_steps_even(8, start, depth, inverse, zero, lower, flip, end)
        elif to == 0:
            _qd8(row, depth, inverse, zero, flip, wide)
        else:
            _qd8(row, depth, inverse, zero, flip, taken)
        return
    whole = depth - depth % 8
    done = whole if usual and whole >= LEAST else 0
    if done > 0:
        if to == 0:
            row_steps_away(16, start, done, inverse, zero, lower, flip, end)
        else:
            row_steps_away(8, start, done, inverse, zero, lower, flip, end)
    if to == 0:
        _to_steps(row, done, depth, empty, inverse, zero, lower, flip, wide)
    else:
        _to_steps(row, done, depth, empty, inverse, zero, lower, flip, taken)


@inner
def quantize_rows(x: int, rows: int, depth: int, kind: int, to: int, out: int, row_bytes: int, found: int) -> int:
    """Quantize rows of float32, each by itself, into the type that products take.

    A few rows go through each step together: what the steps of one row wait for is hidden behind the others.

    Args:
        x: the address of float32 `[rows, depth]`.
        rows: how many.
        depth: values in one of them.
        kind: `SYMMETRIC`, `ASYMMETRIC` or `QD8`.
        to: 0 int16, 1 uint8 (128 more), 2 int8.
        out: the address of the quantized rows. What lies behind a row is undefined.
        row_bytes: from one to the next, at least 8.
        found: where each row's zero point (int32) and scale (float32) are written, one behind the other.

    Returns:
        `DONE`, `NAN` where there is one (then nothing else holds), or `ZEROS` where there is nothing else.
    """
    nothing = True
    first = 0
    while first < rows:
        last = min(first + _TOGETHER, rows)
        if _ranges(x, first, last, depth, found):
            return NAN
        nothing &= _factors(first, last, kind, out, row_bytes, found)
        for r in range(first, last):
            _write_row(x + 4 * r * depth, depth, kind, to, out + r * row_bytes, int32_at(found)[2 * r])
        first = last
    return ZEROS if nothing else DONE
