"""Requantization of whole arrays in few passes, where an accumulator's largest value shows that no register overflows.

It gives what `rules.requantize.vector` gives, bit for bit, for the forms that it has; for others there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..model.types import Array
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.forms import Float, OneRounding, TwoRoundings
from ..rules.requantize.vector import requantize, round_float

__all__ = ["Finish", "finisher"]

Finish = Callable[[Array, Array], None]
"""(accumulators `[..., out]`, where the outputs go). Accumulators are whole numbers as float32, float64 or int64, and
may be overwritten."""

# A rounded product with the zero point of 8 or 16 bits stays in 32 bits below this, and of 8 bits in 16 bits.
_FITS_32, _FITS_16 = 2.0**30, 2.0**15 - 1024
# Below this a product with a multiplier of 31 bits has 53 bits.
_EXACT = 1 << 22


def finisher(params: RequantParams, largest: int) -> Finish:
    """How accumulators of a layer become outputs.

    Args:
        params: the requantization's constants.
        largest: the largest absolute value that an accumulator can have, its bias included.
    """
    form = params.rule.requantize
    made: Finish | None = None
    wraps = params.rule.sums.bits != 64 and largest >= 2**31
    if params.activation_min <= params.activation_max and not wraps:
        match form:
            case Float():
                made = _by_float(params, form, largest)
            case TwoRoundings():
                made = _by_two_roundings(params, form, largest)
            case OneRounding():
                made = None
    return made or _by_rule(params)


def _by_rule(params: RequantParams) -> Finish:
    """Every step of the rule."""

    def finish(acc: Array, out: Array) -> None:
        out[...] = requantize(acc.astype(np.int64), params)["output"]

    return finish


def _by_float(params: RequantParams, form: Float, largest: int) -> Finish | None:
    """One product, one rounding. None where a product could leave the form's register."""
    kind = np.float32 if form.bits == 32 else np.float64
    factor = params.effective_scale.astype(kind)
    fits = _FITS_16 if form.out_of_range == "saturate16" else _FITS_32
    if form.bias != "in_acc" or largest * float(factor.max(initial=0)) >= fits:
        return None
    zero, tie = params.output_zero_point, form.tie
    low, high = kind(params.activation_min - zero), kind(params.activation_max - zero)

    def finish(acc: Array, out: Array) -> None:
        value = acc.astype(kind, copy=False)
        np.multiply(value, factor, out=value)
        if tie == "half_even":
            np.rint(value, out=value)
        else:
            value = round_float(tie, value)
        np.clip(value, low, high, out=value)
        np.add(value, kind(zero), out=value)
        np.copyto(out, value, casting="unsafe")

    return finish


def _by_two_roundings(params: RequantParams, form: TwoRoundings, largest: int) -> Finish | None:
    """The high half of a product, and a right shift. None where a shift could leave an int32."""
    left, right = np.maximum(params.shift, 0), np.maximum(-params.shift, 0)
    half = (np.int64(1) << right) >> 1
    if form.high != "half_up" or form.least_right or form.tie not in ("half_up", "half_away"):
        return None
    if right.max(initial=0) > 31 or largest << int(left.max(initial=0)) >= 2**30 or half.max(initial=0) >= 2**30:
        return None
    if largest << int(left.max(initial=0)) < _EXACT:
        return _by_exact_floats(params, np.ldexp(params.multiplier.astype(np.float64), left - 31), right, form)
    multiplier = params.multiplier << left
    zero, away = params.output_zero_point, form.tie == "half_away"
    # A negative value is moved by one where there is a shift.
    right_32, half_32, sign = right.astype(np.int32), half.astype(np.int32), -(right > 0).astype(np.int32)
    low, high = np.int32(params.activation_min - zero), np.int32(params.activation_max - zero)

    def finish(acc: Array, out: Array) -> None:
        wide: npt.NDArray[np.int64] = acc.astype(np.int64)
        wide *= multiplier
        wide += 1 << 30
        wide >>= 31
        value: npt.NDArray[np.int32] = wide.astype(np.int32)
        if away:
            value += (value >> 31) & sign
        value += half_32
        value >>= right_32
        np.clip(value, low, high, out=value)
        value += np.int32(zero)
        np.copyto(out, value, casting="unsafe")

    return finish


def _by_exact_floats(
    params: RequantParams, factor: npt.NDArray[np.float64], right: npt.NDArray[np.int64], form: TwoRoundings
) -> Finish:
    """The same where floats are exact: a product of 22 and 31 bits in float64, and its high half in float32."""
    zero, away = np.float32(params.output_zero_point), form.tie == "half_away"
    scale = np.ldexp(np.float32(1), -right).astype(np.float32)
    half = np.where(right > 0, np.float32(0.5), np.float32(0))
    low, high = np.float32(params.activation_min) - zero, np.float32(params.activation_max) - zero

    def finish(acc: Array, out: Array) -> None:
        wide = acc.astype(np.float64)
        wide *= factor
        wide += 0.5
        np.floor(wide, out=wide)
        value: npt.NDArray[np.float32] = wide.astype(np.float32)
        value *= scale
        if away:
            value += np.copysign(half, value)
            np.trunc(value, out=value)
        else:
            value += half
            np.floor(value, out=value)
        np.clip(value, low, high, out=value)
        value += zero
        np.copyto(out, value, casting="unsafe")

    return finish
