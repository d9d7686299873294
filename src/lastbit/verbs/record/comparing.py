"""A recording compared with runtimes, operator by operator: on the tensors that the interpreter itself computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...engines import reference
from ...engines.one_operator import OperatorRunner, outputs_of
from ...layers.differences import Difference, compare_arrays
from ...layers.worked_element import worked_operator_element
from ...model.graph import Model
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.prepare import PreparedModel, prepare
from ...ops.work import products_of
from ...runtimes import RUNTIMES, Runtime, get_runtime
from .compared import Recorded, RecordedOperator, RecordedRuntime
from .recording import Recording

__all__ = ["compare_recorded"]

Progress = Callable[[int, int, str], None]


def compare_recorded(
    model: Model,
    recording: Recording,
    runtimes: Sequence[str | Runtime] | None = None,
    *,
    progress: Progress | None = None,
) -> Recorded:
    """Compare a recording with runtimes.

    Args:
        model: the model.
        recording: what an interpreter printed for it.
        runtimes: which; default: all that have more than dense layers, to find out which one it is.
        progress: called with (steps done, steps in total, what is done next).
    """
    chosen = [r for r in RUNTIMES.values() if not r.dense_only] if runtimes is None else [*map(get_runtime, runtimes)]
    found = []
    for number, runtime in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), runtime.name)
        found.append(_compare(model, recording, runtime))
    if runtimes is None:
        found.sort(key=lambda r: r.order)
    return Recorded(model, recording, tuple(found), identified=runtimes is None)


def _compare(model: Model, recording: Recording, runtime: Runtime) -> RecordedRuntime:
    prepared = prepare(model, runtime)
    once = sum(products_of(model, entry.operator) for entry in prepared.operators.values())
    runner = OperatorRunner(prepared, len(recording.samples) * once)
    tallies = {index: _Tally(entry) for index, entry in prepared.operators.items()}
    state = dict(prepared.state)
    for sample in recording.samples:
        known = {**prepared.constants, **sample, **state}
        for tally in tallies.values():
            tally.add(runner, known)
            if tally.entry.writes and tally.entry.inputs[0] in known:
                state[tally.entry.writes[0]] = known[tally.entry.writes[0]] = known[tally.entry.inputs[0]]
    operators = tuple(
        tallies[op.index].result() if op.index in tallies else RecordedOperator(op, "", prepared.refusals[op.index])
        for op in model.operators
    )
    return RecordedRuntime(runtime, operators, *_end_to_end(prepared, recording, operators))


def _end_to_end(
    prepared: PreparedModel, recording: Recording, operators: Sequence[RecordedOperator]
) -> tuple[int, int]:
    """Outputs of the unchanged model that were compared, and those that differ; nothing where an operator has a gap."""
    outputs = mismatches = 0
    if any(op.reason for op in operators):
        return outputs, mismatches
    equal = not any(op.mismatches for op in operators)
    state: Mapping[int, Array] = prepared.state
    for sample, end in zip(recording.samples, recording.ends, strict=True):
        if not end:
            continue
        own = sample
        if not equal:  # else LastBit's own way goes through the same tensors
            trace = reference.run(prepared, [sample[t.index] for t in prepared.model.inputs], state=state)
            own, state = trace.tensors, trace.state
        for index, theirs in end.items():
            outputs += theirs.size
            mismatches += compare_arrays(theirs, own[index]).mismatched
    return outputs, mismatches


@dataclass
class _Tally:
    """What was counted of one operator so far."""

    entry: PreparedOperator
    reason: str = ""
    outputs: int = 0
    mismatches: int = 0
    largest: float = 0.0
    worked: tuple[str, ...] = ()

    def add(self, runner: OperatorRunner, known: Mapping[int, Array]) -> None:
        """Compare the outputs for one input; `known` has the tensors that are recorded or the file's."""
        op = self.entry.operator
        written = () if self.entry.writes is not None else op.outputs
        if not all(index in known for index in (*self.entry.inputs, *written)):
            self.reason = "the recording does not have all of its tensors"
        if self.reason:
            return
        values = [known[index] for index in self.entry.inputs]
        for number, difference in enumerate(self._differences(runner, values, [known[index] for index in written])):
            self.outputs += difference.elements
            self.mismatches += difference.mismatched
            self.largest = max(self.largest, float(difference.largest))
            if difference.first is not None and not self.worked:
                self.worked = tuple(worked_operator_element(self.entry, values, difference.first, number))

    def _differences(
        self, runner: OperatorRunner, values: Sequence[Array], theirs: Sequence[Array]
    ) -> list[Difference]:
        if not theirs:
            return []
        found = [
            compare_arrays(wanted, ours)
            for wanted, ours in zip(theirs, runner.outputs(self.entry, values), strict=True)
        ]
        if any(found):
            found = [
                compare_arrays(wanted, ours)
                for wanted, ours in zip(theirs, outputs_of(self.entry, values), strict=True)
            ]
        return found

    def result(self) -> RecordedOperator:
        """What the report says of it."""
        return RecordedOperator(
            self.entry.operator, self.entry.rule, self.reason, self.outputs, self.mismatches, self.largest, self.worked
        )
