"""What a diagnosis found, for people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...layers.mistakes import MISTAKES
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import unrounded_matrix
from ...ops.products.window_layer import WindowLayer
from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.junit import Check, Outcome
from ...report.one_screen import one_screen
from ...report.phrases import names_text
from ...report.pictures import Picture
from .difference_pictures import difference_pictures
from .fitted import FITTED
from .given import Given
from .kernels import apart_text
from .result import Found
from .samples import image_places, place_text
from .separate import Tie, explanation_text, same_text, separating_inputs, ties_blocks
from .shortened import shortened_lines
from .target import Reproduction
from .text import FEW_WRONG, caution_blocks, constants_text, mistake_blocks, percent, rest_text, tie_text

__all__ = ["Diagnosis", "Given", "Tie", "separating_inputs"]


_MOST_UNITS = 8
"""Units whose fitted factor is shown."""


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Found):
    """The result of `diagnose`: what was found, and its words."""

    @property
    def right(self) -> bool:
        """Whether the array is right: dtype, shape and every element."""
        return self.verdict == "right"

    def checks(self) -> list[Check]:
        """The layer as one test case."""
        group = self.given.asked or "any runtime"
        if self.right:
            return [Check(group, self.given.layer, Outcome.EQUAL)]
        return [Check(group, self.given.layer, Outcome.DIFFERS, self.in_short()[0], str(self))]

    def pictures(self) -> list[Picture]:
        """Where the array differs, and by how much; nothing where it does not, or where it holds no integers."""
        return [] if self.right_output is None else difference_pictures(self.given, self.right_output, self.reading)

    def records(self) -> list[dict[str, Any]]:
        """A row for each element of the output, as the layer's rows and units."""
        if self.reading is None or self.right_output is None:
            return []
        right, mine = self.right_output, self.reading.values
        rows, units = np.indices(mine.shape).reshape(2, -1).tolist()
        numbers = zip(rows, units, right[: len(mine)].ravel().tolist(), mine.ravel().tolist(), strict=True)
        return [
            {"row": row, "unit": unit, "right": wanted, "yours": found, "difference": found - wanted}
            for row, unit, wanted, found in numbers
        ]

    def in_short(self) -> list[str]:
        """The verdict, the mistakes by name; and what it is about."""
        given = self.given
        head = f"{given.layer} of {given.source}, {given.mine.dtype}{list(given.mine.shape)}"
        if self.problem:
            return [f"This cannot be the layer's output: {self.problem}.", head]
        if self.fit is not None and self.explanation is None:
            return [f"A factor of its own fits every element. {self.fit.text}", *self.fit.suggestions[:1], head]
        if self.explanation is None:
            return [f"No set of up to {given.most} known mistakes fits every element.", head]
        if self.explanation.mistakes:
            more = f"Or {len(self.one_of) - 1} more like it: {'; '.join(shortened_lines(self.one_of[1:]))}"
            return [
                f"{len(self.mistakes)} wrong: {explanation_text(self.explanation)}",
                *([more] if self.one_of else []),
                head,
            ]
        told = {"right": self._right, "form": self._right, "unwritten": self._unwritten}
        first = told.get(self.verdict, self._other_runtime)()[0]
        assert isinstance(first, Text)
        return [first.text, *(f"The array: {finding}." for finding in self.findings), head]

    def blocks(self) -> list[Block]:
        """Verdict, the array's form, the mistakes with their fixes, one element worked, ties."""
        return self._blocks(whole=True)

    def first_screen(self) -> list[Block]:
        """The same on one screen, without the links to threads and the steps of the element that are right."""
        return one_screen(self._blocks(whole=False))

    def _blocks(self, whole: bool) -> list[Block]:
        given = self.given
        shape = f"{given.mine.dtype}{list(given.mine.shape)}"
        blocks: list[Block] = [Heading(f"{given.layer} of {given.source}: what is wrong with {shape}?")]
        if self.problem:
            blocks.append(Text(f"This cannot be the layer's output: {self.problem}.", "bad"))
            return blocks + self._elsewhere()
        assert self.reading is not None
        blocks += [Text(f"The array: {finding}.", "warning") for finding in self.reading.findings]
        blocks += self._parts_blocks()
        if self.unwritten is not None and self.verdict != "unwritten":
            blocks.append(Text(self.unwritten.text + " What follows is about the rest.", "bad"))
        blocks += {
            "right": self._right,
            "form": self._right,
            "unwritten": self._unwritten,
            "other runtime": self._other_runtime,
            "mistakes": lambda: self._mistakes(whole),
            "unexplained": self._unexplained,
            "fitted": self._fitted,
        }[self.verdict]()
        if self.difference:
            blocks.append(
                Text(f"Compared with {given.first}: " + self.difference.text("right", "yours").replace("\n", "; "))
            )
        blocks.append(Text(f"Input: {given.input_source}.", "dim"))
        if self.verdict == "mistakes":
            told = [mistake.name for mistake in self.one_of[1:]]
            blocks += [*self.worked_blocks(whole), *ties_blocks(self.ties, self.explanations, told)]
            blocks += [] if whole else [Text("-v: every step, and where each mistake was seen.", "dim")]
        return blocks

    def _right(self) -> list[Block]:
        assert self.explanation is not None
        names, s = names_text(self.explanation.runtimes), _s(self.explanation)
        if self.fault:
            whose = "its kernel" if s else "their kernels"
            return [
                Text(f"This is what {names} print{s}, with a known fault of {whose}: {self.fault}.", "warning"),
                Text(
                    "A kernel without that fault prints other numbers. If this is your own code, it has the fault too."
                ),
            ]
        if self.verdict == "form":
            return [Text(f"The numbers are right: they are what {names} print{s}.", "good")]
        first, *others = self.explanation.runtimes
        more = f" {names_text(others)} print{'s' * (len(others) == 1)} the same here." if others else ""
        return [Text(f"Nothing is wrong: this is what {first} prints.{more}", "good")]

    def _unwritten(self) -> list[Block]:
        assert self.explanation is not None
        assert self.unwritten is not None
        names = names_text(self.explanation.runtimes)
        return [
            Text(self.unwritten.text, "bad"),
            *self._places(),
            Text(f"The rest is right: it is what {names} print{_s(self.explanation)}."),
        ]

    def _other_runtime(self) -> list[Block]:
        assert self.explanation is not None
        given, names = self.given, names_text(self.explanation.runtimes)
        few: list[Block] = []
        if self.difference is not None and self.difference.mismatched < FEW_WRONG:
            few.append(
                Text(
                    f"Only {self.difference.mismatched} of these elements tells them apart, and some mistakes would "
                    "print the same: an output of more inputs makes it sure.",
                    "warning",
                )
            )
        assert given.asked is not None
        asked = given.faults.get(given.asked, "")
        if self.fault:
            why = f"They differ by a known fault of {names}: {self.fault}."
        elif asked:
            why = f"Nothing is wrong with your numbers. They differ by a known fault of {given.asked}: {asked}."
        else:
            why = "Nothing is wrong with the calculation. " + apart_text(self.explanation.prepared, given.prepared)
        return [
            Text(
                f"This is what {names} print{_s(self.explanation)}; you compared it with {given.asked}.",
                "warning" if self.fault else "good",
            ),
            Text(f"{why} `lastbit explain MODEL --at ROW,UNIT --runtime {given.asked}` shows the step."),
            *few,
        ]

    def _mistakes(self, seen: bool) -> list[Block]:
        explanation = self.explanation
        assert explanation is not None
        count = len(explanation.mistakes)
        what = "This one mistake" if count == 1 else f"These {count} mistakes together"
        size = self.given.mine.size if self.unwritten is None else int(self.unwritten.rest.sum())
        blocks: list[Block] = [
            Text(f"{what} reproduce{'s' if count == 1 else ''} all {size} elements:", "bad"),
        ]
        assert self.reading is not None
        blocks[-1:-1] = self._places()
        caution = caution_blocks(self.wrong, count, len(np.unique(self.reading.values)))
        blocks += caution
        if self.tie_distance is not None and (caution or count > 1):
            blocks.append(Text(tie_text(self.wrong, self.tie_distance), "warning"))
        blocks += self._one_of()
        for number, mistake in enumerate(self.mistakes, 1):
            blocks += mistake_blocks(number, mistake, explanation.prepared.requant.rule, seen)
            constants = constants_text(Case.of(explanation.prepared, self.given.x), mistake)
            blocks += [Text(constants)] if constants else []
        same = same_text(explanation, self.ties, [mistake.name for mistake in self.one_of])
        blocks += [Text(same)] if same else []
        blocks.append(Text(self._arithmetic_text(explanation)))
        return blocks

    def _one_of(self) -> list[Block]:
        """Constants of which one is wrong; nothing where the array decides."""
        if not self.one_of:
            return []
        which = "It is" if len(self.mistakes) == 1 else "One of them is"
        return [
            Text(
                f"{which} a constant that is kept with too few digits or bits. Which one, your array does not decide; "
                "each of these fits:"
            ),
            Code("\n".join(shortened_lines(self.one_of))),
            Text(f"What follows is about the first, {self.one_of[0].name}."),
        ]

    def _arithmetic_text(self, explanation: Reproduction) -> str:
        names = names_text(explanation.runtimes)
        if self.fault:
            names += f", with a known fault ({self.fault}),"
        asked = self.given.asked
        if asked is not None and asked not in explanation.runtimes:
            return f"The rest is as {names} calculate{_s(explanation)} it, not as {asked}, which you compared with."
        return f"Everything else is as {names} calculate{_s(explanation)} it."

    def worked_blocks(self, whole: bool = True) -> list[Block]:
        """The first wrong element by hand; only the steps that differ, where not the whole is asked for."""
        steps, at = self.worked(), self.element()
        steps = steps if whole else [step for step in steps if step.differs]
        if not steps or at is None:
            return []
        assert self.reading is not None
        first = next((number for number, step in enumerate(steps) if step.differs), None)
        rows = [
            (step.name, step.right, step.wrong, "<-- here" if number == first else "")
            for number, step in enumerate(steps)
        ]
        found = self.reading.values[at].item()
        where = " (in the right layout)" if self.reading.layout is not None else ""
        place = place_text(self.given.prepared.layer, self.given.x, *at)
        title = f"The first wrong element by hand: {place}{where}; yours is {found}"
        marked = () if first is None else (first,)
        return [Table(("step", "right", "with the mistakes", ""), rows, title, marked=marked)]

    def _elsewhere(self) -> list[Block]:
        return [Text(f"But {self.elsewhere}", "good")] if self.elsewhere else []

    def _fitted(self) -> list[Block]:
        fit = self.fit
        assert fit is not None
        blocks: list[Block] = [
            Text("No known mistake fits, but a factor of its own reproduces every element.", "bad"),
            Text(fit.text, "bad"),
            *(
                Text(f"{suggestion}: that lies in the interval{'s' * (fit.low.size > 1)}.")
                for suggestion in fit.suggestions
            ),
        ]
        if len(fit.by_unit) > 1:
            rows = [*fit.by_unit[:_MOST_UNITS]]
            more = f"; {len(fit.by_unit) - len(rows)} more: --json" if len(fit.by_unit) > len(rows) else ""
            title = f"The factor of each unit that is wrong{more}"
            blocks.append(Table(("unit", "from", "to", "right"), rows, title, right=("unit", "from", "to", "right")))
        return [*blocks, *mistake_blocks(1, FITTED, self.given.prepared.requant.rule)]

    def _unexplained(self) -> list[Block]:
        blocks: list[Block] = [
            Text(
                f"No set of up to {self.given.most} known mistakes fits every element, in the arithmetic of any "
                "runtime that has this layer.",
                "bad",
            )
        ]
        blocks += self._elsewhere()
        if self.tie_distance is not None:
            return [*blocks, Text(tie_text(self.wrong, self.tie_distance), "good")]
        nearest, reading = self.nearest, self.reading
        if nearest is None or reading is None or self.elsewhere:
            return blocks
        size = reading.values.size if self.unwritten is None else int(self.unwritten.rest.sum())
        share = f"{nearest.matching} of {size} elements ({percent(nearest.matching, size)})"
        if nearest.mistakes and self.difference is not None and self.unwritten is None:
            share += f", where the right calculation reproduces {size - self.difference.mismatched}"
        names = " + ".join(nearest.mistakes) or "the right calculation"
        blocks.append(
            Text(f"Nearest: {names}, in {nearest.runtime}'s arithmetic: {share}. This does not explain your output.")
        )
        chosen = {m.slot: m for m in (MISTAKES[name] for name in nearest.mistakes) if m.slot != "layout"}
        case = Case.of(nearest.prepared, self.given.x, self.given.real)
        real = None if "whole" in chosen else unrounded_matrix(case, chosen)
        wanted = nearest.wanted
        if self.unwritten is not None:
            wanted = np.where(self.unwritten.rest, wanted, nearest.values)
        blocks += self._places()
        layer = self.given.prepared.layer
        in_images = self.given.x.ndim == 4 and isinstance(layer, WindowLayer)
        places = partial(image_places, layer, self.given.x) if in_images else None
        rest = rest_text(nearest.values, wanted, real, self._place, places)
        return [*blocks, Text(f"The rest: {rest}.")] if rest else blocks

    def _places(self) -> list[Block]:
        return [Text(f"The wrong elements lie {'; '.join(self.places)}.")] if self.places else []

    def _place(self, row: int, unit: int) -> str:
        return place_text(self.given.prepared.layer, self.given.x, row, unit)

    def _parts_blocks(self) -> list[Block]:
        if not self.parts:
            return []
        rows = [
            (
                part.name,
                part.status,
                f"{part.matching} of {part.size}",
                " + ".join(part.explanations[0].mistakes) if part.explanations else "",
            )
            for part in self.parts
        ]
        wrong = next((part.name for part in self.parts if part.status != "right"), None)
        blocks: list[Block] = [
            Table(
                ("array", "", "elements right", "mistakes since the array before"),
                rows,
                "Step by step",
                marked=[number for number, part in enumerate(self.parts) if part.status != "right"],
            )
        ]
        if wrong is not None:
            blocks.append(Text(f"The first that is wrong is {wrong}."))
        return blocks


def _s(explanation: Reproduction) -> str:
    return "s" if len(explanation.runtimes) == 1 else ""
