"""Accumulators with mistakes, for a few elements: every set of mistakes up to the bias, stacked by their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product as product_of_sets

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import Mistake, applicable
from ...layers.mistakes.accumulate import product_of
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import PREFIX, Accumulated, add_bias, centred_input
from ...layers.mistakes.sums import Elements
from ...model.types import Float64Array, Int64Array

__all__ = ["Prefixes", "Stack"]


_Two = tuple[Mistake | None, Mistake | None]


@dataclass(frozen=True, eq=False)
class Stack:
    """Sets of mistakes, and what each makes of the elements.

    Attributes:
        names: for each set, slot -> mistake.
        accumulated: arrays `[sets, elements]`.
    """

    names: list[dict[str, Mistake]]
    accumulated: Accumulated


class Prefixes:
    """Stacks by number of mistakes, calculated when they are asked for.

    Args:
        case: the layer and its input.
        grid: the elements.
        given: their accumulators, where they are known and not to be calculated.
    """

    def __init__(self, case: Case, grid: Elements, given: Int64Array | None) -> None:
        self._case, self._grid, self._given = case, grid, given
        self._stacks: dict[int, Stack] = {}
        self._rows: dict[tuple[str | None, str | None], tuple[Int64Array, npt.NDArray[np.bool_]]] = {}
        self._units: dict[str | None, Int64Array] = {}
        self._by_slot, self._with_families = self._usable(families=False), self._usable(families=True)

    def _usable(self, *, families: bool) -> dict[str, list[Mistake | None]]:
        case = self._case
        usable = applicable(
            case.prepared, real_input=case.real is not None, images=case.windows is not None, families=families
        )
        return {slot: [None, *(m for m in usable if m.slot == slot)] for slot in PREFIX}

    def _slots(self, count: int) -> dict[str, list[Mistake | None]]:
        """What each step can be in sets of so many: those that are searched alone stand in no set of several."""
        return self._with_families if count == 1 else self._by_slot

    def of(self, count: int) -> Stack:
        """All sets of exactly this many mistakes."""
        if count not in self._stacks:
            self._stacks[count] = self._make(count)
        return self._stacks[count]

    def _make(self, count: int) -> Stack:
        shape = (len(self._grid.row),)
        if self._given is not None:
            names: list[dict[str, Mistake]] = [] if count else [{}]
            return Stack(names, Accumulated(self._given.reshape(1, *shape)))
        names = []
        parts: list[Accumulated] = []
        for chosen, accumulated in self._sets(count):
            names.append({m.slot: m for m in chosen})
            parts.append(accumulated)
        if not parts:
            return Stack([], Accumulated(np.zeros((0, *shape), np.int64)))
        acc = np.stack([np.broadcast_to(part.acc, shape) for part in parts])
        after, apart = (_stacked([getattr(part, name) for part in parts], shape) for name in ("after", "apart"))
        real_part = _stacked_real_parts([part.real_part for part in parts], shape)
        return Stack(names, Accumulated(acc, after, apart, real_part))

    def _sets(self, count: int) -> Iterator[tuple[tuple[Mistake, ...], Accumulated]]:
        case, grid = self._case, self._grid
        slots = self._slots(count)
        for read, weights, zx_mistake, zw_mistake in self._operands(count):
            given, windows = read
            four = _made(given, windows, weights, zx_mistake, zw_mistake)
            x, padded = self._x(given, windows)
            x, zx = centred_input(case, x, padded, zx_mistake)
            w, zw = self._w(weights), case.zw
            if zw_mistake is not None:
                w, zw = zw_mistake.function(case, w)
            for product in slots["product"]:
                five = (*four, *_made(product))
                if not len(five) <= count <= len(five) + 1:
                    continue
                function = product_of(case) if product is None else product.function
                dot = function(case, grid, x, zx, w, zw)
                for bias in slots["bias"]:
                    every = (*five, *_made(bias))
                    if len(every) == count:
                        yield every, add_bias(case, grid, dot, bias)

    def _operands(self, count: int) -> Iterator[tuple[_Two, Mistake | None, Mistake | None, Mistake | None]]:
        """What is multiplied: mistakes in reading the input and in its windows, in the weights, in the zero points."""
        slots = self._slots(count)
        reads = list(product_of_sets(slots["input"], slots["windows"]))
        for read in reads:
            for weights in slots["weights"]:
                if len(_made(*read, weights)) > count:
                    continue
                for zx_mistake in slots["input_zero_point"]:
                    for zw_mistake in slots["weights_zero_point"]:
                        if len(_made(*read, weights, zx_mistake, zw_mistake)) <= count:
                            yield read, weights, zx_mistake, zw_mistake

    def _x(self, mistake: Mistake | None, window: Mistake | None) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        """The elements' rows, and which of their values are padding."""
        key = None if mistake is None else mistake.name, None if window is None else window.name
        if key not in self._rows:
            x = self._case.x if mistake is None else mistake.function(self._case, self._case.x)
            windows = None if window is None else window.function(self._case)
            self._rows[key] = self._grid.rows(x, windows), self._grid.padded(x, windows)
        return self._rows[key]

    def _w(self, mistake: Mistake | None) -> Int64Array:
        key = None if mistake is None else mistake.name
        if key not in self._units:
            w = self._case.w if mistake is None else mistake.function(self._case, self._case.w)
            self._units[key] = self._grid.units(w)
        return self._units[key]


def _made(*mistakes: Mistake | None) -> tuple[Mistake, ...]:
    return tuple(m for m in mistakes if m is not None)


def _stacked(parts: list[Int64Array | int], shape: tuple[int, ...]) -> Int64Array | int:
    """The parts as one array, or 0 where all are."""
    if all(isinstance(part, int) for part in parts):
        return 0
    return np.stack([np.broadcast_to(np.asarray(part, np.int64), shape) for part in parts])


def _stacked_real_parts(parts: list[Float64Array | None], shape: tuple[int, ...]) -> Float64Array | None:
    """The parts as one array, NaN where there is none, or None where there is none at all."""
    if all(part is None for part in parts):
        return None
    return np.stack([np.broadcast_to(np.nan if part is None else part, shape) for part in parts])
