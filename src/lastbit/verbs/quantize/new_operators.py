"""What the optimizer's steps have in common: constants, and an operator in the place of another."""

from __future__ import annotations

import numpy as np

from ...model.graph import Tensor
from ...model.types import INT32, Array
from .ir import CONSTANT, Graph, Op, Value

__all__ = ["constant_of", "integers", "replace_by"]


def constant_of(value: Value | None) -> Array | None:
    """A constant's values; None for what is calculated."""
    source = value.producer if value is not None else None
    return source.data if source is not None and source.name == CONSTANT else None


def integers(graph: Graph, values: list[int], op: Op) -> Value:
    """A new constant of int32."""
    data = np.array(values, np.int32)
    tensor = Tensor(-1, f"{op.results[0].tensor.name}/shape", data.shape, data.shape, INT32, None, data)
    return graph.add(CONSTANT, [], [(tensor, None)], data=data, at=0).results[0]


def replace_by(graph: Graph, op: Op, name: str, operands: list[Value | None]) -> None:
    """Another operator in an operator's place, with the same output."""
    at = graph.ops.index(op)
    result = op.results[0]
    made = graph.add(name, operands, [(result.tensor, result.params)], at=at)
    graph.replace(op, made.results[0])
