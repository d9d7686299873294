"""From accumulators to outputs, vectorised: the definition that engines are compared with.

`exact.py` states the same independently, in Python integers and fractions; neither imports the other.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    low_bits,
    reduce_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
    shift_right_half_even,
    shift_right_half_up_64,
)
from ...arith.floats import sum32
from ...model.types import Array, Int64Array, IntArray
from .fold import RequantParams
from .forms import Add, ClampOrder, Float, OneRounding, Requantize, Tie, TwoRoundings

__all__ = ["Steps", "left_shift", "outputs_of", "requantize", "right_shift", "round_float"]

Steps = dict[str, Array]

_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1
# Accumulators whose steps stay in a core's second level cache: a large array takes several times as long for each.
_BLOCK = 1 << 14


def requantize(acc: IntArray, params: RequantParams) -> Steps:
    """Take accumulators to outputs.

    Args:
        acc: `[..., out]`, any integer dtype; wrapped to the rule's accumulator.
        params: the folded constants; per-channel arrays run along acc's last axis.

    Returns:
        Every named step in order; the last is `output`, in the output's dtype.

    >>> from lastbit.model.types import INT8
    >>> from lastbit.rules.requantize.fold import prepare_requantize
    >>> from lastbit.rules.requantize.table import RULES
    >>> half = dict(input_scale=np.float32(1), weights_scale=np.asarray([0.5], np.float32), output_scale=np.float32(1),
    ...             output_zero_point=0, activation="NONE", dtype=INT8)
    >>> acc = np.asarray([[-3, -1, 1, 3]])  # -1.5, -0.5, 0.5, 1.5: ties
    >>> for name in ("float64-half_away", "q31-half_up-half_up/dd", "q31-half_up-half_away/dd", "float32-half_even"):
    ...     print(name, requantize(acc, prepare_requantize(RULES[name], **half))["output"].tolist())
    float64-half_away [[-2, -1, 1, 2]]
    q31-half_up-half_up/dd [[-1, 0, 1, 2]]
    q31-half_up-half_away/dd [[-1, 0, 1, 2]]
    float32-half_even [[-2, 0, 0, 2]]
    """
    wide = np.asarray(acc, np.int64)
    kept = wide if params.rule.sums.bits == 64 else low_bits(wide, 32)
    form = params.rule.requantize
    with np.errstate(all="ignore"):
        match form:
            case Float():
                steps = _scaled_float(kept, form, params)
            case TwoRoundings():
                steps = _scaled_twice(kept, form, params)
            case OneRounding():
                steps = _scaled_once(kept, form, params)
            case never:
                assert_never(never)
    steps["with_zero_point"] = _add(form.add, steps["acc_scaled"] + params.output_zero_point)
    steps["output"] = _clamp(form, steps["with_zero_point"], params).astype(params.dtype.numpy)
    return steps


def outputs_of(acc: IntArray, params: RequantParams) -> Array:
    """The `output` of `requantize` alone, a block of rows after the other: for many accumulators.

    Args:
        acc: as `requantize` takes them.
        params: the folded constants.

    Returns:
        The outputs, in the output's dtype.
    """
    size = np.broadcast(acc, params.effective_scale).size
    if acc.ndim != 2 or size <= _BLOCK:
        return requantize(acc, params)["output"]
    rows = max(_BLOCK * len(acc) // size, 1)
    blocks = [requantize(acc[at : at + rows], params)["output"] for at in range(0, len(acc), rows)]
    return np.concatenate(blocks)


def _scaled_float(acc: Int64Array, form: Float, params: RequantParams) -> Steps:
    kind = np.float32 if form.bits == 32 else np.float64
    steps: Steps = {}
    if form.bias == "in_acc":
        start: Array = acc.astype(kind)
    else:
        # The bias is what `fold.bias_in_steps` made of it, in one of three ways; exact in float64, rounded here.
        steps["acc_without_bias"] = low_bits(acc - (0 if params.bias is None else params.bias), 32)
        start = steps["acc_without_bias"].astype(np.float32)
        if params.float_bias is not None:
            start = sum32(start, params.float_bias)
        steps["acc_float"] = start
    product = value = start * params.effective_scale.astype(kind, copy=False)
    steps["product"] = product
    zy, dtype = params.output_zero_point, params.dtype
    match form.limit:
        case "none":
            pass
        case "upper_bound":
            value = np.minimum(product, kind(params.activation_max - zy))
        case "type":
            value = np.minimum(np.maximum(product, kind(dtype.qmin - zy)), kind(dtype.qmax - zy))
        case never:
            assert_never(never)
    if form.limit != "none":
        steps["limited"] = value
    steps["acc_scaled"] = _keep(form, round_float(form.tie, value))
    return steps


def round_float(tie: Tie, value: Array) -> npt.NDArray[np.float64]:
    """Floats to whole numbers by a tie rule; the result is float64."""
    wide = np.asarray(value, np.float64)
    match tie:
        case "half_even":
            return np.asarray(np.rint(wide))
        case "half_away":
            return round_half_away(wide)
        case "half_up":
            whole = np.floor(wide)
            return np.asarray(whole + (wide - whole >= 0.5))
        case never:
            assert_never(never)


def _keep(form: Float, rounded: npt.NDArray[np.float64]) -> Int64Array:
    """What the register of the result holds."""
    match form.out_of_range:
        case "int32_min":
            kept = np.where(np.abs(rounded) < 2.0**31, rounded, INT32_MIN)
        case "saturate32":
            kept = np.clip(rounded, INT32_MIN, INT32_MAX)
        case "saturate16":
            kept = np.clip(rounded, _INT16_MIN, _INT16_MAX)
        case "never":
            kept = rounded
        case never:
            assert_never(never)
    return kept.astype(np.int64)


def left_shift(form: TwoRoundings, shift: Int64Array) -> Int64Array:
    """By how much the accumulator is shifted left."""
    return np.minimum(shift + np.maximum(-shift, form.least_right), 31 + form.least_right)


def _scaled_twice(acc: Int64Array, form: TwoRoundings, params: RequantParams) -> Steps:
    right = np.maximum(-params.shift, form.least_right)
    shifted = acc << left_shift(form, params.shift)  # 32 bits and 32 bits: fits
    match form.left:
        case "wrap32":
            shifted = low_bits(shifted, 32)
        case "saturate32":
            shifted = np.clip(shifted, INT32_MIN, INT32_MAX)
        case never:
            assert_never(never)
    match form.high:
        case "half_up":
            high = saturating_rounding_doubling_high_mul(shifted, params.multiplier)
        case "floor":
            high = (shifted * params.multiplier) >> 31
        case never_high:
            assert_never(never_high)
    return {"acc_shifted": shifted, "high_mul": high, "acc_scaled": right_shift(form.tie, high, right)}


def right_shift(tie: Tie, value: Int64Array, right: Int64Array) -> Int64Array:
    """Divide by 2^right, 0 or more, by a tie rule."""
    match tie:
        case "half_up":
            return rounding_shift_right_half_up(value, right)
        case "half_away":
            return rounding_divide_by_pot(value, right)
        case "half_even":
            return shift_right_half_even(value, right)
        case never:
            assert_never(never)


def _scaled_once(acc: Int64Array, form: OneRounding, params: RequantParams) -> Steps:
    product = acc * (params.multiplier if form.multiplier_bits == 31 else reduce_multiplier(params.multiplier))
    count = form.multiplier_bits - params.shift
    steps: Steps = {"product": product}  # of a 64-bit accumulator it wraps, as int64 arrays do
    if form.kept_bit:
        steps["doubled"] = low_bits(product >> _count(form, count - 1), 32)
        steps["acc_scaled"] = low_bits(steps["doubled"] + 1, 32) >> 1
        return steps
    match form.counts:
        case "plain":
            scaled = rounding_shift_right_half_up(product, np.maximum(count, 0))
        case "modulo_64":
            scaled = shift_right_half_up_64(product, count)
        case never:
            assert_never(never)
    match form.result:
        case "wide":
            steps["acc_scaled"] = scaled
        case "wrap32":
            steps["acc_scaled"] = low_bits(scaled, 32)
        case never_result:
            assert_never(never_result)
    return steps


def _count(form: OneRounding, count: Int64Array) -> Int64Array:
    match form.counts:
        case "plain":
            return np.maximum(count, 0)
        case "modulo_64":
            return count & 63
        case never:
            assert_never(never)


def _add(add: Add, total: Int64Array) -> Int64Array:
    """The sum with the zero point as its register holds it."""
    match add:
        case "wrap32":
            return low_bits(total, 32)
        case "saturate16":
            return np.clip(total, _INT16_MIN, _INT16_MAX)
        case "wide":
            return total
        case never:
            assert_never(never)


def _clamp(form: Requantize, total: Int64Array, params: RequantParams) -> Int64Array:
    order: ClampOrder = form.clamp_order if isinstance(form, Float) else "bounds"
    match order:
        case "bounds":
            # As np.clip, in half the time.
            return np.minimum(np.maximum(total, params.activation_min), params.activation_max)
        case "type_then_low":
            # The upper bound came before the zero point; INT32_MIN plus a negative zero point wraps to a large number,
            # and comes out as the type's maximum, above the bound.
            return np.maximum(np.minimum(total, params.dtype.qmax), params.activation_min)
        case never:
            assert_never(never)
