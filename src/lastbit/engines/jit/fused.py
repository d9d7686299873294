"""A cheaper form in float32: `acc * multiplier + addend` with one rounding, then to an integer (see `thresholds`).

That takes three instructions for a vector of sums. Ties that go away from zero are the same on both sides of it: for
these the addend has the accumulator's sign and the fraction is dropped, which takes five, with the zero point. A
float32 has 24 bits: constants are found for most layers with factors above a two thousandth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array
from .thresholds import StepPoints

__all__ = ["FUSED", "FUSED_SIGNED", "Fused", "fit_fused"]


@dataclass(frozen=True)
class Fused:
    """The form.

    Attributes:
        signed: whether the addend has the accumulator's sign and the fraction is dropped. Else the addend includes the
            zero point, and the nearest integer is taken, ties to even.
    """

    signed: bool


FUSED, FUSED_SIGNED = Fused(False), Fused(True)

Float32Array = npt.NDArray[np.float32]

_MOST_EXACT = 2**24  # larger accumulators are no float32
_LEAST_SCALE = 2.0**-20  # with smaller ones a float64 does not hold a product and an addend of up to 2^9
_LARGEST_ADDEND = 2.0**9
# Multipliers next to the scale, and addends between the smallest and the largest that should do, the middle first.
# Roundings, which move a total by less than this, decide which of them do.
_ROUNDINGS = 2.0**-12
_STEPS = sorted(range(-5, 6), key=abs)
_PLACES = sorted(np.linspace(-0.5, 1.5, 41).tolist(), key=lambda place: abs(place - 0.5))


def fit_fused(layer: Sequence[StepPoints]) -> tuple[Fused, dict[str, Array]] | None:
    """The form and its slots, float32 `[units]`; None where it differs for a unit."""
    if any((units.size >= _MOST_EXACT).any() or (units.scale < _LEAST_SCALE).any() for units in layer):
        return None
    for form in (FUSED, FUSED_SIGNED):
        parts = []
        for units in layer:
            part = _fit(units, form.signed)
            if part is None:
                break
            parts.append(part)
        else:
            multiplier, addend = (np.concatenate(values) for values in zip(*parts, strict=True))
            return form, {"multiplier": multiplier, "addend": addend}
    return None


def _fit(units: StepPoints, signed: bool) -> tuple[Float32Array, Float32Array] | None:
    nearest = units.scale.astype(np.float32)
    multipliers, addends = nearest.copy(), np.zeros_like(nearest)
    left = np.arange(nearest.size)
    for step in _STEPS:
        # Floats of one sign are ordered as their bits are.
        multiplier = (nearest.view(np.int32) + np.int32(step)).view(np.float32)
        least, most = _addends(units, multiplier, signed)
        if (least[left] > most[left] + _ROUNDINGS).any():
            return None
        for place in _PLACES:
            # Those that are not found yet.
            rest, factor = units.of(left), multiplier[left]
            addend = (least[left] + (most[left] - least[left]) * place).astype(np.float32)
            good = _is_the_rule(rest, factor, addend, signed)
            multipliers[left[good]], addends[left[good]] = factor[good], addend[good]
            left = left[~good]
            if not left.size:
                return multipliers, addends
    return None


def _addends(units: StepPoints, multiplier: Float32Array, signed: bool) -> tuple[Array, Array]:
    """The smallest and the largest addend that do, if nothing is rounded: float64 `[units]`."""
    factor = multiplier.astype(np.float64)
    above, below = units.above * factor, units.below * factor
    if signed:
        # Below zero the addend is subtracted, and the output is k where the total is above k - 1.
        k, up, down = units.k - float(units.zero_point), units.above >= 0, units.below >= 0
        at_least = [(k - above, units.has_above & up), (below - k + 1, units.has_below & ~down)]
        at_most = [(k - below, units.has_below & down), (above - k + 1, units.has_above & ~up)]
        least = 0.0
    else:
        k = units.k - 0.5
        at_least, at_most = [(k - above, units.has_above)], [(k - below, units.has_below)]
        least = -_LARGEST_ADDEND
    smallest = [np.where(where, values, least).max(axis=0, initial=least) for values, where in at_least]
    largest = [
        np.where(where, values, _LARGEST_ADDEND).min(axis=0, initial=_LARGEST_ADDEND) for values, where in at_most
    ]
    return np.max(smallest, axis=0), np.min(largest, axis=0)


def _is_the_rule(
    units: StepPoints, multiplier: Float32Array, addend: Float32Array, signed: bool
) -> npt.NDArray[np.bool_]:
    """For which units the form passes every threshold where the rule does: `[units]`."""

    def output(acc: Int64Array) -> Array:
        # Both terms and their sum fit a float64, so that only the last step rounds, as one instruction does.
        added = np.copysign(addend, acc) if signed else addend
        total = (acc * multiplier.astype(np.float64) + added).astype(np.float32)
        return np.trunc(total) + units.zero_point if signed else np.rint(total)

    enough = output(units.above) >= units.k
    less = output(units.below) < units.k
    return np.asarray((enough | ~units.has_above).all(axis=0) & (less | ~units.has_below).all(axis=0))
