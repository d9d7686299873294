"""Candidates for golden vectors of one layer: rows that are solved for, and what each of them catches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...layers.running import LayerSums, accumulators, random_rows
from ...layers.separating_inputs import boundary_inputs
from ...layers.solving import UnitSolver, variants
from ...layers.step_tables import LayerTables
from ...model.types import IntArray
from ...ops.dense.eight_bit import PreparedDense
from .candidates import every_input, fewest, impulses, odd_rows
from .rivals import Rival, arithmetic_of
from .trial import Trial

__all__ = ["Pool", "caught_by"]

_SOLVED_PER_RIVAL = 6
_SOLVED_FOR_UNITS = 192
_VARIANTS = 256
_VARIANT_ELEMENTS = 1 << 15
_ELEMENTS = 1 << 22


def caught_by(right: PreparedDense, rivals: Sequence[Rival], rows: IntArray) -> npt.NDArray[np.bool_]:
    """Which rows catch which rivals: `[rows, rivals]`. A row catches what prints another output for it at any unit."""
    result = np.zeros((len(rows), len(rivals)), bool)
    step, sums = max(_ELEMENTS // max(right.layer.units, right.layer.depth), 1), LayerSums(right)
    for first in range(0, len(rows), step):
        trial = Trial(sums, right, rows[first : first + step])
        for k, rival in enumerate(rivals):
            result[first : first + step, k] = trial.differs(rival)
    return result


class Pool:
    """Candidates, and what each catches.

    Attributes:
        rows: `[n, depth]`, the candidates.
        caught: bool `[n, rivals]`.
        rules: the rules among the rivals, each once.
        pairs: bool `[n, rules * units]`: for which rules and units each candidate shows a difference.
    """

    def __init__(
        self, tables: LayerTables, rivals: Sequence[Rival], rng: np.random.Generator, most_variants: int = _VARIANTS
    ) -> None:
        self.tables, self.rivals, self.rng, self._most_variants = tables, rivals, rng, most_variants
        layer = tables.layer
        self._solvers: dict[int, UnitSolver] = {}
        rules = {arithmetic_of(r.prepared): r for r in rivals if r.prepared is not None and not r.equal}
        self.rules = list(rules.values())
        self._sums = LayerSums(tables.prepared)
        plain = [boundary_inputs(layer, rng, 8), impulses(tables, rng), random_rows(layer, 24, rng)]
        rows = np.unique(np.concatenate([*plain, *self._solved()]), axis=0)
        self.rows: IntArray = rng.permutation(rows)
        self.caught = caught_by(tables.prepared, rivals, self.rows)
        self._look_further()
        self.pairs = self.pairs_of(self.rows)

    @property
    def pairs_possible(self) -> npt.NDArray[np.bool_]:
        """Which of the pairs differ for some accumulator that an input reaches, or were seen to differ."""
        units = self.tables.layer.units
        known = self.pairs.any(axis=0).reshape(len(self.rules), units)
        for rule, shown in zip(self.rules, known, strict=True):
            shown[rule.targets[:, 0]] = True
        return known.reshape(-1)

    def choose(self, count: int) -> list[int]:
        """At most `count` candidates: first those that catch every rival, then those that show it at more units."""
        return fewest(self.caught, self.pairs, count)

    def _look_further(self) -> None:
        """More candidates for what none has caught yet: every input there is where they are few, else odd ones."""
        missed = [k for k, rival in enumerate(self.rivals) if not rival.equal and not self.caught[:, k].any()]
        if not missed:
            return
        layer = self.tables.layer
        every = every_input(layer)
        rows = odd_rows(self.tables, self.rng) if every is None else every
        caught = caught_by(self.tables.prepared, [self.rivals[k] for k in missed], rows)
        for k, found in zip(missed, caught.T, strict=True):
            if every is not None and not found.any():
                self.rivals[k].equal = f"it gives the same output for every one of the {len(every)} inputs: proved"
        useful = np.unique(caught.argmax(axis=0)[caught.any(axis=0)])
        self.rows = np.concatenate([self.rows, rows[useful]])
        self.caught = np.concatenate([self.caught, caught_by(self.tables.prepared, self.rivals, rows[useful])])

    def _solved(self) -> list[IntArray]:
        """Inputs solved onto accumulators at which rivals differ: some for each rival, then for each unit and rule."""
        found = []
        for rival in (*self.rules, *(rival for rival in self.rivals if rival.mistake is not None)):
            if rival.targets.size:
                some = rival.targets[self.rng.permutation(len(rival.targets))[:_SOLVED_PER_RIVAL]]
                found += [x for unit, acc in some.tolist() if (x := self._solve(unit, acc)) is not None]
        wanted = [(k, unit) for k, rule in enumerate(self.rules) for unit in np.unique(rule.targets[:, 0]).tolist()]
        order = self.rng.permutation(len(wanted))[:_SOLVED_FOR_UNITS]
        solved: list[tuple[int, IntArray]] = []
        for k, unit in (wanted[i] for i in order):
            targets = self.rules[k].targets
            acc = int(self.rng.choice(targets[targets[:, 0] == unit, 1]))
            x = self._solve(unit, acc)
            if x is not None:
                solved.append((unit, x))
        found += self._best_variants(solved)
        return [np.stack(found)] if found else []

    def _solve(self, unit: int, acc: int) -> IntArray | None:
        """An input whose accumulator at a unit is `acc`, however the sum got there."""
        if unit not in self._solvers:
            self._solvers[unit] = UnitSolver(self.tables.layer, unit)
        solver = self._solvers[unit]
        period = 1 << self.tables.bits
        first = acc + -(-(solver.reach.low - acc) // period) * period
        for total in range(first, min(solver.reach.high, first + 2 * period) + 1, period):
            x = solver.solve(total, self.rng)
            if x is not None:
                return x
        return None

    def _best_variants(self, solved: Sequence[tuple[int, IntArray]]) -> list[IntArray]:
        """For each unit and input: of many with the same accumulator there, the one where most other units differ too.

        Many at a time: a matrix product of few rows costs more to begin than to do.
        """
        layer = self.tables.layer
        count = max(min(self._most_variants, _VARIANT_ELEMENTS // layer.units), 8)
        at_once = max(_ELEMENTS // ((count + 1) * layer.units), 1)
        best: list[IntArray] = []
        for first in range(0, len(solved), at_once):
            rows = np.stack(
                [
                    np.concatenate([x[None], variants(layer, unit, x, count, self.rng)])
                    for unit, x in solved[first : first + at_once]
                ]
            )
            shown = self.pairs_of(rows.reshape(-1, layer.depth)).sum(axis=1).reshape(rows.shape[:2])
            best += [group[at] for group, at in zip(rows, shown.argmax(axis=1), strict=True)]
        return best

    def pairs_of(self, rows: IntArray) -> npt.NDArray[np.bool_]:
        """Which (rule, unit) pairs differ: `[n, rules * units]`."""
        right = self.tables.prepared
        if not self.rules:
            return np.zeros((len(rows), 0), bool)
        totals = self._sums.totals(rows)
        wanted = right.outputs_of(low_bits(totals, right.acc_bits))
        found = []
        for rule in self.rules:
            other = rule.prepared
            assert other is not None
            same = other.pairs is None and other.layer.weights_zero_point == right.layer.weights_zero_point
            theirs = low_bits(totals, other.acc_bits) if same else accumulators(other, rows)
            found.append(other.outputs_of(theirs) != wanted)
        return np.concatenate(found, axis=1)
