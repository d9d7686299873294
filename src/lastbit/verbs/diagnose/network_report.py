"""What a diagnosis of a whole model found, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...layers.mistakes import MISTAKES, Mistake
from ...layers.mistakes.fixes import fixes
from ...layers.mistakes.of_first_layer import OF_FIRST_LAYER
from ...layers.mistakes.operators import OPERATOR_MISTAKES
from ...layers.step_tables import layer_of
from ...model.graph import Operator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.prepare import prepare
from ...report.blocks import Block, Heading, Report, Table, Text
from ...report.junit import Check, Outcome
from ...report.one_screen import one_screen
from ...report.phrases import names_text
from ...report.pictures import Bars, Picture
from ...rules.base import IntegerRule
from ...runtimes import RUNTIMES
from .difference_pictures import difference_of, pictures_of
from .network_given import NetworkGiven
from .report import Diagnosis
from .text import mistake_blocks, percent
from .whole_model import right_tensors

__all__ = ["NetworkDiagnosis", "Set", "Step"]

_KINDS = {"FULLY_CONNECTED": "dense layer", "CONV_2D": "convolution", "DEPTHWISE_CONV_2D": "depthwise convolution"}
_OF_LAYERS = MISTAKES | OF_FIRST_LAYER


@dataclass(frozen=True, eq=False)
class Set:
    """Mistakes that reproduce every element.

    Attributes:
        made: operator index -> the mistakes made in it; empty where all is right.
        runtimes: in whose arithmetic.
    """

    made: Mapping[int, tuple[str, ...]]
    runtimes: tuple[str, ...]

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Every mistake once, in order of the operators."""
        return tuple(dict.fromkeys(name for names in self.made.values() for name in names))

    @property
    def rarity(self) -> float:
        """How unlikely: a mistake counts once, wherever it is made."""
        return sum(_known(name).rarity for name in self.mistakes)


def _known(name: str) -> Mistake:
    """A mistake by its name: of layers, else of operators without weights."""
    return _OF_LAYERS[name] if name in _OF_LAYERS else OPERATOR_MISTAKES[name].mistake


@dataclass(frozen=True)
class Step:
    """One operator whose array was given.

    Attributes:
        op: its index.
        label: its label.
        share: how many of its elements are right, from the arrays before it.
        mistakes: what is wrong in it; None where that is not known, or nothing is.
        constant: whether the array holds one number alone, where the right one does not: it was never written.
    """

    op: int
    label: str
    share: float
    mistakes: tuple[str, ...] | None
    constant: bool = False

    @property
    def status(self) -> str:
        """`right`, `explained`, `not explained` or `never written`."""
        if self.constant:
            return "never written"
        return "right" if self.share == 1 else "not explained" if self.mistakes is None else "explained"


@dataclass(frozen=True, eq=False, repr=False)
class NetworkDiagnosis(Report):
    """The result of `diagnose` for a model of several layers.

    Attributes:
        given: what was to be diagnosed.
        sets: the sets of mistakes that reproduce everything that was given, the likeliest first; a mistake that is made
            in several layers counts once. One without mistakes says that all is right.
        nearest: where nothing does: the share of elements that comes nearest, and the mistakes of it.
        steps: one for each array, where several were given.
        detail: the diagnosis of the first operator that differs, where its input is known.
        partial: the mistakes that were found, though not everything is explained.
    """

    given: NetworkGiven
    sets: tuple[Set, ...]
    nearest: tuple[float, Mapping[int, tuple[str, ...]]] | None = None
    steps: tuple[Step, ...] = ()
    detail: Diagnosis | None = None
    partial: Mapping[int, tuple[str, ...]] | None = None

    @property
    def verdict(self) -> str:
        """`right`, `mistakes` or `unexplained`."""
        if not self.sets:
            return "unexplained"
        return "mistakes" if self.sets[0].made else "right"

    @property
    def right(self) -> bool:
        """Whether everything that was given is right."""
        return self.verdict == "right"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The likeliest set's mistakes, each once."""
        made = self.sets[0].made if self.sets else self.partial or {}
        return tuple(self._mistake(made, name) for name in Set(made, ()).mistakes)

    def _mistake(self, made: Mapping[int, tuple[str, ...]], name: str) -> Mistake:
        """A mistake as it is made: the words differ for operators without weights."""
        index = next(index for index, names in made.items() if name in names)
        of_layer = self.given.model.operator(index).name in _KINDS
        return _OF_LAYERS[name] if of_layer else OPERATOR_MISTAKES[name].mistake

    @property
    def exit_code(self) -> int:
        """0: all is right. 1: it is not."""
        return 0 if self.right else 1

    def checks(self) -> list[Check]:
        """All of it as one test case."""
        if self.right:
            return [Check(self.given.model.source, self._what(), Outcome.EQUAL)]
        return [Check(self.given.model.source, self._what(), Outcome.DIFFERS, self.in_short()[0], str(self))]

    def pictures(self) -> list[Picture]:
        """The share of wrong elements along the network, and where the first array that differs does."""
        if self.right:
            return []
        detail = [] if self.detail is None else self.detail.pictures()
        return [*self._along_the_network(), *(detail or self._first_difference())]

    def _along_the_network(self) -> list[Picture]:
        """A bar for each operator whose array was given."""
        if not self.steps:
            return []
        wrong = [number for number, step in enumerate(self.steps) if step.share < 1]
        names = [step.label.removeprefix("operator ") for step in self.steps]
        shares = [100 * (1 - step.share) for step in self.steps]
        title = "Wrong elements of each array, calculated from your arrays before it"
        return [Bars(title, names, shares, "operator", "% of its elements", marked=wrong)]

    def _first_difference(self) -> list[Picture]:
        """Where the first array that differs does, compared with the right one for the model's input."""
        given = self.given
        right = right_tensors(given.model, given.how.runtime or RUNTIMES[given.first], given.inputs)
        for tensor, mine in given.arrays.items():
            if tensor in right and mine.shape == right[tensor].shape:
                found = pictures_of(self._maker(tensor).label, difference_of(mine, right[tensor]))
                if found:
                    return found
        return []

    def records(self) -> list[dict[str, Any]]:
        """A row for each array that was given, or for each operator in which a mistake was made."""
        if self.steps:
            return [
                {
                    "operator": step.op,
                    "label": step.label,
                    "status": step.status,
                    "right": step.share,
                    "mistakes": " + ".join(step.mistakes or ()),
                }
                for step in self.steps
            ]
        made = self.sets[0].made if self.sets else {}
        return [
            {"operator": index, "label": self.given.model.operator(index).label, "mistakes": " + ".join(names)}
            for index, names in made.items()
        ]

    def in_short(self) -> list[str]:
        """The verdict, and what it is about."""
        head = f"{self._what()} of {self.given.model.source}"
        if self.right:
            return [f"Nothing is wrong: this is what {self.sets[0].runtimes[0]} prints.", head]
        if self.sets:
            return [f"{len(self.mistakes)} wrong: {self._made_text(self.sets[0].made)}", head]
        return ["No known mistake, made in one layer or in all, fits every element.", head]

    def blocks(self) -> list[Block]:
        """Verdict, the mistakes with their layers and fixes, the steps."""
        return self._blocks(whole=True)

    def first_screen(self) -> list[Block]:
        """The same on one screen, without the links to threads and the steps of the element that are right."""
        return one_screen(self._blocks(whole=False))

    def _blocks(self, whole: bool) -> list[Block]:
        given = self.given
        blocks: list[Block] = [Heading(f"{given.model.source}: what is wrong with {self._what()}?")]
        source = Text(f"Input: {given.input_source}.", "dim")
        if self.steps:
            rows = [
                (step.label, step.status, percent(round(step.share * 10**6), 10**6), " + ".join(step.mistakes or ()))
                for step in self.steps
            ]
            blocks.append(
                Table(
                    ("operator", "", "right", "mistakes"),
                    rows,
                    "Each from your arrays before it",
                    right=("right",),
                    marked=[number for number, step in enumerate(self.steps) if step.share < 1],
                )
            )
        if self.right:
            first, *others = self.sets[0].runtimes
            more = f" {names_text(others)} print{'s' * (len(others) == 1)} the same here." if others else ""
            return [*blocks, Text(f"Nothing is wrong: this is what {first} prints.{more}", "good"), source]
        if not self.sets:
            return [*blocks, *self._unexplained(), source]
        blocks += [*self._explained(whole), source]
        return blocks if self.detail is None else blocks + self.detail.worked_blocks(whole)

    def _explained(self, seen: bool) -> list[Block]:
        best = self.sets[0]
        count = len(best.mistakes)
        what = "This one mistake reproduces" if count == 1 else f"These {count} mistakes together reproduce"
        size = sum(array.size for array in self.given.arrays.values())
        blocks: list[Block] = [Text(f"{what} all {size} elements: {self._made_text(best.made)}.", "bad")]
        for number, mistake in enumerate(self.mistakes, 1):
            blocks += mistake_blocks(number, mistake, self._rule(best.made, mistake.name), seen)
        blocks.append(Text(f"Everything else is as {names_text(best.runtimes)} calculate it."))
        others = [other for other in self.sets[1:] if other.mistakes != best.mistakes or other.made != best.made]
        if others:
            told = "; ".join(self._made_text(other.made) for other in others[:4])
            blocks.append(Text(f"These data do not decide: {told} fits as well.", "warning"))
        return blocks

    def _rule(self, made: Mapping[int, tuple[str, ...]], name: str) -> IntegerRule | None:
        """The rule of the layer that a mistake is made in; None for an operator without weights."""
        index = next(index for index, names in made.items() if name in names)
        operator = self.given.model.operator(index)
        if operator.name not in _KINDS:
            return None
        layer = layer_of(prepare(self.given.model, self.sets[0].runtimes[0]), operator)
        assert isinstance(layer, PreparedDense)
        return layer.requant.rule

    def _unexplained(self) -> list[Block]:
        unwritten = any(step.constant for step in self.steps)
        if self.detail is not None and not unwritten:
            label = next(step.label for step in self.steps if step.share < 1)
            text = f"The first operator that differs is {label}; its diagnosis:"
            return [Text(text, "bad"), *self.detail.blocks()[1:]]
        blocks: list[Block] = [
            Text(
                "No known mistake fits every element: made in one layer, in all of a kind, or two in all layers.", "bad"
            )
        ]
        if self.steps:
            first = next((step for step in self.steps if step.share < 1), None)
            if first is not None:
                what = ": its array holds one number alone, so it was never written" if first.constant else ""
                blocks.append(Text(f"The first operator that differs is {first.label}{what}.", "bad"))
            return blocks
        share, made = self.nearest or (0.0, {})
        text = self._made_text(made) if made else "the right calculation"
        blocks.append(Text(f"Nearest: {text}: {percent(round(share * 10**6), 10**6)} of the elements."))
        blocks.append(
            Text(
                "Give the arrays between the layers as well, as a mapping: mine={'dense_1': a, 'dense_2': b}. Each is "
                "found by its shape, and the first operator that differs is diagnosed with up to three mistakes."
            )
        )
        return blocks

    def _what(self) -> str:
        labels = [self._maker(index).label for index in self.given.arrays]
        return f"your output of {labels[0]}" if len(labels) == 1 else f"your arrays of {len(labels)} operators"

    def _maker(self, tensor: int) -> Operator:
        return next(op for op in self.given.model.operators if tensor in op.outputs)

    def _made_text(self, made: Mapping[int, tuple[str, ...]]) -> str:
        """`rounding_truncated, in all 3 dense layers`."""
        where: dict[str, list[int]] = {}
        for index, names in made.items():
            for name in names:
                where.setdefault(name, []).append(index)
        return "; ".join(f"{name}, {self._places_text(indices)}" for name, indices in where.items())

    def _places_text(self, indices: list[int]) -> str:
        model = self.given.model
        if len(indices) == 1:
            return f"in {model.operator(indices[0]).label} alone"
        names = {model.operator(index).name for index in indices}
        every = [op.index for op in model.operators if op.name in names and op.outputs]
        what = _KINDS[names.pop()] + "s" if len(names) == 1 else "layers"
        if indices == every:
            return f"in all {len(indices)} {what}"
        return f"in {len(indices)} of {len(every)} {what} (operators {', '.join(map(str, indices))})"

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data, schema lastbit.diagnose_network/1."""
        return {
            "schema": "lastbit.diagnose_network/1",
            "model": self.given.model.source,
            "operators": [self._maker(index).label for index in self.given.arrays],
            "input_source": self.given.input_source,
            "verdict": self.verdict,
            "explanations": [
                {
                    "mistakes": [
                        {
                            "name": name,
                            "operators": [index for index, names in one.made.items() if name in names],
                            "why": self._mistake(one.made, name).why,
                            "fix_numpy": fixes(self._mistake(one.made, name), self._rule(one.made, name))[0],
                        }
                        for name in one.mistakes
                    ],
                    "runtimes": list(one.runtimes),
                }
                for one in self.sets
            ],
            "steps": [
                {
                    "operator": step.op,
                    "status": step.status,
                    "share": step.share,
                    "mistakes": list(step.mistakes or ()),
                }
                for step in self.steps
            ],
            "nearest": None
            if self.nearest is None
            else {
                "share": self.nearest[0],
                "mistakes": {str(index): list(names) for index, names in self.nearest[1].items()},
            },
            "detail": None if self.detail is None else self.detail.as_dict(),
        }
