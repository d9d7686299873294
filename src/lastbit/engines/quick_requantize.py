"""Requantization of whole arrays in few passes, where an accumulator's largest value shows that no register overflows.

It gives what `rules.requantize.vector` gives, bit for bit, for the forms that it has; for others there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..model.types import Array
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.forms import Float, OneRounding, TwoRoundings
from ..rules.requantize.vector import requantize, round_float
from .scratch import Scratch, line_aligned

__all__ = ["Finish", "finisher"]

Int64Array = npt.NDArray[np.int64]
Finish = Callable[[Array, Array, Scratch], None]
"""(sums `[rows, row]`, where the outputs go, memory). Sums are whole numbers as float32 or float64, without the bias,
and may be overwritten."""

# A rounded product with the zero point of 8 or 16 bits stays in 32 bits below this, and of 8 bits in 16 bits.
_FITS_32, _FITS_16 = 2.0**30, 2.0**15 - 1024
# Below this a product with a multiplier of 31 bits has 53 bits, and its high half 22.
_EXACT = 1 << 22


Constants = tuple[RequantParams, npt.NDArray[np.bool_], Int64Array]

# 2^-10 of a multiple of 2^10: exact in every form, and no sum of 24 bits leaves 16 bits with it.
_ONE_BY_1024 = 10


def constant_channels(params: RequantParams, low: Int64Array, high: Int64Array) -> Constants:
    """Channels that give one output whatever the input is, such as those that training has left without weights.

    Their accumulators are often the largest. A requantization never falls where no register overflows, so a channel is
    constant where its smallest and its largest accumulator give the same.

    Args:
        params: the requantization's constants.
        low: the smallest accumulator of each channel, `[out]`.
        high: the largest one.

    Returns:
        The constants with a scale of 2^-10 in those channels; which these are, `[out]`; and of each of them the
        accumulator that gives its output with that scale.
    """
    form = params.rule.requantize
    largest = np.maximum(np.abs(low), np.abs(high))
    if isinstance(form, Float):
        surely = largest * params.effective_scale < _FITS_16
        surely &= form.bias == "in_acc"
    else:
        surely = (params.shift <= 0) & (largest < 2**31)
    inside = np.where(surely, [low, high], 0)
    first, last = requantize(inside, params)["output"].astype(np.int64)
    constant = surely & (first == last) & (params.activation_min <= params.activation_max)
    if not constant.any():
        return params, constant, first[constant]
    scale = params.effective_scale.dtype.type(2.0**-_ONE_BY_1024)
    changed = replace(
        params,
        multiplier=np.where(constant, 1 << 30, params.multiplier),
        shift=np.where(constant, 1 - _ONE_BY_1024, params.shift),
        effective_scale=np.where(constant, scale, params.effective_scale),
    )
    return changed, constant, (first[constant] - params.output_zero_point) << _ONE_BY_1024


def finisher(params: RequantParams, bias: Int64Array, largest: Int64Array, repeat: int) -> Finish:
    """How sums of a layer become outputs.

    Args:
        params: the requantization's constants.
        bias: what is added to the sums, `[out]`.
        largest: the largest absolute value that a sum, a bias or both together can have, of each channel, `[out]`.
        repeat: how often all channels stand in a row, one time behind the other.
    """
    form = params.rule.requantize
    row = _Row(params, np.tile(bias, repeat), repeat)
    made: Finish | None = None
    wraps = params.rule.sums.bits != 64 and int(largest.max(initial=0)) >= 2**31
    if params.activation_min <= params.activation_max and not wraps:
        match form:
            case Float():
                made = _by_float(row, form, largest)
            case TwoRoundings():
                made = _by_two_roundings(row, form, largest)
            case OneRounding():
                made = None
    return made or _by_rule(row)


@dataclass(frozen=True, eq=False)
class _Row:
    """The constants of a requantization, and how often its channels stand in a row.

    Attributes:
        params: the constants.
        bias: for the whole row.
        repeat: how often channels are repeated.
    """

    params: RequantParams
    bias: Int64Array
    repeat: int

    def laid_out(self, values: Array) -> Array:
        """A constant of each channel, for the whole row; one of all channels stays one."""
        return values if values.size == 1 else line_aligned(np.tile(values, self.repeat))


def _copy(values: Array, kind: npt.DTypeLike, scratch: Scratch) -> Array:
    copied = scratch(np.dtype(kind).char, values.shape, kind)
    np.copyto(copied, values, casting="unsafe")
    return copied


def _by_rule(row: _Row) -> Finish:
    """Every step of the rule."""

    def finish(acc: Array, out: Array, scratch: Scratch) -> None:
        whole = acc.astype(np.int64) + row.bias
        out[...] = requantize(whole.reshape(out.shape), row.params)["output"]

    return finish


def _by_float(row: _Row, form: Float, largest: Int64Array) -> Finish | None:
    """One product, one rounding. None where a product could leave the form's register."""
    params = row.params
    kind = np.float32 if form.bits == 32 else np.float64
    fits = _FITS_16 if form.out_of_range == "saturate16" else _FITS_32
    if form.bias != "in_acc" or (largest * params.effective_scale).max(initial=0) >= fits:
        return None
    factor = row.laid_out(params.effective_scale.astype(kind))
    zero, tie = params.output_zero_point, form.tie
    low, high = kind(params.activation_min - zero), kind(params.activation_max - zero)
    biases = {kept: line_aligned(row.bias.astype(kept)) for kept in (np.float32, np.float64)}

    def finish(acc: Array, out: Array, scratch: Scratch) -> None:
        acc += biases[acc.dtype.type]
        value = acc if acc.dtype == kind else _copy(acc, kind, scratch)
        np.multiply(value, factor, out=value)
        if tie == "half_even":
            np.rint(value, out=value)
        else:
            value = round_float(tie, value)
        np.clip(value, low, high, out=value)
        np.add(value, kind(zero), out=value)
        np.copyto(out, value.reshape(out.shape), casting="unsafe")

    return finish


def _by_two_roundings(row: _Row, form: TwoRoundings, largest: Int64Array) -> Finish | None:
    """The high half of a product, and a right shift. None where a shift could leave an int32."""
    params = row.params
    left, right = np.maximum(params.shift, 0), np.maximum(-params.shift, 0)
    half = (np.int64(1) << right) >> 1
    if form.high != "half_up" or form.least_right or form.tie not in ("half_up", "half_away"):
        return None
    if right.max(initial=0) > 31 or left.max(initial=0) > 31 or half.max(initial=0) >= 2**30:
        return None
    reach = int((largest << left).max(initial=0)) if int(largest.max(initial=0)) < 2**31 else 2**31
    if reach >= 2**30:
        return None
    factor = np.ldexp(params.multiplier.astype(np.float64), left - 31)
    if reach + int(half.max(initial=0)) < _EXACT and right.max(initial=0) <= _MOST_RIGHT:
        return (_up_by_floats if form.tie == "half_up" else _away_by_floats)(row, factor, right)
    multiplier = row.laid_out(params.multiplier << left)
    zero, away = params.output_zero_point, form.tie == "half_away"
    # A negative value is moved by one where there is a shift.
    right_32, half_32, sign = (
        row.laid_out(values.astype(np.int32)) for values in (right, half, -(right > 0).astype(np.int32))
    )
    low, high = np.int32(params.activation_min - zero), np.int32(params.activation_max - zero)

    def finish(acc: Array, out: Array, scratch: Scratch) -> None:
        wide = _copy(acc, np.int64, scratch)
        wide += row.bias
        wide *= multiplier
        wide += 1 << 30
        wide >>= 31
        value = _copy(wide, np.int32, scratch)
        if away:
            value += (value >> 31) & sign
        value += half_32
        value >>= right_32
        np.clip(value, low, high, out=value)
        value += np.int32(zero)
        np.copyto(out, value.reshape(out.shape), casting="unsafe")

    return finish


# The zero point of 8 bits before so long a shift stays in an int32.
_MOST_RIGHT = 22


def _up_by_floats(row: _Row, factor: npt.NDArray[np.float64], right: Int64Array) -> Finish:
    """Both roundings half up, where products of 22 and 31 bits are exact in float64, and so are those of the bias.

    What the first rounding cuts off decides nothing in the second one: floor((floor(x) + n) / m) = floor((x + n) / m).
    """
    params = row.params
    scaled = row.laid_out(np.ldexp(factor, -right))
    half = (np.int64(1) << right) >> 1
    offset = line_aligned(row.bias * scaled + row.laid_out(np.ldexp(0.5 + half, -right)))
    zero = np.int32(params.output_zero_point)
    low, high = np.int32(params.activation_min) - zero, np.int32(params.activation_max) - zero

    def finish(acc: Array, out: Array, scratch: Scratch) -> None:
        wide = _copy(acc, np.float64, scratch)
        wide *= scaled
        wide += offset
        np.floor(wide, out=wide)
        value = _copy(wide, np.int32, scratch)
        np.clip(value, low, high, out=value)
        value += zero
        np.copyto(out, value.reshape(out.shape), casting="unsafe")

    return finish


def _away_by_floats(row: _Row, factor: npt.NDArray[np.float64], right: Int64Array) -> Finish:
    """The same with the second rounding half away, by a shift: where there is one, a negative value is moved by one."""
    params = row.params
    scaled = row.laid_out(factor)
    offset = line_aligned(row.bias * scaled + 0.5)
    half = ((np.int64(1) << right) >> 1) + (params.output_zero_point << right)
    down, added, moved = (row.laid_out(x.astype(np.int32)) for x in (right, half, np.where(right > 0, -1, 0)))
    low, high = np.int32(params.activation_min), np.int32(params.activation_max)

    def finish(acc: Array, out: Array, scratch: Scratch) -> None:
        wide = _copy(acc, np.float64, scratch)
        wide *= scaled
        wide += offset
        np.floor(wide, out=wide)
        value = _copy(wide, np.int32, scratch)
        sign = scratch("sign", value.shape, np.int32)
        np.right_shift(value, 31, out=sign)
        if not moved.all():
            sign &= moved
        value += sign
        value += added
        value >>= down
        np.clip(value, low, high, out=value)
        np.copyto(out, value.reshape(out.shape), casting="unsafe")

    return finish
