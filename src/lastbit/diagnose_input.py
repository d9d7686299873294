"""The input that a layer is diagnosed on, and that input before it was quantized where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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
    model: Model, layer: DenseLayer, x: Any, runtime: Runtime, function: Function | None, seed: int
) -> tuple[Array, str]:
    """The layer's input, and where it comes from."""
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
        float32 of the shape of values; None where the layer's input is no QUANTIZE of a real model input.
    """
    makers = {index: op for op in model.operators for index in op.outputs}
    index = layer.input.index
    while index in makers and makers[index].name in _COPIES:
        index = makers[index].inputs[0]
    if index not in makers or makers[index].name != "QUANTIZE":
        return None
    source = makers[index].inputs[0]
    inputs = [tensor.index for tensor in model.inputs]
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
