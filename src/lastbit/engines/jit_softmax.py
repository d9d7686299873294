"""SOFTMAX from 8 bits to 8 bits in compiled code, for the two rules of `ops.softmax` that do that.

The exponentials are a table of 256, asked from the reference; sums, the reciprocal and the outputs are calculated here,
with the same roundings in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arith.fixedpoint import INT32_MAX
from ..arith.gemmlowp_nonlinear import NEWTON_CONSTANTS
from ..model import Model
from ..ops._unary import per_tensor
from ..ops.base import PreparedOperator
from ..types import Array
from .jit_kernels import compiled

__all__ = ["fast_softmax"]

_SUM_BITS = 12
_FIRST, _SECOND, _ONE = NEWTON_CONSTANTS


def fast_softmax(entry: PreparedOperator, model: Model) -> Callable[[Sequence[Array], int], Array] | None:
    """A function of the same outcome as the operator's `evaluate`; None for other rules and types."""
    source, output = model.tensors[entry.operator.inputs[0]], model.tensors[entry.operator.outputs[0]]
    kind = source.dtype.numpy
    if kind not in (np.int8, np.uint8) or output.dtype.numpy != kind or source.data is not None or not source.shape:
        return None
    if not entry.rule.startswith(("gemmlowp_fixed_point", "lut_float32_sum")):
        return None
    to = per_tensor(entry.operator, output)
    # Rows of two: the maximum, and a value so many steps below it.
    top = int(source.dtype.qmax or 0)
    probe = np.stack([np.full(256, top), top - np.arange(256)], axis=1).astype(kind)
    table = np.ascontiguousarray(entry.evaluate([probe])["exp"][:, 1])
    floats = entry.rule == "lut_float32_sum"
    constants = np.asarray([to.zero_point, to.qmin, to.qmax, kind == np.uint8], np.int64)
    scale = np.asarray([to.scale], np.float32)

    def run(values: Sequence[Array], threads: int) -> Array:
        x = np.ascontiguousarray(values[0])
        rows = x.reshape(-1, x.shape[-1])
        out = np.empty_like(rows)
        if floats:
            _float_rows(rows, table, scale, constants, out)
        elif not _fixed_rows(rows, table, constants, out):
            return entry.evaluate(values)["output"]  # which says that the kernel aborts
        return out.reshape(x.shape)

    return run


@compiled
def _high_mul(a, b):  # type: ignore[no-untyped-def]
    return min((a * b + (1 << 30)) >> 31, INT32_MAX)


@compiled
def _shift_left(x, bits):  # type: ignore[no-untyped-def]
    threshold = (1 << (31 - bits)) - 1
    if x > threshold:
        return INT32_MAX
    return -INT32_MAX - 1 if x < -threshold else x << bits


@compiled
def _divide_away(value, exponent):  # type: ignore[no-untyped-def]
    mask = (1 << exponent) - 1
    up = (value & mask) > (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if up else 0)


@compiled
def _fixed_rows(x, table, constants, out):  # type: ignore[no-untyped-def]
    """Integers only: see `gemmlowp_fixed_point`. False where a kernel would abort."""
    low, high = constants[1], constants[2]
    for r in range(x.shape[0]):
        row, taken = x[r], out[r]
        top = np.int64(row[0])
        for k in range(row.size):
            top = max(top, np.int64(row[k]))
        total = 0
        for k in range(row.size):
            total += _divide_away(table[top - row[k]], _SUM_BITS)
        if total > INT32_MAX:
            return False
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
            return False
        for k in range(row.size):
            rounded = _divide_away(_high_mul(scale, table[top - row[k]]), exponent) + low
            taken[k] = min(max(rounded, low), high)
    return True


@compiled
def _float_rows(x, table, scale, constants, out):  # type: ignore[no-untyped-def]
    """Float32 sums from left to right: see `lut_float32_sum`."""
    zero_point, low, high, unsigned = constants[0], constants[1], constants[2], constants[3]
    for r in range(x.shape[0]):
        row, taken = x[r], out[r]
        top = np.int64(row[0])
        for k in range(row.size):
            top = max(top, np.int64(row[k]))
        total = table[top - row[0]]
        for k in range(1, row.size):
            total = np.float32(total + table[top - row[k]])
        factor = np.float32(np.float32(1.0) / np.float32(total * scale[0]))
        for k in range(row.size):
            scaled = np.float32(table[top - row[k]] * factor)
            if unsigned:
                rounded = np.int64(np.trunc(np.float32(scaled + np.float32(0.5))))
            else:
                rounded = np.int64(np.trunc(np.float64(scaled) + 0.49999999999999994)) + zero_point
            taken[k] = min(max(rounded, low), high)
