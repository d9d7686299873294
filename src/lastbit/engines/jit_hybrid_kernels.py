"""Numba functions of hybrid dense layers: float rows to int8, and int32 sums back to float32.

They are `arith.dynamic_range` and the finishing steps of `ops.dense_hybrid` row by row, with the same roundings in the
same order and the same results for infinities. What is subnormal is set to zero where XNNPACK runs in that mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit_compile import compiled
from .jit_kernels import enter

__all__ = ["DONE", "FMA", "NAN", "UNFUSED", "ZEROS", "hybrid_rows"]

_BLOCK_ROWS = 96
# How rows are quantized, how sums are finished, how outputs are clamped.
SYMMETRIC, ASYMMETRIC, QD8 = 0, 1, 2
UNFUSED, FMA = 0, 1
NO_CLAMP, VALUE_FIRST, BOUND_FIRST = 0, 1, 2
DONE, ZEROS, NAN = 0, 1, 2

_F32, _F64, _I32 = np.float32, np.float64, np.int32
_SMALLEST = np.float32(2.0**-126)
# See `arith.floats`: what rounds to the smallest normal number with an unbounded exponent.
_NOT_TINY = 2.0**-126 * (1 - 2.0**-25)
_BELOW_HALF = np.float32(0.49999997)


@intrinsic
def _fma(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A fused multiply-add of float32."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), generate


@compiled
def _flush(value):  # type: ignore[no-untyped-def]
    return _F32(0.0) if abs(value) < _SMALLEST else value


@compiled
def _away(value):  # type: ignore[no-untyped-def]
    """Float32 to the nearest integer, ties away from zero."""
    return np.trunc(value + (_BELOW_HALF if value >= _F32(0.0) else -_BELOW_HALF))


@compiled
def _range(row):  # type: ignore[no-untyped-def]
    """The smallest and the largest value of a row, zero among them, and whether there is a NaN.

    Bits as integers: their minimum is one instruction for many elements, that of floats is one after the other.
    """
    bits = row.view(np.int32)
    least, most, size = _I32(0), _I32(0), _I32(0)
    for k in range(bits.size):
        magnitude = bits[k] & _I32(0x7FFFFFFF)
        ordered = bits[k] ^ ((bits[k] >> _I32(31)) & _I32(0x7FFFFFFF))
        least, most, size = min(least, ordered), max(most, ordered), max(size, magnitude)
    both = np.array([least ^ ((least >> _I32(31)) & _I32(0x7FFFFFFF)), most], np.int32).view(np.float32)
    # Adding zero makes +0.0 of -0.0.
    return both[0] + _F32(0.0), both[1], size > _I32(0x7F800000)


@compiled
def quantize_rows(x, kind, q, scales, zero_points):  # type: ignore[no-untyped-def]
    """Quantize each row of float32 `[rows, depth]` into int8 `q`; float32 scales and int32 zero points `[rows]`.

    Returns:
        Whether there is a NaN; then nothing else holds.
    """
    depth = x.shape[1]
    whole = depth - depth % 8
    for r in range(x.shape[0]):
        row, taken = x[r], q[r]
        low, high, bad = _range(row)
        if bad:
            return True
        if kind == QD8:
            low, high = _flush(low), _flush(high)
            width = _flush(_F32(high - low))
            inverse = _F32(1.0) if low == high else _flush(_F32(_F32(255.0) / width))
            below, above = _F32(low * inverse), _F32(high * inverse)
            left, right = _F32(_F32(-128.0) + below), _F32(_F32(127.0) + above)
            better = _F32(left + right) > _F32(0.0)
            exact = _F32(_F32(-128.0) - below) if better else _F32(_F32(127.0) - above)
            limited = min(exact, _F32(127.0)) if exact > _F32(-128.0) else _F32(-128.0)
            zero = int(np.rint(limited))
            scales[r] = _flush(_F32(_F32(1.0) / inverse))
            zero_points[r] = zero
            largest = _F32(127 - zero)
            for k in range(depth):
                scaled = _F32(_flush(row[k]) * inverse)
                scaled = scaled if scaled < largest else largest
                # Everything below comes out at the lower end; this keeps it within an int.
                scaled = scaled if scaled > _F32(-300.0) else _F32(-300.0)
                step = _I32(np.rint(scaled)) + _I32(zero)
                taken[k] = max(step, -128)
            continue
        zero, inverse = 0, _F32(0.0)
        if kind == SYMMETRIC:
            size = max(_F32(-low), high)
            empty = size == _F32(0.0)
            scales[r] = _F32(1.0) if empty else _F32(size / _F32(127.0))
            inverse = _F32(0.0) if empty else _F32(_F32(127.0) / size)
        else:
            empty = low == high
            wide = 1.0 if empty else _F64(_F32(high - low)) / 255.0
            from_low, from_high = _F64(low) / wide, _F64(high) / wide
            better = 128.0 + abs(from_low) < 127.0 + abs(from_high)
            exact64 = -128.0 - from_low if better else 127.0 - from_high
            trunc = np.trunc(exact64)
            if abs(exact64 - trunc) >= 0.5:
                trunc += 1.0 if exact64 > 0.0 else -1.0
            zero = 0 if empty or trunc != trunc else int(min(max(trunc, -128.0), 127.0))
            scale = _F32(wide)
            scales[r] = scale
            inverse = _F32(0.0) if empty or scale == _F32(0.0) else _F32(_F32(1.0) / scale)
        zero_points[r] = zero
        # The vector code makes an int32 of a scaled value, the nearest end where there is none (the lower one for NaN),
        # then adds the zero point, which wraps.
        lower = _I32(-127 if kind == SYMMETRIC else -128)
        over = lower if zero > 0 else _I32(127)
        under = _I32(127) if zero < 0 else lower
        for k in range(whole):
            v = _F32(row[k] * inverse)  # zeros where the row is empty
            nudged = v + (_F32(-0.5) if v < _F32(0.0) else _F32(0.5))
            near = nudged if nudged < _F32(1000.0) else _F32(1000.0)
            near = near if near > _F32(-1000.0) else _F32(-1000.0)
            inside = min(max(_I32(_I32(near) + _I32(zero)), lower), _I32(127))
            inside = over if nudged >= _F32(2147483648.0) else inside
            taken[k] = inside if nudged > _F32(-2147483648.0) else under
        for k in range(whole, depth):
            last = _away(_F32(0.0) if empty else _F32(row[k] * inverse))
            if kind == SYMMETRIC:
                fits = abs(last) < _F32(2147483648.0)
                taken[k] = int(min(max(last, _F32(-127.0)), _F32(127.0))) if fits else -127
            else:
                moved = _F32(last + _F32(zero))
                taken[k] = 0 if moved != moved else int(min(max(moved, _F32(-128.0)), _F32(127.0)))
    return False


@compiled
def _tiny(scaled, factor, bias):  # type: ignore[no-untyped-def]
    """Whether scaled * factor + bias is set to zero where its rounding is the smallest normal number."""
    product, addend = _F64(scaled) * _F64(factor), _F64(bias)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    size = abs(total)
    inward = error < 0.0 if total > 0.0 else error > 0.0
    return size < _NOT_TINY or (size == _NOT_TINY and inward)


@compiled
def finish_rows(acc, kind, clamp, unused, sums, scales, zero_points, factors, bias, bounds, out):  # type: ignore[no-untyped-def]
    """From int32 sums of products `[rows, out]` to float32 outputs.

    Args:
        acc: the sums.
        kind: `UNFUSED` or `FMA`.
        clamp: `NO_CLAMP`, `VALUE_FIRST` or `BOUND_FIRST`.
        unused: bits that the accumulator does not have.
        sums: sums of each unit's weights, int32 that wrapped.
        scales: each row's scale.
        zero_points: each row's zero point.
        factors: the weights' scales `[out]`.
        bias: float32 `[out]`, flushed for `FMA`.
        bounds: float32 `[2]`, the lower and the upper one. (In an array, since NumPy's scalars are slow to hand over.)
        out: where to.
    """
    low, high = bounds[0], bounds[1]
    for r in range(acc.shape[0]):
        scale, zero = scales[r], zero_points[r]
        given, taken = acc[r], out[r]
        doubtful = False
        for u in range(given.size):
            total = _I32(_I32(given[u] - _I32(zero * sums[u])) << unused) >> unused
            if kind == FMA:
                result = _fma(_F32(_F32(_I32(total)) * scale), factors[u], bias[u])
                size = abs(result)
                doubtful |= size == _SMALLEST
                result = np.copysign(_F32(0.0), result) if size < _SMALLEST else result
            else:
                result = _F32(bias[u] + _F32(_F32(_I32(total)) * _F32(factors[u] * scale)))
            taken[u] = result
        if doubtful:
            for u in range(given.size):
                total = _I32(_I32(given[u] - _I32(zero * sums[u])) << unused) >> unused
                if abs(taken[u]) == _SMALLEST and _tiny(_F32(_F32(_I32(total)) * scale), factors[u], bias[u]):
                    taken[u] = np.copysign(_F32(0.0), taken[u])
        if clamp == VALUE_FIRST:
            for u in range(given.size):
                v = taken[u]
                v = low if low > v else v
                taken[u] = high if high < v else v
        elif clamp == BOUND_FIRST:
            for u in range(given.size):
                v = taken[u]
                v = v if low < v else low
                taken[u] = high if high < v else v


@compiled
def hybrid_rows(x, out, start, stop, how, constants, chain, state, scratch):  # type: ignore[no-untyped-def]
    """A layer on some rows, in blocks that stay in the cache.

    Args:
        x: float32 `[rows, depth]`.
        out: float32 `[rows, out]`.
        start: the first row.
        stop: behind the last row.
        how: how rows are quantized, sums finished and outputs clamped, and `unused` of `finish_rows`: a tuple.
        constants: float32 `[3, out + 2]`: the weights' scales, the bias, and the bits of their sums as int32; the last
            two of the first row are the bounds.
        chain: the address of the compiled product.
        state: the address of its state.
        scratch: the address of its scratch memory.

    Returns:
        `DONE`, `NAN` where there is one (then nothing else holds), or `ZEROS` where there is nothing else.
    """
    quantized, finish, clamp, unused = how
    units = out.shape[1]
    factors, bias, bounds = constants[0, :units], constants[1, :units], constants[0, units:]
    sums = constants[2, :units].view(np.int32)
    most = min(_BLOCK_ROWS, stop - start)
    q, acc = np.empty((most, x.shape[1]), np.int8), np.empty((most, units), np.int32)
    scales, zero_points = np.empty(most, np.float32), np.empty(most, np.int32)
    for begin in range(start, stop, most):
        n = min(most, stop - begin)
        if quantize_rows(x[begin : begin + n], quantized, q, scales, zero_points):
            return NAN
        enter(chain, state, scratch, q, acc, 0, n)
        target = out[begin : begin + n]
        finish_rows(acc[:n], finish, clamp, unused, sums, scales, zero_points, factors, bias, bounds, target)
    for r in range(start, stop):
        for k in range(x.shape[1]):
            if x[r, k] != _F32(0.0):
                return DONE
    return ZEROS
