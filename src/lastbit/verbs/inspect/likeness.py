"""Operators that are alike: what is found out about one of them holds for the others."""

from __future__ import annotations

from collections.abc import Hashable

from ...model.graph import Model, Operator, Tensor

__all__ = ["likeness"]

# Bytes of a constant that are compared; operators with larger ones are looked at one by one.
_SMALL = 256


def likeness(model: Model, op: Operator) -> Hashable | None:
    """What an operator's coverage follows from, apart from names and indices; equal for operators that are alike.

    Returns:
        None for an operator with weights, a large constant or a fault of the file: it is like no other.
    """
    if op.name == "FULLY_CONNECTED" or op.index in model.faults_of_operators:
        return None
    operands: list[Hashable] = []
    for index in (*op.inputs, *op.outputs):
        tensor = model.tensors[index] if index >= 0 else None
        if tensor is not None and (
            index in model.faults_of_tensors or (tensor.data is not None and tensor.data.nbytes > _SMALL)
        ):
            return None
        operands.append(None if tensor is None else _tensor(model, tensor))
    return op.name, op.version, len(op.inputs), tuple(sorted(op.options.items())), tuple(operands)


def _tensor(model: Model, tensor: Tensor) -> Hashable:
    quant, data = tensor.quant, tensor.data
    return (
        tensor.dtype.name,
        tensor.shape,
        None if quant is None else (quant.scale.tobytes(), quant.zero_point.tobytes(), quant.axis, quant.known),
        None if data is None else data.tobytes(),
        tensor.is_variable,
        tensor.index in model.fed_or_computed,
    )
