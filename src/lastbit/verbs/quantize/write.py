"""A quantized graph to a model: tensors numbered, operators with their versions, the file's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...model.graph import Model, Operator, Subgraph, Tensor
from ...model.tflite.writer import write
from ...model.types import DTYPES, QuantParams
from .ir import CONSTANT, RETURN, Graph, Op, Value

__all__ = ["model_of"]

_TYPES = {dtype.name: dtype for dtype in DTYPES.values()}
# The operator versions that have the quantized forms; all others are version 2.
_VERSIONS = {
    "FULLY_CONNECTED": 4,
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), 3),
    **dict.fromkeys(("EXPAND_DIMS", "HARD_SWISH", "QUANTIZE", "RELU_N1_TO_1", "RESHAPE", "SQUEEZE"), 1),
}


def model_of(graph: Graph, name: str, description: str) -> Model:
    """The model that a graph says.

    Raises:
        UnsupportedError: an operator cannot be written.
    """
    numbers: dict[Value, int] = {}
    tensors: list[Tensor] = []
    names: set[str] = set()

    def number(value: Value) -> int:
        if value not in numbers:
            numbers[value] = len(tensors)
            tensors.append(_tensor(value, len(tensors), names))
        return numbers[value]

    for value in graph.arguments:
        number(value)
    operators: list[Operator] = []
    outputs: tuple[int, ...] = ()
    for op in graph.ops:
        operands = tuple(-1 if value is None else number(value) for value in op.operands)
        if op.name == RETURN:
            outputs = operands
        elif op.name != CONSTANT:
            results = tuple(number(value) for value in op.results)
            options = _options(op)
            operators.append(Operator(len(operators), op.name, 1, operands, results, options))
    versions = _versions(operators, tensors)
    operators = [replace(op, version=versions[op.name]) for op in operators]
    subgraph = Subgraph(
        name, tuple(tensors), tuple(operators), tuple(numbers[value] for value in graph.arguments), outputs
    )
    return Model((subgraph,), description, 3, write(subgraph, description), f"<{description}>")


def _options(op: Op) -> Mapping[str, Any]:
    if op.name == "RESHAPE":  # the shape is its second input
        return {}
    return op.options


def _versions(operators: list[Operator], tensors: list[Tensor]) -> dict[str, int]:
    """One version for each operator's name: the highest that any of its uses needs."""
    found: dict[str, int] = {}
    for op in operators:
        touched = [tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
        quantized = any(tensor.quant is not None for tensor in touched)
        needed = _VERSIONS.get(op.name, 2) if quantized else 1
        found[op.name] = max(found.get(op.name, 1), needed)
    return found


def _tensor(value: Value, index: int, names: set[str]) -> Tensor:
    source = value.tensor
    name = source.name
    if name in names:
        name = f"{source.name}{'' if value.params is None else '_' + value.params.dtype}_{index}"
    names.add(name)
    params = value.params
    data = value.producer.data if value.producer is not None else None
    if params is None:
        return replace(source, index=index, name=name, quant=None, data=data)
    quant = QuantParams(
        np.array(params.scale, np.float64).astype(np.float32),
        np.array(params.zero_point, np.int64),
        max(params.axis, 0),
    )
    return replace(source, index=index, name=name, dtype=_TYPES[params.dtype], quant=quant, data=data)
