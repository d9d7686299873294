"""The sets of mistakes that are tried in a whole model of which one array is known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...layers.mistakes import MISTAKES, WHOLE, applicable
from ...layers.mistakes.of_first_layer import OF_FIRST_LAYER
from ...layers.mistakes.operators import OPERATOR_MISTAKES, operator_mistakes
from ...layers.mistakes.pipeline import BESIDE_WHOLE
from ...layers.mistakes.zero_points import IN_IMAGE
from ...model.graph import Model
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.window_layer import WindowLayer
from .whole_model import Made, WholeModel

__all__ = ["Candidates", "mistakes_of"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sets of mistakes before one tensor.

    Attributes:
        model: the model.
        every: it in every runtime's arithmetic.
        tensor: the tensor whose values are known.
    """

    model: Model
    every: Sequence[WholeModel]
    tensor: int

    def before(self) -> list[int]:
        """The layers that a tensor depends on."""
        seen = self._needed()
        return [index for index in self.every[0].layers if index in seen]

    def _operators_before(self) -> dict[int, list[str]]:
        """The operators without weights that a tensor depends on, and the mistakes that can be made in each."""
        model = self.model
        found = {index: operator_mistakes(model, model.operator(index)) for index in sorted(self._needed())}
        return {index: [m.name for m in mistakes] for index, mistakes in found.items() if mistakes}

    def _needed(self) -> set[int]:
        """The operators that a tensor depends on."""
        model = self.model
        maker = {out: op for op in model.operators for out in op.outputs}
        todo, seen = [self.tensor], set[int]()
        while todo:
            op = maker.get(todo.pop())
            if op is not None and op.index not in seen:
                seen.add(op.index)
                todo += [i for i in op.inputs if i >= 0]
        return seen

    def _kinds(self) -> list[list[int]]:
        """Layers that one mistake may be made in: all, all of one operator's name, and each alone."""
        before = self.before()
        names = {index: self.model.operator(index).name for index in before}
        by_name = [[i for i in before if names[i] == name] for name in dict.fromkeys(names.values())]
        return [before, *by_name, *([index] for index in before)]

    def _usable(self) -> dict[int, set[str]]:
        """The mistakes that can be made in each layer in some runtime's arithmetic."""
        found: dict[int, set[str]] = {}
        for chain in self.every:
            for index, layer in chain.layers.items():
                found[index] = found.get(index, set()) | mistakes_of(layer)
        return found

    def singles(self) -> Iterator[Made]:
        """One mistake: in all layers, in all of a kind, in each alone; then in operators without weights."""
        usable, seen = self._usable(), set()
        for name in (*MISTAKES, *OF_FIRST_LAYER):
            for kind in self._kinds():
                made = {index: (name,) for index in kind if name in usable[index]}
                if made and tuple(made) not in seen:
                    seen.add(tuple(made))
                    yield made
            seen.clear()
        yield from self.singles_of_operators()
        yield from self._beside_padding(usable)

    def singles_of_operators(self) -> Iterator[Made]:
        """One mistake in operators without weights: in each alone, and in all that can have it."""
        operators = self._operators_before()
        for name in OPERATOR_MISTAKES:
            can = [index for index, names in operators.items() if name in names]
            yield from ({index: (name,)} for index in can)
            if len(can) > 1:
                yield dict.fromkeys(can, (name,))

    def _beside_padding(self, usable: Mapping[int, set[str]]) -> Iterator[Made]:
        """A zero point that is wrong in every layer, where the padding adds nothing in convolutions."""
        for name, in_image in IN_IMAGE.items():
            made = {
                index: (in_image if in_image in usable[index] else name,)
                for index in self.before()
                if name in usable[index] or in_image in usable[index]
            }
            if len(set(made.values())) > 1:
                yield made

    def pairs_of_operators(self) -> Iterator[Made]:
        """Two mistakes in one operator without weights."""
        for index, names in self._operators_before().items():
            for pair in itertools.combinations(names, 2):
                if len({OPERATOR_MISTAKES[name].mistake.slot for name in pair}) == 2:
                    yield {index: pair}

    def pairs(self) -> Iterator[Made]:
        """Two mistakes, each in all layers of the model that can have it."""
        usable, before = self._usable(), self.before()
        common = [m for m in MISTAKES.values() if any(m.name in usable[index] for index in before)]
        for one, other in itertools.combinations(sorted(common, key=lambda m: m.rarity), 2):
            slots = {one.slot, other.slot}
            if len(slots) == 1 or ("whole" in slots and not slots & set(BESIDE_WHOLE)):
                continue
            made = {i: tuple(m.name for m in (one, other) if m.name in usable[i]) for i in before}
            yield {index: names for index, names in made.items() if names}


@lru_cache(maxsize=512)
def mistakes_of(layer: PreparedDense) -> set[str]:
    """The names of the mistakes that can make a difference in a layer."""
    others = [mistake for mistake in (*WHOLE, *OF_FIRST_LAYER.values()) if mistake.applies(layer)]
    return {m.name for m in (*applicable(layer, images=isinstance(layer.layer, WindowLayer)), *others)}
