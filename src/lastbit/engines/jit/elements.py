"""Numba functions of a chain's operators that are no products: tables and QUANTIZE, on memory by its address."""

from __future__ import annotations

import numba
import numpy as np

from .compile import call, float32_at, inner, int32_at, int64_at, uint8_at
from .fields import AT

__all__ = ["dequantize", "look_up", "look_up_floats", "quantize"]


@inner
def _by_two_tables(given, flip, tables, n, split, period, taken):  # type: ignore[no-untyped-def]
    for start in range(0, n, period):
        for i in range(start, start + split):
            taken[i] = tables[given[i] ^ flip]
        for i in range(start + split, start + period):
            taken[i] = tables[256 + (given[i] ^ flip)]


def look_up(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """Bytes from two tables of 256: of each `period` elements, the first `split` by the first."""
    p = int64_at(fields)
    n, split, period = rows * p[AT.depth], p[AT.table_split], p[AT.table_period]
    flip = 0 if p[AT.unsigned] else 128
    _by_two_tables(uint8_at(x), flip, uint8_at(p[AT.table]), n, split, period, uint8_at(out))
    return 0


def look_up_floats(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """The same with outputs of four bytes."""
    p = int64_at(fields)
    n, split, period = rows * p[AT.depth], p[AT.table_split], p[AT.table_period]
    flip = 0 if p[AT.unsigned] else 128
    _by_two_tables(uint8_at(x), flip, int32_at(p[AT.table]), n, split, period, int32_at(out))
    return 0


def dequantize(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """Float32 `(x - zero point) * scale`: see `rows.dequantize_address`. The table has what is left at the end."""
    p = int64_at(fields)
    n = rows * p[AT.depth]
    done = call(p[AT.fast], (x, 0, n, p[AT.scalars], out))
    given, taken, table = uint8_at(x), int32_at(out), int32_at(p[AT.table])
    flip = 0 if p[AT.unsigned] else 128
    for i in range(done, n):
        taken[i] = table[given[i] ^ flip]
    return 0


_INT32_MIN, _BELOW_HALF, _SMALLEST_NORMAL = -(2**31), 0.49999999999999994, 2.0**-126


@inner
def _to_int32(value):  # type: ignore[no-untyped-def]
    """A whole float64 as x86 converts it: INT32_MIN where it does not fit."""
    fits = abs(value) < 2147483648.0
    return numba.int32(value if fits else 0.0) if fits else numba.int32(_INT32_MIN)


@inner
def _limit(value, zero_point, low, high):  # type: ignore[no-untyped-def]
    total = numba.int32(value + zero_point)
    return numba.uint8(min(max(total, low), high))


DIVIDE, INVERSE, SATURATE, DIVIDE_FLOAT64 = 0, 1, 2, 3
_AT_ONCE = 16


@inner
def _one_by_one(given, begin, end, constants, rule, taken):  # type: ignore[no-untyped-def]
    """Float32 to 8 bits by a rule, whatever the values are."""
    floats, whole = float32_at(constants), int32_at(constants)
    scale, inverse, zero_point, low, high = floats[0], floats[1], whole[2], whole[3], whole[4]
    limit, lowest = numba.float32(32767.0), numba.float32(-32768.0)
    for i in range(begin, end):
        value = given[i]
        if rule == SATURATE:
            flushed = numba.float32(0.0) if abs(value) < numba.float32(_SMALLEST_NORMAL) else value
            scaled = flushed * inverse
            scaled = scaled if scaled < limit else limit  # NaN too
            rounded = numba.float64(np.rint(scaled if scaled > lowest else lowest))
        elif rule == INVERSE:
            rounded = np.rint(numba.float64(numba.float32(value * inverse)))
        else:
            quotient = numba.float64(value) / numba.float64(scale)
            if rule == DIVIDE:
                quotient = numba.float64(numba.float32(value / scale))
            rounded = np.trunc(quotient + (_BELOW_HALF if quotient >= 0.0 else -_BELOW_HALF))
        taken[i] = _limit(_to_int32(rounded), zero_point, low, high)


def quantize(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """Float32 to 8 bits: of each `period` elements the first `split` by one rule, the others divide in float64.

    Vectors of usual values go through `rows.quantize_address`.
    """
    p = int64_at(fields)
    n, split, period = rows * p[AT.depth], p[AT.table_split], p[AT.table_period]
    constants, rule = p[AT.table], p[AT.rule]
    given, taken = float32_at(x), uint8_at(out)
    if split == period:
        split = period = n
    for start in range(0, n, period):
        i, middle, end = start, start + split, start + period
        while i < end:
            if i < middle and p[AT.fast]:
                i = call(p[AT.fast], (x, i, middle, constants, out))
            first = i < middle
            stop = min(i + _AT_ONCE, middle if first else end)
            _one_by_one(given, i, stop, constants, rule if first else DIVIDE_FLOAT64, taken)
            i = stop
    return 0
