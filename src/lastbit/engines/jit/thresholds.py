"""A rule as its thresholds, from which a cheaper form is found that does the same.

A rule's output is a step function of the accumulator, with at most 255 thresholds. A cheaper form (`fused`, `linear`)
has constants for each unit. They are looked for so that its output passes from below k to k at the very threshold of
the rule, for every output k between the activation's bounds that the unit's accumulators can reach. Then both give the
same for every input. Where no such constants are found, the rule's own form stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import Float
from ...rules.requantize.step_tables import channel_count, overflows, take_channels
from ...rules.requantize.vector import requantize

__all__ = ["StepPoints", "thresholds"]

# Accumulators around the place where a threshold should be.
_WINDOW = np.arange(-2, 3)
_UNITS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class StepPoints:
    """Accumulators next to the thresholds of some units, `[outputs, units]`, and what else a form is found with.

    Attributes:
        k: outputs.
        above: the output is at least k here.
        below: less than k here.
        has_above: false where the unit does not reach that accumulator.
        has_below: the same of `below`.
        scale: the rule's factor, float64 `[units]`.
        size: the largest accumulator without its sign, `[units]`.
        zero_point: of the output.
    """

    k: Int64Array
    above: Int64Array
    below: Int64Array
    has_above: npt.NDArray[np.bool_]
    has_below: npt.NDArray[np.bool_]
    scale: npt.NDArray[np.float64]
    size: Int64Array
    zero_point: int

    def of(self, taken: Int64Array) -> StepPoints:
        """Those of some units, by their numbers."""
        return StepPoints(
            k=self.k[:, taken],
            above=self.above[:, taken],
            below=self.below[:, taken],
            has_above=self.has_above[:, taken],
            has_below=self.has_below[:, taken],
            scale=self.scale[taken],
            size=self.size[taken],
            zero_point=self.zero_point,
        )


def thresholds(params: RequantParams, low: Int64Array, high: Int64Array) -> list[StepPoints] | None:
    """A layer's thresholds, some units at a time.

    Args:
        params: the rule with its constants; for 32-bit sums and outputs of 8 bits.
        low: each unit's smallest accumulator, int64 `[out]`.
        high: its largest.

    Returns:
        The thresholds, of one unit where one holds for all. None where the rule's own form is as fast as a cheaper one,
        or a threshold is not where the scale says.
    """
    form = params.rule.requantize
    if (isinstance(form, Float) and form.bits == 32) or params.rule.sums.bits != 32 or params.dtype.bits != 8:
        return None
    scale = np.broadcast_to(np.asarray(params.effective_scale, np.float64), low.shape)
    if (np.maximum(np.abs(low), np.abs(high)) >= 2**30).any() or not ((scale > 0) & (scale <= 1)).all():
        return None
    if channel_count(params) == 1:
        # One table for all units: what holds for the widest range holds for each.
        low, high, scale = low.min(keepdims=True), high.max(keepdims=True), scale[:1]
    if overflows(params, low - 3, high + 3).any():
        return None
    parts = []
    for start in range(0, low.size, _UNITS_AT_ONCE):
        taken = np.arange(start, min(start + _UNITS_AT_ONCE, low.size))
        part = _thresholds(take_channels(params, taken), low[taken], high[taken], scale[taken])
        if part is None:
            return None
        parts.append(part)
    return parts


def _thresholds(params: RequantParams, low: Int64Array, high: Int64Array, scale: Array) -> StepPoints | None:
    """By asking the rule around the places where they should be; None where one is elsewhere."""
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
    return StepPoints(
        k=np.broadcast_to(k, first.shape),
        above=first,
        below=first - 1,
        has_above=first <= high,
        has_below=first > low,
        scale=scale,
        size=np.maximum(np.abs(low), np.abs(high)),
        zero_point=params.output_zero_point,
    )
