"""The search for mistakes that reproduce an output: every set of one, then two, then three, in every arithmetic.

Candidates are calculated on a few telling elements, many at a time; what fits there is calculated on more, and then
on all. So nothing is reported that does not reproduce every element.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import WHOLE, Mistake
from ...layers.mistakes.pipeline import accumulate, wrong_matrix
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense
from .after_scaling import ScaleSets, Stage, suffixes
from .before_scaling import Prefixes
from .calculated import Calculated
from .target import Arithmetic, Nearest, Reproduction, Target, equal

__all__ = ["FEW", "Search", "telling_elements"]

FEW = 48
"""Elements on which every candidate is calculated."""

MOST_VERIFIED = 400
"""Candidates that fit the few elements are calculated in full for at most this many, the likeliest first."""

_NEAR, _ADDED = 0.75, 16
"""Where the nearest reproduces this share of the few elements, so many are added that it does not reproduce."""

NEAREST_TRIED = 24
"""Of each level so many of what comes nearest on the few elements are calculated in full, where nothing fits."""

MANY_ROWS, SOME_ROWS = 4096, 256
"""Of an output with more rows, candidates are calculated on some rows, wrong ones among them, before on all."""

MUCH_NEARER = 8
"""Of explanations of real values, one that comes nearer by this factor is meant, and not the others."""

_PRECISION = frozenset(("factor_in_float32", "factor_in_float64", "factor_stored_as_float32"))
"""Real values that differ by these alone are called equal: float32's precision is what they are compared with."""

_WORTH = 0.02
"""A mistake more must win this share of all elements to count as nearer, where nothing fits."""

REAL_FLOOR = 2.0**-24
"""Real values are compared no finer than this."""


@dataclass
class _Hit:
    arithmetic: Arithmetic
    chosen: dict[str, Mistake]
    count: int
    tried: int

    @property
    def fits(self) -> bool:
        """Whether it reproduces all elements on which it was tried."""
        return self.count == self.tried


@dataclass
class Search:
    """One search: a layer, its input, the arithmetics, and the target.

    Attributes:
        calculated: the layer's input, and what was calculated from it.
        arithmetics: those to try, the asked one first.
        target: what is to be reproduced.
        first: the runtime that is preferred among equals.
        input_asked: whether quantizing the input is in question, so that mistakes there come first among equals.
        limit: real values must come within this.
        residual: how near the nearest of what `level` found comes to real values.
    """

    calculated: Calculated
    arithmetics: Sequence[Arithmetic]
    target: Target
    first: str
    input_asked: bool = False
    limit: float = np.inf
    residual: float = 0.0
    _some: npt.NDArray[np.int64] | None = field(default=None, init=False)
    _unfit: list[list[_Hit]] = field(default_factory=list, init=False)
    _prefixes: dict[tuple[int, int, int], Prefixes] = field(default_factory=dict)
    _scale_sets: dict[int, ScaleSets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        right = self.calculated.output(self.arithmetics[0].prepared, {}, Stage(), None)
        rng = np.random.default_rng(5)
        self._few = telling_elements(right, self.target, FEW, rng)
        self._some = None
        if len(right) > MANY_ROWS:
            wrong = np.flatnonzero((right != self.target.values).any(axis=1))
            drawn = rng.choice(wrong, min(SOME_ROWS, len(wrong)), replace=False)
            self._some = np.unique(np.append(drawn, rng.integers(0, len(right), SOME_ROWS)))

    @property
    def worth(self) -> float:
        """Elements that a mistake more must win for what is nearest: among thousands of sets some win a few."""
        return max(2.0, _WORTH * self.target.size)

    @property
    def right_elements(self) -> int:
        """How many elements of the target are right in the first arithmetic."""
        return int(self.target.matches(self._output(self.arithmetics[0].prepared, {})).sum())

    def level(self, count: int) -> list[Reproduction]:
        """Every set of this many mistakes that reproduces the target, the likeliest first.

        A layout mistake that the target has been freed of counts.
        """
        layout = self.target.layout
        inner = count - (layout is not None)
        if inner < 0:
            return []
        hits: list[_Hit] = []
        for arithmetic in self.arithmetics:
            hits += self._hits(arithmetic, inner)
            if inner == 1:
                hits += self._whole(arithmetic)
        complete = [hit for hit in hits if hit.fits]
        found = self._verified(complete)
        if not found and hits:
            self._unfit.append(sorted(hits, key=lambda hit: -hit.count)[:NEAREST_TRIED])
            self._look_where_it_fails(self._unfit[-1][0])
        return found

    def _look_where_it_fails(self, hit: _Hit) -> None:
        """Add elements to the few on which every candidate is tried, where the few say too little of what comes near.

        One mistake may make nearly every element what it is; what is made beside it shows in the rest alone.
        """
        if hit.count < _NEAR * hit.tried:
            return
        wrong = ~equal(self._output(hit.arithmetic.prepared, hit.chosen), self.target.values, self.limit)
        if self.target.counted is not None:
            wrong &= self.target.counted
        row, unit = np.nonzero(wrong)
        some = np.unique(np.linspace(0, len(row) - 1, _ADDED).astype(np.int64)) if len(row) else np.zeros(0, np.int64)
        self._few = np.append(self._few[0], row[some]), np.append(self._few[1], unit[some])
        self._prefixes.clear()
        self._scale_sets.clear()

    def longer(self, found: list[Reproduction], count: int, most: int) -> list[Reproduction]:
        """Larger sets in place of what was found, where they come much nearer to real values.

        Real values are compared with float32's precision. Where the array has more, what is left over may show a
        mistake more, such as scales that are nearly equal. An array that was rounded to float32 has noise there.

        Args:
            found: what `level` gave for a number of mistakes.
            count: that number.
            most: the largest number to try.
        """
        values = self.target.values
        if not found or not self.target.stage.real or bool((values == values.astype(np.float32)).all()):
            return found
        for size in range(count + 1, most + 1):
            if self.residual <= REAL_FLOOR:
                break
            self.limit = self.residual / MUCH_NEARER
            nearer = self.level(size)
            more = [e for e in nearer if not any(set(e.mistakes) - set(f.mistakes) <= _PRECISION for f in found)]
            if nearer and not more:
                break  # what is left over is how the factor was rounded
            found = more or found
        self.limit = np.inf
        return found

    def _hits(self, arithmetic: Arithmetic, count: int) -> Iterator[_Hit]:
        """Candidates of this many mistakes: those that fit all of the few elements, and the nearest."""
        # Units that follow two rules are searched one rule's after the other's, and verified together.
        for units, part in arithmetic.prepared.parts:
            inside = np.isin(self._few[1], np.arange(part.layer.units)[units])
            if inside.any():
                yield from self._hits_of(arithmetic, part, (self._few[0][inside], self._few[1][inside]), count)

    def _hits_of(
        self,
        arithmetic: Arithmetic,
        prepared: PreparedDense,
        few: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
        count: int,
    ) -> Iterator[_Hit]:
        """The same for elements whose units follow one rule."""
        case, target = self.calculated.case(prepared), self.target
        row, unit = few
        grid = case.elements(row, unit)
        wanted = target.values[row, unit]
        numbers = self.calculated.numbers(prepared), unit.size, int(unit[0])
        if numbers not in self._prefixes:
            given = None if target.acc is None else target.acc[row, unit]
            self._prefixes[numbers] = Prefixes(case, grid, given)
        prefixes = self._prefixes[numbers]
        sets = self._scale_sets.setdefault(id(case), ScaleSets(case, grid))
        best: list[_Hit] = []
        floor = 0
        for suffix in suffixes(case, sets, count, target.stage):
            before = count - len(suffix.chosen) - suffix.scales
            stack, scale_names = (
                prefixes.of(before),
                (sets.families() if suffix.families else sets.of(suffix.scales))[0],
            )
            if not stack.names or not scale_names:
                continue
            matches = equal(suffix.apply(stack.accumulated, before), wanted, self.limit).sum(axis=-1)
            for i, j in np.argwhere(matches >= max(floor, 1)):
                chosen = {**stack.names[i], **scale_names[j], **suffix.chosen}
                hit = _Hit(arithmetic, chosen, int(matches[i, j]), len(wanted))
                if hit.fits:
                    yield hit
                else:
                    best.append(hit)
            if len(best) > 200:
                best.sort(key=lambda hit: -hit.count)
                del best[20:]
                floor = best[-1].count + 1
        best.sort(key=lambda hit: -hit.count)
        yield from best[:20]

    def _whole(self, arithmetic: Arithmetic) -> Iterator[_Hit]:
        """Candidates that replace the integer arithmetic altogether; each is calculated in full, and verified."""
        if self.target.acc is not None or self.target.stage.real or self.target.scaled:
            return
        case = self.calculated.case(arithmetic.prepared)
        case = replace(case, x=case.x[: 1 if case.windows is not None else FEW], real=None)
        wanted = self.target.values[: case.rows]
        counted = True if self.target.counted is None else self.target.counted[: case.rows]
        for mistake in WHOLE:
            if not mistake.applies(arithmetic.prepared):
                continue
            # Sums of floats depend on how many rows there are, so most elements are asked for and not all.
            same = (wrong_matrix(case, {mistake.slot: mistake}) == wanted) & counted
            if same.sum() > 0.9 * np.sum(np.broadcast_to(counted, wanted.shape)):
                yield _Hit(arithmetic, {mistake.slot: mistake}, FEW, FEW)

    def _output(self, prepared: PreparedDense, chosen: Mapping[str, Mistake]) -> Array:
        """The full output."""
        return self.calculated.output(prepared, chosen, self.target.stage, self.target.acc)

    def _fits(self, prepared: PreparedDense, chosen: Mapping[str, Mistake]) -> npt.NDArray[np.bool_]:
        """Element by element, whether these mistakes reproduce the target."""
        return self.target.matches(self._output(prepared, chosen), self.limit)

    def _fits_some(self, hit: _Hit) -> bool:
        """Whether a candidate reproduces some rows of many, so that few are calculated in full."""
        case, target, stage = self.calculated.case(hit.arithmetic.prepared), self.target, self.target.stage
        if self._some is None or "whole" in hit.chosen or target.acc is not None or stage.real or stage.scaled:
            return True
        start = accumulate(case, case.everything(self._some), hit.chosen)
        same = wrong_matrix(case, hit.chosen, start) == target.values[self._some]
        return bool((same if target.counted is None else same | ~target.counted[self._some]).all())

    def _verified(self, hits: list[_Hit]) -> list[Reproduction]:
        """The hits that reproduce every element, those of one set of mistakes together."""
        layout = () if self.target.layout is None else (self.target.layout.name,)
        hits.sort(key=lambda hit: sum(m.rarity for m in hit.chosen.values()))
        runtimes: dict[tuple[str, ...], dict[str, PreparedDense]] = defaultdict(dict)
        complete = []
        for hit in hits[:MOST_VERIFIED]:
            if not self._fits_some(hit):
                continue
            values = self._output(hit.arithmetic.prepared, hit.chosen)
            if self.target.matches(values, self.limit).all():
                complete.append((hit, float(np.abs(self.target.of(values - self.target.values)).max(initial=0))))
        # Real values are compared with a tolerance: what is much nearer than the rest is meant.
        nearest = min((residual for _, residual in complete), default=0.0)
        self.residual = nearest if complete else self.residual
        for hit, residual in complete:
            if residual > MUCH_NEARER * nearest + REAL_FLOOR:
                continue
            names = (*(m.name for m in hit.chosen.values()), *layout)
            for runtime, prepared in hit.arithmetic.members.items():
                if prepared is hit.arithmetic.prepared or self._fits(prepared, hit.chosen).all():
                    runtimes[names][runtime] = prepared
        found = []
        for names, members in runtimes.items():
            ordered = sorted(members, key=lambda name: name != self.first)
            found.append(Reproduction(names, tuple(ordered), members[ordered[0]]))
        return sorted(found, key=self._order)

    def _order(self, explanation: Reproduction) -> tuple[bool, bool, float]:
        """The likeliest first."""
        asked = self.input_asked and explanation.needs_real_input
        return not asked, self.first not in explanation.runtimes, explanation.rarity

    def nearest(self) -> tuple[float, Nearest | None]:
        """Of what did not fit on any level the best, with its elements less what its mistakes have to be worth."""
        layout = () if self.target.layout is None else (self.target.layout.name,)
        best: tuple[float, Nearest | None] = -np.inf, None
        for hit in (hit for hits in self._unfit for hit in hits):
            values = self._output(hit.arithmetic.prepared, hit.chosen)
            matching = int(self.target.matches(values).sum())
            names = (*(m.name for m in hit.chosen.values()), *layout)
            score = matching - self.worth * len(names)
            if score > best[0]:
                runtime = min(hit.arithmetic.members, key=lambda name: name != self.first)
                best = score, Nearest(names, runtime, hit.arithmetic.prepared, matching, values, self.target.values)
        return best


def telling_elements(
    right: Array, target: Target, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Elements that tell candidates apart: where the target is not right, not at its ends, and in many units.

    Args:
        right: a right output, `[rows, out]`.
        target: what is to be reproduced.
        count: how many to choose.
        rng: chooses.

    Returns:
        Their rows and units.
    """
    wanted = target.values
    wrong = ~equal(right.astype(wanted.dtype), wanted)
    low, high = (wanted.min(), wanted.max()) if wanted.size else (0, 0)
    inside = (wanted > low) & (wanted < high)
    order = rng.permutation(wanted.size)
    order = order if target.counted is None else order[target.counted.ravel()[order]]
    flat_wrong, flat_inside = wrong.ravel()[order], inside.ravel()[order]
    groups = (flat_wrong & flat_inside, flat_wrong, ~flat_wrong & flat_inside, np.ones(order.size, bool))
    chosen: dict[int, None] = {}
    for group, share in zip(groups, (count // 2, 2 * count // 3, 5 * count // 6, count), strict=True):
        for index in order[group]:
            if len(chosen) >= share:
                break
            chosen[int(index)] = None
    row, unit = np.divmod(np.asarray(list(chosen), np.int64), wanted.shape[1])
    return row, unit
