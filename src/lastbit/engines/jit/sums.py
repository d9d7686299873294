"""Sums of converted values, which zero points of the weights are multiplied with."""

from __future__ import annotations

import numba

from .compile import inner, int8_at, int16_at, int32_at, uint8_at

__all__ = ["add_rows", "sum_of"]


@inner
def sum_of(start: int, count: int, to: int) -> int:
    """The sum of neighbouring values of the type that products take (see `windows.CONVERTED`)."""
    total = 0
    if to == 0:
        wide = int16_at(start)
        for k in range(count):
            total += wide[k]
    elif to == 1:
        unsigned = uint8_at(start)
        for k in range(count):
            total += unsigned[k]
    else:
        signed = int8_at(start)
        for k in range(count):
            total += signed[k]
    return total


@inner
def add_rows(a: int, rows: int, depth: int, row_bytes: int, to: int, factor: int, out: int) -> None:
    """`factor` times the sum of each converted row, as int32 that wraps."""
    sums = int32_at(out)
    for r in range(rows):
        total = sum_of(a + r * row_bytes, depth, to) if factor != 0 else 0
        sums[r] = numba.int32(total * factor)
