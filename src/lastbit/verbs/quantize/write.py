"""A quantized graph to a model: tensors numbered, operators with their versions, the file's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...model.graph import Model, Operator, Signature, Subgraph, Tensor
from ...model.tflite.writer import write
from ...model.types import DTYPES, QuantParams
from .ir import CONSTANT, RETURN, Graph, Op, Value

__all__ = ["model_of", "with_signatures"]

_TYPES = {dtype.name: dtype for dtype in DTYPES.values()}
# The operator versions that have the quantized forms; all others are version 2.
_VERSIONS = {
    "FULLY_CONNECTED": 4,
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), 3),
    **dict.fromkeys(("EXPAND_DIMS", "HARD_SWISH", "QUANTIZE", "RELU_N1_TO_1", "RESHAPE", "SQUEEZE"), 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 1,
}


def model_of(graph: Graph, source: Model, description: str) -> Model:
    """The model that a graph says, under the names and with the signatures of the model that it was made of.

    Raises:
        UnsupportedError: an operator cannot be written.
    """
    numbers: dict[Value, int] = {}
    tensors: list[Tensor] = []
    # What is returned keeps its name, for people fetch outputs by it.
    taken: dict[str, Value] = {}
    for value in graph.ops[-1].operands:
        if value is not None:
            taken.setdefault(value.tensor.name, value)

    def number(value: Value) -> int:
        if value not in numbers:
            numbers[value] = len(tensors)
            tensors.append(_tensor(value, len(tensors), taken))
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
            inside = tuple(number(value) for value in op.intermediates)
            operators.append(Operator(len(operators), op.name, op.version, operands, results, options, inside))
    versions = _versions(operators, tensors)
    operators = [replace(op, version=versions[op.name]) for op in operators]
    inputs = tuple(numbers[value] for value in graph.arguments)
    subgraph = Subgraph(source.subgraphs[0].name, tuple(tensors), tuple(operators), inputs, outputs)
    return with_signatures(subgraph, source, description)


def with_signatures(graph: Subgraph, source: Model, description: str) -> Model:
    """The model of a graph, with the signatures of the model that it was made of.

    Raises:
        UnsupportedError: an operator cannot be written.
    """
    signatures = _signatures(source, graph)
    content = write(graph, description, signatures)
    return Model((graph,), description, 3, content, f"<{description}>", signatures=signatures)


def _signatures(source: Model, made: Subgraph) -> tuple[Signature, ...]:
    """The source's signatures, with the same positions of the inputs and outputs."""
    old = source.subgraphs[0]
    ends = dict(zip(old.inputs, made.inputs, strict=True)), dict(zip(old.outputs, made.outputs, strict=True))
    return tuple(
        replace(
            signature,
            inputs={name: ends[0][index] for name, index in signature.inputs.items() if index in ends[0]},
            outputs={name: ends[1][index] for name, index in signature.outputs.items() if index in ends[1]},
        )
        for signature in source.signatures
        if signature.subgraph == 0
    )


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
        found[op.name] = max(found.get(op.name, 1), needed, op.version)
    return found


def _tensor(value: Value, index: int, taken: dict[str, Value]) -> Tensor:
    """A value as a tensor; under another name where the same one belongs to another value."""
    source = value.tensor
    name = source.name
    if taken.setdefault(name, value) is not value:
        name = f"{source.name}{'' if value.params is None else '_' + value.params.dtype}_{index}"
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
