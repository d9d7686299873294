"""What verify found of one operator and of one runtime, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...layers.differences import Difference
from ...model.errors import Refusal
from ...model.graph import Model
from ...report.coverage import Coverage
from ...report.junit import Check, Outcome
from ...runtimes import Runtime
from ...runtimes.base import Family

__all__ = ["Comparison", "OperatorResult", "RuntimeResult"]


@dataclass
class Comparison:
    """One operator, or a whole model, compared with the real interpreter in one setting.

    Attributes:
        what: the setting: cut out at some batch, requantization probed, in the whole model, end to end.
        kernel: which kernel the interpreter says it used.
        failure: why nothing could be compared though LastBit says what is printed, else empty.
        died: how the interpreter's process ended or that it took too long, else empty.
        kernel_problem: LastBit expected another kernel than the one that ran, else empty.
        outputs: output elements compared.
        mismatches: those that differ.
        first: the first difference.
        worked: the first bad element, worked out by LastBit's rule line by line.
    """

    what: str
    kernel: str = ""
    failure: str = ""
    died: str = ""
    kernel_problem: str = ""
    outputs: int = 0
    mismatches: int = 0
    first: Difference | None = None
    worked: list[str] = field(default_factory=list)

    def add(self, difference: Difference, worked: Sequence[str] = ()) -> None:
        """Count one compared array."""
        self.outputs += difference.elements
        self.mismatches += difference.mismatched
        if difference and self.first is None:
            self.first = difference
            self.worked = list(worked)

    def add_kernel_check(self, expected: str, delegated: bool | None) -> None:
        """Note where the delegate did not do what LastBit expected of it."""
        if delegated is not None and delegated != (expected == Family.XNNPACK):
            took = "took" if delegated else "declined"
            self.kernel_problem = f"LastBit expected the {expected} kernel, but the delegate {took} the operator"

    @property
    def differs(self) -> bool:
        """Whether anything is other than LastBit says."""
        return bool(self.mismatches or self.failure or self.kernel_problem)

    @property
    def status(self) -> str:
        """`exact`, `differs` or `died`."""
        if self.differs:
            return "differs"
        return "died" if self.died else "exact"

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return {"exact": Outcome.EQUAL, "differs": Outcome.DIFFERS, "died": Outcome.DIED}[self.status]

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty where nothing is."""
        if self.mismatches:
            return f"{self.mismatches} of {self.outputs} outputs differ ({self.what})"
        return self.failure or self.kernel_problem or self.died

    @property
    def details(self) -> list[str]:
        """The first difference, and its element by hand."""
        first = [] if self.first is None else [self.first.text("LastBit", "the interpreter")]
        return [*first, *self.worked]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "what": self.what,
            "kernel": self.kernel,
            "failure": self.failure,
            "died": self.died,
            "kernel_problem": self.kernel_problem,
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "first": None if self.first is None else self.first.as_dict(),
            "worked": self.worked,
        }


@dataclass
class OperatorResult:
    """One operator in one runtime.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        rule: LastBit's rule; empty where it refuses or does not cover the operator.
        kernel: the kernel family LastBit expects.
        refusal: why LastBit refuses or does not cover it, in words, else empty.
        refusal_kind: what kind of refusal it is, else None.
        refused_by_oracle: the real interpreter's own reason for refusing it too, else empty.
        comparisons: what was compared.
        notes: LastBit's warnings about this operator.
        silent: whether it writes no array: what it does shows in what other operators read.
    """

    index: int
    name: str
    rule: str
    kernel: str
    refusal: str = ""
    refusal_kind: Refusal | None = None
    refused_by_oracle: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    silent: bool = False

    @property
    def status(self) -> str:
        """`exact`, `differs`, `not covered`, `refused by both`, `interpreter died`, `no outputs` or `not compared`."""
        if any(c.differs for c in self.comparisons):
            return "differs"
        if any(c.died for c in self.comparisons):
            return "interpreter died"
        if self.refusal:
            return "refused by both" if self.refused_by_oracle else "not covered"
        return "exact" if self.outputs else "no outputs" if self.silent else "not compared"

    @property
    def outputs(self) -> int:
        """Output elements compared, over all settings."""
        return sum(c.outputs for c in self.comparisons)

    @property
    def mismatches(self) -> int:
        """Output elements that differ, over all settings."""
        return sum(c.mismatches for c in self.comparisons)

    def check(self, runtime: str) -> Check:
        """The operator as one test case."""
        name = f"operator {self.index} {self.name}"
        bad = [comparison for comparison in self.comparisons if comparison.outcome is not Outcome.EQUAL]
        if bad:
            outcome = Outcome.DIFFERS if any(c.outcome is Outcome.DIFFERS for c in bad) else Outcome.DIED
            lines = [line for comparison in bad for line in (comparison.problem, *comparison.details)]
            return Check(runtime, name, outcome, bad[0].problem, "\n".join(lines))
        if self.status in ("exact", "no outputs"):
            return Check(runtime, name, Outcome.EQUAL)
        told = self.refusal + (f" (the interpreter too: {self.refused_by_oracle})" if self.refused_by_oracle else "")
        return Check(runtime, name, Outcome.NOT_COMPARED, told or "nothing was compared")

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "index": self.index,
            "name": self.name,
            "status": self.status,
            "rule": self.rule,
            "kernel": self.kernel,
            "refusal": self.refusal,
            "refusal_kind": self.refusal_kind.value if self.refusal_kind else None,
            "refused_by_oracle": self.refused_by_oracle,
            "notes": list(self.notes),
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "comparisons": [c.as_dict() for c in self.comparisons],
        }


@dataclass
class RuntimeResult:
    """One runtime compared with its real interpreter.

    Attributes:
        model: the model.
        runtime: the runtime.
        fingerprint: the interpreter's name, version, mode, CPU and platform.
        operators: every operator of the model.
        end_to_end: the whole model from inputs to outputs, where all of it is covered.
        whole_model_note: why the whole model was not compared, else empty.
        samples: inputs of the whole model that were run.
        died: how the interpreter ended where that is no single operator's matter, else empty.
        dense_only: whether only dense layers were asked about.
    """

    model: Model
    runtime: Runtime
    fingerprint: Mapping[str, str]
    operators: list[OperatorResult]
    end_to_end: Comparison | None = None
    whole_model_note: str = ""
    samples: int = 0
    died: str = ""
    dense_only: bool = False

    @property
    def compared(self) -> int:
        """Output elements compared."""
        return sum(o.outputs for o in self.operators) + (self.end_to_end.outputs if self.end_to_end else 0)

    @property
    def mismatches(self) -> int:
        """Output elements that differ."""
        return sum(o.mismatches for o in self.operators) + (self.end_to_end.mismatches if self.end_to_end else 0)

    @property
    def differs(self) -> bool:
        """Whether anything is other than LastBit says."""
        return any(o.status == "differs" for o in self.operators) or bool(self.end_to_end and self.end_to_end.differs)

    @property
    def interpreter_died(self) -> bool:
        """Whether the interpreter crashed, took too long or did not load."""
        ended = self.end_to_end is not None and bool(self.end_to_end.died)
        return ended or bool(self.died) or any(c.died for o in self.operators for c in o.comparisons)

    @property
    def coverage(self) -> Coverage:
        """The operators asked about that were not compared; what both refuse has no outputs to compare."""
        asked = [o for o in self.operators if not self.dense_only or o.name == "FULLY_CONNECTED"]
        asked = [o for o in asked if o.status not in ("refused by both", "no outputs")]
        gaps = {o.index: self._why(o) for o in asked if not o.outputs and o.status != "differs"}
        return Coverage(tuple(self.model.operators[o.index] for o in asked), gaps)

    def _why(self, op: OperatorResult) -> str:
        died = next((c.died for c in op.comparisons if c.died), self.died)
        return op.refusal or died or self.whole_model_note or "it has no outputs to compare"

    @property
    def first_differing(self) -> OperatorResult | None:
        """The first operator in the order of execution at which anything differs, or None."""
        return next((o for o in self.operators if o.status == "differs"), None)

    def count(self, status: str) -> int:
        """How many operators have this status."""
        return sum(o.status == status for o in self.operators)

    def checks(self) -> list[Check]:
        """A test case for each operator that was asked about, and one for the whole model."""
        name = self.runtime.name
        found = [op.check(name) for op in self.operators if op.name == "FULLY_CONNECTED" or not self.dense_only]
        whole = self.end_to_end
        if whole is not None:
            found.append(Check(name, "whole model", whole.outcome, whole.problem, "\n".join(whole.details)))
        elif self.died:
            found.append(Check(name, "whole model", Outcome.DIED, self.died))
        return found

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "runtime": self.runtime.name,
            "fingerprint": dict(self.fingerprint),
            "outputs": self.compared,
            "mismatches": self.mismatches,
            "coverage": self.coverage.as_dict(),
            "first_differing_operator": None if self.first_differing is None else self.first_differing.index,
            "operators": [o.as_dict() for o in self.operators],
            "end_to_end": None if self.end_to_end is None else self.end_to_end.as_dict(),
            "whole_model_note": self.whole_model_note,
            "whole_model_samples": self.samples,
            "died": self.died,
        }
