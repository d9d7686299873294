"""What a layer calculates on one input with mistakes, kept for every search in the same array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...layers.mistakes import Mistake
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import (
    PREFIX,
    Accumulated,
    accumulate_all,
    finish,
    scaled_matrix,
    unrounded_matrix,
    wrong_matrix,
)
from ...model.types import Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from .after_scaling import Stage

__all__ = ["Calculated"]

_KEPT = 24
"""Accumulators with mistakes that are kept."""


@dataclass(eq=False)
class Calculated:
    """One input in every runtime's arithmetic.

    Runtimes that read the layer's numbers in the same way share what comes before the scaling, and so do all readings
    of the user's array.

    Attributes:
        x: the layer's input.
        real: the input before it was quantized, where it is known.
    """

    x: Array
    real: Array | None = None
    _cases: dict[int, Case] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _accumulated: dict[tuple[int, tuple[str, ...]], Accumulated] = field(default_factory=dict)
    _whole: dict[tuple[int, str], Int64Array] = field(default_factory=dict)

    def case(self, prepared: PreparedDense) -> Case:
        """The layer and its input as mistakes look at them."""
        key = id(prepared)
        if key not in self._cases:
            case = Case.of(prepared, self.x, self.real)
            self._cases[key] = case
            same = (other for other, known in self._cases.items() if known.numbers == case.numbers)
            self._numbers[key] = self._numbers.get(next(same), key)
        return self._cases[key]

    def numbers(self, prepared: PreparedDense) -> int:
        """The same for all layers that have the same accumulators on every input."""
        self.case(prepared)
        return self._numbers[id(prepared)]

    def output(
        self, prepared: PreparedDense, chosen: Mapping[str, Mistake], stage: Stage, acc: Int64Array | None
    ) -> Array:
        """The layer up to a stage with these mistakes, `[rows, out]`; from accumulators that are given, if any are."""
        case = self.case(prepared)
        if "whole" in chosen:
            steps = self._steps(prepared, chosen["whole"])
            return finish(case, steps, chosen)
        start = self._start(prepared, chosen) if acc is None else Accumulated(acc)
        if stage.real:
            values = unrounded_matrix(case, chosen, start)
            return values - case.zy if stage.scaled else values
        return scaled_matrix(case, chosen, start) if stage.scaled else wrong_matrix(case, chosen, start)

    def _start(self, prepared: PreparedDense, chosen: Mapping[str, Mistake]) -> Accumulated:
        key = self._numbers[id(prepared)], tuple(m.name for slot, m in chosen.items() if slot in PREFIX)
        if key not in self._accumulated:
            if len(self._accumulated) >= _KEPT:
                self._accumulated.clear()
            self._accumulated[key] = accumulate_all(self._cases[id(prepared)], chosen)
        return self._accumulated[key]

    def _steps(self, prepared: PreparedDense, mistake: Mistake) -> Int64Array:
        key = self._numbers[id(prepared)], mistake.name
        if key not in self._whole:
            self._whole[key] = mistake.function(self._cases[id(prepared)])
        return self._whole[key]
