"""Where a dense layer's input comes from: through the model, given for the layer itself, or random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engines import reference
from ..engines.inputs import as_inputs, check_input
from ..model.errors import InputError, UnsupportedError
from ..model.graph import Model, Operator
from ..model.types import Array, integer_type
from ..ops.dense.layer import DenseLayer
from ..ops.prepare import PreparedModel, prepare
from ..runtimes import Runtime
from .step_tables import layer_operators

__all__ = ["blockers_text", "blockers_to", "dense_operator", "layer_input", "layer_operator", "random_input"]


def dense_operator(model: Model, index: int | None) -> Operator:
    """The dense layer that is meant: the operator with this index, or the first one.

    Raises:
        InputError: there is no dense layer, or this operator is none.
    """
    dense = model.dense_operators
    if not dense:
        found = ", ".join(sorted({op.name for op in model.operators})) or "none"
        raise InputError(f"{model.source}: there is no dense layer (FULLY_CONNECTED); found operators: {found}")
    if index is None:
        return dense[0]
    operator = model.operator(index)
    if operator.name != "FULLY_CONNECTED":
        raise InputError(
            f"{model.source}: {operator.label} is not a dense layer; wanted a FULLY_CONNECTED operator, "
            f"which here are: {', '.join(str(op.index) for op in dense)}"
        )
    return operator


def layer_operator(model: Model, index: int | None) -> Operator:
    """The dense layer or convolution that is meant: by its index, or the first one, a dense layer if there is any.

    Raises:
        InputError: there is none, or this operator is neither.
    """
    found = layer_operators(model, index)
    if not found:
        names = ", ".join(sorted({op.name for op in model.operators})) or "none"
        raise InputError(f"{model.source}: there is neither a dense layer nor a convolution; found operators: {names}")
    return next((op for op in found if op.name == "FULLY_CONNECTED"), found[0])


def random_input(layer: DenseLayer, seed: int) -> tuple[Array, str]:
    """Random values over the input type's whole range, in the shape the file has; and where they came from, in words.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError(f"found seed {seed}; wanted 0 or more")
    dtype = integer_type(layer.input.dtype)
    shape = tuple(max(size, 1) for size in layer.input.shape)
    values = np.random.default_rng(seed).integers(dtype.qmin, dtype.qmax, shape, dtype.numpy, endpoint=True)
    return values, (
        f"random {dtype.name} from {dtype.qmin} to {dtype.qmax} (seed {seed}), "
        f"put in at the layer's own input, {layer.input.label}"
    )


def layer_input(model: Model, layer: DenseLayer, x: Any, runtime: Runtime) -> tuple[Array, str]:
    """The layer's input: computed from the model's input where x fits it, else x itself; and which, in words.

    Args:
        model: the model.
        layer: one of its dense layers.
        x: an array, a sequence or a mapping for the model's inputs, or an array for the layer's own input.
        runtime: whose arithmetic the operators before the layer follow.

    Raises:
        InputError: x fits neither; the message says both wanted types and shapes.
        UnsupportedError: x fits the model's input, but an operator before the layer is not covered.
    """
    own = layer.input
    if isinstance(x, Mapping) and len(x) == 1 and set(x) <= {own.index, str(own.index), own.name}:
        return check_input(own, *x.values()), f"given for the layer's own input, {own.label}"
    if [tensor.index for tensor in model.inputs] == [own.index]:
        return check_input(own, x), f"given at the model's input, which is the layer's own, {own.label}"
    prepared = prepare(model, runtime)
    blockers: list[str] = []
    try:
        trace = reference.run(prepared, as_inputs(model, x), partial=True)
    except InputError as error:
        through = f"it does not fit the model: {error}"
    else:
        if own.index in trace.tensors:
            before = sum(1 for index in trace.operators if index < layer.operator.index)
            return trace.tensors[own.index], (
                f"computed on {runtime.name} from the given model input, through {before} "
                f"operator{'s' * (before != 1)} to the layer's own input, {own.label}"
            )
        blockers = blockers_to(prepared, own.index)
        through = "it cannot be taken through the model: " + blockers_text(blockers)
    try:
        values = check_input(own, x)
    except InputError:
        found = np.asarray(x) if not isinstance(x, Mapping) else None
        what = "a mapping" if found is None else f"{found.dtype} {list(found.shape)}"
        model_inputs = ", ".join(f"{t.label} {t.dtype.name} {list(t.shape)}" for t in model.inputs)
        message = (
            f"the input ({what}) can be used neither at the model's input nor at the layer's.\n"
            f"  model's input: wanted {model_inputs}; {through}\n"
            f"  input of {layer.operator.label}: wanted {own.label} {own.dtype.name} {list(own.shape)}\n"
            "  In both the first dimension may be any batch size from 1, or be missing."
        )
        if blockers:  # x may well be right: what is missing is LastBit's
            raise UnsupportedError(message, blockers) from None
        raise InputError(message) from None
    return values, f"given at the layer's own input, {own.label} ({through})"


def blockers_to(prepared: PreparedModel, index: int) -> list[str]:
    """Why a tensor could not be computed: the operators on the way to it that are not covered."""
    model = prepared.model
    maker = {out: op for op in model.operators for out in op.outputs}
    todo, seen = [index], {index}
    reasons = {}
    while todo:
        op = maker.get(todo.pop())
        if op is None:
            continue
        if op.index in prepared.refusals:
            reasons[op.index] = f"{op.label}: {prepared.refusals[op.index]}"
        new = {i for i in op.inputs if i >= 0} - seen
        seen |= new
        todo.extend(new)
    return [reasons[i] for i in sorted(reasons)]


def blockers_text(blockers: list[str]) -> str:
    """The first of them, in words."""
    more = f", and {len(blockers) - 3} more" if len(blockers) > 3 else ""
    return "; ".join(blockers[:3]) + more or "the layer's input does not depend on the model's input alone"
