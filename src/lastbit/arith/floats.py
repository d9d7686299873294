"""Float32 arithmetic to the last bit: fused multiply-add, products and sums in a given order, subnormals flushed.

NumPy has neither a fused multiply-add nor the CPU's flush-to-zero mode. Both are made here from float64: the product
of two float32 is exact there, and the sum is rounded to odd, so that the second rounding, to float32, is the only one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.types import Array, Float32Array, Float64Array, fused_bounds

__all__ = [
    "SMALLEST_NORMAL",
    "clamp_bound_first",
    "clamp_high_first",
    "clamp_maximum",
    "clamp_value_first",
    "convert_int32",
    "flush_subnormals",
    "fma32",
    "fma_in_order",
    "multiply32",
    "round_away32",
    "sum32",
    "sum_in_four_lanes",
    "sum_in_order",
    "trunc_to_int32",
]


SMALLEST_NORMAL = 2.0**-126
# The smallest magnitude that 24 bits with an unbounded exponent round to 2^-126 (a tie, to even). x86 looks at this
# rounding, and not at the one to a subnormal, when it decides what to flush.
_NOT_TINY = 2.0**-126 * (1 - 2.0**-25)


def flush_subnormals(value: Float32Array) -> Float32Array:
    """Subnormals as zeros of the same sign: what x86 reads them as in denormals-are-zero mode.

    >>> flush_subnormals(np.float32([1e-45, -1e-45, 1.5])).tolist()
    [0.0, -0.0, 1.5]
    """
    v = np.asarray(value, np.float32)
    return np.where(np.abs(v) < SMALLEST_NORMAL, np.copysign(np.float32(0), v), v)


def _narrow(value: Float64Array, flush: bool, arm: bool = False) -> Float32Array:
    """Float64 (exact, or rounded to odd) to float32, ties to even."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result = value.astype(np.float32)
    if flush:
        # ARM64 looks at the value before it is rounded.
        least = SMALLEST_NORMAL if arm else _NOT_TINY
        result = np.where(np.abs(value) < least, np.copysign(np.float32(0), result), result)
    return result


def multiply32(a: npt.ArrayLike, b: npt.ArrayLike, flush: bool = False, arm: bool = False) -> Float32Array:
    """`a * b` rounded once to float32, ties to even; both float32.

    Args:
        a: one factor.
        b: the other one; they are broadcast.
        flush: a subnormal result becomes zero, as in x86's flush-to-zero mode.
        arm: as in ARM64's: what is below 2^-126 before it is rounded becomes zero.

    >>> multiply32(np.float32(1e-20), np.float32(1e-20), flush=True).item()
    0.0
    """
    with np.errstate(invalid="ignore"):
        product = np.asarray(a, np.float32).astype(np.float64) * np.asarray(b, np.float32).astype(np.float64)
    return _narrow(product, flush, arm)


def fma32(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, flush: bool = False, arm: bool = False) -> Float32Array:
    """`a * b + c` rounded once to float32, ties to even: a fused multiply-add. All three are float32, broadcast.

    The product is exact in float64 (48 bits). Its sum with c is rounded to odd: to nearest, and where that was not
    exact and came out even, one step towards the error. 53 bits rounded to odd lose nothing that 24 bits would see.

    Args:
        a: one factor.
        b: the other one.
        c: the addend.
        flush: a subnormal result becomes zero.
        arm: as `multiply32` has it.

    Returns:
        float32, broadcast.

    >>> x = np.float32(1 + 2**-12)
    >>> float(x * x - np.float32(1 + 2**-11)), float(fma32(x, x, -np.float32(1 + 2**-11)))
    (0.0, 5.960464477539063e-08)

    Source: S. Boldo, G. Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
    to odd", IEEE Transactions on Computers 57(4), 2008.
    """
    with np.errstate(invalid="ignore"):
        product = np.asarray(a, np.float32).astype(np.float64) * np.asarray(b, np.float32).astype(np.float64)
        addend = np.asarray(c, np.float32).astype(np.float64)
    return sum32(product, addend, flush, arm)


def sum32(product: npt.ArrayLike, addend: npt.ArrayLike, flush: bool = False, arm: bool = False) -> Float32Array:
    """The sum of two float64 values rounded once to float32, ties to even, as `fma32` does it.

    >>> float(sum32(2.0**-54, 1 + 2.0**-24)), float(np.float32(2.0**-54 + (1 + 2.0**-24)))
    (1.0000001192092896, 1.0)
    """
    product, addend = np.asarray(product, np.float64), np.asarray(addend, np.float64)
    with np.errstate(invalid="ignore"):
        total = np.asarray(product + addend)
        # Knuth's two-sum: total + error is the exact sum. |values| < 2^257, so nothing overflows.
        part = total - product
        error = (product - (total - part)) + (addend - part)
    inexact = np.isfinite(total) & (error != 0)
    even = (total.view(np.int64) & 1) == 0
    step = np.where(inexact & even, np.where((error > 0) == (total > 0), 1, -1), 0)
    odd = (total.view(np.int64) + step).view(np.float64)
    return _narrow(odd, flush, arm)


def fma_in_order(rows: Float32Array, weights: Float32Array, start: Float32Array, flush: bool = False) -> Float32Array:
    """`start + rows @ weights.T`, one fused multiply-add after the other along the depth: `[rows, out]`.

    Args:
        rows: float32 `[rows, depth]`.
        weights: float32 `[out, depth]`.
        start: float32 `[out]` or `[rows, out]`, what the sums begin with.
        flush: subnormals become zero at every step.

    >>> fma_in_order(np.float32([[1, 1, 1]]), np.float32([[1e8, 1, -1e8]]), np.zeros(1, np.float32)).tolist()
    [[0.0]]
    """
    total = np.broadcast_to(start, (len(rows), len(weights)))
    for k in range(rows.shape[1]):
        total = fma32(rows[:, k, None], weights[:, k], total, flush)
    return np.asarray(total, np.float32)


def sum_in_order(rows: Float32Array, weights: Float32Array) -> Float32Array:
    """`rows @ weights.T`, product after product along the depth, each product and each sum rounded: `[rows, out]`.

    Args:
        rows: float32 `[rows, depth]`.
        weights: float32 `[out, depth]`.

    >>> sum_in_order(np.float32([[1, 1, 1]]), np.float32([[1, 1e8, -1e8]])).tolist()
    [[0.0]]
    """
    total = np.zeros((len(rows), len(weights)), np.float32)
    with np.errstate(all="ignore"):
        for k in range(rows.shape[1]):
            total = total + rows[:, k, None] * weights[:, k]
    return total


def sum_in_four_lanes(rows: Float32Array, weights: Float32Array, start: Float32Array) -> Float32Array:
    """`start + rows @ weights.T` in four sums side by side, `[rows, out]`; subnormals are read and written as zero.

    Sum i has the products of places i, i + 4, ..., each product and each sum rounded, and the first one begins at
    `start`; the result is (sum 0 + sum 2) + (sum 1 + sum 3). In a last block of fewer than four, weights that are zero
    meet zero, whatever the input is.

    Args:
        rows: float32 `[rows, depth]`.
        weights: float32 `[out, depth]`.
        start: float32 `[out]`.

    >>> sum_in_four_lanes(np.float32([[1, 2, 3, 4, 5]]), np.ones((1, 5), np.float32), np.float32([0.5])).tolist()
    [[15.5]]

    Source: google/XNNPACK src/f32-gemm/MRx2c4-sse.c.in @028aae4f5fcf.
    """
    rows, weights = flush_subnormals(rows), flush_subnormals(weights)
    depth = rows.shape[1]
    lanes = np.zeros((4, len(rows), len(weights)), np.float32)
    lanes[0] = flush_subnormals(start)
    with np.errstate(all="ignore"):
        for k in range(-(-depth // 4) * 4):
            product = np.zeros(1, np.float32)  # beyond the depth
            if k < depth:
                column, row = weights[:, k], np.broadcast_to(rows[:, k, None], lanes[0].shape)
                if k >= depth // 4 * 4:
                    row = np.where(column == 0, np.float32(0), row)
                product = multiply32(row, column, flush=True)
            lanes[k % 4] = flush_subnormals(lanes[k % 4] + product)
        pairs = flush_subnormals(lanes[:2] + lanes[2:])
        return flush_subnormals(pairs[0] + pairs[1])


def convert_int32(value: npt.NDArray[np.int64]) -> Float32Array:
    """Integers of int32 range to float32, ties to even.

    >>> convert_int32(np.array([2**24 + 1, 2**24 + 3])).tolist()
    [16777216.0, 16777220.0]
    """
    return np.asarray(value, np.int64).astype(np.float32)


def round_away32(value: Float32Array) -> Float32Array:
    """Round float32 to the nearest integer, ties away from zero: C's `round`. The result stays float32.

    >>> round_away32(np.float32([-2.5, 0.49999997, 2.5])).tolist()
    [-3.0, 0.0, 3.0]
    """
    v = np.asarray(value, np.float32)
    whole = np.trunc(v)
    # v - whole is exact; adding one half first would take 0.49999997 to 1.
    with np.errstate(invalid="ignore"):
        up = (np.abs(v - whole) >= np.float32(0.5)).astype(np.float32)
    result: Float32Array = whole + np.copysign(up, v)
    return result


def trunc_to_int32(value: Array) -> npt.NDArray[np.int64]:
    """A float's whole part as x86 converts it to int32: what does not fit, and NaN, becomes -2^31.

    >>> trunc_to_int32(np.float32([-1.9, 1.9, 3e9, np.nan])).tolist()
    [-1, 1, -2147483648, -2147483648]
    """
    v = np.asarray(value, np.float64)
    fits = np.abs(v) < 2.0**31
    return np.where(fits, np.where(fits, v, 0), -(2.0**31)).astype(np.int64)


def _bounds(activation: str, finite: bool) -> tuple[np.float32, np.float32]:
    """A fused activation's bounds; `finite` ones where it has none."""
    low, high = (np.float32(bound) for bound in fused_bounds(activation))
    largest = np.finfo(np.float32).max
    return (max(low, -largest), min(high, largest)) if finite else (low, high)


def clamp_bound_first(
    value: Float32Array, activation: str, always: bool = False, *, finite: bool = False
) -> Float32Array:
    """`min(high, max(low, value))` where a comparison that fails gives the bound: NaN becomes low, -0.0 becomes 0.0.

    Args:
        value: float32, any shape.
        activation: a fused activation's name (see `lastbit.model.types.fused_bounds`); NONE changes nothing, unless
        always: NONE clamps to infinities, so that NaN becomes minus infinity.
        finite: where there is no bound, the largest float32 is one.

    >>> clamp_bound_first(np.float32([-0.0, np.nan, 7.0]), "RELU6").tolist()
    [0.0, 0.0, 6.0]
    """
    if activation == "NONE" and not always:
        return value
    low, high = _bounds(activation, finite)
    with np.errstate(invalid="ignore"):
        result = np.where(low < value, value, low)
        return np.where(high < result, high, result)


def clamp_high_first(value: Float32Array, activation: str) -> Float32Array:
    """`max(min(value, high), low)` where a comparison that fails gives the bound: NaN becomes high, -0.0 at low low.

    >>> clamp_high_first(np.float32([-0.0, np.nan, 7.0]), "RELU6").tolist()
    [0.0, 6.0, 6.0]
    """
    low, high = (np.float32(bound) for bound in fused_bounds(activation))
    with np.errstate(invalid="ignore"):
        result = np.where(value < high, value, high)
        return np.where(result > low, result, low)


def clamp_value_first(value: Float32Array, activation: str, *, finite: bool = False) -> Float32Array:
    """The same where a comparison that fails gives the value: NaN and -0.0 stay.

    >>> clamp_value_first(np.float32([-0.0, np.nan, 7.0]), "RELU6").tolist()
    [-0.0, nan, 6.0]
    """
    low, high = _bounds(activation, finite)
    with np.errstate(invalid="ignore"):
        result = np.where(low > value, low, value)
        return np.where(high < result, high, result)


def clamp_maximum(value: Float32Array, activation: str, *, finite: bool = False) -> Float32Array:
    """The same as ARM64's FMAX and FMIN do it: NaN stays, and -0.0 is less than 0.0.

    >>> clamp_maximum(np.float32([-0.0, np.nan, 7.0]), "RELU6").tolist()
    [0.0, nan, 6.0]
    """
    result = clamp_value_first(value, activation, finite=finite)
    low = np.float32(fused_bounds(activation)[0])
    return np.where(result == 0, low, result) if low == 0 else result
