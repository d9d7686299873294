"""What `identify` found, as data and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...layers.differences import Difference
from ...model.errors import Refusal
from ...model.types import Array
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.one_screen import one_screen
from ...report.phrases import families_in_short, families_text, names_text, plural
from ...runtimes import Refused, Runtime
from .version_groups import spans

__all__ = ["Attribution", "Candidate", "answer_text"]

# A runtime that differs at no more than this share of the elements is worth a worked element.
_NEAR = 1 / 20
_LONGEST = 160
_MOST_EXCLUDED = 8


@dataclass(frozen=True, eq=False)
class Candidate:
    """One runtime compared with the numbers.

    Attributes:
        runtime: the runtime.
        difference: how its output and the numbers differ, over the elements compared so far; None where it cannot run
            the model or layer.
        refused: why it cannot, else None.
        worked: the first element that excludes it, worked out in its arithmetic.
        versions: the versions that were run and calculate this the same way.
    """

    runtime: Runtime
    difference: Difference | None
    refused: Refused | None
    worked: tuple[str, ...]
    versions: tuple[str, ...] = ()

    @property
    def stands_for(self) -> str:
        """The real interpreter, and the versions of it that print the same."""
        return self.runtime.oracle + (f"; the same in {spans(self.versions)}" if self.versions else "")

    @property
    def refuses(self) -> bool:
        """Whether the runtime itself refuses the model or layer, so that the numbers cannot be its."""
        return self.refused is not None and self.refused.kind is Refusal.RUNTIME

    @property
    def status(self) -> str:
        """`reproduces all`, `excluded`, `cannot run it` (the runtime) or `not compared` (LastBit cannot)."""
        if self.difference is None:
            return "cannot run it" if self.refuses else "not compared"
        return "excluded" if self.difference else "reproduces all"


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Report):
    """The result of `identify`.

    Attributes:
        source: the model's path.
        subject: what was compared: the model's output or one layer's.
        size: output elements.
        candidates: every runtime.
        groups: the runtimes that are left; those that no input tried tells apart stand together.
        alike: the same runtimes; those that follow the same rules here stand together.
        separating_input: an input on which the groups differ, in the dtype and shape that `-i` takes; None where there
            is one group only or no input was found.
        separating_outputs: for each group, what it prints for that input.
        tried: inputs that were tried to tell the groups apart.
        unfinished: what was not done because the work was interrupted, in words; else empty.
    """

    main_table = "runtimes"

    source: str
    subject: str
    size: int
    candidates: tuple[Candidate, ...]
    groups: tuple[tuple[str, ...], ...]
    alike: tuple[tuple[str, ...], ...]
    separating_input: Array | None = None
    separating_outputs: tuple[Array, ...] = ()
    tried: int = 0
    unfinished: str = ""

    @property
    def exit_code(self) -> int:
        """0: some runtime reproduces all numbers. 1: none does. 3: none does of those that could be compared.

        A runtime that itself refuses the model or layer has not printed the numbers, so it leaves nothing open.
        """
        if self.groups:
            return 0
        compared = any(c.difference is not None for c in self.candidates)
        return 1 if compared and all(c.difference is not None or c.refuses for c in self.candidates) else 3

    def as_dict(self) -> dict[str, Any]:
        """The attribution as plain data, schema lastbit.identify/1."""
        return {
            "schema": "lastbit.identify/1",
            "model": self.source,
            "subject": self.subject,
            "elements": self.size,
            "runtimes": [
                {
                    "name": c.runtime.name,
                    "oracle": c.runtime.oracle,
                    "platform": c.runtime.platform,
                    "versions": list(c.versions),
                    "status": c.status,
                    "refusal": "" if c.refused is None else c.refused.reason,
                    "refusal_kind": None if c.refused is None else c.refused.kind.value,
                    "difference": None if c.difference is None else c.difference.as_dict(),
                    "worked": list(c.worked),
                }
                for c in self.candidates
            ],
            "left": [list(group) for group in self.groups],
            "same_rules": [list(names) for names in self.alike],
            "separating_input": None if self.separating_input is None else self.separating_input.tolist(),
            "separating_outputs": [output.tolist() for output in self.separating_outputs],
            "separating_inputs_tried": self.tried,
            "unfinished": self.unfinished,
        }

    def in_short(self) -> list[str]:
        """What is left."""
        first = self._answer()[0]
        assert isinstance(first, Text)
        rest = f"{self.subject}, {self.size} elements, of {self.source}"
        return [first.text, rest, *([f"Interrupted: {self.unfinished}."] if self.unfinished else [])]

    def first_screen(self) -> list[Block]:
        """The answer, whether an input tells the rest apart, who is excluded by what, and who was not compared."""
        blocks = [*self._answer()]
        if self.unfinished:
            blocks.append(Text(f"Interrupted: {self.unfinished}.", "warning"))
        if self.separating_input is not None:
            blocks.append(Text("An input tells these apart: --separating FILE writes it, -v prints it."))
        else:
            blocks += self._separating_blocks()
        asked = [c.runtime.name for c in self.candidates]
        excluded: dict[str, list[str]] = {}
        for c in self.candidates:
            if d := c.difference:
                first = "" if d.first is None else f"; first {list(d.first)}: {d.found}, given {d.wanted}"
                why = d.problem or f"{d.mismatched} of {d.elements} differ{first}"
                excluded.setdefault(why, []).append(c.runtime.name)
        rows = [(families_text(names, asked), why) for why, names in excluded.items()]
        if rows:
            blocks.append(Table(("excluded", "why"), rows[:_MOST_EXCLUDED], close=True))
        if len(rows) > _MOST_EXCLUDED:
            blocks.append(Text(f"and {len(rows) - _MOST_EXCLUDED} more", "dim"))
        for refuses, words in ((True, "cannot run it"), (False, "not compared")):
            names = [c.runtime.name for c in self.candidates if c.refused is not None and c.refuses == refuses]
            blocks += [Text(f"{words}: {families_in_short(names, asked)}")] if names else []
        return one_screen([*blocks, Text("Each reason, versions, inputs: -v", "dim")])

    def blocks(self) -> list[Block]:
        """The answer, what would separate those left, the runtimes that are excluded, and those not compared."""
        blocks: list[Block] = [
            Heading(f"Who printed these numbers? {self.subject} of {self.source}, {self.size} elements"),
            *self._answer(),
        ]
        if self.unfinished:
            blocks.append(Text(f"Interrupted: {self.unfinished}.", "warning"))
        return [*blocks, *self._separating_blocks(), *self._excluded_blocks(), *self._refused_blocks()]

    def _answer(self) -> list[Block]:
        compared = [c for c in self.candidates if c.difference is not None]
        if not compared:
            return [Text("No runtime was compared: none that LastBit knows can run this.", "bad")]
        if self.groups:
            stands = [
                f"{name}: {c.stands_for}"
                for group in self.groups
                for name in group
                for c in compared
                if c.runtime.name == name
            ]
            names = " / ".join(", ".join(group) for group in self.groups)
            return [Text(f"Left: {names}", "good"), Code("\n".join(stands))]
        unable = sum(c.refuses for c in self.candidates)
        missing = len(self.candidates) - len(compared) - unable
        rest = f"; {plural(unable, 'runtime')} cannot run this" if unable else ""
        rest += f"; {plural(missing, 'runtime')} could not be compared" if missing else ""
        rest += " (below)" if rest else ""
        return [
            Text(
                f"None of the {plural(len(compared), 'runtime')} compared prints these numbers{rest}. If they come "
                "from your own implementation, `lastbit diagnose` names the mistake in a layer.",
                "bad",
            )
        ]

    def _separating_blocks(self) -> list[Block]:
        blocks: list[Block] = []
        if any(len(names) > 1 for names in self.alike):
            together = "; ".join(", ".join(names) for names in self.alike if len(names) > 1)
            blocks.append(Text(f"These follow the same rules here, so no input tells them apart: {together}.", "dim"))
        if self.separating_input is not None:
            given = f"input {list(self.separating_input.shape)}: {self.separating_input.ravel().tolist()}"
            outputs = [
                f"{', '.join(group)}: {output.ravel().tolist()}"
                for group, output in zip(self.groups, self.separating_outputs, strict=True)
            ]
            blocks += [
                Text("Run this input to tell them apart (`--separating FILE` writes it):"),
                Code("\n".join(_cut(text) for text in (given, *outputs))),
            ]
        if len(self.groups) < len(self.alike) and not self.unfinished:
            tried = f"none of {plural(self.tried, 'input')} tried tells" if self.tried else "no input was tried to tell"
            names = " / ".join(names[0] for names in self.alike)
            blocks.append(Text(f"Some that are left follow different rules, but {tried} them apart: {names}."))
        return blocks

    def _excluded_blocks(self) -> list[Block]:
        """The runtimes that differ, those of one arithmetic in one row; near misses are worked out."""
        rows: dict[tuple[str, str], list[str]] = {}
        near: dict[tuple[str, ...], list[str]] = {}
        for c in self.candidates:
            d = c.difference
            if not d:
                continue
            first = "" if d.first is None else f"{list(d.first)}: it prints {d.found}, given {d.wanted}"
            rows.setdefault((f"{d.mismatched} of {d.elements}", first), []).append(c.runtime.name)
            if c.worked and d.mismatched <= _NEAR * d.elements:
                near.setdefault(c.worked, []).append(c.runtime.name)
        if not rows:
            return []
        headers = ("excluded", "differ", "first element that excludes it")
        listed = [(", ".join(names), share, first) for (share, first), names in rows.items()]
        blocks: list[Block] = [Table(headers, listed, right=("differ",))]
        for worked, names in near.items():
            blocks += [Text(f"How {', '.join(names)} got there:"), Code("\n".join(worked))]
        return blocks

    def _refused_blocks(self) -> list[Block]:
        tables: list[Block] = []
        for title, refuses in (("cannot run it", True), ("not compared", False)):
            reasons: dict[str, list[str]] = {}
            for c in self.candidates:
                if c.refused is not None and c.refuses == refuses:
                    reasons.setdefault(c.refused.reason, []).append(c.runtime.name)
            if reasons:
                tables.append(Table((title, "why"), [(", ".join(names), why) for why, names in reasons.items()]))
        return tables


def answer_text(groups: Sequence[Sequence[str]]) -> str:
    """The answer in a few words, for those who wait for the rest."""
    names = [name for group in groups for name in group]
    return f"left: {names_text(names)}" if names else "none prints these numbers"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
