"""What a diagnosis found, as data and for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..differences import Difference
from ..mistakes import MISTAKES, Mistake
from ..mistakes.base import Case
from ..mistakes.fixes import fixes
from ..mistakes.pipeline import unrounded_matrix
from ..mistakes.worked import WorkedStep, worked_steps
from ..ops.dense_8bit import PreparedDense
from ..report import Block, Code, Heading, Report, Table, Text
from ..texts import names_text
from ..types import Array
from .readings import Reading
from .search import Explanation, Nearest
from .separate import Tie, separating_inputs
from .steps import Part
from .text import FEW_WRONG, caution_blocks, mistake_blocks, percent, rest_text

__all__ = ["Diagnosis", "Given", "Tie", "separating_inputs"]


@dataclass(frozen=True, eq=False)
class Given:
    """What was to be diagnosed.

    Attributes:
        source: the model's path.
        layer: the operator's label.
        prepared: the layer in the first runtime's arithmetic.
        x: its input.
        input_source: where the input came from.
        mine: the array.
        asked: the runtime that was asked for, or None.
        first: the runtime that comes first among equals.
        real: the input before it was quantized, where it is known.
        most: sets of up to this many mistakes were searched.
    """

    source: str
    layer: str
    prepared: PreparedDense
    x: Array
    input_source: str
    mine: Array
    asked: str | None
    first: str
    real: Array | None = None
    most: int = 3


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Report):
    """The result of `diagnose`.

    Attributes:
        given: what was to be diagnosed.
        explanations: the shortest sets of mistakes that reproduce every element, the likeliest first. One without
            mistakes says that the array is right, in the runtimes that it names.
        nearest: what comes nearest where nothing reproduces every element.
        ties: for each further explanation, an input that would tell it from the first.
        problem: why the array cannot be an output of the layer at all, else empty.
        reading: how the array was read.
        difference: how the array differs from the first runtime's right output; None where it is not rounded yet.
        right_output: what the first runtime prints, `[rows, out]`.
        parts: where intermediate arrays were given, what is wrong up to each.
        refused: runtimes that do not run the layer -> why.
        elsewhere: where the array fits nothing, which other tensor of the model it is, in words; else empty.
    """

    given: Given
    explanations: tuple[Explanation, ...]
    nearest: Nearest | None
    ties: tuple[Tie, ...]
    problem: str = ""
    reading: Reading | None = None
    difference: Difference | None = None
    right_output: Array = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    parts: tuple[Part, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = ""

    @property
    def explanation(self) -> Explanation | None:
        """The likeliest explanation."""
        return self.explanations[0] if self.explanations else None

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The likeliest explanation's mistakes, in order of calculation."""
        return () if self.explanation is None else tuple(MISTAKES[name] for name in self.explanation.mistakes)

    @property
    def verdict(self) -> str:
        """`right`, `form`, `other runtime`, `mistakes`, `unexplained` or `unreadable`.

        `form` is right numbers in another dtype or shape.
        """
        if self.problem:
            return "unreadable"
        if self.explanation is None:
            return "unexplained"
        if self.explanation.mistakes:
            return "mistakes"
        if self.given.asked is not None and self.given.asked not in self.explanation.runtimes:
            return "other runtime"
        return "form" if self.reading is not None and self.reading.findings else "right"

    @property
    def exit_code(self) -> int:
        """0: the array is right. 1: it is not."""
        return 0 if self.verdict == "right" else 1

    def element(self) -> tuple[int, int] | None:
        """(row, unit) of the first element that is wrong, by the first runtime or the nearest explanation."""
        reading = self.reading
        if reading is None or reading.values.size == 0:
            return None
        if reading.values.dtype.kind == "f":
            return 0, 0
        right = self.right_output
        if self.explanation is not None:
            right = self.explanation.prepared.evaluate([self.given.x])["output"].reshape(right.shape)
        wrong = np.argwhere(right != reading.values)
        return (int(wrong[0][0]), int(wrong[0][1])) if len(wrong) else None

    def worked(self) -> list[WorkedStep]:
        """The first wrong element by hand, right beside wrong; empty where there is no explanation."""
        at = self.element()
        if at is None or self.explanation is None or not self.explanation.mistakes or self.reading is None:
            return []
        case = Case.of(self.explanation.prepared, self.given.x, self.given.real)
        chosen = {m.slot: m for m in self.mistakes if m.slot != "layout"}
        return worked_steps(case, chosen, *at, unrounded=self.reading.values.dtype.kind == "f")

    @property
    def _findings(self) -> tuple[str, ...]:
        return () if self.reading is None else tuple(self.reading.findings)

    @property
    def right(self) -> bool:
        """Whether the array is right: dtype, shape and every element."""
        return self.verdict == "right"

    def in_short(self) -> list[str]:
        """The verdict, the mistakes by name; and what it is about."""
        given = self.given
        head = f"{given.layer} of {given.source}, {given.mine.dtype}{list(given.mine.shape)}"
        if self.problem:
            return [f"This cannot be the layer's output: {self.problem}.", head]
        if self.explanation is None:
            return [f"No set of up to {given.most} known mistakes fits every element.", head]
        if self.explanation.mistakes:
            return [f"{len(self.mistakes)} wrong: {_sum(self.explanation)}", head]
        first = {"right": self._right, "form": self._right}.get(self.verdict, self._other_runtime)()[0]
        assert isinstance(first, Text)
        return [first.text, *(f"The array: {finding}." for finding in self._findings), head]

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data, schema lastbit.diagnose/1."""
        given, nearest, at = self.given, self.nearest, self.element()
        return {
            "schema": "lastbit.diagnose/1",
            "model": given.source,
            "operator": given.layer,
            "runtime_asked": given.asked,
            "input_source": given.input_source,
            "verdict": self.verdict,
            "problem": self.problem,
            "elsewhere": self.elsewhere,
            "findings": list(self._findings),
            "difference": None if self.difference is None else {"to": given.first, **self.difference.as_dict()},
            "explanations": [_explanation_dict(e) for e in self.explanations],
            "ties": [
                {
                    "mistakes": list(tie.other.mistakes),
                    "separating": None if tie.separation is None else tie.separation.as_dict(),
                }
                for tie in self.ties
            ],
            "nearest": None
            if nearest is None
            else {
                "mistakes": list(nearest.mistakes),
                "runtime": nearest.runtime,
                "matching": nearest.matching,
                "elements": int(self.right_output.size),
            },
            "element": None if at is None else {"row": at[0], "unit": at[1]},
            "worked": [{"step": s.name, "right": s.right, "wrong": s.wrong} for s in self.worked()],
            "parts": [
                {
                    "name": part.name,
                    "status": part.status,
                    "mistakes": list(part.explanations[0].mistakes) if part.explanations else [],
                    "matching": part.matching,
                    "elements": part.size,
                }
                for part in self.parts
            ],
            "refused": dict(self.refused),
        }

    def blocks(self) -> list[Block]:
        """Verdict, the array's form, the mistakes with their fixes, one element worked, ties."""
        given = self.given
        shape = f"{given.mine.dtype}{list(given.mine.shape)}"
        blocks: list[Block] = [
            Heading(f"{given.layer} of {given.source}: what is wrong with {shape}?"),
            Text(f"Input: {given.input_source}.", "dim"),
        ]
        if self.problem:
            blocks.append(Text(f"This cannot be the layer's output: {self.problem}.", "bad"))
            return blocks + self._elsewhere()
        assert self.reading is not None
        blocks += [Text(f"The array: {finding}.", "warning") for finding in self.reading.findings]
        if self.difference:
            blocks.append(
                Text(f"Held against {given.first}: " + self.difference.text("right", "yours").replace("\n", "; "))
            )
        blocks += self._parts_blocks()
        blocks += {
            "right": self._right,
            "form": self._right,
            "other runtime": self._other_runtime,
            "mistakes": self._mistakes,
            "unexplained": self._unexplained,
        }[self.verdict]()
        return blocks

    def _right(self) -> list[Block]:
        assert self.explanation is not None
        names = names_text(self.explanation.runtimes)
        if self.verdict == "form":
            return [Text(f"The numbers are right: they are what {names} print{_s(self.explanation)}.", "good")]
        others = [name for name in self.explanation.runtimes if name != self.given.first]
        more = f" {names_text(others)} print{'s' * (len(others) == 1)} the same here." if others else ""
        if self.given.first not in self.explanation.runtimes:
            more = ""
        first = self.explanation.runtimes[0]
        return [Text(f"Nothing is wrong: this is what {first} prints.{more}", "good")]

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
        return [
            Text(f"This is what {names} print{_s(self.explanation)}; you compared it with {given.asked}.", "good"),
            Text(
                "Nothing is wrong with the calculation: the two round differently. `lastbit explain MODEL --at "
                f"ROW,UNIT --runtime {given.asked}` shows the step at which they part."
            ),
            *few,
        ]

    def _mistakes(self) -> list[Block]:
        explanation = self.explanation
        assert explanation is not None
        count = len(explanation.mistakes)
        what = "This one mistake" if count == 1 else f"These {count} mistakes together"
        size = self.given.mine.size
        blocks: list[Block] = [
            Text(f"{what} reproduce{'s' if count == 1 else ''} all {size} elements:", "bad"),
        ]
        wrong = size if self.difference is None else self.difference.mismatched
        assert self.reading is not None
        blocks += caution_blocks(wrong, count, len(np.unique(self.reading.values)))
        for number, mistake in enumerate(self.mistakes, 1):
            blocks += mistake_blocks(number, mistake, explanation.prepared.requant.rule.form)
        blocks.append(Text(self._arithmetic_text(explanation)))
        blocks += self._worked_blocks()
        return blocks + self._ties_blocks()

    def _arithmetic_text(self, explanation: Explanation) -> str:
        names = names_text(explanation.runtimes)
        asked = self.given.asked
        if asked is not None and asked not in explanation.runtimes:
            return f"The rest is as {names} calculate{_s(explanation)} it, not as {asked}, which you compared with."
        return f"Everything else is as {names} calculate{_s(explanation)} it."

    def _worked_blocks(self) -> list[Block]:
        steps, at = self.worked(), self.element()
        if not steps or at is None:
            return []
        assert self.reading is not None
        rows = []
        shown = False
        for step in steps:
            mark = "<-- here" if step.differs and not shown else ""
            shown = shown or step.differs
            rows.append((step.name, step.right, step.wrong, mark))
        found = self.reading.values[at].item()
        where = " (in the right layout)" if self.reading.layout is not None else ""
        title = f"The first wrong element by hand: row {at[0]}, unit {at[1]}{where}; yours is {found}"
        return [Table(("step", "right", "with the mistakes", ""), rows, title)]

    def _ties_blocks(self) -> list[Block]:
        if not self.ties:
            return []
        equal = [tie.other for tie in self.ties if tie.separation is None and tie.tried]
        untold = [tie.other for tie in self.ties if not tie.tried]
        parted = [tie for tie in self.ties if tie.separation is not None]
        blocks: list[Block] = []
        if equal:
            blocks.append(Text("The same on every input tried, so one of these is as good an answer:", "warning"))
            blocks.append(Code("\n".join(_sum(e) for e in equal)))
        if untold:
            blocks.append(Text("Explains these data as well; other real inputs may tell:", "warning"))
            blocks.append(Code("\n".join(_sum(e) for e in untold)))
        if parted:
            blocks.append(Text("Explains these data as well, and other inputs would tell:", "warning"))
            blocks.append(Code("\n".join(_sum(tie.other) for tie in parted)))
            first = parted[0].separation
            assert first is not None
            values = ", ".join(str(int(v)) for v in first.x.ravel()[:24])
            more = f", ... ({first.x.size} values; `--separating FILE` writes them)" if first.x.size > 24 else ""
            blocks += [
                Text(
                    f"For this input, unit {first.unit} is {first.values[0]} with the first explanation and "
                    f"{first.values[1]} with {_sum(parted[0].other)}:"
                ),
                Code(values + more),
            ]
        left = len(self.explanations) - 1 - len(self.ties)
        if left > 0:
            blocks.append(Text(f"And {left} more sets of as many mistakes.", "dim"))
        return blocks

    def _elsewhere(self) -> list[Block]:
        return [Text(f"But {self.elsewhere}: is the operator the right one?", "good")] if self.elsewhere else []

    def _unexplained(self) -> list[Block]:
        blocks: list[Block] = [
            Text(
                f"No set of up to {self.given.most} known mistakes, in any runtime's arithmetic, fits every element.",
                "bad",
            )
        ]
        blocks += self._elsewhere()
        nearest, reading = self.nearest, self.reading
        if nearest is None or reading is None:
            return blocks
        size = reading.values.size
        share = f"{nearest.matching} of {size} elements ({percent(nearest.matching, size)})"
        if nearest.mistakes and self.difference is not None:
            share += f", where the right calculation reproduces {size - self.difference.mismatched}"
        names = " + ".join(nearest.mistakes) or "the right calculation"
        blocks.append(Text(f"Nearest: {names}, in {nearest.runtime}'s arithmetic: {share}. It is no finding."))
        chosen = {m.slot: m for m in (MISTAKES[name] for name in nearest.mistakes) if m.slot != "layout"}
        case = Case.of(nearest.prepared, self.given.x, self.given.real)
        real = None if "whole" in chosen else unrounded_matrix(case, chosen)
        rest = rest_text(nearest.values, nearest.wanted, real)
        return [*blocks, Text(f"The rest: {rest}.")] if rest else blocks

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
            Table(("array", "", "elements right", "mistakes since the array before"), rows, "Step by step")
        ]
        if wrong is not None:
            blocks.append(Text(f"The first that is wrong is {wrong}."))
        return blocks


def _sum(explanation: Explanation) -> str:
    return (" + ".join(explanation.mistakes) or "nothing") + f"  (as {explanation.runtimes[0]})"


def _s(explanation: Explanation) -> str:
    return "s" if len(explanation.runtimes) == 1 else ""


def _explanation_dict(explanation: Explanation) -> dict[str, Any]:
    form = explanation.prepared.requant.rule.form
    return {
        "mistakes": [
            {
                "name": name,
                "stage": MISTAKES[name].stage,
                "why": MISTAKES[name].why,
                "fix_numpy": fixes(MISTAKES[name], form)[0],
                "fix_c": fixes(MISTAKES[name], form)[1],
                "seen": list(MISTAKES[name].seen),
            }
            for name in explanation.mistakes
        ],
        "runtimes": list(explanation.runtimes),
    }
