"""Accumulators with mistakes, for a few elements: every set of mistakes up to the bias, stacked by their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...layers.mistakes import Mistake, applicable
from ...layers.mistakes.accumulate import product_of
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import Accumulated, add_bias
from ...layers.mistakes.sums import Elements
from ...model.types import Float64Array, Int64Array

__all__ = ["Prefixes", "Stack"]


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
        self._rows: dict[str | None, Int64Array] = {}
        self._units: dict[str | None, Int64Array] = {}
        self._by_slot: dict[str, list[Mistake | None]] = {}
        for slot in ("input", "weights", "input_zero_point", "weights_zero_point", "product", "bias"):
            usable = applicable(case.prepared, real_input=case.real is not None)
            mistakes = [m for m in usable if m.slot == slot]
            self._by_slot[slot] = [None, *mistakes]

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
        slots = self._by_slot
        for given in slots["input"]:
            for weights in slots["weights"]:
                for zx_mistake in slots["input_zero_point"]:
                    for zw_mistake in slots["weights_zero_point"]:
                        four = _made(given, weights, zx_mistake, zw_mistake)
                        if len(four) > count:
                            continue
                        x, w, zx, zw = self._x(given), self._w(weights), case.zx, case.zw
                        if zx_mistake is not None:
                            x, zx = zx_mistake.function(case, x)
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

    def _x(self, mistake: Mistake | None) -> Int64Array:
        key = None if mistake is None else mistake.name
        if key not in self._rows:
            x = self._case.x if mistake is None else mistake.function(self._case, self._case.x)
            self._rows[key] = self._grid.rows(x)
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
