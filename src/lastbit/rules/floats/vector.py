"""The reader of float32 rules that calculates with NumPy."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...arith.floats import (
    clamp_bound_first,
    clamp_high_first,
    clamp_value_first,
    flush_subnormals,
    fma32,
    multiply32,
    sum_in_four_lanes,
)
from ...model.types import Float32Array
from .forms import FUSED_BLOCK, FloatRule

__all__ = ["limit", "sums"]


def sums(rule: FloatRule, rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    """Sums of products with the bias: float32 `[rows, out]`.

    Args:
        rule: how.
        rows: float32 `[rows, depth]`.
        weights: float32 `[out, depth]`.
        bias: float32 `[out]`, or None.
    """
    added = np.zeros(len(weights), np.float32) if bias is None else bias
    match rule.order:
        case "four_lanes":
            return sum_in_four_lanes(rows, weights, added)
        case "one_by_one":
            return _one_by_one(rule, rows, weights, added)
        case never:
            assert_never(never)


def _one_by_one(rule: FloatRule, rows: Float32Array, weights: Float32Array, bias: Float32Array) -> Float32Array:
    if rule.flush:
        rows, weights, bias = flush_subnormals(rows), flush_subnormals(weights), flush_subnormals(bias)
    depth = rows.shape[1]
    zeros = np.zeros(len(weights), np.float32)
    match rule.bias:
        case "first":
            start, last = bias, None
        case "last":
            start, last = zeros, bias
        case never:
            assert_never(never)
    total = np.broadcast_to(start, (len(rows), len(weights)))
    with np.errstate(all="ignore"):
        for k in range(depth):
            if _is_fused(rule, k, depth):
                total = fma32(rows[:, k, None], weights[:, k], total, rule.flush)
            elif rule.flush:
                total = flush_subnormals(total + multiply32(rows[:, k, None], weights[:, k], flush=True))
            else:
                total = total + rows[:, k, None] * weights[:, k]
        if last is not None:
            total = flush_subnormals(total + last) if rule.flush else total + last
    return np.asarray(total, np.float32)


def _is_fused(rule: FloatRule, k: int, depth: int) -> bool:
    match rule.fused:
        case "all":
            return True
        case "none":
            return False
        case "tail":
            return k >= depth - depth % FUSED_BLOCK
        case never:
            assert_never(never)


def limit(rule: FloatRule, value: Float32Array, activation: str) -> Float32Array:
    """A fused activation's bounds, and the rule's own ends, applied to float32 of any shape."""
    match rule.ends:
        case "infinite":
            pass
        case "finite":
            # NaN passes both comparisons.
            largest = np.finfo(np.float32).max
            value = np.where(value < -largest, -largest, np.where(value > largest, largest, value))
        case never_ends:
            assert_never(never_ends)
    match rule.clamp:
        case "value_first":
            return clamp_value_first(value, activation)
        case "bound_first":
            return clamp_bound_first(value, activation, always=True)
        case "high_first":
            return clamp_high_first(value, activation)
        case never:
            assert_never(never)
