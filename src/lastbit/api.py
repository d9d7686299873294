"""The first two verbs from Python: load a model, run it in a runtime's arithmetic."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .engines import reference
from .engines.reference import Trace
from .errors import InputError
from .model import Model, Operator, Subgraph, Tensor
from .prepare import prepare, prepare_operator
from .runtimes import DEFAULT_RUNTIME, Runtime
from .tflite.reader import load as load_tflite
from .types import DTYPES, Array

__all__ = ["load", "run"]


def load(source: str | os.PathLike[str] | bytes | Model) -> Model:
    """Read a .tflite model.

    Args:
        source: a path, the file's bytes, or a Model (returned as it is).

    Raises:
        ModelError: the file is missing, malformed or invalid; the message says what, where and what to do.
    """
    return source if isinstance(source, Model) else load_tflite(source)


def run(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    quantize_input: bool = False,
    partial: bool = False,
) -> Trace:
    """Run a model in one runtime's arithmetic, to the last bit, and record every step.

    Args:
        model: a Model, a path or a file's bytes.
        x: the input array of a model with one input; else a sequence in the model's order, or a mapping from tensor
            index or name. Dtypes must be the tensors' own. The first dimension may be any batch size.
        runtime: the exact runtime or its name.
        quantize_input: quantize real-valued inputs of quantized tensors with the tensor's scale and zero point, as
            the runtime's own QUANTIZE operator does; without it they are refused.
        partial: run the operators that are covered instead of raising when some are not.

    Returns:
        The Trace: `trace.output`, `trace.outputs`, `trace[op].acc`, ...

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: an input does not fit.
        UnsupportedError: operators are refused or not covered (all are listed), and `partial` is false.
    """
    loaded = load(model)
    prepared = prepare(loaded, runtime)
    inputs: Sequence[Any] | Mapping[int | str, Any]
    several = isinstance(x, Mapping) or (isinstance(x, Sequence) and len(loaded.inputs) > 1)
    inputs = x if several else [x]
    if quantize_input:
        pairs = reference.match_inputs(loaded, inputs)
        inputs = [_quantized(tensor, np.asarray(value), prepared.runtime) for tensor, value in pairs]
    return reference.run(prepared, inputs, partial=partial)


def _quantized(tensor: Tensor, value: Array, runtime: Runtime) -> Array:
    """Real values as the runtime's own QUANTIZE operator would turn them into this tensor's integers."""
    if value.dtype.kind != "f" or tensor.quant is None:
        return value
    if not np.isfinite(value).all():
        bad = [int(i) for i in np.argwhere(~np.isfinite(value))[0]]
        raise InputError(f"input {tensor.label}: the value at {bad} is {value[tuple(bad)]}; wanted finite numbers")
    real = replace(tensor, index=0, dtype=DTYPES[0], quant=None)
    graph = Subgraph(
        "quantize", (real, replace(tensor, index=1)), (Operator(0, "QUANTIZE", 1, (0,), (1,)),), (0,), (1,)
    )
    model = Model((graph,), "", 3, b"")
    return prepare_operator(model, model.operators[0], runtime).evaluate([value.astype(np.float32)])["output"]
