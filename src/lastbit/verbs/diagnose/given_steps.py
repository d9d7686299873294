"""Intermediate arrays that are given: which part of the layer is already wrong in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...layers.mistakes import MISTAKES, Mistake, applicable
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import finish, wrong_acc
from ...model.types import Array, Int64Array
from .before_scaling import Prefixes
from .calculated import Calculated
from .search import FEW, Search, telling_elements
from .target import Arithmetic, Reproduction, Target

__all__ = ["Part", "explain_acc", "explain_finish", "explain_scaled"]


@dataclass(frozen=True, eq=False)
class Part:
    """What is wrong up to one of the given arrays, from the one before.

    Attributes:
        name: `acc`, `scaled` or `output`.
        explanations: the shortest mistakes that reproduce all of it; empty where none do.
        matching: elements that are right.
        size: elements.
    """

    name: str
    explanations: tuple[Reproduction, ...]
    matching: int
    size: int

    @property
    def status(self) -> str:
        """`right`, `explained` or `unexplained`."""
        if not self.explanations:
            return "unexplained"
        return "explained" if self.explanations[0].mistakes else "right"


def _levels(most: int, level: Callable[[int], Sequence[Reproduction]]) -> tuple[Reproduction, ...]:
    for count in range(most + 1):
        found = level(count)
        if found:
            return tuple(found)
    return ()


def explain_acc(case: Case, arithmetic: Arithmetic, acc: Int64Array, most: int) -> Part:
    """Mistakes up to the bias that make this accumulator, `[rows, out]`."""
    right = wrong_acc(case, {})
    row, unit = telling_elements(right, Target(acc), FEW, np.random.default_rng(5))
    prefixes = Prefixes(case, case.elements(row, unit), None)
    wanted = acc[row, unit]

    def level(count: int) -> list[Reproduction]:
        stack = prefixes.of(count)
        found = []
        for index in np.flatnonzero((stack.accumulated.acc == wanted).all(axis=1)):
            chosen = stack.names[index]
            if np.array_equal(wrong_acc(case, chosen), acc):
                names = tuple(m.name for m in chosen.values())
                found.append(Reproduction(names, tuple(arithmetic.members), case.prepared))
        return sorted(found, key=lambda e: e.rarity)

    return Part("acc", _levels(most, level), int((right == acc).sum()), acc.size)


def explain_scaled(
    x: Array, arithmetics: Sequence[Arithmetic], scaled: Array, acc: Int64Array | None, first: str, most: int
) -> Part:
    """Mistakes that make these scaled values `[rows, out]`, from the accumulator where it is given."""
    search = Search(Calculated(x), arithmetics, Target(scaled, acc, scaled=True), first)
    explanations = _levels(most, lambda count: search.longer(search.level(count), count, most))
    matching = scaled.size if explanations and not explanations[0].mistakes else search.right_elements
    return Part("scaled", explanations, matching, scaled.size)


def explain_finish(
    x: Array, arithmetics: Sequence[Arithmetic], scaled: Int64Array, output: Int64Array, wide: bool, most: int
) -> Part:
    """Mistakes in the output zero point, the clamp and the layout that make this output from scaled values."""
    found: dict[int, list[Reproduction]] = {}
    matching = 0
    for arithmetic in arithmetics:
        case = Case.of(arithmetic.prepared, x)
        slots: dict[str, list[Mistake | None]] = {
            slot: [None] for slot in ("output_zero_point", "activation", "range", "layout")
        }
        for mistake in applicable(case.prepared):
            if mistake.slot in slots and (wide or mistake.name != "clamp_missing"):
                slots[mistake.slot].append(mistake)
        for zero in slots["output_zero_point"]:
            if zero is not None and zero.function(case)[0]:
                continue  # it works before the scaling, and that is given
            for activation in slots["activation"]:
                for stored in slots["range"]:
                    for layout in slots["layout"]:
                        chosen = {m.slot: m for m in (zero, activation, stored, layout) if m is not None}
                        if len(chosen) > most:
                            continue
                        values = finish(case, scaled, chosen)
                        values = values if layout is None else layout.function(values, case.sample_rows)
                        same = int((values == output).sum())
                        if not chosen:
                            matching = max(matching, same)
                        if same == output.size:
                            names = tuple(chosen[slot].name for slot in chosen)
                            explanation = Reproduction(names, tuple(arithmetic.members), case.prepared)
                            found.setdefault(len(names), []).append(explanation)
    shortest = found[min(found)] if found else []
    distinct = {e.mistakes: e for e in reversed(shortest)}
    ranked = sorted(distinct.values(), key=lambda e: sum(MISTAKES[name].rarity for name in e.mistakes))
    return Part("output", tuple(ranked), matching, output.size)
