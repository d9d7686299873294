"""A cheaper form in integers: `((acc << left) * multiplier >> 32) + addend >> right` (see `thresholds`).

Ties and double roundings move thresholds a little, some of them the other way where accumulators are negative: these
may have an addend of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array
from .thresholds import StepPoints

__all__ = ["LINEAR", "LINEAR_SIGNED", "Linear", "fit_linear", "made_signed"]


@dataclass(frozen=True)
class Linear:
    """The form.

    Attributes:
        signed: whether accumulators below zero have an addend of their own.
    """

    signed: bool


LINEAR, LINEAR_SIGNED = Linear(False), Linear(True)

_MOST_RIGHT = 21


def fit_linear(layer: Sequence[StepPoints]) -> tuple[Linear, dict[str, Array]] | None:
    """The form and its slots, `[units]`; None where it differs for a unit."""
    parts = []
    for units in layer:
        part = _fit(units)
        if part is None:
            return None
        parts.append(part)
    slots = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    signed = bool((slots["less_if_negative"] != 0).any())
    if not signed:
        del slots["less_if_negative"]
    return LINEAR_SIGNED if signed else LINEAR, slots


def made_signed(slots: dict[str, Array]) -> dict[str, Array]:
    """The slots of `LINEAR` as those of `LINEAR_SIGNED`."""
    return slots | {"less_if_negative": np.zeros_like(slots["addend"])}


def _fit(units: StepPoints) -> dict[str, Array] | None:
    scale = units.scale
    exponent = 30 - np.floor(np.log2(scale)).astype(np.int64)  # the multiplier lies between 2^30 and 2^31
    bits = np.frexp(np.maximum(units.size, 1).astype(np.float64))[1].astype(np.int64)
    left = np.minimum(31 - bits, _MOST_RIGHT + 32 - exponent)
    right = exponent + left - 32
    if (left < 0).any() or (right < 1).any():
        return None
    nearest = np.rint(np.ldexp(scale, exponent.astype(np.int32))).astype(np.int64)
    found: dict[str, Array] | None = None
    for multiplier in (nearest, nearest + 1, nearest - 1):
        for signed in (False, True):
            addend, negative, good = _addends(units, multiplier, left, right, signed)
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


def _addends(
    units: StepPoints, multiplier: Int64Array, left: Int64Array, right: Int64Array, signed: bool
) -> tuple[Int64Array, Int64Array, npt.NDArray[np.bool_]]:
    """An addend, another for negative accumulators, and for which units they are right: `[units]` each."""

    def scaled(acc: Int64Array) -> Int64Array:
        return ((acc << left) * multiplier) >> 32

    # (value + addend) >> right >= k where addend >= (k << right) - value.
    wanted = units.k << right
    least, most = wanted - scaled(units.above), wanted - scaled(units.below) - 1
    limit = np.int64(2**30)

    def between(above: npt.NDArray[np.bool_], below: npt.NDArray[np.bool_]) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        at_least = np.where(above & units.has_above, least, -limit).max(axis=0, initial=-limit)
        at_most = np.where(below & units.has_below, most, limit).min(axis=0, initial=limit)
        return (at_least + at_most) >> 1, at_least <= at_most

    everything = np.ones_like(units.has_above)
    if not signed:
        addend, good = between(everything, everything)
        return addend, addend, good
    addend, good = between(units.above >= 0, units.below >= 0)
    negative, other = between(units.above < 0, units.below < 0)
    return addend, negative, good & other
