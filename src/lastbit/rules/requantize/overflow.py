"""Where a rule's registers overflow: what step tables are cut at, so that the output is monotone within each piece.

A count says how often a register has gone round. They come outermost first: within equal counts the next count is a
monotone function of the accumulator, and at last the output is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np

from ...arith.fixedpoint import INT32_MAX, reduce_multiplier
from ...model.types import Int64Array
from .fold import RequantParams
from .forms import Float, OneRounding, Requantize, TwoRoundings
from .vector import Steps, left_shift, round_float

__all__ = ["register_counts", "without_overflow"]


def register_counts(acc: Int64Array, params: RequantParams, steps: Steps) -> list[Int64Array]:
    """How often each register has gone round at each accumulator, outermost first.

    Args:
        acc: accumulators, as the rule's register holds them.
        params: the folded constants, broadcasting to acc.
        steps: what `vector.requantize` makes of them.

    Returns:
        int64 arrays that broadcast to acc's shape.
    """
    form = params.rule.requantize
    match form:
        case Float():
            counts = _of_float(acc, form, params, steps)
        case TwoRoundings():
            counts = _of_left_shift(acc, form, params, steps)
        case OneRounding():
            counts = _of_product(acc, form, params, steps)
        case never:
            assert_never(never)
    return [*counts, (steps["acc_scaled"] + params.output_zero_point - steps["with_zero_point"]) >> 32]


def _of_float(acc: Int64Array, form: Float, params: RequantParams, steps: Steps) -> list[Int64Array]:
    counts = []
    if form.bias != "in_acc":
        bias = 0 if params.bias is None else params.bias
        counts.append((acc - bias - steps["acc_without_bias"]) >> 32)
    match form.out_of_range:
        case "int32_min":
            # -1 or 1 where the result is beyond int32 on either side: it becomes INT32_MIN.
            rounded = round_float(form.tie, steps["limited"] if "limited" in steps else steps["product"])
            counts.append((rounded >= 2.0**31).astype(np.int64) - (rounded <= -(2.0**31)))
        case "saturate32" | "saturate16" | "never":
            pass
        case never:
            assert_never(never)
    return counts


def _of_left_shift(acc: Int64Array, form: TwoRoundings, params: RequantParams, steps: Steps) -> list[Int64Array]:
    match form.left:
        case "wrap32":
            return [((acc << left_shift(form, params.shift)) - steps["acc_shifted"]) >> 32]
        case "saturate32":
            return []
        case never:
            assert_never(never)


def _of_product(acc: Int64Array, form: OneRounding, params: RequantParams, steps: Steps) -> list[Int64Array]:
    multiplier = params.multiplier if form.multiplier_bits == 31 else reduce_multiplier(params.multiplier)
    count = form.multiplier_bits - params.shift - form.kept_bit
    product = steps["product"]
    # An accumulator of 32 bits: how often its product has gone round 64 bits is 0 everywhere.
    counts = [_product_64(acc, multiplier)]
    match form.counts:
        case "plain":
            count = np.maximum(count, 0)
            half = np.where(count > 0, np.int64(1) << np.maximum(count - 1, 0), 0)
        case "modulo_64":
            half = np.int64(1) << ((count - 1) & 63)
            count = count & 63
        case never:
            assert_never(never)
    if form.kept_bit:
        doubled = steps["doubled"]
        return [*counts, ((product >> count) - doubled) >> 32, (doubled == INT32_MAX).astype(np.int64)]
    with np.errstate(over="ignore"):
        total = product + half
    counts.append((((product ^ total) & (half ^ total)) < 0).astype(np.int64))
    match form.result:
        case "wide":
            return counts
        case "wrap32":
            return [*counts, ((total >> count) - steps["acc_scaled"]) >> 32]
        case never_result:
            assert_never(never_result)


def _product_64(acc: Int64Array, q: Int64Array) -> Int64Array:
    """How often the product of an accumulator and a multiplier has gone round 64 bits."""
    upper = (acc >> 32) * q + ((acc & 0xFFFFFFFF) * q >> 32)
    return (upper + 2**31) >> 32


def without_overflow(form: Requantize) -> Requantize:
    """The form that stands for all that give the same as this one as long as no value leaves its register or bounds.

    >>> without_overflow(TwoRoundings("saturate32", "floor", "half_up", 1, "wide"))
    OneRounding(multiplier_bits=31, kept_bit=False, counts='plain', result='wide', add='wrap32')
    """
    match form:
        case Float():
            return replace(form, limit="none", out_of_range="int32_min", add="wrap32", clamp_order="bounds")
        case TwoRoundings(high="floor", tie="half_up", least_right=1):
            # Rounded down and then half up, by one bit at least: both together are one rounding.
            return OneRounding(31, False, "plain", "wide", "wrap32")
        case TwoRoundings():
            return replace(form, left="wrap32", add="wrap32")
        case OneRounding():
            return OneRounding(form.multiplier_bits, False, "plain", "wide", "wrap32")
        case never:
            assert_never(never)
