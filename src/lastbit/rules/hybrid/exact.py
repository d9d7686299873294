"""Hybrid rules once more, slowly: one row and one output at a time, in Python integers and fractions.

Written from the equations and apart from `rows` and `finish`, so that the two can disagree; tests compare them. Floats
hold float32 values. What a kernel calculates in float64 is calculated in Python's own floats, which are that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from ...arith.exact import low_bits, round_fraction
from ...arith.exact_floats import Flush, add, divide, flushed, fma, multiply, round_float32
from .forms import Clamp, Conversion, Finish, Nibbles, Rows

__all__ = ["ExactRow", "LayerUnit", "clamped", "exact_finish", "exact_nibbles", "exact_row"]

_INT32 = 2**31
_LARGEST = float(2**128 - 2**104)


@dataclass(frozen=True)
class ExactRow:
    """One quantized row; see `arith` for the same of many.

    Attributes:
        low: the row's smallest value, 0 among them.
        high: its largest.
        scale: x per step.
        inverse: what x is multiplied with.
        zero_point: -128 to 127.
        scaled: the values in steps.
        quantized: -128 to 127.
    """

    low: float
    high: float
    scale: float
    inverse: float
    zero_point: int
    scaled: list[float]
    quantized: list[int]


@dataclass(frozen=True)
class LayerUnit:
    """What finishing needs of one output unit.

    Attributes:
        weights_sum: for the zero point's part.
        scale: of the weights.
        bias: None for none.
        int4: whether the weights are int4.
        bounds: the lower and the upper bound of the activation; None for none.
    """

    weights_sum: int
    scale: float
    bias: float | None
    int4: bool
    bounds: tuple[float, float] | None


def exact_row(rows: Rows, values: Sequence[float]) -> ExactRow:
    """Quantize one row of float32 values without NaN."""
    flush: Flush = "x86" if rows.range == "flushed" else "arm" if rows.range == "flushed_arm" else "none"
    x = [float(v) for v in values] if flush == "none" else [flushed(float(v)) for v in values]
    low, high = min(0.0, *x), max(0.0, *x)
    zero_point, empty = 0, False
    match rows.range:
        case "largest":
            size = max(-low, high)
            empty = size == 0
            scale, inverse = (1.0, 0.0) if empty else (divide(size, 127.0), divide(127.0, size))
        case "largest_or_127":
            size = max(-low, high) or 127.0
            scale, inverse = divide(size, 127.0), divide(127.0, size)
        case "ends" | "ends_in_float64":
            empty = low == high
            difference = high - low if rows.range == "ends_in_float64" else add(high, -low)
            step = 1.0 if empty else difference / 255.0
            zero_point = 0 if empty else _zero_point_in_float64(low / step, high / step)
            scale = step if math.isinf(step) else round_float32(Fraction(step))
            inverse = 0.0 if empty or scale == 0 else divide(1.0, scale)
        case "flushed" | "flushed_arm":
            width = flushed(add(high, -low))
            inverse = 1.0 if low == high else flushed(divide(255.0, width))
            nan_takes_low = rows.nan_takes == "low"
            zero_point = _zero_point(multiply(low, inverse, flush), multiply(high, inverse, flush), nan_takes_low)
            scale = flushed(divide(1.0, inverse))
            if rows.zero_inverse == "zero" and inverse == 0:
                scale = 0.0
            if rows.inverts_scale:
                inverse = flushed(divide(1.0, scale))
        case never:
            assert_never(never)
    scaled = [0.0 if empty else multiply(v, inverse, flush) for v in x]
    whole = len(x) & ~7
    quantized = [converted(rows.head if k < whole else rows.tail, v, zero_point) for k, v in enumerate(scaled)]
    return ExactRow(low, high, scale, inverse, zero_point, scaled, quantized)


def _zero_point_in_float64(low: float, high: float) -> int:
    """From the end of the range with the smaller error, half away; NaN gives 0."""
    exact = -128.0 - low if 128.0 + abs(low) < 127.0 + abs(high) else 127.0 - high
    return 0 if math.isnan(exact) else round_fraction(Fraction(max(-128.0, min(127.0, exact))), "half_away")


def _zero_point(low: float, high: float, nan_takes_low: bool) -> int:
    """The same in float32, half even; what is not a number is the lower end."""
    errors = add(add(-128.0, low), add(127.0, high))
    exact = add(127.0, -high)
    if errors > 0 or (nan_takes_low and math.isnan(errors)):
        exact = add(-128.0, -low)
    return round(Fraction(min(exact, 127.0))) if exact > -128 else -128


def converted(how: Conversion, value: float, zero_point: int) -> int:
    """A value in steps as an int8."""
    real = float(zero_point)
    match how.limit:
        case "none":
            pass
        case "above":
            value = value if value < 127 - real else 127 - real
        case never_limit:
            assert_never(never_limit)
    if how.add == "before":
        value = add(value, real)
    match how.tie:
        case "nudged":
            value = add(value, -0.5 if value < 0 else 0.5)
        case "half_away" | "half_even":
            value = float(round_fraction(Fraction(value), how.tie)) if math.isfinite(value) else value
        case never:
            assert_never(never)
    if how.add == "float32":
        value = add(value, real)
    whole = _to_integer(how, value)
    match how.add:
        case "none" | "before" | "float32":
            pass
        case "wide":
            whole += zero_point
        case "wrap32":
            whole = low_bits(whole + zero_point, 32)
        case "wrap16":
            whole = low_bits(whole + zero_point, 16)
        case never_add:
            assert_never(never_add)
    match how.keep:
        case "symmetric":
            return max(-127, min(127, whole))
        case "full":
            return max(-128, min(127, whole))
        case "low_8_bits":
            return low_bits(whole, 8)
        case never_keep:
            assert_never(never_keep)


def _to_integer(how: Conversion, value: float) -> int:
    match how.beyond:
        case "int32_min" | "saturate_up":
            if abs(value) < _INT32:
                return int(value)
            return _INT32 - 1 if how.beyond == "saturate_up" and value > 0 else -_INT32
        case "saturate32" | "saturate16":
            end = _INT32 if how.beyond == "saturate32" else 2**15
            return 0 if math.isnan(value) else int(max(float(-end), min(float(end - 1), value)))
        case never:
            assert_never(never)


def clamped(how: Clamp, value: float, bounds: tuple[float, float] | None) -> float:
    """A value within an activation's bounds."""
    low, high = bounds or (-math.inf, math.inf)
    match how:
        case "value_first" | "maximum":
            value = low if low > value else value
            value = high if high < value else value
            return low if how == "maximum" and value == 0 == low else value
        case "bound_first_if_any" if bounds is None:
            return value
        case "bound_first" | "bound_first_if_any":
            value = value if low < value else low
            return high if high < value else value
        case never:
            assert_never(never)


def exact_finish(
    finish: Finish, unit: LayerUnit, row: ExactRow, dot: int, *, any_input: bool, four_rows: bool
) -> dict[str, float]:
    """One output of its sum of products: the steps `acc`, `scaled` (where it is rounded), `with_bias` and `output`."""
    flush = finish.flush
    acc = low_bits(dot - row.zero_point * unit.weights_sum, 32)
    units, scale = acc, unit.scale
    match finish.int4 if unit.int4 else "whole":
        case "whole":
            pass
        case "upper_28":
            acc = units = low_bits(acc, 28)
        case "sixteenfold":
            acc, units, scale = low_bits(acc, 28), 16 * low_bits(acc, 28), multiply(scale, 0.0625)
        case never:
            assert_never(never)
    bias = 0.0 if unit.bias is None else unit.bias
    if flush != "none":
        scale, bias = flushed(scale), flushed(bias)
    value = round_float32(Fraction(units))
    skipped = _skips_zeros(finish) and not any_input
    fused = finish.fused and not skipped and not (four_rows and _unfuses_four_rows(finish))
    steps: dict[str, float] = {"acc": acc}
    match finish.order:
        case "row_first":
            factor = scale
            value = steps["scaled"] = multiply(value, row.scale, flush)
        case "weights_first":
            factor = row.scale
            value = steps["scaled"] = multiply(value, scale, flush)
        case "scales_first":
            factor = multiply(scale, row.scale, flush)
            if not fused:
                steps["scaled"] = multiply(value, factor, flush)
        case never_order:
            assert_never(never_order)
    if skipped:
        total = bias
    elif fused:
        total = fma(value, factor, bias, flush)
    else:
        total = add(bias, multiply(value, factor, flush))
        total = total if flush == "none" else flushed(total)
    how = finish.int4_clamp if unit.int4 else finish.clamp
    return {**steps, "with_bias": total, "output": clamped(how, total, _ended(finish, unit.bounds))}


def _ended(finish: Finish, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """The bounds, of which a kernel with finite ends always has two; they change what is no finite number alone."""
    match finish.ends:
        case "infinite":
            return bounds
        case "finite":
            low, high = bounds or (-math.inf, math.inf)
            return max(low, -_LARGEST), min(high, _LARGEST)
        case never:
            assert_never(never)


def _skips_zeros(finish: Finish) -> bool:
    match finish.zeros:
        case "multiplied":
            return False
        case "skipped":
            return True
        case never:
            assert_never(never)


def _unfuses_four_rows(finish: Finish) -> bool:
    match finish.four_rows:
        case "same":
            return False
        case "unfused":
            return True
        case never:
            assert_never(never)


def exact_nibbles(
    nibbles: Nibbles, unit: LayerUnit, row: ExactRow, dot: int, *, last_is_fused: bool
) -> dict[str, float]:
    """One output of the 4-bit kernel.

    Args:
        nibbles: how.
        unit: the unit.
        row: the quantized row.
        dot: the sum of products with nibbles.
        last_is_fused: whether the last sum is where `Nibbles.fused`: of one row, or in the last `units % 4` units.
    """
    sums = low_bits(-7 * _row_sum(nibbles, row), 32)
    part = multiply(round_float32(Fraction(dot)), row.scale)
    start, scaled = multiply(round_float32(Fraction(sums)), row.scale), multiply(part, unit.scale)
    begin = multiply(start, unit.scale)
    if unit.bias is not None:
        begin = fma(start, unit.scale, unit.bias) if nibbles.fused else add(begin, unit.bias)
    total = fma(part, unit.scale, begin) if nibbles.fused and last_is_fused else add(begin, scaled)
    output = clamped("bound_first_if_any", total, unit.bounds)
    return {"acc": low_bits(dot + sums, 32), "scaled": scaled, "with_bias": total, "output": output}


def _row_sum(nibbles: Nibbles, row: ExactRow) -> int:
    match nibbles.row_sums:
        case "quantized":
            return sum(row.quantized)
        case "lanes_of_16_bits":
            whole = len(row.scaled) & ~7
            values = [_saturated(v) for v in row.scaled[:whole]]
            total = sum(row.quantized[whole:])
            for start in range(0, whole, 32):
                box = values[start : start + 32]
                total += sum(low_bits(sum(box[lane::8]), 16) for lane in range(8))
            return low_bits(total, 32)
        case never:
            assert_never(never)


def _saturated(value: float) -> int:
    """Half away, in 16 bits; NaN gives 0."""
    if math.isnan(value):
        return 0
    return round_fraction(Fraction(max(-32768.0, min(32767.0, value))), "half_away")
