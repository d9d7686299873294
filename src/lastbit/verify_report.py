"""What verify found, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .differences import Difference
from .model import Model
from .prepare import DENSE_ONLY
from .report import Block, Code, Heading, Report, Table, Text
from .runtimes import Runtime

__all__ = ["Comparison", "OperatorResult", "RuntimeResult", "Verification"]


@dataclass
class Comparison:
    """One operator, or a whole model, held against the real interpreter in one setting.

    Attributes:
        what: the setting: cut out at some batch, requantization probed, in the whole model, end to end.
        kernel: which kernel the interpreter says it used.
        failure: why nothing could be compared, else empty.
        kernel_problem: LastBit expected another kernel than the one that ran, else empty.
        outputs: output elements compared.
        mismatches: those that differ.
        first: the first difference.
        worked: the first bad element, worked out by LastBit's rule line by line.
    """

    what: str
    kernel: str = ""
    failure: str = ""
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
        if delegated is not None and delegated != (expected == "xnnpack"):
            took = "took" if delegated else "declined"
            self.kernel_problem = f"LastBit expected the {expected} kernel, but the delegate {took} the operator"

    @property
    def differs(self) -> bool:
        """Whether anything is other than LastBit says."""
        return bool(self.mismatches or self.failure or self.kernel_problem)

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "what": self.what,
            "kernel": self.kernel,
            "failure": self.failure,
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
        refusal: why LastBit refuses or does not cover it, else empty.
        refused_by_oracle: the real interpreter's own reason for refusing it too, else empty.
        comparisons: what was compared.
        notes: LastBit's warnings about this operator.
    """

    index: int
    name: str
    rule: str
    kernel: str
    refusal: str = ""
    refused_by_oracle: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """`exact`, `differs`, `not covered`, `refused by both` or `not compared`."""
        if self.refusal:
            return "refused by both" if self.refused_by_oracle else "not covered"
        if any(c.differs for c in self.comparisons):
            return "differs"
        return "exact" if self.outputs else "not compared"

    @property
    def outputs(self) -> int:
        """Output elements compared, over all settings."""
        return sum(c.outputs for c in self.comparisons)

    @property
    def mismatches(self) -> int:
        """Output elements that differ, over all settings."""
        return sum(c.mismatches for c in self.comparisons)

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "index": self.index,
            "name": self.name,
            "status": self.status,
            "rule": self.rule,
            "kernel": self.kernel,
            "refusal": self.refusal,
            "refused_by_oracle": self.refused_by_oracle,
            "notes": list(self.notes),
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "comparisons": [c.as_dict() for c in self.comparisons],
        }


@dataclass
class RuntimeResult:
    """One runtime against its real interpreter.

    Attributes:
        runtime: the runtime.
        fingerprint: the interpreter's name, version, mode, CPU and platform.
        operators: every operator of the model.
        end_to_end: the whole model from inputs to outputs, where all of it is covered.
        whole_model_note: why the whole model could not be run, else empty.
    """

    runtime: Runtime
    fingerprint: Mapping[str, str]
    operators: list[OperatorResult]
    end_to_end: Comparison | None
    whole_model_note: str

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
    def first_differing(self) -> OperatorResult | None:
        """The first operator in the order of execution at which anything differs, or None."""
        return next((o for o in self.operators if o.status == "differs"), None)

    def count(self, status: str) -> int:
        """How many operators have this status."""
        return sum(o.status == status for o in self.operators)

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "runtime": self.runtime.name,
            "fingerprint": dict(self.fingerprint),
            "outputs": self.compared,
            "mismatches": self.mismatches,
            "first_differing_operator": None if self.first_differing is None else self.first_differing.index,
            "operators": [o.as_dict() for o in self.operators],
            "end_to_end": None if self.end_to_end is None else self.end_to_end.as_dict(),
            "whole_model_note": self.whole_model_note,
        }


class Verification(Report):
    """The result of `verify`.

    Attributes:
        model: the model.
        samples: rows of input for each dense layer.
        seed: of all random inputs.
        results: one for each runtime.
        missing: runtimes left out since their interpreter is not installed.
    """

    def __init__(
        self, model: Model, samples: int, seed: int, results: Sequence[RuntimeResult], missing: Sequence[str]
    ) -> None:
        self.model = model
        self.samples = samples
        self.seed = seed
        self.results = tuple(results)
        self.missing = tuple(missing)

    @property
    def exact(self) -> bool:
        """Whether something was compared and nothing differs."""
        return any(r.compared for r in self.results) and not any(r.differs for r in self.results)

    @property
    def exit_code(self) -> int:
        """0: nothing differs. 1: something does. 3: nothing in the model is covered."""
        if any(r.differs for r in self.results):
            return 1
        return 0 if self.exact else 3

    def as_dict(self) -> dict[str, Any]:
        """The verification as plain data, schema lastbit.verify/1."""
        return {
            "schema": "lastbit.verify/1",
            "model": self.model.source,
            "samples": self.samples,
            "seed": self.seed,
            "exact": self.exact,
            "not_installed": list(self.missing),
            "runtimes": [r.as_dict() for r in self.results],
        }

    def in_short(self) -> list[str]:
        """The verdict, and on which runtimes."""
        return [self._verdict().text, ", ".join(r.runtime.name for r in self.results), self.model.source]

    def blocks(self) -> list[Block]:
        """Runtime by runtime: what ran, a table of settings, what differs, what is not covered."""
        blocks: list[Block] = [Heading(f"verify {self.model.source}")]
        machines = dict.fromkeys(f"{r.fingerprint['cpu']}; {r.fingerprint['platform']}" for r in self.results)
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
        blocks.append(self._verdict())
        return blocks

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
                if op.refusal and op.refusal != DENSE_ONLY:
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

    def _verdict(self) -> Text:
        total = sum(r.compared for r in self.results)
        bad = sum(r.mismatches for r in self.results)
        if any(r.differs for r in self.results):
            return Text(f"DIFFERS: {bad} of {total} outputs compared differ.", "bad")
        if not total:
            return Text("NOTHING COMPARED: no operator of this model is covered.", "warning")
        return Text(f"EXACT: 0 of {total} outputs compared differ.", "good")


def _runtime_blocks(result: RuntimeResult) -> list[Block]:
    f = result.fingerprint
    blocks: list[Block] = [
        Heading(f"{result.runtime.name}: {result.compared} outputs compared, {result.mismatches} mismatches"),
        Text(f"{f['oracle']} {f['version']}, {f['mode']}", "dim"),
    ]
    rows: list[tuple[object, ...]] = []
    settings: dict[tuple[str, str, str, str, str], list[int]] = {}
    for op in result.operators:
        for comparison in op.comparisons:
            # Long models repeat the same line for operator after operator: one row a kind of operator.
            kernel = comparison.kernel or "-"
            key = (op.name, op.rule, comparison.what, kernel, "differs" if comparison.differs else "exact")
            counts = settings.setdefault(key, [0, 0, 0])
            counts[0] += 1
            counts[1] += comparison.outputs
            counts[2] += comparison.mismatches
    if result.end_to_end is not None:
        e = result.end_to_end
        settings["whole model", "", e.what, e.kernel, "differs" if e.differs else "exact"] = [
            1,
            e.outputs,
            e.mismatches,
        ]
    for (name, rule, what, kernel, status), (count, outputs, bad) in settings.items():
        label = name if count == 1 else f"{count} x {name}"
        rows.append((label, rule, what, kernel, outputs, bad, status))
    if rows:
        headers = ("operator", "rule", "setting", "kernel that ran", "outputs", "mismatches", "")
        blocks.append(Table(headers, rows, right=("outputs", "mismatches")))
    if result.whole_model_note:
        blocks.append(Text(result.whole_model_note, "warning"))
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
