"""SOFTMAX from 8 bits to 8 bits, and from 16 to 16, in compiled code: see `ops.elements.softmax` for the rules.

The exponentials are a table, asked from the reference; sums, the reciprocal and the outputs are calculated here,
with the same roundings in the same order.
"""

from __future__ import annotations

import numba
import numpy as np

from ...arith.fixed_functions import NEWTON_CONSTANTS
from ...arith.fixedpoint import INT32_MAX, rounding_divide_by_pot
from ...model.graph import Tensor
from ...model.types import Array, integer_type
from ...ops.base import PreparedOperator
from ...ops.elements.softmax import interpolated_reciprocals
from ...ops.elements.unary import per_tensor
from ...rules.operators.recipes import InterpolatedSoftmax, PolynomialSoftmax, TableSoftmax
from ..blas import Softmax
from .compile import float32_at, inner, int16_at, int64_at, uint8_at
from .fields import AT, IN

__all__ = ["FUNCTIONS", "make_softmax"]

_SUM_BITS = 12
_FIRST, _SECOND, _ONE = NEWTON_CONSTANTS


def make_softmax(entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> Softmax | None:
    """The operator for a chain; None for other rules and types.

    Args:
        entry: SOFTMAX.
        source: its input.
        output: its output.
        elements: elements in one row of the chain.
    """
    kind = source.dtype.numpy
    recipe = None if entry.recipe is None else entry.recipe.recipe
    if kind == np.int16 and isinstance(recipe, InterpolatedSoftmax):
        return _make_interpolated(entry, recipe, source, output, elements)
    if kind not in (np.int8, np.uint8) or output.dtype.numpy != kind or source.data is not None or not source.shape:
        return None
    if not isinstance(recipe, PolynomialSoftmax | TableSoftmax) or elements % source.shape[-1]:
        return None
    to = per_tensor(entry.operator, output)
    # Rows of two: the maximum, and a value so many steps below it.
    top = integer_type(source.dtype).qmax
    probe = np.stack([np.full(256, top), top - np.arange(256)], axis=1).astype(kind)
    found = entry.evaluate([probe])
    unsigned, floats = kind == np.uint8, isinstance(recipe, TableSoftmax)
    # What the float32 rule does not add to an unsigned output, and the fixed-point rule replaces by the smallest value.
    added = to.qmin if not floats else 0 if unsigned else to.zero_point
    scale = int(np.asarray(to.scale, np.float32).view(np.int32))
    assert kind is not None
    return Softmax(
        table=_table(np.asarray(found["exp"][:, 1]), floats),
        constants=np.asarray([added, to.qmin, to.qmax, unsigned, scale], np.int64),
        classes=source.shape[-1],
        elements=elements,
        rule="float" if floats else "fixed",
        unsigned=unsigned,
        output=np.dtype(kind),
        evaluate=lambda x: entry.evaluate([x])["output"],
    )


def _table(exp: Array, floats: bool) -> Array:
    """Exponentials; those of the fixed-point rule and behind them what each adds to a sum."""
    if floats:
        return np.ascontiguousarray(exp, np.float32)
    return np.concatenate([exp, rounding_divide_by_pot(exp, _SUM_BITS)]).astype(np.int64)


def _make_interpolated(
    entry: PreparedOperator, recipe: InterpolatedSoftmax, source: Tensor, output: Tensor, elements: int
) -> Softmax | None:
    if source.data is not None or output.dtype.numpy != np.int16 or elements % source.shape[-1]:
        return None
    # One row of all values, from the largest down.
    exp = entry.evaluate([np.arange(32767, -32769, -1).astype(np.int16)[None]])["exp"][0]
    return Softmax(
        table=np.stack([exp, interpolated_reciprocals(recipe)]).astype(np.int16),
        constants=np.zeros(5, np.int64),
        classes=source.shape[-1],
        elements=elements,
        rule="interpolated",
        unsigned=False,
        output=np.dtype(np.int16),
        evaluate=lambda x: entry.evaluate([x])["output"],
    )


@inner
def _high_mul(a, b):  # type: ignore[no-untyped-def]
    return min((a * b + (1 << 30)) >> 31, INT32_MAX)


@inner
def _shift_left(x, bits):  # type: ignore[no-untyped-def]
    threshold = (1 << (31 - bits)) - 1
    if x > threshold:
        return INT32_MAX
    return -INT32_MAX - 1 if x < -threshold else x << bits


@inner
def _divide_away(value, exponent):  # type: ignore[no-untyped-def]
    mask = (1 << exponent) - 1
    up = (value & mask) > (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if up else 0)


@inner
def _largest(given, classes, flip):  # type: ignore[no-untyped-def]
    """The maximum of a row. int8 with the upper bit changed is in the order of uint8."""
    top = given[0] ^ flip
    for k in range(1, classes):
        top = max(top, given[k] ^ flip)
    return top


def fixed_softmax(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """Integers only: see `PolynomialSoftmax`. 1 where a kernel would abort."""
    p = int64_at(fields)
    classes, table, constants = p[AT.table_period], p[AT.table], p[AT.scalars]
    n = rows * p[AT.depth] // classes
    known, exp = int64_at(constants), int64_at(table)
    added, low, high = known[0], known[1], known[2]
    flip = 0 if known[3] else 128
    kept = int64_at(scratch + int64_at(state)[IN.spare])
    for r in range(n):
        given, taken = uint8_at(x + r * classes), uint8_at(out + r * classes)
        top = _largest(given, classes, flip)
        total = 0
        for k in range(classes):
            below = top - (given[k] ^ flip)
            kept[k] = exp[below]
            total += exp[256 + below]
        if total > INT32_MAX:
            return 1
        zeros = 32
        while total >> (32 - zeros):
            zeros -= 1
        half = (((total << zeros) - (1 << 31)) + INT32_MAX + 1) >> 1
        newton = _FIRST + _high_mul(half, _SECOND)
        for _ in range(3):
            error = _ONE - _high_mul(half, newton)
            newton = newton + _shift_left(_high_mul(newton, error), 2)
        scale = _shift_left(newton, 1)
        exponent = _SUM_BITS - zeros + 31 - 8
        if exponent > 31:
            return 1
        for k in range(classes):
            rounded = _divide_away(_high_mul(scale, kept[k]), exponent) + added
            taken[k] = numba.uint8(min(max(rounded, low), high))
    return 0


def float_softmax(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """Float32 sums from left to right: see `TableSoftmax`."""
    p = int64_at(fields)
    classes, table, constants = p[AT.table_period], p[AT.table], p[AT.scalars]
    n = rows * p[AT.depth] // classes
    known, exp, scale = int64_at(constants), float32_at(table), float32_at(constants + 32)[0]
    added, low, high, unsigned = known[0], known[1], known[2], known[3]
    flip = 0 if unsigned else 128
    kept = float32_at(scratch + int64_at(state)[IN.spare])
    for r in range(n):
        given, taken = uint8_at(x + r * classes), uint8_at(out + r * classes)
        top = _largest(given, classes, flip)
        total = np.float32(0.0)
        for k in range(classes):
            kept[k] = exp[top - (given[k] ^ flip)]
            total = np.float32(total + kept[k])
        factor = np.float32(np.float32(1.0) / np.float32(total * scale))
        if unsigned:
            for k in range(classes):
                rounded = np.int32(np.trunc(np.float32(np.float32(kept[k] * factor) + np.float32(0.5))))
                taken[k] = numba.uint8(min(max(rounded, low), high))
        else:
            for k in range(classes):
                rounded = np.int32(np.trunc(np.float64(np.float32(kept[k] * factor)) + 0.49999999999999994)) + added
                taken[k] = numba.uint8(min(max(rounded, low), high))
    return 0


def interpolated_softmax(fields: int, _state: int, _scratch: int, x: int, rows: int, out: int) -> int:
    """16 bits: see `InterpolatedSoftmax`. 1 if a sum leaves the documented range: the caller uses the reference."""
    p = int64_at(fields)
    classes, table = p[AT.table_period], p[AT.table]
    n = rows * p[AT.depth] // classes
    exp, reciprocals = int16_at(table), int16_at(table + 2 * 65536)
    for r in range(n):
        given, taken = int16_at(x + 2 * r * classes), int16_at(out + 2 * r * classes)
        top = np.int64(given[0])
        for k in range(1, classes):
            top = max(top, np.int64(given[k]))
        total = 0
        for k in range(classes):
            total += exp[top - given[k]]
        if total <= 0 or total > INT32_MAX:
            return 1
        zeros = 32
        while total >> (32 - zeros):
            zeros -= 1
        shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14
        scale = reciprocals[min(max(shifted - (1 << 15) - (1 << 16), -32768), 32767) + 32768]
        bits = 31 - zeros
        half = (1 << bits) >> 1
        for k in range(classes):
            rounded = (np.int64(exp[top - given[k]]) * scale + half) >> bits
            taken[k] = numba.int16(min(max(rounded, 0), 32767))
    return 0


FUNCTIONS = {"fixed": fixed_softmax, "float": float_softmax, "interpolated": interpolated_softmax}
"""By the rule of a `Softmax`."""
