"""Float32 rules once more, slowly: one output at a time, in fractions, written apart from `vector`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

from ...arith.exact_floats import Flush, add, flushed, fma, multiply
from .forms import FUSED_BLOCK, FloatRule

__all__ = ["exact_float"]

_LARGEST = float(2**128 - 2**104)


def exact_float(
    rule: FloatRule, x: Sequence[float], weights: Sequence[float], bias: float, bounds: tuple[float, float] | None
) -> tuple[float, float]:
    """One output.

    Args:
        rule: how.
        x: one row of float32 values.
        weights: one unit's.
        bias: 0.0 for none.
        bounds: the lower and the upper bound of the activation; None for none.

    Returns:
        The sum with the bias, and the output.
    """
    pairs = [(float(a), float(b)) for a, b in zip(x, weights, strict=True)]
    if rule.flush:
        pairs, bias = [(flushed(a), flushed(b)) for a, b in pairs], flushed(bias)
    match rule.order:
        case "one_by_one":
            total = _one_by_one(rule, pairs, bias)
        case "four_lanes":
            total = _four_lanes(pairs, bias)
        case never:
            assert_never(never)
    return total, _limited(rule, total, bounds)


def _one_by_one(rule: FloatRule, pairs: Sequence[tuple[float, float]], bias: float) -> float:
    flush: Flush = "x86" if rule.flush else "none"
    whole = len(pairs) - len(pairs) % FUSED_BLOCK
    match rule.bias:
        case "first":
            total, last = bias, None
        case "last":
            total, last = 0.0, bias
        case never_bias:
            assert_never(never_bias)
    for k, (a, b) in enumerate(pairs):
        match rule.fused:
            case "all":
                fused = True
            case "none":
                fused = False
            case "tail":
                fused = k >= whole
            case never:
                assert_never(never)
        total = fma(a, b, total, flush) if fused else _sum(total, multiply(a, b, flush), rule.flush)
    return total if last is None else _sum(total, last, rule.flush)


def _sum(a: float, b: float, flush: bool) -> float:
    return flushed(add(a, b)) if flush else add(a, b)


def _four_lanes(pairs: Sequence[tuple[float, float]], bias: float) -> float:
    """In a last block of fewer than four, weights that are zero meet zero, and what is missing is zero."""
    lanes = [bias, 0.0, 0.0, 0.0]
    whole = len(pairs) - len(pairs) % 4
    for k in range(-(-len(pairs) // 4) * 4):
        a, b = pairs[k] if k < len(pairs) else (0.0, 0.0)
        a = 0.0 if k >= whole and b == 0 else a
        lanes[k % 4] = _sum(lanes[k % 4], multiply(a, b, "x86"), True)
    return _sum(_sum(lanes[0], lanes[2], True), _sum(lanes[1], lanes[3], True), True)


def _limited(rule: FloatRule, value: float, bounds: tuple[float, float] | None) -> float:
    match rule.ends:
        case "infinite":
            pass
        case "finite":
            value = value if math.isnan(value) else max(-_LARGEST, min(_LARGEST, value))
        case never_ends:
            assert_never(never_ends)
    low, high = bounds or (-math.inf, math.inf)
    match rule.clamp:
        case "value_first":
            value = low if low > value else value
            return high if high < value else value
        case "bound_first":
            value = value if low < value else low
            return high if high < value else value
        case "high_first":
            value = value if value < high else high
            return value if value > low else low
        case never:
            assert_never(never)
