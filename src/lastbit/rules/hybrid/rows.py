"""The reader of `Rows` that quantizes: float32 `[rows, depth]` to int8 values with their scales."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...arith.fixedpoint import INT32_MAX, low_bits
from ...arith.floats import flush_subnormals, multiply32, round_away32, trunc_to_int32
from ...model.types import Float32Array, Int64Array
from .forms import Conversion, Rows
from .neon import flushed_range_arm, inverted, saturate_to_int32
from .rows_x86 import (
    QuantizedRows,
    asymmetric_range,
    flushed_range,
    inverse_of,
    largest_or_127_range,
    scaled_rows,
    symmetric_range,
)

__all__ = ["LANES", "convert", "quantize_rows"]


LANES = 8
"""Values that vector code takes at once; the tail of a row goes through other code."""


def quantize_rows(rows: Rows, x: Float32Array) -> QuantizedRows:
    """Quantize each row.

    Args:
        rows: how.
        x: float32 `[rows, depth]`, without NaN.
    """
    none = np.zeros(len(x), np.int64)
    match rows.range:
        case "largest":
            low, high, empty, scale, inverse = symmetric_range(x)
            zero_point, scaled = none, scaled_rows(x, inverse, empty)
        case "largest_or_127":
            low, high, scale, inverse = largest_or_127_range(x)
            zero_point, scaled = none, multiply32(x, inverse[:, None])
        case "ends" | "ends_in_float64":
            low, high, empty, scale, zero_point = asymmetric_range(x, wide=rows.range == "ends_in_float64")
            inverse = inverse_of(scale, empty)
            scaled = scaled_rows(x, inverse, empty)
        case "flushed":
            x = flush_subnormals(x)
            taken = flushed_range(x, invert_scale=rows.inverts_scale, nan_takes_low=rows.nan_takes == "low")
            low, high, scale, inverse, zero_point = taken
            scaled = multiply32(x, inverse[:, None], flush=True)
        case "flushed_arm":
            low, high, inverse, zero_point, scaled = flushed_range_arm(flush_subnormals(x))
            with np.errstate(all="ignore"):
                scale = inverted(inverse)
            scale = np.where(inverse == 0, np.float32(0), scale) if rows.zero_inverse == "zero" else scale
        case never:
            assert_never(never)
    split = x.shape[1] - x.shape[1] % LANES
    parts = [convert(rows.head, scaled[:, :split], zero_point), convert(rows.tail, scaled[:, split:], zero_point)]
    return QuantizedRows(low, high, scale, inverse, zero_point, scaled, np.concatenate(parts, axis=1))


def convert(how: Conversion, scaled: Float32Array, zero_point: Int64Array) -> Int64Array:
    """Values in steps, float32 `[rows, n]`, to int8 values: int64 `[rows, n]`."""
    steps, real = zero_point[:, None], zero_point[:, None].astype(np.float32)
    with np.errstate(all="ignore"):
        value = scaled
        match how.limit:
            case "none":
                pass
            case "above":
                largest = np.float32(127) - real
                value = np.where(value < largest, value, largest)
            case never_limit:
                assert_never(never_limit)
        if how.add == "before":
            value = value + real
        match how.tie:
            case "nudged":
                value = value + np.where(value < 0, np.float32(-0.5), np.float32(0.5))
            case "half_away":
                value = round_away32(value)
            case "half_even":
                value = np.rint(value)
            case never:
                assert_never(never)
        if how.add == "float32":
            value = value + real
        whole = _to_integer(how, value)
    match how.add:
        case "none" | "before" | "float32":
            pass
        case "wrap32":
            whole = low_bits(whole + steps, 32)
        case "wrap16":
            whole = low_bits(whole + steps, 16)
        case "wide":
            whole = whole + steps
        case never_add:
            assert_never(never_add)
    match how.keep:
        case "symmetric":
            return np.clip(whole, -127, 127)
        case "full":
            return np.clip(whole, -128, 127)
        case "low_8_bits":
            return low_bits(whole, 8)
        case never_keep:
            assert_never(never_keep)


def _to_integer(how: Conversion, value: Float32Array) -> Int64Array:
    match how.beyond:
        case "int32_min":
            return trunc_to_int32(value)
        case "saturate_up":
            return np.where(value >= np.float32(2.0**31), INT32_MAX, trunc_to_int32(value))
        case "saturate32":
            return saturate_to_int32(value)
        case "saturate16":
            return np.clip(saturate_to_int32(value), -(2**15), 2**15 - 1)
        case never:
            assert_never(never)
