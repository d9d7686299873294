"""The input that a layer is diagnosed on, and that input before it was quantized where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .api import quantized_inputs
from .diagnose_callable import Function
from .diagnose_separate import trial_inputs
from .errors import InputError
from .layer_input import layer_input
from .model import Model
from .ops.dense_layer import DenseLayer
from .runtimes import Runtime
from .types import Array

__all__ = ["chosen_input", "real_input"]

_COPIES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that keep every value."""


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
        several = isinstance(x, Mapping) or (isinstance(x, Sequence) and len(model.inputs) > 1)
        values, source = layer_input(model, layer, quantized_inputs(model, x if several else [x], runtime), runtime)
        return values, f"{source}; real values quantized as {runtime.name} does it"
    if x is not None:
        return layer_input(model, layer, x, runtime)
    if function is None:
        raise InputError("there is no input; give the x that the output was calculated from")
    rows = trial_inputs(layer, np.random.default_rng(seed), 64)
    return rows, f"{len(rows)} rows chosen to tell mistakes apart (seed {seed})"


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
    makers = {index: op for op in model.operators for index in op.outputs}
    index = layer.input.index
    while index in makers and makers[index].name in _COPIES:
        index = makers[index].inputs[0]
    inputs = [tensor.index for tensor in model.inputs]
    source = index  # a quantized model input may have been given in real values
    if index in makers and makers[index].name == "QUANTIZE":
        source = makers[index].inputs[0]
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
