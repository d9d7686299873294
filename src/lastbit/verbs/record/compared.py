"""What came of comparing a recording with runtimes, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from ...report.blocks import Block, Code, Report, Table, Text
from ...report.junit import Check, Outcome
from ...report.one_screen import one_screen
from ...runtimes import Runtime
from .recording import Recording

__all__ = ["Recorded", "RecordedOperator", "RecordedRuntime", "first_differing"]

_ROWS_SHOWN = 12


@dataclass(frozen=True)
class RecordedOperator:
    """One operator of a recording in a runtime's arithmetic.

    Attributes:
        operator: the operator.
        rule: LastBit's rule for it; empty where it was not compared.
        reason: why it was not compared, else empty.
        outputs: outputs compared.
        mismatches: those that differ.
        largest: the largest difference.
        worked: the first output that differs, in LastBit's arithmetic.
    """

    operator: Operator
    rule: str
    reason: str
    outputs: int = 0
    mismatches: int = 0
    largest: float = 0
    worked: tuple[str, ...] = ()

    def check(self, runtime: str) -> Check:
        """As one test case of `--junit`."""
        if self.mismatches:
            why = f"{self.mismatches:,} of {self.outputs:,} outputs differ, by at most {self.largest:g}"
            return Check(runtime, self.operator.label, Outcome.DIFFERS, why, "\n".join(self.worked))
        outcome = Outcome.NOT_COMPARED if self.reason else Outcome.EQUAL
        return Check(runtime, self.operator.label, outcome, self.reason)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "index": self.operator.index,
            "operator": self.operator.name,
            "rule": self.rule,
            "reason": self.reason,
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "largest": self.largest,
        }


@dataclass(frozen=True)
class RecordedRuntime:
    """A recording beside one runtime.

    Attributes:
        runtime: the runtime.
        operators: every operator of the model.
        end_outputs: outputs of the unchanged model that were compared; 0 where not every operator is covered.
        end_mismatches: those that differ.
    """

    runtime: Runtime
    operators: tuple[RecordedOperator, ...]
    end_outputs: int
    end_mismatches: int

    @property
    def differing(self) -> tuple[RecordedOperator, ...]:
        """The operators that differ somewhere."""
        return tuple(op for op in self.operators if op.mismatches)

    @property
    def gaps(self) -> tuple[RecordedOperator, ...]:
        """The operators that were not compared."""
        return tuple(op for op in self.operators if op.reason)

    @property
    def outputs(self) -> int:
        """Outputs compared."""
        return sum(op.outputs for op in self.operators)

    @property
    def mismatches(self) -> int:
        """Outputs that differ."""
        return sum(op.mismatches for op in self.operators)

    @property
    def order(self) -> tuple[bool, int, int, int]:
        """By which the best one comes first; those of which hardly anything was compared come last."""
        return self.mostly_unknown, len(self.differing), self.mismatches, len(self.gaps)

    @property
    def mostly_unknown(self) -> bool:
        """Whether less than a quarter of the operators were compared: a RESHAPE alone is the same everywhere."""
        return 4 * (len(self.operators) - len(self.gaps)) < len(self.operators)

    def verdict(self) -> str:
        """In one sentence."""
        compared = len(self.operators) - len(self.gaps)
        told = f"{self.runtime.name}: {compared} of {len(self.operators)} operators compared"
        if not self.outputs:
            return told
        if self.differing:
            first = self.differing[0]
            return f"{told}, {self.outputs:,} outputs, {self.mismatches:,} differ, first in {first.operator.label}"
        return f"{told}, {self.outputs:,} outputs, none differs"

    def checks(self) -> list[Check]:
        """Each operator, and the model end to end."""
        found = [op.check(self.runtime.name) for op in self.operators]
        if self.end_outputs:
            outcome = Outcome.DIFFERS if self.end_mismatches else Outcome.EQUAL
            why = f"{self.end_mismatches:,} of {self.end_outputs:,} outputs differ" if self.end_mismatches else ""
            found.append(Check(self.runtime.name, "from the inputs to the outputs", outcome, why))
        return found

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "runtime": self.runtime.name,
            "operators": [op.as_dict() for op in self.operators],
            "end_outputs": self.end_outputs,
            "end_mismatches": self.end_mismatches,
        }


@dataclass(frozen=True, repr=False)
class Recorded(Report):
    """A recording beside one runtime or several, the best first.

    Attributes:
        model: the model.
        recording: what was printed elsewhere.
        runtimes: each runtime's comparison.
        identified: whether it was asked which runtime it is.
    """

    model: Model
    recording: Recording
    runtimes: tuple[RecordedRuntime, ...]
    identified: bool = False

    @property
    def exit_code(self) -> int:
        """0 where (of several: in one) every operator was compared and is equal, 1 where some differ, 3 with a gap."""
        best = self.runtimes[0]
        return 1 if best.differing or best.end_mismatches else 3 if best.gaps else 0

    def as_dict(self) -> dict[str, Any]:
        """As plain data, schema lastbit.recorded/1."""
        return {
            "schema": "lastbit.recorded/1",
            "model": self.model.source,
            "recorded": {
                "interpreter": self.recording.interpreter,
                "kernels": self.recording.kernels,
                "machine": self.recording.machine,
                "samples": len(self.recording.samples),
            },
            "runtimes": [runtime.as_dict() for runtime in self.runtimes],
        }

    def checks(self) -> list[Check]:
        """Each operator in each runtime that was asked, and the model end to end; of all runtimes the best one's."""
        return [check for runtime in self.runtimes[: 1 if self.identified else None] for check in runtime.checks()]

    def in_short(self) -> list[str]:
        """The best runtime's verdict."""
        if not self.identified:
            return [runtime.verdict() for runtime in self.runtimes]
        best = self.runtimes[0]
        if not best.outputs:
            return ["Not known: no runtime has a rule for an operator of this model", best.verdict()]
        if best.differing:
            unknown = any(r.mostly_unknown and not r.differing for r in self.runtimes)
            none = "No runtime that could be compared" if unknown else "No runtime"
            return [f"{none} prints this; nearest: {best.verdict()}"]
        equal = [r.runtime.name for r in self.runtimes if r.order == best.order]
        what = "what was compared" if best.gaps else "this"
        if len(equal) == 1:
            return [f"{equal[0]} prints {what}", best.verdict()]
        return [f"{len(equal)} runtimes print {what}: {', '.join(equal)}", best.verdict()]

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks())

    def blocks(self) -> list[Block]:
        """The verdict, who printed it, each runtime, and the operators of the best one."""
        best = self.runtimes[0]
        style = "bad" if self.exit_code == 1 else "warning" if self.exit_code else "good"
        found: list[Block] = [Text(f"{line}.", style) for line in self.in_short()[:2]]
        found.append(Text(f"Recorded: {self.recording.where}; {len(self.recording.samples)} inputs.", "dim"))
        rows: list[tuple[object, ...]]
        if len(self.runtimes) > 1:
            rows = [_row(r) for r in self.runtimes]
            heads = ("runtime", "ops", "outputs", "not compared", "first")
            found.append(
                Table(heads, rows[:_ROWS_SHOWN], title="How many operators and outputs differ", right=heads[1:4])
            )
        shown = [op for op in best.operators if op.mismatches or op.reason][:_ROWS_SHOWN]
        if shown:
            names = ("operator", "rule", "outputs", "differ", "largest", "not compared")
            rows = [
                (op.operator.label, op.rule, f"{op.outputs:,}", f"{op.mismatches:,}", f"{op.largest:g}", op.reason)
                for op in shown
            ]
            found.append(Table(names, rows, title=best.runtime.name, right=names[2:5]))
        worked = next((op for op in best.operators if op.worked), None)
        if worked is not None:
            found.append(Text(f"The first that differs, as {best.runtime.name} calculates it:"))
            found.append(Code("\n".join(worked.worked)))
        if best.end_outputs:
            count = f"{best.end_mismatches:,} of {best.end_outputs:,}"
            found.append(Text(f"End to end, from the inputs to the outputs: {count} differ.", "dim"))
        return found


def _row(found: RecordedRuntime) -> tuple[object, ...]:
    first = found.differing[0].operator if found.differing else None
    counts = (len(found.differing), f"{found.mismatches:,}") if found.outputs else ("", "")
    return found.runtime.name, *counts, len(found.gaps), "" if first is None else f"{first.index} {first.name}"


def first_differing(report: Recorded) -> RecordedOperator:
    """The first operator of the best runtime that differs.

    Raises:
        UnsupportedError: none does.
    """
    best = report.runtimes[0]
    if not best.differing:
        raise UnsupportedError(f"nothing to diagnose: {best.verdict()}", [])
    return best.differing[0]
