"""Every set of mistakes from the scales to the clamp, for a few elements: stacks of scales meet stacks of accumulators.

What comes before the scaling is one stack (`prefixes`), the mistakes in the scales are another: each pair of
them is one array operation. The few mistakes that remain are taken one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...layers.mistakes import Mistake, applicable
from ...layers.mistakes.base import Case, ScaleValues
from ...layers.mistakes.pipeline import WIDE, Accumulated, Scaling, finish, fold_scales, whole_steps
from ...layers.mistakes.sums import Elements
from ...model.types import Array
from ...rules.requantize.fold import RequantParams

__all__ = ["ScaleSets", "Stage", "Suffix", "suffixes"]

_SCALES = ("channels", "members", "digits", "factor")
_BESIDE_FAMILIES = {"rounding", "output_zero_point"}
"""Where one mistake more is looked for beside one of a family."""
_REST = ("combine", "rounding", "output_zero_point", "activation", "range")


@dataclass(frozen=True)
class Stage:
    """How far the layer is calculated.

    Attributes:
        real: up to the value before the rounding.
        scaled: up to whole output steps (or, with `real`, to the value before the rounding) without the zero point.
        wide: up to an output whose type holds more than the layer's.
    """

    real: bool = False
    scaled: bool = False
    wide: bool = False

    def reaches(self, mistake: Mistake) -> bool:
        """Whether a mistake is within what is calculated."""
        if self.real and mistake.slot in ("rounding", "activation", "range"):
            return False
        if self.scaled and mistake.slot in ("output_zero_point", "activation", "range"):
            return False
        return (self.wide and not self.scaled) or mistake.name not in WIDE


class ScaleSets:
    """Constants with mistakes in the scales, stacked by how many there are: arrays `[sets, elements]`.

    A set that makes the same scales as a smaller one is left out: the smaller one explains as much.

    Args:
        case: the layer and its input.
        grid: the elements.
    """

    def __init__(self, case: Case, grid: Elements) -> None:
        self._case, self._grid = case, grid
        self._stacks: dict[int, tuple[list[dict[str, Mistake]], RequantParams]] = {}
        self._families: tuple[list[dict[str, Mistake]], RequantParams] | None = None
        self._slots: dict[str, list[Mistake | None]] = {slot: [None] for slot in (*_SCALES, "fixed_point")}
        for mistake in applicable(case.prepared):
            if mistake.slot in self._slots:
                self._slots[mistake.slot].append(mistake)
        self._scales: dict[int, list[tuple[dict[str, Mistake], ScaleValues]]] = {0: [({}, case.scales)]}
        self._seen = {_key(case.scales)}

    def of(self, count: int) -> tuple[list[dict[str, Mistake]], RequantParams]:
        """All sets of exactly this many mistakes, and their constants."""
        if count not in self._stacks:
            no_mistake: Mistake | None = None
            parts = [(self._scale_sets(count), no_mistake)]
            if count:
                parts += [(self._scale_sets(count - 1), fixed) for fixed in self._slots["fixed_point"] if fixed]
            self._stacks[count] = self._stacked(parts)
        return self._stacks[count]

    def families(self) -> tuple[list[dict[str, Mistake]], RequantParams]:
        """Each mistake of a family, such as a number of digits, and its constants; not what a plain one makes too."""
        if self._families is None:
            self._scale_sets(1)
            no_mistake: Mistake | None = None
            members = [m for m in applicable(self._case.prepared, families=True) if m.alone and m.slot in self._slots]
            one_each: list[tuple[dict[str, Mistake], ScaleValues]] = []
            for mistake in members:
                if mistake.slot == "fixed_point":
                    continue
                with np.errstate(all="ignore"):
                    scales = mistake.function(self._case, self._case.scales)
                if _key(scales) not in self._seen:
                    one_each.append(({mistake.slot: mistake}, scales))
            parts = [(one_each, no_mistake)]
            parts += [(self._scale_sets(0), fixed) for fixed in members if fixed.slot == "fixed_point"]
            self._families = self._stacked(parts)
        return self._families

    def _stacked(
        self, parts: list[tuple[list[tuple[dict[str, Mistake], ScaleValues]], Mistake | None]]
    ) -> tuple[list[dict[str, Mistake]], RequantParams]:
        """Sets of mistakes in the scales, each with one in the multiplier or none, and the constants of all."""
        names: list[dict[str, Mistake]] = []
        stacks: list[tuple[Array, Array, Array]] = []
        for sets, fixed in parts:
            if not sets:
                continue
            factor, multiplier, shift = self._folded(sets)
            if fixed is not None:
                multiplier, shift = fixed.function(multiplier, shift)
            names += [chosen if fixed is None else {**chosen, "fixed_point": fixed} for chosen, _ in sets]
            stacks.append((self._at(factor), self._at(multiplier), self._at(shift)))
        params = whole_steps(self._case.prepared.requant, self._grid)
        if names:
            factor, multiplier, shift = (np.concatenate(group) for group in zip(*stacks, strict=True))
            params = replace(params, effective_scale=factor, multiplier=multiplier, shift=shift)
        return names, params

    def _at(self, values: Array) -> Array:
        """`[sets, out]` or `[sets, 1]` at the elements."""
        unit = self._grid.unit
        shape = (len(values), len(unit))
        return values[:, unit] if values.shape[1] > 1 else np.broadcast_to(values, shape)

    def _folded(self, sets: list[tuple[dict[str, Mistake], ScaleValues]]) -> tuple[Array, Array, Array]:
        """Factor, multiplier and shift of each set, `[sets, out]`; sets of one precision in one step."""
        right = self._case.prepared.requant
        shape = len(sets), self._case.layer.units if any(scales.weights.size > 1 for _, scales in sets) else 1
        result: tuple[Array, Array, Array] = np.empty(shape), np.empty(shape, np.int64), np.empty(shape, np.int64)
        # A factor that was given keeps its own multiplier and shift, which `fold_scales` looks for one by one.
        given = right.rule.scales.product == "given"
        kinds = [[i] for i in range(len(sets))] if given else _positions([scales.product for _, scales in sets])
        for at in kinds:
            some = [sets[i][1] for i in at]
            params = fold_scales(right, some[0] if given else _stack(some, shape[1]))
            for array, name in zip(result, ("effective_scale", "multiplier", "shift"), strict=True):
                with np.errstate(over="ignore"):
                    array[at] = getattr(params, name)
        return result

    def _scale_sets(self, count: int) -> list[tuple[dict[str, Mistake], ScaleValues]]:
        for size in range(1, count + 1):
            if size in self._scales:
                continue
            found = []
            keys = set()
            for chosen in _combinations(self._slots, _SCALES, size):
                scales = self._case.scales
                for mistake in chosen.values():
                    with np.errstate(all="ignore"):
                        scales = mistake.function(self._case, scales)
                key = _key(scales)
                if key not in self._seen:
                    found.append((chosen, scales))
                    keys.add(key)
            self._seen |= keys
            self._scales[size] = found
        return self._scales[count]


def _key(scales: ScaleValues) -> tuple[float, bytes, float, str]:
    return scales.input, scales.weights.tobytes(), scales.output, scales.product


def _positions(kinds: Sequence[str]) -> list[list[int]]:
    """Where each kind stands."""
    return [[i for i, kind in enumerate(kinds) if kind == one] for one in dict.fromkeys(kinds)]


def _stack(sets: Sequence[ScaleValues], units: int) -> ScaleValues:
    """Scales of one precision as columns `[sets, 1]`, and `[sets, units]` of the weights."""
    weights = np.stack([np.broadcast_to(scales.weights, units) for scales in sets])
    inputs: Any = np.asarray([[scales.input] for scales in sets])
    outputs: Any = np.asarray([[scales.output] for scales in sets])
    return ScaleValues(inputs, weights, outputs, sets[0].product)


class _Scaled:
    """Accumulators taken to output steps by one rounding; each pair of stacks once."""

    def __init__(
        self, sets: ScaleSets, combine: Mistake | None, rounding: Mistake | None, pre: int, zy: int, real: bool
    ) -> None:
        self._sets, self._combine, self._rounding = sets, combine, rounding
        self._pre, self._zy, self._real = pre, zy, real
        self._done: dict[tuple[int, int, bool], Array] = {}

    def of(self, given: Accumulated, count: int, scales: int, families: bool) -> Array:
        """`[prefix sets, scale sets, elements]`; the accumulators are told apart by their number of mistakes."""
        key = count, scales, families
        if key not in self._done:
            constants = self._sets.families() if families else self._sets.of(scales)
            scaling = Scaling(constants[1], self._combine, self._rounding, self._zy)
            real_part = None if given.real_part is None else given.real_part[:, None, :]
            start = Accumulated(given.acc[:, None, :], _middle(given.after), _middle(given.apart), real_part)
            function = scaling.with_late_bias_real if self._real else scaling.with_late_bias
            self._done[key] = function(start.acc + self._pre, start)
        return self._done[key]


def _middle(values: Array | int) -> Array | int:
    return values if isinstance(values, int) else values[:, None, :]


@dataclass(frozen=True, eq=False)
class Suffix:
    """One set of mistakes after the scales, with a number of those in the scales.

    Attributes:
        chosen: slot -> mistake, after the scales.
        scales: how many mistakes there are in the scales.
        families: whether the one in the scales is one of a family, such as a number of digits.
    """

    chosen: Mapping[str, Mistake]
    scales: int
    case: Case
    scaled: _Scaled
    stage: Stage
    families: bool = False

    def apply(self, given: Accumulated, count: int) -> Array:
        """A stack of accumulators with `count` mistakes to outputs, `[prefix sets, scale sets, elements]`."""
        value = self.scaled.of(given, count, self.scales, self.families)
        if self.stage.scaled:
            return value
        if not self.stage.real:
            return finish(self.case, value, self.chosen)
        post = self.case.zy
        if "output_zero_point" in self.chosen:
            post = self.chosen["output_zero_point"].function(self.case)[1]
        return value + post


def suffixes(case: Case, sets: ScaleSets, most: int, stage: Stage) -> Iterator[Suffix]:
    """Every set of up to `most` mistakes.

    Args:
        case: the layer and its input.
        sets: the mistakes in the scales.
        most: how many mistakes, those in the scales included.
        stage: how far to calculate.
    """
    slots: dict[str, list[Mistake | None]] = {slot: [None] for slot in _REST}
    for mistake in applicable(case.prepared, families=most == 1):
        if mistake.slot in slots and stage.reaches(mistake):
            slots[mistake.slot].append(mistake)
    for combine in slots["combine"]:
        for rounding in slots["rounding"]:
            first = {m.slot: m for m in (combine, rounding) if m is not None}
            if len(first) > most:
                continue
            shared: dict[int, _Scaled] = {}
            for zero_point in slots["output_zero_point"]:
                pre = 0 if zero_point is None else zero_point.function(case)[0]
                if pre not in shared:
                    shared[pre] = _Scaled(sets, combine, rounding, pre, case.zy, stage.real)
                for activation in slots["activation"]:
                    for stored in slots["range"]:
                        last = {m.slot: m for m in (zero_point, activation, stored) if m is not None}
                        left = most - len(first) - len(last)
                        for scales in range(left + 1):
                            yield Suffix({**first, **last}, scales, case, shared[pre], stage)
                        if left == 1 and {*first, *last} <= _BESIDE_FAMILIES:
                            yield Suffix({**first, **last}, 1, case, shared[pre], stage, families=True)


def _combinations(
    slots: Mapping[str, list[Mistake | None]], names: tuple[str, ...], count: int
) -> Iterator[dict[str, Mistake]]:
    """One mistake each from this many of the slots."""
    if not names:
        if count == 0:
            yield {}
        return
    for mistake in slots[names[0]]:
        if mistake is None:
            yield from _combinations(slots, names[1:], count)
        elif count:
            for rest in _combinations(slots, names[1:], count - 1):
                yield {mistake.slot: mistake, **rest}
