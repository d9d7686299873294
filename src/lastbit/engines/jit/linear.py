"""One cheap form in place of many: `((acc << left) * multiplier >> 32) + addend >> right`, where that is the same.

A rule's output is a step function of the accumulator, with at most 255 thresholds. For each unit, constants are looked
for with which the expression passes from below k to k at the very threshold of the rule, for every output k between the
activation's bounds that the unit's accumulators can reach. Then both give the same for every input. Ties and double
roundings move thresholds a little, some of them the other way where accumulators are negative: these may have an addend
of their own. Where no such constants are found, the rule's own form stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import Float
from ...rules.requantize.step_tables import channel_count, overflows, take_channels
from ...rules.requantize.vector import requantize

__all__ = ["LINEAR", "LINEAR_SIGNED", "Linear", "fit_linear"]


@dataclass(frozen=True)
class Linear:
    """The cheap form.

    Attributes:
        signed: whether accumulators below zero have an addend of their own.
    """

    signed: bool


LINEAR, LINEAR_SIGNED = Linear(False), Linear(True)

_MOST_RIGHT = 21
# Accumulators around the place where a threshold should be.
_WINDOW = np.arange(-2, 3)
_UNITS_AT_ONCE = 32


class _Points(NamedTuple):
    """Accumulators next to the thresholds, `[outputs, units]`: the output is at least `k` at `above`, less at `below`.

    Where a mask is false, the unit does not reach that accumulator.
    """

    k: Int64Array
    above: Int64Array
    below: Int64Array
    has_above: npt.NDArray[np.bool_]
    has_below: npt.NDArray[np.bool_]


def fit_linear(params: RequantParams, low: Int64Array, high: Int64Array) -> tuple[Linear, dict[str, Array]] | None:
    """A layer's constants for the cheap form.

    Args:
        params: the rule with its constants; for 32-bit sums and outputs of 8 bits.
        low: each unit's smallest accumulator, int64 `[out]`.
        high: its largest.

    Returns:
        The form, and its slots. None where its own form is as fast, or differs for a unit.
    """
    form = params.rule.requantize
    if (isinstance(form, Float) and form.bits == 32) or params.rule.sums.bits != 32 or params.dtype.bits != 8:
        return None
    scale = np.broadcast_to(np.asarray(params.effective_scale, np.float64), low.shape)
    size = np.maximum(np.abs(low), np.abs(high))
    if (size >= 2**30).any() or not ((scale > 0) & (scale <= 1)).all():
        return None
    if channel_count(params) == 1:
        # One table for all units: what holds for the widest range holds for each.
        low, high, scale = low.min(keepdims=True), high.max(keepdims=True), scale[:1]
    if overflows(params, low - 3, high + 3).any():
        return None
    parts = []
    for start in range(0, low.size, _UNITS_AT_ONCE):
        taken = np.arange(start, min(start + _UNITS_AT_ONCE, low.size))
        part = _fit(take_channels(params, taken), low[taken], high[taken], scale[taken])
        if part is None:
            return None
        parts.append(part)
    slots = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    signed = bool((slots["less_if_negative"] != 0).any())
    if not signed:
        del slots["less_if_negative"]
    return LINEAR_SIGNED if signed else LINEAR, slots


def _fit(params: RequantParams, low: Int64Array, high: Int64Array, scale: Array) -> dict[str, Array] | None:
    points = _points(params, low, high, scale)
    if points is None:
        return None
    exponent = 30 - np.floor(np.log2(scale)).astype(np.int64)  # the multiplier lies between 2^30 and 2^31
    bits = np.frexp(np.maximum(np.maximum(np.abs(low), np.abs(high)), 1).astype(np.float64))[1].astype(np.int64)
    left = np.minimum(31 - bits, _MOST_RIGHT + 32 - exponent)
    right = exponent + left - 32
    if (left < 0).any() or (right < 1).any():
        return None
    nearest = np.rint(np.ldexp(scale, exponent.astype(np.int32))).astype(np.int64)
    found: dict[str, Array] | None = None
    for multiplier in (nearest, nearest + 1, nearest - 1):
        for signed in (False, True):
            addend, negative, good = _addends(points, multiplier, left, right, signed)
            good &= (multiplier < 2**31) & (multiplier > 0)
            made = {"multiplier": multiplier, "left": left, "right": right, "addend": addend}
            made |= {"less_if_negative": addend - negative}
            if found is None:
                found, fits = made, good
                continue
            better = good & ~fits
            found = {name: np.where(better, made[name], values) for name, values in found.items()}
            fits |= good
        if fits.all():
            return found
    return None


def _points(params: RequantParams, low: Int64Array, high: Int64Array, scale: Array) -> _Points | None:
    """The thresholds, by asking the rule around the places where they should be; None where one is elsewhere."""
    k = np.arange(params.activation_min + 1, params.activation_max + 1)[:, None]
    guess = np.ceil((k - params.output_zero_point - 0.5) / scale)
    guess = np.clip(guess, low - 1, high + 1).astype(np.int64)
    outputs = requantize((guess + _WINDOW[:, None, None]).reshape(-1, low.size), params)["output"]
    reached = outputs.reshape(len(_WINDOW), *guess.shape).astype(np.int64) >= k
    first = guess + _WINDOW[0] + np.argmax(reached, axis=0)
    # Where nothing in the window is enough, or all is, the threshold must lie beyond what the unit reaches.
    none, whole = ~reached.any(axis=0), reached.all(axis=0)
    if (none & (guess + _WINDOW[-1] < high)).any() or (whole & (guess + _WINDOW[0] > low)).any():
        return None
    first = np.where(none, high + 1, np.where(whole, low, np.clip(first, low, high + 1)))
    return _Points(np.broadcast_to(k, first.shape), first, first - 1, first <= high, first > low)


def _addends(
    points: _Points, multiplier: Int64Array, left: Int64Array, right: Int64Array, signed: bool
) -> tuple[Int64Array, Int64Array, npt.NDArray[np.bool_]]:
    """An addend, another for negative accumulators, and for which units they are right: `[units]` each."""

    def scaled(acc: Int64Array) -> Int64Array:
        return ((acc << left) * multiplier) >> 32

    # (value + addend) >> right >= k where addend >= (k << right) - value.
    wanted = points.k << right
    least, most = wanted - scaled(points.above), wanted - scaled(points.below) - 1
    limit = np.int64(2**30)

    def between(above: npt.NDArray[np.bool_], below: npt.NDArray[np.bool_]) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        at_least = np.where(above & points.has_above, least, -limit).max(axis=0, initial=-limit)
        at_most = np.where(below & points.has_below, most, limit).min(axis=0, initial=limit)
        return (at_least + at_most) >> 1, at_least <= at_most

    everything = np.ones_like(points.has_above)
    if not signed:
        addend, good = between(everything, everything)
        return addend, addend, good
    addend, good = between(points.above >= 0, points.below >= 0)
    negative, other = between(points.above < 0, points.below < 0)
    return addend, negative, good & other
