"""Who printed the output of one dense layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...layers.differences import worked_element
from ...layers.layer_input import layer_input
from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.dense.layer import dense_layer
from ...ops.prepare import prepare
from ...runtimes import Refused, Runtime
from .report import Candidate
from .separate import Separation, separate_layer
from .sides import Side, candidates_of, difference, standing
from .version_groups import VersionGroup

__all__ = ["LayerSearch"]


class LayerSearch:
    """Compares one dense layer's output with the numbers, in every arithmetic.

    Args:
        model: the model.
        op: the layer.
        groups: the runtimes.
        x: the model's input, or the layer's own.
        given: the numbers.

    Raises:
        InputError: x fits neither.
    """

    def __init__(self, model: Model, op: Operator, groups: Sequence[VersionGroup], x: Any, given: Array) -> None:
        self._model, self._op, self._groups, self._x, self._given = model, op, groups, x, given
        self._layers: dict[Side, PreparedOperator] = {}
        self._sides: list[Side] = []

    def compare(self, update: Callable[[int, int, str], None]) -> Iterator[str]:
        """Compare all; one step, after which only an input that separates is missing."""
        sides: dict[object, Side] = {}
        for done, group in enumerate(self._groups):
            key = self._rules(group.runtime)
            if key not in sides:
                update(done, len(self._groups), group.runtime.name)
                sides[key] = self._compared(group.runtime)
            sides[key].members.append(group)
        self._sides = list(sides.values())
        yield "the search for an input that tells apart what is left was not finished"

    def _rules(self, runtime: Runtime) -> object:
        """What the layer's output follows from: the rules of all operators up to it, or why it has none."""
        prepared = prepare(self._model, runtime)
        rules = tuple((i, entry.rule) for i, entry in prepared.operators.items() if i <= self._op.index)
        return rules, tuple((i, reason) for i, reason in prepared.refusals.items() if i <= self._op.index)

    def _compared(self, runtime: Runtime) -> Side:
        prepared = prepare(self._model, runtime)
        entry = prepared.operators.get(self._op.index)
        if entry is None:
            return Side(refused=prepared.refused[self._op.index])
        try:
            values, _ = layer_input(self._model, dense_layer(self._model, self._op), self._x, runtime)
        except UnsupportedError as error:
            return Side(refused=Refused(error.kind, "; ".join(error.reasons)))
        found = difference(entry.evaluate([values])["output"], self._given, self._op.label)
        worked = worked_element(entry, values, found.first) if found.first is not None else []
        side = Side(difference=found, worked=tuple(worked))
        self._layers[side] = entry
        return side

    def candidates(self) -> tuple[Candidate, ...]:
        """Every runtime's verdict."""
        return candidates_of(self._sides, self._groups)

    def left(self) -> list[tuple[str, ...]]:
        """The runtimes that are left, those of one arithmetic together."""
        return [tuple(name for side in group for name in side.names) for group in self._standing().values()]

    def _standing(self) -> dict[str, list[Side]]:
        """The sides that are left by the layer's own rule: what comes before it is not what separates."""
        found: dict[str, list[Side]] = {}
        for side in standing(self._sides):
            found.setdefault(self._layers[side].rule, []).append(side)
        return found

    def separate(self, progress: Callable[[int, int], None]) -> Separation:
        """An input of the layer that tells apart what is left."""
        layers = [self._layers[group[0]] for group in self._standing().values()]
        return separate_layer(self._model, self._op, layers, progress)
