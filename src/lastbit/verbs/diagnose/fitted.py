"""Where nothing known fits: the factors that reproduce the output of a layer, and which number they suggest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...layers.mistakes.base import Case, Mistake
from ...layers.mistakes.pipeline import wrong_acc
from ...model.types import Array, Float64Array, Int64Array
from ...report.phrases import plural

__all__ = ["FITTED", "Fit", "fitted"]

Rounding = Literal["nearest", "down", "towards zero"]

_MOST = 4
"""Suggestions that are told."""
_LEAST = 4
"""Elements inside the range that each unit must have on average: fewer fit some factor by chance."""
_NEAR = 2.0**-23
"""How far a factor may be from an interval's end and count as right: runtimes round it to float32."""

FITTED = Mistake(
    "fitted_factor",
    "factor",
    "the factor s_x * s_w / s_y, or the output's zero point, is another number; the accumulator is right",
    "m = np.float64(s_x) * s_w / np.float64(s_y)  # the file's own scales, in full",
    "double m = (double)s_x * s_w[unit] / s_y;  /* the file's own scales, in full */",
    lambda factor: factor,
)
"""What is said where a factor fits that no mistake of the catalogue makes."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Factors that reproduce every element.

    Attributes:
        rounding: how values are rounded then.
        low: each unit's smallest factor, float64 `[out]`; 0 where nothing limits it.
        high: its largest; infinite where nothing limits it.
        right: the right factor, `[out]`.
        zero_point: the output's zero point that fits.
        right_zero_point: the right one.
        ratio: the factors over the right ones, where one number fits all units: its interval; else None.
        suggestions: numbers that lie in these intervals, in words, the plainest first.
    """

    rounding: Rounding
    low: Float64Array
    high: Float64Array
    right: Float64Array
    zero_point: int
    right_zero_point: int
    ratio: tuple[float, float] | None
    suggestions: tuple[str, ...]

    @property
    def text(self) -> str:
        """What was found, in words."""
        wide = np.where(self.low > 0, self.high / np.maximum(self.low, 1e-300), np.inf)
        wrong = self.wrong_units
        unit = int(np.argmin(wide)) if not len(wrong) else int(wrong[np.argmin(wide[wrong])])
        yours = f"Your factor{'' if self.low.size == 1 else f' of unit {unit}'} lies in "
        yours += f"[{self.low[unit]:.6g}, {self.high[unit]:.6g}]; right is {self.right[unit]:.7g}"
        if self.ratio is not None:
            low, high = self.ratio
            yours += f". In every unit it is {low:.6g} to {high:.6g} times the right one"
        elif len(wrong) < self.low.size:
            yours += f". It is right in the other {plural(self.low.size - len(wrong), 'unit')}" * (len(wrong) == 1)
            yours += f". It is wrong in {len(wrong)} of {self.low.size} units" * (len(wrong) > 1)
        if self.zero_point != self.right_zero_point:
            yours += f". Your output zero point is {self.zero_point}; right is {self.right_zero_point}"
        return f"{yours}. Values are rounded {_ROUNDED[self.rounding]}."

    @property
    def wrong_units(self) -> npt.NDArray[np.intp]:
        """The units whose right factor does not lie in the interval."""
        return np.flatnonzero((self.right < self.low * (1 - _NEAR)) | (self.right > self.high * (1 + _NEAR)))

    @property
    def by_unit(self) -> list[tuple[int, str, str, str]]:
        """Of factors that no one number makes of the right ones: each wrong unit's interval, and the right factor."""
        if self.ratio is not None:
            return []
        return [
            (int(unit), f"{self.low[unit]:.6g}", f"{self.high[unit]:.6g}", f"{self.right[unit]:.7g}")
            for unit in self.wrong_units
        ]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "rounding": self.rounding,
            "low": [float(v) for v in self.low],
            "high": [float(v) for v in self.high],
            "right": [float(v) for v in self.right],
            "zero_point": self.zero_point,
            "right_zero_point": self.right_zero_point,
            "ratio": None if self.ratio is None else [*self.ratio],
            "suggestions": list(self.suggestions),
        }


_COPIED = (("s_x",), ("s_w",), ("s_y",), ("s_x", "s_w"), ("s_x", "s_y"), ("s_w", "s_y"), ("s_x", "s_w", "s_y"))
"""Scales that are copied with fewer digits together."""

_ROUNDED: dict[Rounding, str] = {
    "nearest": "to the nearest, as they should be",
    "down": "down; they should be rounded to the nearest",
    "towards zero": "towards zero; they should be rounded to the nearest",
}


def fitted(case: Case, mine: Array, counted: npt.NDArray[np.bool_] | None = None) -> Fit | None:
    """Factors with which the right accumulators give every element; None where there are none, or too little is known.

    Args:
        case: the layer and its input.
        mine: the output, whole steps `[rows, out]`.
        counted: the elements that are to be reproduced; None for all.
    """
    if case.layer.given is not None:
        return None
    acc = wrong_acc(case, {})
    low, high = case.prepared.requant.activation_min, case.prepared.requant.activation_max
    used = np.ones(mine.shape, bool) if counted is None else counted
    inside = (mine > low) & (mine < high) & used
    if inside.sum() < _LEAST * mine.shape[1]:
        return None
    right = np.broadcast_to(case.scales.factor, (mine.shape[1],)).astype(np.float64)
    others = sorted(range(low - 1, high + 1), key=lambda zero: abs(zero - case.zy))
    for zero_points in ([case.zy], others):
        for zero_point in zero_points:
            for rounding in _ROUNDED:
                ends = _intervals(acc, mine - zero_point, (mine <= low, mine >= high), used, rounding)
                if ends is not None:
                    return _fit(case, rounding, *ends, right, zero_point)
    return None


def _intervals(
    acc: Int64Array,
    steps: Array,
    at_ends: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    used: npt.NDArray[np.bool_],
    rounding: Rounding,
) -> tuple[Float64Array, Float64Array] | None:
    """Each unit's smallest and largest factor with which acc rounds to these steps; None where none does."""
    match rounding:
        case "nearest":
            below, above = steps - 0.5, steps + 0.5
        case "down":
            below, above = steps + 0.0, steps + 1.0
        case "towards zero":
            below, above = np.where(steps > 0, steps, steps - 1.0), np.where(steps < 0, steps, steps + 1.0)
    below = np.where(at_ends[0], -np.inf, below)
    above = np.where(at_ends[1], np.inf, above)
    zero = acc == 0
    if (used & zero & ((below > 0) | (above < 0))).any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = below / acc, above / acc
    counted = used & ~zero
    low = np.where(counted, np.where(acc > 0, one, other), -np.inf).max(axis=0)
    high = np.where(counted, np.where(acc > 0, other, one), np.inf).min(axis=0)
    low = np.maximum(low, 0.0)
    if (low > high * (1 + 1e-12)).any() or not np.isfinite(high).any() or not (high > 0).all():
        return None
    return low, high


def _fit(
    case: Case, rounding: Rounding, low: Float64Array, high: Float64Array, right: Float64Array, zero_point: int
) -> Fit:
    over, under = float((low / right).max()), float((high / right).min())
    ratio = (over, under) if 0 < over <= under * (1 + 1e-12) < np.inf else None
    if ratio is not None and case.scales.factor.size == 1:
        low, high, right = (np.asarray([end]) for end in (low.max(), high.min(), right[0]))
    suggestions = [*_suggested(case, low, high), *([] if ratio is None else _alone(case, ratio))]
    return Fit(rounding, low, high, right, zero_point, case.zy, ratio, tuple(suggestions[:_MOST]))


def _alone(case: Case, ratio: tuple[float, float]) -> Iterator[str]:
    """One scale of few digits that makes the factor, where the other two are right."""
    scales, (low, high) = case.scales, ratio
    for name, least, largest in (
        ("s_x", scales.input * low, scales.input * high),
        ("s_w", float(scales.weights[0]) * low, float(scales.weights[0]) * high),
        ("s_y", scales.output / high, scales.output / low),
    ):
        if name == "s_w" and scales.weights.size > 1:
            continue
        short = next(
            (value for digits in (1, 2, 3) if least <= (value := _short(least, largest, digits)) <= largest), None
        )
        if short is not None:
            yield f"{name} = {short:.10g} with the other two scales right"


def _short(low: float, high: float, digits: int) -> float:
    """The middle of an interval with this many significant digits."""
    return float(f"{(low + high) / 2:.{digits - 1}e}")


def _suggested(case: Case, low: Float64Array, high: Float64Array) -> Iterator[str]:
    """Numbers of few digits that lie in the intervals: scales and factors as people copy them."""
    scales = case.scales
    for kind, rounded in _roundings():
        inputs, weights, output = (
            rounded(np.float64(scales.input)), rounded(scales.weights), rounded(np.float64(scales.output))
        )  # fmt: skip
        values: dict[str, tuple[Any, Any]] = {
            "s_x": (scales.input, inputs),
            "s_w": (scales.weights, weights),
            "s_y": (scales.output, output),
        }
        for names in _COPIED:
            s_x, s_w, s_y = (np.asarray(values[name][name in names]) for name in ("s_x", "s_w", "s_y"))
            with np.errstate(all="ignore"):
                factor = np.broadcast_to(np.asarray(s_x * s_w / s_y), low.shape)
            if ((factor >= low) & (factor <= high)).all():
                yield f"{_named(names, values)} {'is' if len(names) == 1 else 'are'} the right number with {kind}"
        factor = np.broadcast_to(rounded(scales.factor), low.shape)
        if ((factor >= low) & (factor <= high)).all():
            yield f"{factor[0]:.10g} is the right factor{' of unit 0' * (factor.size > 1)} with {kind}"


def _named(names: tuple[str, ...], values: Any) -> str:
    shown = [f"{name} = {float(np.atleast_1d(values[name][1])[0]):.10g}" for name in names]
    return " and ".join(shown) if len(shown) < 3 else ", ".join(shown)


def _roundings() -> Iterator[tuple[str, Any]]:
    """Ways to copy a number: by significant digits, then by decimals; the fewest first."""
    words = ("one", "two", "three", "four", "five", "six", "seven")
    for digits in range(1, 8):
        yield f"{words[digits - 1]} digit{'s' * (digits > 1)}", lambda value, digits=digits: _to_digits(value, digits)
        yield f"{words[digits - 1]} decimal{'s' * (digits > 1)}", lambda value, digits=digits: np.round(value, digits)


def _to_digits(value: Any, digits: int) -> Float64Array:
    values = np.asarray(value, np.float64)
    return np.asarray([float(f"{v:.{digits - 1}e}") for v in values.ravel()]).reshape(values.shape)
