"""The reference engine: NumPy, every step recorded. It is the definition that faster engines are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..model.errors import InputError, UnsupportedError
from ..model.graph import Model
from ..model.html import few_lines, html_table
from ..model.types import Array
from ..ops.base import PreparedOperator
from ..ops.prepare import PreparedModel
from .inputs import Inputs, check_input, match_inputs

__all__ = ["OperatorTrace", "Trace", "joined", "run", "samples_of"]


class OperatorTrace:
    """Every named step of one operator, for one input. Steps are attributes: `trace[0].acc`.

    Attributes:
        prepared: the operator with its folded constants.
        steps: name -> array, in order of calculation; the last is `output`. Empty where another engine ran it.
        engine: which engine ran it.
    """

    def __init__(self, prepared: PreparedOperator, steps: Mapping[str, Array], engine: str = "reference") -> None:
        self.prepared = prepared
        self.steps = dict(steps)
        self.engine = engine

    def __getattr__(self, name: str) -> Array:
        steps: dict[str, Array] = self.__dict__.get("steps", {})
        if name in steps:
            return steps[name]
        if not steps and name != "steps" and not name.startswith("__"):
            engine = self.__dict__.get("engine", "reference")
            raise AttributeError(
                f"{name!r}: the {engine} engine keeps the model's outputs only; engine='reference' records every step"
            )
        raise AttributeError(f"{name!r} is not a step of {self._label()}; its steps are: {', '.join(steps)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.steps]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in self.steps.items())
        return few_lines(["OperatorTrace(", f"{self._label()}, rule {self.prepared.rule}: {shapes})"])

    def _label(self) -> str:
        return self.prepared.operator.label


@dataclass(frozen=True, eq=False)
class Trace:
    """The value of every step of every operator, for one input.

    `trace[i]` is operator i's steps; `trace.outputs` the model's outputs; `trace.tensors` every tensor by index.

    Attributes:
        prepared: the prepared model that was run.
        tensors: tensor index -> value, for inputs and everything computed.
        operators: operator index -> its steps, for every operator that ran.
        state: what the model's variables hold after the call, by the index of their handle; empty where it has none.
    """

    prepared: PreparedModel
    tensors: Mapping[int, Array]
    operators: Mapping[int, OperatorTrace]
    state: Mapping[int, Array] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every operator ran, so that all outputs are there."""
        return len(self.operators) == len(self.prepared.model.operators)

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The model's outputs, in its order.

        Raises:
            UnsupportedError: an operator before them is not covered.
        """
        if any(t.index not in self.tensors for t in self.prepared.model.outputs):
            self.prepared.require_all()
        return tuple(self.tensors[t.index] for t in self.prepared.model.outputs)

    @property
    def output(self) -> Array:
        """The first (usually only) output."""
        outputs = self.outputs
        return outputs[0] if outputs else self.tensors[self.prepared.model.first_output.index]  # which raises

    def __getitem__(self, index: int) -> OperatorTrace:
        if index not in self.operators:
            op = self.prepared.model.operator(index)
            why = self.prepared.refusals.get(index, "an operator before it is not covered")
            raise UnsupportedError(f"{op.label} was not run: {why}", (why,))
        return self.operators[index]

    def __iter__(self) -> Iterator[OperatorTrace]:
        return iter(self.operators.values())

    def __len__(self) -> int:
        return len(self.operators)

    def __repr__(self) -> str:
        ran, total = len(self.operators), len(self.prepared.model.operators)
        return few_lines(["Trace(", f"{self.prepared.runtime.name}, {ran} of {total} operators ran)"])

    def _repr_html_(self) -> str:
        rows = [
            (
                entry.prepared.operator.label,
                name,
                f"{value.dtype}{list(value.shape)}",
                f"{value.min()} .. {value.max()}",
            )
            for entry in self
            for name, value in entry.steps.items()
            if value.size
        ]
        return html_table(repr(self), ("operator", "step", "type", "range"), rows)


def run(
    prepared: PreparedModel,
    inputs: Inputs,
    *,
    partial: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    state: Mapping[int, Array] | None = None,
) -> Trace:
    """Run a prepared model and record every step.

    A model that keeps state takes the samples of a batch one after the other, as a stream.

    Args:
        prepared: the model, prepared for a runtime.
        inputs: one array per graph input, in order; or a mapping from tensor index or name. Dtypes must be the
            tensors' own; the leading dimension may differ from the file's (a batch) or be missing.
        partial: run what is covered and leave out the rest, instead of raising.
        progress: told operators done, operators in all, and the one that is calculated.
        state: what variables hold before the call, as an earlier Trace's `state` has it; None: as before the first.

    Raises:
        InputError: an input is missing or does not fit its tensor.
        UnsupportedError: an operator is not covered and `partial` is false.
    """
    model = prepared.model
    if not partial:
        prepared.require_all()
    state = prepared.state if state is None else state
    given = {tensor.index: check_input(tensor, value) for tensor, value in match_inputs(model, inputs)}
    if not prepared.keeps_state:
        return _run_once(prepared, given, state, progress)
    traces = []
    for sample in samples_of(model, given):
        traces.append(_run_once(prepared, sample, state, progress))
        state = traces[-1].state
    return _stream(traces)


def samples_of(model: Model, given: Mapping[int, Array]) -> Iterator[dict[int, Array]]:
    """A batch cut into arrays of the file's own shapes, one after the other.

    Raises:
        InputError: an input does not hold whole samples, or two hold different numbers of them.
    """
    counts = set()
    for index, value in given.items():
        own = model.tensors[index].shape[:1] or (1,)
        count, rest = divmod(value.shape[0] if value.ndim else 1, max(own[0], 1))
        if rest:
            raise InputError(f"{model.tensors[index].label}: {value.shape[0]} rows are not whole calls of {own[0]}")
        counts.add(count)
    if len(counts) > 1:
        raise InputError(f"the inputs hold different numbers of calls: {', '.join(map(str, sorted(counts)))}")
    calls = counts.pop() if counts else 1
    parts = {index: np.split(value, calls) if value.ndim else [value] * calls for index, value in given.items()}
    for number in range(calls):
        yield {index: part[number] for index, part in parts.items()}


def joined(calls: Sequence[Mapping[Any, Array]]) -> dict[Any, Array]:
    """The arrays of several calls, those of one key one behind the other."""
    if len(calls) == 1:
        return dict(calls[0])
    found = {key: [call[key] for call in calls] for key in calls[0]}
    return {key: np.concatenate(arrays) if arrays[0].ndim else np.stack(arrays) for key, arrays in found.items()}


def _stream(traces: Sequence[Trace]) -> Trace:
    """The calls of a stream as one Trace."""
    first = traces[0]
    operators = {
        index: OperatorTrace(entry.prepared, joined([trace.operators[index].steps for trace in traces]))
        for index, entry in first.operators.items()
    }
    return Trace(first.prepared, joined([trace.tensors for trace in traces]), operators, traces[-1].state)


def _run_once(
    prepared: PreparedModel,
    given: Mapping[int, Array],
    state: Mapping[int, Array],
    progress: Callable[[int, int, str], None] | None,
) -> Trace:
    tensors: dict[int, Array] = {**prepared.constants, **state, **given}
    traces: dict[int, OperatorTrace] = {}
    for index, entry in prepared.operators.items():
        if any(i not in tensors for i in entry.inputs):
            continue  # an operator that feeds it is not covered
        if progress is not None:
            progress(len(traces), len(prepared.operators), entry.operator.label)
        steps = entry.evaluate([tensors[i] for i in entry.inputs])
        tensors.update(entry.written(steps))
        traces[index] = OperatorTrace(entry, steps)
    places = {*state, *(index for entry in prepared.operators.values() for index in entry.writes or ())}
    return Trace(prepared, tensors, traces, {index: tensors[index] for index in places if index in tensors})
