"""What `lastbit run` computed, where it went, and what is not covered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...engines.reference import Trace
from ...model.graph import Model, Tensor
from ...model.types import Array
from ...ops.prepare import PreparedModel
from ...report.blocks import Block, Report, Text
from ...report.phrases import plural
from ...report.terminal import say

__all__ = ["RunReport", "WrittenArray", "make_run_report", "uncovered_text"]


@dataclass(frozen=True, eq=False)
class WrittenArray:
    """One array of the output file.

    Attributes:
        key: its key in the file.
        value: the array.
        where: what it is: the tensor's index, or the operator's index and the step's name.
    """

    key: str
    value: Array
    where: Mapping[str, int | str]


@dataclass(frozen=True, eq=False, repr=False)
class RunReport(Report):
    """The outcome of `lastbit run`, without the values.

    Attributes:
        trace: what was computed.
        arrays: what goes into the file.
        output: the file's path.
        written: whether there is anything to write.
        reached: whether all of the model's outputs were computed.
    """

    trace: Trace
    arrays: tuple[WrittenArray, ...]
    output: str
    written: bool
    reached: bool

    def in_short(self) -> list[str]:
        """What ran, and what was written."""
        lines = self._lines()
        return [lines[0], lines[-1]]

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data (schema `lastbit.run/1`)."""
        model = self.trace.prepared.model
        return {
            "schema": "lastbit.run/1",
            "model": model.source,
            "runtime": self.trace.prepared.runtime.name,
            "complete": self.trace.complete,
            "written": self.output if self.written else None,
            "arrays": self._arrays(),
            "not_covered": [
                {
                    "operator": index,
                    "name": model.operators[index].name,
                    "kind": refused.kind.value,
                    "reason": refused.reason,
                }
                for index, refused in self.trace.prepared.refused.items()
            ],
            "notes": self._notes(),
        }

    def about(self) -> dict[str, Any]:
        """What the file's arrays are (schema `lastbit.arrays/1`)."""
        model = self.trace.prepared.model
        return {
            "schema": "lastbit.arrays/1",
            "model": model.source,
            "model_sha256": hashlib.sha256(model.content).hexdigest(),
            "runtime": self.trace.prepared.runtime.name,
            "arrays": self._arrays(),
        }

    def _arrays(self) -> list[dict[str, Any]]:
        return [
            {"key": entry.key, **entry.where, "dtype": str(entry.value.dtype), "shape": list(entry.value.shape)}
            for entry in self.arrays
        ]

    def blocks(self) -> list[Block]:
        """The lines that `tell` prints."""
        return [Text(line) for line in self._lines()]

    def tell(self) -> None:
        """Print the summary on stderr."""
        for line in self._lines():
            say(line)

    def _notes(self) -> list[str]:
        notes = (f"{entry.prepared.operator.label}: {note}" for entry in self.trace for note in entry.prepared.notes)
        return list(dict.fromkeys(notes))

    def _lines(self) -> list[str]:
        trace = self.trace
        model = trace.prepared.model
        lines = [f"{trace.prepared.runtime.name}: {len(trace)} of {len(model.operators)} operators ran"]
        lines += [f"warning: {note}" for note in self._notes()]
        waiting = len(model.operators) - len(trace) - len(trace.prepared.refusals)
        if waiting:
            lines.append(f"{waiting} more did not run because they need the results of those that are not covered")
        tensors = [entry for entry in self.arrays if "tensor" in entry.where]
        kind = "output" if self.reached else "inner tensor"
        lines += [
            f"  {kind} {entry.key} {entry.where['name']!r}: {entry.value.dtype}{list(entry.value.shape)}"
            for entry in tensors
        ]
        if len(tensors) < len(self.arrays):
            lines.append(f"  and {len(self.arrays) - len(tensors)} steps of {plural(len(trace), 'operator')}")
        if self.written:
            lines.append(f"wrote {self.output}")
        elif self.arrays:
            lines.append("nothing written: the model's output was not reached (inner tensors go into a .npz)")
        else:
            lines.append("nothing written: no operator could be computed")
        return lines


def uncovered_text(prepared: PreparedModel) -> str:
    """Every operator that is not covered, in one text; operators with the same reason in one line."""
    model = prepared.model
    kinds: dict[tuple[str, str], list[int]] = {}
    for index, reason in prepared.refusals.items():
        kinds.setdefault((model.operators[index].name, reason), []).append(index)
    lines = [
        f"{model.source}: {len(prepared.refusals)} of {len(model.operators)} operators are not covered "
        f"on {prepared.runtime.name}:"
    ]
    for (name, reason), indices in kinds.items():
        noun = "operator" if len(indices) == 1 else "operators"
        lines.append(f"  - {noun} {', '.join(map(str, indices))} {name}: {reason}")
    return "\n".join(lines)


def make_run_report(trace: Trace, output: str, every_step: bool) -> RunReport:
    """Choose what goes into the output file.

    Args:
        trace: what was computed.
        output: the file's path. A .npy has no keys, so it gets the model's output or nothing.
        every_step: every step of every operator as well.
    """
    model = trace.prepared.model
    steps = [
        WrittenArray(f"op{index}/{step}", value, {"operator": index, "step": step})
        for index, entry in (trace.operators.items() if every_step else ())
        for step, value in entry.steps.items()
    ]
    reached = all(tensor.index in trace.tensors for tensor in model.outputs)
    tensors = list(model.outputs) if reached or every_step else [*model.outputs, *_frontier(trace)]
    distinct = {tensor.index: tensor for tensor in tensors if tensor.index in trace.tensors}
    arrays = [
        WrittenArray(
            str(index), trace.tensors[index], {"tensor": index, "name": tensor.name, **_signature(model, index)}
        )
        for index, tensor in distinct.items()
    ]
    named = not output.lower().endswith(".npy")
    everything = (*arrays, *steps)
    return RunReport(trace, everything, output, bool(everything) and (reached or named), reached)


def _signature(model: Model, index: int) -> dict[str, str]:
    return {"signature_name": model.signature_names[index]} if index in model.signature_names else {}


def _frontier(trace: Trace) -> list[Tensor]:
    """The computed tensors that an operator needs which did not run."""
    model = trace.prepared.model
    computed = {index for entry in trace for index in entry.prepared.operator.outputs}
    needed = {
        index for op in model.operators if op.index not in trace.operators for index in op.inputs if index in computed
    }
    return [tensor for tensor in model.tensors if tensor.index in needed]
