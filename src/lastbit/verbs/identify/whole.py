"""Who printed the output of a whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...model.errors import Refusal
from ...model.graph import Model
from ...model.types import Array
from ...ops.prepare import PreparedModel, prepare
from ...runtimes import Refused
from .arithmetics import InputRows, SharedArithmetic
from .report import Candidate, answer_text
from .separate import Separation, separate_model
from .sides import Side, candidates_of, difference, standing
from .version_groups import VersionGroup

__all__ = ["ModelSearch"]


class ModelSearch:
    """Compares a model's first output with the numbers, in every arithmetic.

    The first rows exclude most; only what is left runs the others before the answer is given.

    Args:
        model: the model.
        groups: the runtimes.
        x: the model's input.
        given: the numbers.

    Raises:
        InputError: x does not fit.
    """

    def __init__(self, model: Model, groups: Sequence[VersionGroup], x: Any, given: Array) -> None:
        self._model, self._groups, self._given = model, groups, given
        self._where = f"output {model.outputs[0].label}"
        self._sides: dict[object, Side] = {}
        self._arithmetics: dict[Side, SharedArithmetic] = {}
        for group in groups:
            prepared = prepare(model, group.runtime)
            refused = _refused(prepared)
            key = refused or tuple(entry.rule for entry in prepared.operators.values())
            if key not in self._sides:
                side = self._sides[key] = Side(refused=refused)
                if refused is None:
                    self._arithmetics[side] = SharedArithmetic(prepared)
            self._sides[key].members.append(group)
        self._rows = InputRows.of(model, x, given.size)

    def compare(self, update: Callable[[int, int, str], None]) -> Iterator[str]:
        """Compare the first rows everywhere, then all rows of what is left, then the rest; says what is missing."""
        sides = [side for side in self._sides.values() if side.refused is None]
        total = len(sides) * len(self._rows.blocks)
        done = 0
        for block in range(len(self._rows.blocks)):
            for side in sides if block == 0 else standing(sides):
                update(done, total, side.members[0].runtime.name)
                self._next_block(side)
                done += 1
        behind = [side for side in sides if self._missing(side)]
        apart = "the search for an input that tells apart what is left was not finished"
        if behind:
            yield f"not every row was compared with the runtimes that are excluded, and {apart}"
        said = answer_text(self.left())
        for side in behind:
            while self._missing(side):
                update(done, total, f"{said}; counting what {side.members[0].runtime.name} prints otherwise")
                self._next_block(side)
                done += 1
        yield apart

    def _missing(self, side: Side) -> int:
        """Blocks that were not compared yet."""
        return len(self._rows.blocks) - len(self._arithmetics[side].outputs)

    def _next_block(self, side: Side) -> None:
        arithmetic = self._arithmetics[side]
        arithmetic.next_block(self._rows)
        printed = arithmetic.printed
        given = self._given if not self._missing(side) else self._given.reshape(-1)[: printed.size]
        side.difference = difference(printed, given, self._where)

    def candidates(self) -> tuple[Candidate, ...]:
        """Every runtime's verdict."""
        return candidates_of(list(self._sides.values()), self._groups)

    def left(self) -> list[tuple[str, ...]]:
        """The runtimes that are left, those of one arithmetic together."""
        return [side.names for side in standing(list(self._sides.values()))]

    def separate(self, progress: Callable[[int, int], None]) -> Separation:
        """An input of the model that tells apart what is left."""
        left = standing(list(self._sides.values()))
        return separate_model(self._model, [self._arithmetics[side] for side in left], progress)


def _refused(prepared: PreparedModel) -> Refused | None:
    """Why a model was not compared, else None: what the runtime itself refuses if there is any, and how many more."""
    if not prepared.refused:
        return None
    index, first = min(prepared.refused.items(), key=lambda entry: entry[1].kind is not Refusal.RUNTIME)
    more = f" and {len(prepared.refused) - 1} more" if len(prepared.refused) > 1 else ""
    return Refused(first.kind, f"{prepared.model.operators[index].label}: {first.reason}{more}")
