"""The Numba function of `moves`: blocks of bytes from an operator's inputs to its output."""

from __future__ import annotations

from typing import Any

import numba

from .compile import inner, int64_at, uint8_at
from .fields import AT, AT_MOVE, MOVE_BYTES
from .image_kernels import given_at

__all__ = ["move"]


@inner
def _copy_runs(m: Any, given: int, made: int) -> None:
    """The inner loop of a block."""
    run, apart, apart_made = m[AT_MOVE.run], m[AT_MOVE.inner_given], m[AT_MOVE.inner_made]
    if run == 1:
        seen, taken = uint8_at(given), uint8_at(made)
        for k in range(m[AT_MOVE.inner]):
            taken[k * apart_made] = seen[k * apart]
        return
    for k in range(m[AT_MOVE.inner]):
        seen, taken = uint8_at(given + k * apart), uint8_at(made + k * apart_made)
        for i in range(run):
            taken[i] = seen[i]


def move(fields: int, state: int, scratch: int, _x: int, rows: int, out: int) -> int:
    """An operator that moves values, one of a chain's: see `fields.Move`."""
    p = int64_at(fields)
    for number in range(p[AT.move_count]):
        m = int64_at(p[AT.moves] + number * MOVE_BYTES)
        if number == 0 and p[AT.padding] >= 0:
            padded = uint8_at(out)
            for i in range(rows * m[AT_MOVE.made_bytes]):
                padded[i] = numba.uint8(p[AT.padding])
        source = given_at(p, m[AT_MOVE.input], state, scratch) + m[AT_MOVE.given]
        for row in range(rows):
            given, made = source + row * m[AT_MOVE.given_bytes], out + m[AT_MOVE.made] + row * m[AT_MOVE.made_bytes]
            for a in range(m[AT_MOVE.outer]):
                for b in range(m[AT_MOVE.middle]):
                    seen = given + a * m[AT_MOVE.outer_given] + b * m[AT_MOVE.middle_given]
                    _copy_runs(m, seen, made + a * m[AT_MOVE.outer_made] + b * m[AT_MOVE.middle_made])
    return 0
