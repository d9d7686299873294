"""What a diagnosis of a hybrid or float32 layer found, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...layers.mistakes.base import Mistake
from ...layers.mistakes.hybrid import HYBRID
from ...model.types import Array
from ...report.blocks import Block, Code, Heading, Report, Text
from ...report.junit import Check, Outcome
from ...report.one_screen import one_screen
from ...report.phrases import names_text
from ...report.pictures import Picture
from .difference_pictures import difference_of, pictures_of

__all__ = ["HybridAnswer", "HybridDiagnosis"]


@dataclass(frozen=True, eq=False)
class HybridAnswer:
    """Mistakes with which every element lies within what float32 may lose.

    Attributes:
        mistakes: names in the diagnosis's catalogue, in order of calculation; empty where the calculation is right.
        runtimes: in whose arithmetic; of those that quantize the rows in one way the first alone.
        exact: whether it is a runtime's own output to the last bit.
        operators: of a model of several layers, the operators in which they are made.
    """

    mistakes: tuple[str, ...]
    runtimes: tuple[str, ...]
    exact: bool = False
    operators: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class HybridDiagnosis(Report):
    """The result of `diagnose` for a hybrid dense layer or convolution, or one that is float32 throughout.

    Attributes:
        source: the model's path.
        layer: the operator's label.
        mine: the array, `[rows, out]`.
        right_output: what the first runtime prints, `[rows, out]`.
        input_source: where the input came from.
        first: the runtime that it is compared with.
        explanations: the shortest sets of mistakes, the likeliest first.
        largest: where nothing fits: the largest difference from the first runtime's output.
        real: whether the weights are float32 too.
        known: the mistakes that can be made in such a layer, by name.
        places: where in the images of a convolution the wrong elements lie, in words.
        layers: of a model of several layers, how many there are; 0 where one layer alone is diagnosed.
    """

    source: str
    layer: str
    mine: Array
    right_output: Array
    input_source: str
    first: str
    explanations: tuple[HybridAnswer, ...]
    largest: float | None = None
    real: bool = False
    known: Mapping[str, Mistake] = field(default_factory=lambda: HYBRID)
    places: tuple[str, ...] = ()
    layers: int = 0

    @property
    def verdict(self) -> str:
        """`right`, `form` (right except for the last bits), `mistakes` or `unexplained`."""
        if not self.explanations:
            return "unexplained"
        best = self.explanations[0]
        return "mistakes" if best.mistakes else "right" if best.exact else "form"

    @property
    def right(self) -> bool:
        """Whether it is a runtime's output to the last bit."""
        return self.verdict == "right"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The likeliest explanation's mistakes, in order of calculation."""
        return tuple(self.known[name] for name in self.explanations[0].mistakes) if self.explanations else ()

    @property
    def exit_code(self) -> int:
        """0: it is right to the last bit. 1: it is not."""
        return 0 if self.right else 1

    def checks(self) -> list[Check]:
        """All of it as one test case."""
        if self.right:
            return [Check(self.first, self.layer, Outcome.EQUAL)]
        return [Check(self.first, self.layer, Outcome.DIFFERS, self.in_short()[0], str(self))]

    def pictures(self) -> list[Picture]:
        """Where the array differs from the first runtime's output, and by how much; nothing where it does not."""
        return pictures_of(self.layer, difference_of(self.mine, self.right_output))

    def records(self) -> list[dict[str, Any]]:
        """A row for each element of the output."""
        rows, units = np.indices(self.mine.shape).reshape(2, -1).tolist()
        numbers = zip(rows, units, self.right_output.ravel().tolist(), self.mine.ravel().tolist(), strict=True)
        return [
            {"row": row, "unit": unit, "right": right, "yours": yours, "difference": yours - right}
            for row, unit, right, yours in numbers
        ]

    def in_short(self) -> list[str]:
        """The verdict, and what it is about."""
        head = f"{self.layer} of {self.source}, {self.mine.dtype}{list(self.mine.shape)}"
        if self.verdict == "mistakes":
            names = " + ".join(self.explanations[0].mistakes)
            return [f"{len(self.mistakes)} wrong: {names}{self._where(self.explanations[0])}", head]
        if self.verdict == "right":
            return [f"Nothing is wrong: this is what {self._names()} print{self._s}.", head]
        right = self.verdict == "form"
        text = (
            "The calculation is right; only the last bits differ."
            if right
            else "No set of known mistakes fits every element."
        )
        return [text, head]

    def _where(self, answer: HybridAnswer) -> str:
        """In which layers of a model the mistakes are made."""
        if not answer.operators:
            return ""
        if len(answer.operators) == 1:
            return f", in operator {answer.operators[0]} alone"
        every = "all " if len(answer.operators) == self.layers else ""
        return f", in {every}{len(answer.operators)} layers ({', '.join(map(str, answer.operators))})"

    @property
    def _s(self) -> str:
        return "s" if len(self.explanations[0].runtimes) == 1 else ""

    def _names(self) -> str:
        return names_text(self.explanations[0].runtimes)

    def blocks(self) -> list[Block]:
        """Verdict, the mistakes with their fixes."""
        blocks: list[Block] = [
            Heading(
                f"{self.layer} of {self.source} (float32{'' if self.real else ', rows quantized at run time'}): "
                f"what is wrong with {self.mine.dtype}{list(self.mine.shape)}?"
            ),
        ]
        match self.verdict:
            case "right":
                blocks.append(
                    Text(f"Nothing is wrong: this is what {self._names()} print{self._s}, to the last bit.", "good")
                )
            case "form":
                lies = "every element lies within what float32 loses"
                if self.layers:
                    lies = "elements lie within what float32 loses, and next to ties of the layers' quantized inputs"
                blocks.append(
                    Text(
                        f"The calculation is right, as {self._names()} calculate{self._s} it: {lies}. The last bits "
                        "differ: another order of operations, or another precision.",
                        "good",
                    )
                )
            case "unexplained":
                blocks.append(Text("No set of known mistakes of such layers fits every element.", "bad"))
                if self.layers:
                    blocks.append(
                        Text(
                            f"Tried: one mistake, in all of the {self.layers} layers that can have it, and in each "
                            "alone. --op N (op=N in Python) with that layer's own output tries up to 3 together."
                        )
                    )
                blocks.append(Text(f"The largest difference from {self.first}: {self.largest:.6g}."))
            case _:
                blocks += self._mistakes()
        if self.places:
            blocks.insert(1, Text(f"The wrong elements lie {', '.join(self.places)}."))
        return [*blocks, Text(f"Input: {self.input_source}.", "dim")]

    def first_screen(self) -> list[Block]:
        """The same on one screen."""
        return one_screen(self.blocks())

    def _mistakes(self) -> list[Block]:
        best, count = self.explanations[0], len(self.mistakes)
        what = "This one mistake reproduces" if count == 1 else f"These {count} mistakes together reproduce"
        loses = "up to what float32 loses in any order of summation"
        if self.layers:
            loses = "up to float32's roundings and what they change next to ties of quantized inputs"
        blocks: list[Block] = [Text(f"{what} all {self.mine.size} elements, {loses}:", "bad")]
        for number, mistake in enumerate(self.mistakes, 1):
            lines = [f"NumPy: {mistake.fix_numpy}", f"C:     {mistake.fix_c}"]
            lines += ["seen:  " + ", ".join(mistake.seen)] if mistake.seen else []
            where = self._where(best)
            blocks += [Text(f"{number}. {mistake.name}{where}: {mistake.why}."), Code("\n".join(lines))]
        blocks.append(Text(f"Everything else is as {names_text(best.runtimes)} calculate{self._s} it."))
        others = [" + ".join(other.mistakes) + self._where(other) for other in self.explanations[1:5]]
        if others:
            blocks.append(Text("These data do not decide: other mistakes fit them as well.", "warning"))
            blocks.append(Code("\n".join(others)))
        return blocks

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data, schema lastbit.diagnose_hybrid/1."""
        return {
            "schema": "lastbit.diagnose_hybrid/1",
            "model": self.source,
            "operator": self.layer,
            "input_source": self.input_source,
            "verdict": self.verdict,
            "runtime": self.first,
            "explanations": [
                {
                    "mistakes": [
                        {
                            "name": name,
                            "why": self.known[name].why,
                            "fix_numpy": self.known[name].fix_numpy,
                        }
                        for name in one.mistakes
                    ],
                    "runtimes": list(one.runtimes),
                    "exact": one.exact,
                    "operators": list(one.operators),
                }
                for one in self.explanations
            ],
            "largest_difference": self.largest,
            "places": list(self.places),
        }
