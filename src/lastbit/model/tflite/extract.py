"""Cutting one operator out of a model, as a graph of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from ..errors import InputError, UnsupportedError
from ..graph import Model, Operator, Subgraph, Tensor

__all__ = ["extract_operator"]


def extract_operator(model: Model, op: Operator, batch: int | None = None) -> Subgraph:
    """The graph that is this one operator.

    Its computed inputs become graph inputs, its constants stay constants, variables stay variables, and its
    outputs are the graph's outputs. Tensors are numbered anew, in the order in which the operator names them;
    names, quantization and options stay.

    Args:
        model: the model.
        op: an operator of the main subgraph.
        batch: None for the shapes that the model has, else the leading dimension of the operator's activation
            input and of its outputs. A rank-1 input `[K]` becomes `[batch, K]`. The outputs of
            FULLY_CONNECTED follow from its input: `[..., K]` with keep_num_dims gives `[..., out]`, anything
            else is flattened to `[elements / K, out]`. An input of it that is a constant becomes a graph input.

    Returns:
        The graph.

    Raises:
        InputError: `op` is not of this model, or `batch` does not fit the operator.
        UnsupportedError: the batch of this operator cannot be changed; or what it takes is no array but a resource,
            a string or a variant.
    """
    if not (0 <= op.index < len(model.operators)) or model.operators[op.index] is not op:
        raise InputError(
            f"{op.label} is not an operator of {model.source}'s main subgraph; take it from model.operators."
        )
    for index in (*op.inputs, *op.outputs):
        if index >= 0 and model.tensors[index].dtype.numpy is None:
            tensor = model.tensors[index]
            reason = f"{tensor.label} is a {tensor.dtype.name}, which no input or output of a model can be"
            raise UnsupportedError(f"{op.label} cannot be a model of its own", [reason])
    if batch is not None and op.name == "FULLY_CONNECTED":
        model, op = _fed(model, op)
    used = list(dict.fromkeys(index for index in (*op.inputs, *op.outputs, *op.intermediates) if index >= 0))
    position = {index: new for new, index in enumerate(used)}
    tensors = [replace(model.tensors[index], index=position[index]) for index in used]
    inputs = tuple(-1 if index < 0 else position[index] for index in op.inputs)
    outputs = tuple(position[index] for index in op.outputs)
    if batch is not None:
        for index, shape in _shapes(model, op, batch).items():
            new = position[index]
            tensors[new] = replace(tensors[new], shape=shape, shape_signature=shape)
    fed = dict.fromkeys(i for i in inputs if i >= 0 and tensors[i].data is None and not tensors[i].is_variable)
    inside = tuple(position[index] for index in op.intermediates)
    single = replace(op, index=0, inputs=inputs, outputs=outputs, intermediates=inside)
    return Subgraph(f"operator_{op.index}", tuple(tensors), (single,), tuple(fed), outputs)


def _fed(model: Model, op: Operator) -> tuple[Model, Operator]:
    """The same layer with a tensor that is fed as its input, where the file has a constant there."""
    source = model.operand(op, 0)
    if source is None or source.data is None:
        return model, op
    graph = model.subgraphs[0]
    computed = replace(source, index=len(graph.tensors), data=None)
    fed = replace(op, inputs=(computed.index, *op.inputs[1:]))
    operators = tuple(fed if other is op else other for other in graph.operators)
    graph = replace(graph, tensors=(*graph.tensors, computed), operators=operators)
    return replace(model, subgraphs=(graph, *model.subgraphs[1:])), fed


def _shapes(model: Model, op: Operator, batch: int) -> dict[int, tuple[int, ...]]:
    """The new shapes of the operator's activation tensors, by tensor index."""
    if batch < 1:
        raise InputError(f"{op.label}: the batch is {batch}, wanted 1 or more.")
    if op.name == "RESHAPE":
        raise UnsupportedError(
            f"{op.label}: its batch cannot be changed",
            ["the new shape is written in the model; leave batch out"],
        )
    source = model.operand(op, 0)
    if source is None or source.data is not None:
        raise InputError(f"{op.label}: its first input is not computed, so it has no batch; leave batch out.")
    if op.name == "FULLY_CONNECTED":
        return _dense_shapes(model, op, source, batch)
    # Every computed input of an elementwise operator has the same leading dimension.
    shapes: dict[int, tuple[int, ...]] = {}
    for index in (*op.inputs, *op.outputs):
        tensor = model.tensors[index] if index >= 0 else None
        if tensor is not None and tensor.data is None and not tensor.is_variable:
            shapes[index] = _with_batch(tensor, batch, op)
    return shapes


def _with_batch(tensor: Tensor, batch: int, op: Operator) -> tuple[int, ...]:
    if not tensor.shape:
        raise InputError(f"{op.label}: {tensor.label} is a scalar and has no batch; leave batch out.")
    # The one dimension of a rank-1 tensor is its depth, not its batch.
    return (batch, *tensor.shape) if len(tensor.shape) == 1 else (batch, *tensor.shape[1:])


def _dense_shapes(model: Model, op: Operator, source: Tensor, batch: int) -> dict[int, tuple[int, ...]]:
    weights = model.operand(op, 1)
    if weights is None or len(weights.shape) != 2 or 0 in weights.shape or len(op.outputs) != 1:
        found = None if weights is None else list(weights.shape)
        raise InputError(f"{op.label}: its weights have the shape {found}, wanted [out, in]; leave batch out.")
    units, depth = weights.shape
    # A scalar input counts as one of depth 1.
    shape = _with_batch(source, batch, op) if source.shape else (batch, 1)
    if op.options.get("keep_num_dims", False):
        if shape[-1] != depth:
            raise InputError(
                f"{op.label}: {source.label} has the shape {list(source.shape)}, wanted {depth} as its last "
                "dimension since keep_num_dims is set."
            )
        return {source.index: shape, op.outputs[0]: (*shape[:-1], units)}
    elements = math.prod(shape)
    if elements % depth:
        raise InputError(
            f"{op.label}: a batch of {batch} gives the input {list(shape)}, whose {elements} elements "
            f"cannot be cut into rows of {depth}; try a batch of {depth}."
        )
    return {source.index: shape, op.outputs[0]: (elements // depth, units)}
