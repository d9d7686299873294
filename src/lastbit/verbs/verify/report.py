"""What verify found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...model.errors import Refusal
from ...model.graph import Model
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.coverage import Coverage
from ...report.junit import Check
from ...report.phrases import folded, lines_in, plural
from .result import Comparison, RuntimeResult
from .screen import screen_blocks

__all__ = ["Verification"]

_LINES = 12


class Verification(Report):
    """The result of `verify`.

    Attributes:
        model: the model.
        samples: rows of input for each dense layer.
        seed: of all random inputs.
        results: one for each runtime.
        missing: runtimes left out since their interpreter is not installed.
        allow_gaps: whether operators that were not compared still give exit code 0.
    """

    def __init__(
        self,
        model: Model,
        samples: int,
        seed: int,
        results: Sequence[RuntimeResult],
        missing: Sequence[str],
        allow_gaps: bool = False,
    ) -> None:
        self.model = model
        self.samples = samples
        self.seed = seed
        self.results = tuple(results)
        self.missing = tuple(missing)
        self.allow_gaps = allow_gaps

    @property
    def coverage(self) -> Coverage:
        """All runtimes together: an operator is compared where no runtime leaves it out."""
        return Coverage.joined({r.runtime.name: r.coverage for r in self.results})

    @property
    def differs(self) -> bool:
        """Whether anything is other than LastBit says."""
        return any(r.differs for r in self.results)

    @property
    def exact(self) -> bool:
        """Whether all that was asked was compared and nothing differs."""
        return self.exit_code == 0 and self.coverage.complete

    @property
    def exit_code(self) -> int:
        """0: all compared and equal. 1: something differs. 3: an operator was not compared. 4: an interpreter died."""
        died = any(r.interpreter_died for r in self.results)
        return self.coverage.exit_code(differs=self.differs, died=died, allow_gaps=self.allow_gaps)

    def as_dict(self) -> dict[str, Any]:
        """The verification as plain data, schema lastbit.verify/1."""
        return {
            "schema": "lastbit.verify/1",
            "model": self.model.source,
            "samples": self.samples,
            "seed": self.seed,
            "exact": self.exact,
            "exit_code": self.exit_code,
            "allow_gaps": self.allow_gaps,
            "coverage": self.coverage.as_dict(),
            "not_installed": list(self.missing),
            "runtimes": [r.as_dict() for r in self.results],
        }

    def checks(self) -> list[Check]:
        """Each operator of each runtime, and each whole model."""
        return [check for result in self.results for check in result.checks()]

    def records(self) -> list[dict[str, Any]]:
        """A row for each operator in each runtime."""
        return [
            {
                "runtime": result.runtime.name,
                "operator": op.index,
                "name": op.name,
                "status": op.status,
                "rule": op.rule,
                "kernel": op.kernel,
                "outputs": op.outputs,
                "mismatches": op.mismatches,
            }
            for result in self.results
            for op in result.operators
        ]

    def in_short(self) -> list[str]:
        """The verdict, and on which runtimes."""
        verdict = " ".join(text.text for text in self._verdict())
        return [verdict, ", ".join(r.runtime.name for r in self.results), self.model.source]

    def first_screen(self) -> list[Block]:
        """The verdict, a line for each runtime, and where it starts to differ."""
        verdict = self._verdict()
        above = folded([verdict[0], verdict[-1]])
        return [*above, *screen_blocks(self.results, self.missing, _LINES - lines_in(above))]

    def blocks(self) -> list[Block]:
        """Runtime by runtime: what ran, a table of settings, what differs, what is not covered."""
        blocks: list[Block] = [Heading(f"verify {self.model.source}")]
        ran = [r for r in self.results if r.fingerprint]
        machines = dict.fromkeys(f"{r.fingerprint['cpu']}; {r.fingerprint['platform']}" for r in ran)
        blocks += [Text(f"on {machine}", "dim") for machine in machines]
        blocks += self._uncovered()
        for result in self.results:
            blocks += _runtime_blocks(result)
        blocks += self._notes()
        if self.missing:
            names = ", ".join(self.missing)
            blocks.append(
                Text(f"Not verified, since their interpreters are not here (`lastbit doctor`): {names}", "dim")
            )
        return [*blocks, *self._verdict()]

    def _notes(self) -> list[Block]:
        """Every warning once, with the operators and runtimes that it is about."""
        found: dict[tuple[str, str], dict[int, list[str]]] = {}
        for result in self.results:
            for op in result.operators:
                for note in op.notes:
                    found.setdefault((op.name, note), {}).setdefault(op.index, []).append(result.runtime.name)
        blocks: list[Block] = []
        for (name, note), where in found.items():
            runtimes = ", ".join(dict.fromkeys(runtime for names in where.values() for runtime in names))
            blocks.append(Text(f"Note: {name} {_ranges(sorted(where))} on {runtimes}: {note}", "warning"))
        return blocks

    def _uncovered(self) -> list[Block]:
        """Operators not covered, grouped by reason; never left out in silence."""
        reasons: dict[tuple[str, str], dict[int, list[str]]] = {}
        for result in self.results:
            for op in result.operators:
                if op.refusal and op.refusal_kind is not Refusal.DENSE_ONLY:
                    told = op.refusal + (
                        f" (the real interpreter refuses it too: {op.refused_by_oracle})"
                        if op.refused_by_oracle
                        else ""
                    )
                    reasons.setdefault((op.name, told), {}).setdefault(op.index, []).append(result.runtime.name)
        rows = []
        for (name, reason), where in reasons.items():
            runtimes = sorted({runtime for names in where.values() for runtime in names})
            names = "all" if len(runtimes) == len(self.results) else ", ".join(runtimes)
            rows.append((name, _ranges(sorted(where)), names, reason))
        if not rows:
            return []
        return [Table(("operator", "index", "runtimes", "why"), rows, title="Not covered")]

    def _gaps(self) -> list[Text]:
        """How many operators each runtime leaves out, where there are several runtimes."""
        if len(self.results) == 1:
            return []
        gaps = [(r.runtime.name, r.coverage) for r in self.results if r.coverage.missing]
        return [Text(f"{name}: {len(c.missing)} of {len(c.asked)} operators were not compared.") for name, c in gaps]

    def _verdict(self) -> list[Text]:
        """What was found, and last how much of the model that is about."""
        total = sum(r.compared for r in self.results)
        bad = sum(r.mismatches for r in self.results)
        if self.differs:
            verdict = Text(f"DIFFERS: {bad} of {total} outputs compared differ.", "bad")
        elif any(r.interpreter_died for r in self.results):
            verdict = Text(f"INTERPRETER DIED. Of {total} outputs compared before, 0 differ.", "bad")
        elif not total:
            verdict = Text("NOTHING COMPARED.", "warning")
        elif self.coverage.complete:
            verdict = Text(f"EXACT: 0 of {total} outputs compared differ.", "good")
        else:
            verdict = Text(f"0 of {total} outputs compared differ.")
        return [verdict, *self._gaps(), self.coverage.block()]


def _runtime_blocks(result: RuntimeResult) -> list[Block]:
    f = result.fingerprint
    blocks: list[Block] = [
        Heading(f"{result.runtime.name}: {result.compared} outputs compared, {result.mismatches} mismatches"),
        *([Text(f"{f['oracle']} {f['version']}, {f['mode']}", "dim")] if f else []),
    ]
    rows: list[tuple[object, ...]] = []
    settings: dict[tuple[str, str, str, str, str], list[int]] = {}
    for op in result.operators:
        for comparison in op.comparisons:
            # Long models repeat the same line for operator after operator: one row a kind of operator.
            kernel = comparison.kernel or "-"
            key = (op.name, op.rule, comparison.what, kernel, comparison.status)
            counts = settings.setdefault(key, [0, 0, 0])
            counts[0] += 1
            counts[1] += comparison.outputs
            counts[2] += comparison.mismatches
    if result.end_to_end is not None:
        e = result.end_to_end
        settings["whole model", "", e.what, e.kernel, e.status] = [
            1,
            e.outputs,
            e.mismatches,
        ]
    for (name, rule, what, kernel, status), (count, outputs, bad) in settings.items():
        label = name if count == 1 else f"{count} x {name}"
        rows.append((label, rule, what, kernel, outputs, bad, status))
    if rows:
        headers = ("operator", "rule", "setting", "kernel that ran", "outputs", "mismatches", "")
        marked = [number for number, row in enumerate(rows) if row[-2]]
        blocks.append(Table(headers, rows, right=("outputs", "mismatches"), marked=marked))
    if result.samples:
        blocks.append(Text(f"Whole model: {plural(result.samples, 'input')}.", "dim"))
    if result.whole_model_note:
        blocks.append(Text(result.whole_model_note, "warning"))
    blocks += [Text(died, "bad") for died in _deaths(result)]
    first = result.first_differing
    if first is not None:
        count = result.count("differs")
        told = f"the first of {count} that differ" if count > 1 else "the only one that differs"
        blocks.append(Text(f"It starts at operator {first.index} {first.name}, {told}.", "bad"))
    for op in result.operators:
        for comparison in op.comparisons:
            if comparison.differs:
                blocks += _difference_blocks(f"operator {op.index} {op.name}, {comparison.what}", comparison, result)
    if result.end_to_end is not None and result.end_to_end.differs:
        blocks += _difference_blocks("end to end", result.end_to_end, result)
    return blocks


def _deaths(result: RuntimeResult) -> list[str]:
    """Every way in which the interpreter ended, with where that was."""
    found = [
        f"operator {o.index} {o.name}, {c.what}: {c.died}" for o in result.operators for c in o.comparisons if c.died
    ]
    if result.end_to_end is not None and result.end_to_end.died:
        found.append(f"end to end: {result.end_to_end.died}")
    return [*found, *([result.died] if result.died else [])]


def _difference_blocks(title: str, comparison: Comparison, result: RuntimeResult) -> list[Block]:
    blocks: list[Block] = [Text(f"{title}: differs", "bad")]
    for problem in (comparison.failure, comparison.kernel_problem):
        if problem:
            blocks.append(Text(problem))
    if comparison.first is not None:
        blocks.append(Code(comparison.first.text(wanted_name=result.fingerprint["oracle"], found_name="LastBit")))
    if comparison.worked:
        blocks += [Text("LastBit's way to this element:"), Code("\n".join(comparison.worked))]
    return blocks


def _ranges(indices: Sequence[int]) -> str:
    """Indices as ranges: 0-3, 7; long lists are cut.

    >>> _ranges([0, 1, 2, 3, 7])
    '0-3, 7'
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    shown = texts[:6] + ([f"... ({len(indices)} in all)"] if len(texts) > 6 else [])
    return ", ".join(shown)
