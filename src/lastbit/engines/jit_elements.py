"""Numba functions of a chain's operators that are no products: tables and QUANTIZE, on memory by its address."""

from __future__ import annotations

import numba
import numpy as np

from .jit_compile import float32_at, inner, int32_at, int64_at, uint8_at
from .jit_fields import AT

__all__ = ["look_up", "quantize"]


@inner
def _by_two_tables(given, flip, tables, n, split, period, taken):  # type: ignore[no-untyped-def]
    for start in range(0, n, period):
        for i in range(start, start + split):
            taken[i] = tables[given[i] ^ flip]
        for i in range(start + split, start + period):
            taken[i] = tables[256 + (given[i] ^ flip)]


def look_up(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """Outputs of one byte or four from two tables of 256: of each `period` elements, the first `split` by the first."""
    p = int64_at(fields)
    n, table, split, period = rows * p[AT.depth], p[AT.table], p[AT.table_split], p[AT.table_period]
    given = uint8_at(x)
    flip = 0 if p[AT.unsigned] else 128
    if p[AT.output_bytes] == 1:
        _by_two_tables(given, flip, uint8_at(table), n, split, period, uint8_at(out))
    else:
        _by_two_tables(given, flip, int32_at(table), n, split, period, int32_at(out))
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


def quantize(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """Float32 to 8 bits by a rule of `ops.quantize`; of each `period` elements the first `split` in vectors."""
    p = int64_at(fields)
    n, constants, split, period = rows * p[AT.depth], p[AT.table], p[AT.table_split], p[AT.table_period]
    floats, whole = float32_at(constants), int32_at(constants)
    scale, inverse, zero_point, low, high, rule = floats[0], floats[1], whole[2], whole[3], whole[4], whole[5]
    given, taken = float32_at(x), uint8_at(out)
    if rule == 2:
        limit, lowest = numba.float32(32767.0), numba.float32(-32768.0)
        for i in range(n):
            value = given[i]
            flushed = numba.float32(0.0) if abs(value) < numba.float32(_SMALLEST_NORMAL) else value
            scaled = flushed * inverse
            scaled = scaled if scaled < limit else limit  # NaN too
            scaled = scaled if scaled > lowest else lowest
            taken[i] = _limit(numba.int32(np.rint(scaled)), zero_point, low, high)
        return 0
    for start in range(0, n, period):
        for i in range(start, start + (split if rule == 1 else 0)):
            product = numba.float32(given[i] * inverse)
            taken[i] = _limit(_to_int32(np.rint(numba.float64(product))), zero_point, low, high)
        for i in range(start + (split if rule == 1 else 0), start + period):
            quotient = numba.float64(given[i]) / numba.float64(scale)
            if rule == 0:
                quotient = numba.float64(numba.float32(given[i] / scale))
            away = quotient + (_BELOW_HALF if quotient >= 0.0 else -_BELOW_HALF)
            taken[i] = _limit(_to_int32(np.trunc(away)), zero_point, low, high)
    return 0
