"""The first two verbs from Python: load a model, run it in a runtime's arithmetic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...engines import choose_engine, reference
from ...engines.executable import Executable
from ...engines.inputs import Inputs, as_inputs, match_inputs
from ...engines.reference import Trace
from ...model.errors import InputError, RealInputError
from ...model.graph import Model, Operator, Subgraph, Tensor
from ...model.tflite.reader import load as load_tflite
from ...model.types import FLOAT32, Array
from ...ops.prepare import prepare, prepare_operator
from ...ops.work import products_of_sample
from ...runtimes import DEFAULT_RUNTIME, Runtime

__all__ = ["load", "quantized_inputs", "run"]


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
    engine: str = "reference",
    threads: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Trace:
    """Run a model in one runtime's arithmetic, to the last bit, and record every step.

    Args:
        model: a Model, a path or a file's bytes.
        x: the input array of a model with one input; else a sequence in the model's order, or a mapping from tensor
            index or name. Dtypes must be the tensors' own. The first dimension may be any batch size, or be missing.
        runtime: the exact runtime or its name.
        quantize_input: quantize real-valued inputs of quantized tensors with the tensor's scale and zero point, as
            the runtime's own QUANTIZE operator does; without it they are refused.
        partial: run the operators that are covered, by the reference engine, instead of raising when some are not.
        engine: `reference` records every step. `numpy`, `jit` (extra `fast`) and `auto` (the faster of the two for the
            amount of work) give the same outputs sooner and no steps.
        threads: threads that the engine `jit` may use.
        progress: told operators (or the engine's steps) done, how many there are, and what is calculated.

    Returns:
        The Trace: `trace.output`, `trace.outputs`, `trace[op].acc`, ...

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: an input does not fit.
        UnsupportedError: operators are refused or not covered (all are listed), and `partial` is false.
        OracleMissingError: the engine is not installed.
    """
    loaded = load(model)
    prepared = prepare(loaded, runtime)
    inputs = as_inputs(loaded, x)
    if quantize_input:
        inputs = quantized_inputs(loaded, inputs, prepared.runtime)
    chosen = choose_engine(engine, _work(loaded, inputs))
    try:
        if chosen == "reference" or (partial and prepared.refusals):
            return reference.run(prepared, inputs, partial=partial, progress=progress)
        return Executable(prepared, chosen, threads).trace(inputs, progress)
    except RealInputError as error:
        raise error.offering_to_quantize() from None


def build(
    model: str | os.PathLike[str] | bytes | Model,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    engine: str = "auto",
    threads: int = 1,
) -> Executable:
    """Build a model for many calls: constants are folded and weights packed once.

    Args:
        model: a Model, a path or a file's bytes.
        runtime: the exact runtime or its name.
        engine: `jit` (extra `fast`), `numpy`, `reference`, or `auto`: `jit` where it is installed, else `numpy`. All
            give the same outputs.
        threads: threads that share the rows of one call (`jit`).

    Returns:
        The Executable: `executable(x)` is the output.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        UnsupportedError: operators are refused or not covered; all are listed.
        InputError: no such engine, or no thread.
        OracleMissingError: the engine is not installed.
    """
    return Executable(prepare(load(model), runtime), choose_engine(engine, float("inf")), threads)


def _work(model: Model, inputs: Inputs) -> float:
    """About how many products a call adds up."""
    values = list(inputs.values() if isinstance(inputs, Mapping) else inputs)
    rows = max((np.shape(value)[0] for value in values if np.ndim(value)), default=1)
    return float(rows) * products_of_sample(model)


def quantized_inputs(model: Model, inputs: Inputs, runtime: Runtime) -> dict[int | str, Any]:
    """The model's inputs by tensor index, real values turned into the tensors' integers as the runtime does it."""
    pairs = match_inputs(model, inputs)
    return {tensor.index: _quantized(tensor, np.asarray(value), runtime) for tensor, value in pairs}


def _quantized(tensor: Tensor, value: Array, runtime: Runtime) -> Array:
    """Real values as the runtime's own QUANTIZE operator would turn them into this tensor's integers."""
    if value.dtype.kind != "f" or tensor.quant is None or not tensor.quant.known:
        return value
    with np.errstate(over="ignore"):  # it is checked behind the cast
        values = value.astype(np.float32)
    if not np.isfinite(values).all():
        bad = [int(i) for i in np.argwhere(~np.isfinite(values))[0]]
        raise InputError(
            f"input {tensor.label}: the value at {bad} is {value[tuple(bad)]}; wanted finite numbers of float32"
        )
    real = replace(tensor, index=0, dtype=FLOAT32, quant=None)
    graph = Subgraph(
        "quantize", (real, replace(tensor, index=1)), (Operator(0, "QUANTIZE", 1, (0,), (1,)),), (0,), (1,)
    )
    model = Model((graph,), "", 3, b"")
    return prepare_operator(model, model.operators[0], runtime).evaluate([values])["output"]
