"""The input that a layer is diagnosed on, and that input before it was quantized where it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...engines.inputs import as_inputs
from ...layers.layer_input import layer_input
from ...model.errors import InputError, LastBitError, RealInputError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.dense.layer import DenseLayer
from ...ops.moves.before_layer import moves_before, sample_shape
from ...ops.products.window_layer import WindowLayer
from ...runtimes import Runtime
from ..run.verb import quantized_inputs, run
from .calling import Shapes
from .function import Function
from .separate import trial_inputs

__all__ = ["chosen_input", "dense_shapes", "elsewhere", "layer_rows", "real_input"]

_LEAST = 4
"""Elements, from which an array is looked for among the model's tensors."""


def chosen_input(
    model: Model,
    layer: DenseLayer,
    x: Any,
    runtime: Runtime,
    *,
    function: Function | None,
    quantize_input: bool,
    seed: int,
) -> tuple[Array, str]:
    """The layer's input, and where it comes from."""
    if x is not None and quantize_input:
        values, source = layer_input(model, layer, quantized_inputs(model, as_inputs(model, x), runtime), runtime)
        return values, f"{source}; real values quantized as {runtime.name} does it"
    if x is not None:
        try:
            return layer_input(model, layer, x, runtime)
        except RealInputError as error:
            raise error.offering_to_quantize() from None
    if function is None:
        raise InputError("there is no input; give the x that the output was calculated from")
    rows = layer_rows(layer, dense_shapes(model, layer), seed, 64)
    what = "images" if isinstance(layer, WindowLayer) else "rows"
    return rows, f"{len(rows)} {what} chosen to tell mistakes apart (seed {seed})"


def dense_shapes(model: Model, layer: DenseLayer) -> list[tuple[int, ...]]:
    """The shapes of one sample that code for a layer may take: a row, the layer's own, that before a flatten."""
    own = layer.input.shape[1:]
    if isinstance(layer, WindowLayer):
        return [own]
    shapes = [(layer.depth,), sample_shape(model, layer.input.index, layer.depth)]
    size = math.prod(int(dimension) for dimension in own)
    if size and size % layer.depth == 0:
        shapes.append(own)
    return list(dict.fromkeys(shapes))


def layer_rows(layer: DenseLayer, shapes: Shapes, seed: int, solved: int = 0) -> Array:
    """Rows or images that make mistakes show, as many as fill every one of these shapes of a sample."""
    rows = trial_inputs(layer, np.random.default_rng(seed), solved)
    if isinstance(layer, WindowLayer):
        return rows
    each = math.lcm(*(math.prod(shape) // layer.depth for shape in shapes))
    return rows[: len(rows) // each * each] if each <= len(rows) else np.resize(rows, (each, layer.depth))


def elsewhere(model: Model, x: Any, runtime: Runtime, mine: Array, operator: Operator, quantize_input: bool) -> str:
    """Which other tensor of the model an array is, and what to do; empty where none, or x is not the model's input."""
    if x is None or mine.dtype.kind not in "iuf" or mine.size < _LEAST:
        return ""
    try:
        trace = run(model, x, runtime, quantize_input=quantize_input, partial=True)
    except LastBitError:
        return ""
    for index, values in trace.tensors.items():
        if index in operator.outputs or values.size != mine.size:
            continue
        if np.array_equal(values.ravel(), mine.ravel()) and values.min() != values.max():
            maker = model.writers.get(index)
            what = "an input of the model" if maker is None else f"the output of {maker.label}"
            said = f"it is {what}, {model.tensors[index].label}, as {runtime.name} computes it."
            if maker is None or maker.index < operator.index:
                return f"{said} Is the operator the right one?"
            return (
                f"{said} That operator runs later. The interpreter reuses memory, so a tensor that is read after "
                "invoke() may hold what a later operator wrote: ask for experimental_preserve_all_tensors=True. "
                "If you did, is the operator the right one?"
            )
    return ""


def real_input(model: Model, layer: DenseLayer, x: Any, values: Array) -> Array | None:
    """The layer's input before it was quantized.

    Args:
        model: the model.
        layer: one of its dense layers.
        x: what was given for the model's inputs.
        values: the layer's own input, which came of it.

    Returns:
        float32 of the shape of values; None where the layer's input is not a real model input, quantized.
    """
    moves = moves_before(model, layer.input.index)
    index = moves[0].inputs[0] if moves else layer.input.index
    inputs = [tensor.index for tensor in model.inputs]
    source = index  # a quantized model input may have been given in real values
    writer = model.writers.get(index)
    if writer is not None and writer.name == "QUANTIZE":
        source = writer.inputs[0]
    if source not in inputs:
        return None
    given = x
    if isinstance(x, Mapping):
        tensor = model.tensors[source]
        given = next((x[key] for key in (source, str(source), tensor.name) if key in x), None)
    elif len(inputs) > 1:
        given = x[inputs.index(source)]
    array = np.asarray(given)
    if array.dtype.kind != "f" or array.size != values.size:
        return None
    return array.astype(np.float32).reshape(values.shape)
