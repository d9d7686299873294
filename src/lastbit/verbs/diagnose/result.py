"""What a diagnosis found, as data."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...layers.differences import Difference
from ...layers.mistakes import MISTAKES, Mistake
from ...layers.mistakes.base import Case
from ...layers.mistakes.fixes import fixes
from ...layers.mistakes.worked import WorkedStep, worked_steps
from ...model.types import Array
from ...report.blocks import Report
from .fitted import FITTED, Fit
from .given import Given
from .given_steps import Part
from .samples import image_places, output_shape
from .separate import Tie
from .shape_mistakes import Reading
from .shortened import one_of
from .target import Nearest, Reproduction
from .unwritten import Unwritten

__all__ = ["Found"]


@dataclass(frozen=True, eq=False, repr=False)
class Found(Report, ABC):
    """The result of `diagnose` without its words; see `Diagnosis`.

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
        unwritten: rows or units that hold one constant; `explanations` and `nearest` are then about the rest.
        tie_distance: how far from a rounding tie of the right calculation the wrong elements are at most, where each
            is off by one and next to one; else None.
        fit: where nothing known fits: factors that reproduce every element, and the numbers that they suggest.
    """

    given: Given
    explanations: tuple[Reproduction, ...]
    nearest: Nearest | None
    ties: tuple[Tie, ...]
    problem: str = ""
    reading: Reading | None = None
    difference: Difference | None = None
    right_output: Array = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    parts: tuple[Part, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = ""
    unwritten: Unwritten | None = None
    tie_distance: float | None = None
    fit: Fit | None = None

    @property
    def explanation(self) -> Reproduction | None:
        """The likeliest explanation."""
        return self.explanations[0] if self.explanations else None

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The likeliest explanation's mistakes, in order of calculation."""
        if self.explanation is None:
            return () if self.fit is None else (FITTED,)
        return tuple(MISTAKES[name] for name in self.explanation.mistakes)

    @cached_property
    def one_of(self) -> tuple[Mistake, ...]:
        """Constants with too few digits or bits that fit one as well as the other: one of these mistakes was made.

        The first is the one in `mistakes`; empty where there is no other.
        """
        if self.explanation is None:
            return ()
        return one_of(self.explanations, Case.of(self.explanation.prepared, self.given.x))

    @property
    def verdict(self) -> str:
        """`right`, `form`, `other runtime`, `unwritten`, `mistakes`, `fitted`, `unexplained` or `unreadable`.

        `fitted`: no known mistake, but factors of its own reproduce every element. `form`: right numbers in another
        dtype or shape. `unwritten`: right except for rows or units never written.
        """
        if self.problem:
            return "unreadable"
        if self.explanation is None:
            return "unexplained" if self.fit is None else "fitted"
        if self.explanation.mistakes:
            return "mistakes"
        if self.unwritten is not None:
            return "unwritten"
        if self.given.asked is not None and self.given.asked not in self.explanation.runtimes:
            return "other runtime"
        return "form" if self.reading is not None and self.reading.findings else "right"

    @property
    def exit_code(self) -> int:
        """0: the array is right. 1: it is not."""
        return 0 if self.verdict == "right" else 1

    @property
    def findings(self) -> tuple[str, ...]:
        """What is unusual about the array, in words."""
        return () if self.reading is None else tuple(self.reading.findings)

    @property
    def fault(self) -> str:
        """What the kernels are known to get wrong that print these numbers, where no other prints them; else empty."""
        names = () if self.explanation is None else self.explanation.runtimes
        faults = [self.given.faults.get(name, "") for name in names]
        return faults[0] if all(faults) and faults else ""

    @property
    def wrong(self) -> int:
        """Elements that are wrong, in the array or in one that was given with it."""
        size = self.given.mine.size
        output = size if self.difference is None else self.difference.mismatched
        return max([output, *(part.size - part.matching for part in self.parts)])

    @property
    def places(self) -> list[str]:
        """Where the wrong elements of a convolution's output lie, in words; empty where that is nowhere special."""
        reading, right = self.reading, self.right_output
        if reading is None or reading.values.dtype.kind == "f" or reading.written.shape != right.shape:
            return []
        return image_places(self.given.prepared.layer, self.given.x, reading.written != right)

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
        counted = True if self.unwritten is None else self.unwritten.rest
        wrong = np.argwhere((right != reading.values) & counted)
        return (int(wrong[0][0]), int(wrong[0][1])) if len(wrong) else None

    def _index(self, row: int, unit: int) -> list[int]:
        """An element's place in the output: of a convolution [image, row, column, channel]."""
        shape = output_shape(self.given.prepared.layer, self.given.x, len(self.right_output))
        return [int(i) for i in np.unravel_index(row * shape[-1] + unit, shape)]

    def worked(self) -> list[WorkedStep]:
        """The first wrong element by hand, right beside wrong; empty where there is no explanation."""
        at = self.element()
        if at is None or self.explanation is None or not self.explanation.mistakes or self.reading is None:
            return []
        case = Case.of(self.explanation.prepared, self.given.x, self.given.real)
        chosen = {m.slot: m for m in self.mistakes if m.slot != "layout"}
        return worked_steps(case, chosen, *at, unrounded=self.reading.values.dtype.kind == "f")

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
            "fault": self.fault,
            "unwritten": None if self.unwritten is None else self.unwritten.as_dict(),
            "tie_distance": self.tie_distance,
            "fit": None if self.fit is None else self.fit.as_dict(),
            "findings": list(self.findings),
            "difference": None if self.difference is None else {"to": given.first, **self.difference.as_dict()},
            "explanations": [_explanation_dict(e) for e in self.explanations],
            "one_of": [mistake.name for mistake in self.one_of],
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
            "element": None if at is None else {"row": at[0], "unit": at[1], "index": self._index(*at)},
            "places": self.places,
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


def _explanation_dict(explanation: Reproduction) -> dict[str, Any]:
    rule = explanation.prepared.requant.rule
    return {
        "mistakes": [
            {
                "name": name,
                "stage": MISTAKES[name].stage,
                "why": MISTAKES[name].why,
                "fix_numpy": fixes(MISTAKES[name], rule)[0],
                "fix_c": fixes(MISTAKES[name], rule)[1],
                "seen": list(MISTAKES[name].seen),
            }
            for name in explanation.mistakes
        ],
        "runtimes": list(explanation.runtimes),
    }
