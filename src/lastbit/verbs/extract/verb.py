"""extract: one operator of a model as a model of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ...model.graph import Model, Operator, Subgraph
from ...model.tflite.writer import extract_operator, write
from ...report.blocks import Block, Report, Text

__all__ = ["Extracted", "extract"]


@dataclass(frozen=True, eq=False, repr=False)
class Extracted(Report):
    """A model that is one operator of another.

    Attributes:
        model: the model that it was cut out of.
        operator: the operator.
        graph: the new model's only subgraph.
        content: the new file's bytes.
        output: the new file's path.
    """

    model: Model
    operator: Operator
    graph: Subgraph
    content: bytes
    output: str

    def in_short(self) -> list[str]:
        """What was written."""
        inputs, outputs = (", ".join(self._types(indices)) for indices in (self.graph.inputs, self.graph.outputs))
        return [f"{self.output}: {self.operator.label}, {inputs} -> {outputs}, {len(self.content)} bytes"]

    def blocks(self) -> list[Block]:
        """What was written, and of which model."""
        return [Text(f"wrote {self.in_short()[0]}"), Text(f"from {self.model.source}", "dim")]

    def as_dict(self) -> dict[str, Any]:
        """What was written as plain data, schema lastbit.extract/1."""
        return {
            "schema": "lastbit.extract/1",
            "model": self.model.source,
            "operator": self.operator.index,
            "name": self.operator.name,
            "inputs": self._tensors(self.graph.inputs),
            "outputs": self._tensors(self.graph.outputs),
            "written": self.output,
            "bytes": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
        }

    def _types(self, indices: tuple[int, ...]) -> list[str]:
        return [f"{self.graph.tensors[i].dtype.name}{list(self.graph.tensors[i].shape)}" for i in indices]

    def _tensors(self, indices: tuple[int, ...]) -> list[dict[str, Any]]:
        tensors = [self.graph.tensors[index] for index in indices]
        return [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in tensors]


def extract(model: Model, op: int, output: str, batch: int | None = None) -> Extracted:
    """Cut an operator out of a model; nothing is written yet.

    Args:
        model: the model.
        op: the operator's index.
        output: the path that the new file is to have.
        batch: rows of the new model's input; as in the model, if not given.

    Raises:
        InputError: there is no such operator, or it cannot have this batch.
    """
    operator = model.operator(op)
    graph = extract_operator(model, operator, batch)
    content = write(graph, f"{operator.label} of {model.source}, extracted by LastBit")
    return Extracted(model, operator, graph, content, output)
