"""diagnose: which mistakes make an output what it is?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...layers.layer_input import layer_operator
from ...layers.step_tables import layer_operators
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...runtimes import Runtime, get_runtime
from ..run.verb import load
from .hybrid import diagnose_hybrid, hybrid_layers
from .hybrid_network import diagnose_hybrid_network
from .hybrid_report import HybridDiagnosis
from .layer import MOST_MISTAKES, How, Progress, diagnose_layer, nothing
from .network import diagnose_network, diagnose_operators, is_network
from .network_report import NetworkDiagnosis
from .report import Diagnosis

__all__ = ["MOST_MISTAKES", "Diagnosis", "HybridDiagnosis", "NetworkDiagnosis", "diagnose"]

_SHOWN = 6
"""Other layers that a message names."""


def diagnose(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    mine: Any,
    op: int | None = None,
    runtime: str | Runtime | None = None,
    acc: Any = None,
    scaled: Any = None,
    *,
    quantize_input: bool = False,
    params: Mapping[str, str] | None = None,
    most: int = MOST_MISTAKES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diagnosis | NetworkDiagnosis | HybridDiagnosis:
    """Name the mistakes that make the output of a layer, or of a model of several layers, what it is.

    Args:
        model: a Model, a path or a file's bytes.
        x: the model's input or the layer's own, as `lastbit.explain` takes it. With a function it may be None:
            inputs are chosen then that tell mistakes apart.
        mine: the output that is to be diagnosed, an array; of a model of several layers also a mapping of arrays
            between them, by any names; or a function that calculates it. A function gets what it asks for by parameter
            name (`lastbit.verbs.diagnose.names.PARAMETERS`): x, weights, bias, input_scale, weights_scale,
            output_scale, the zero points, multiplier, shift, ...; the common short names (w, s_x, zx, ...) do as
            well. It is called with x as `[rows, depth]`, in the shape of the model's input, or with one row or sample
            at a time, whichever it takes. It returns the output, or a mapping with `output`, `acc` and `scaled`; a
            function of the input alone, where the model has several layers, calculates the model.
        op: the layer's operator index. By default an array or a function of the input alone is the output of the model
            or of the operator that has its shape; else the first dense layer is meant, or the first convolution.
        runtime: whose output `mine` should be; default: any runtime's will do.
        acc: the accumulators of `mine`, `[rows, out]` integers, where they are known.
        scaled: its scaled values before the output zero point is added, rounded or not, where they are known.
        quantize_input: quantize a real-valued x as the runtime does; mistakes in quantizing it are searched then, as
            they are where the model begins with a QUANTIZE operator.
        params: what the function's parameters mean where their names do not say it, such as {"s1": "input_scale"}.
        most: the largest number of mistakes that are searched together.
        seed: of the inputs that are chosen.
        progress: called with (steps done, steps in total, what is done next).

    Returns:
        The Diagnosis: a Report. `explanations` has the shortest sets of mistakes that reproduce every element. Of
        several layers a NetworkDiagnosis, whose `sets` say in which operators each mistake is made.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: x does not fit, or the function cannot be called.
        UnsupportedError: no runtime that LastBit covers takes the layer.
    """
    loaded = load(model)
    if not 0 <= most <= MOST_MISTAKES:
        raise InputError(f"most is {most}; wanted 0 to {MOST_MISTAKES}")
    chosen = None if runtime is None else get_runtime(runtime)
    how = How(chosen, acc, scaled, quantize_input, params, most, seed, progress or nothing)
    if op is None and acc is None and scaled is None and is_network(loaded, x, mine):
        return _network(loaded, x, mine, how)
    if op is None and acc is None and scaled is None:
        alone = diagnose_operators(loaded, x, mine, how)
        if alone is not None:
            return alone
    operator = layer_operator(loaded, op)
    others = _others(loaded, operator) if op is None else ""
    try:
        hybrid = hybrid_layers(loaded, operator, how)
        if hybrid and (acc is not None or scaled is not None):
            raise InputError(
                f"{operator.label} prints float32: acc and scaled are steps of layers that print integers. Leave them "
                "out (--acc, --scaled); the output is diagnosed without"
            )
        if hybrid:
            return diagnose_hybrid(loaded, hybrid, x, mine, how)
        report = diagnose_layer(loaded, operator, x, mine, how)
    except InputError as error:
        if not others:
            raise
        raise InputError(f"{error}\n{others}.") from error
    if others and report.problem and not report.elsewhere:
        return replace(report, problem=f"{report.problem}. {others}")
    return report


def _network(model: Model, x: Any, mine: Any, how: How) -> NetworkDiagnosis | HybridDiagnosis:
    """A model of several layers.

    Raises:
        UnsupportedError: beside what `diagnose_network` says, its layers print real values.
    """
    try:
        return diagnose_network(model, x, mine, how)
    except UnsupportedError as error:
        layers = layer_operators(model, None)
        if not hybrid_layers(model, layers[0], how):
            raise
        if not isinstance(mine, Mapping):
            return diagnose_hybrid_network(model, x, mine, how)
        named = [op.label for op in layers]
        more = [f"and {len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
        raise UnsupportedError(
            f"{model.source}: layers that print float32 are diagnosed one by one, not as a network. Name one, and give "
            "its own output (--op N; op=N in Python):",
            [*named[:_SHOWN], *more],
        ) from error


def _others(model: Model, chosen: Operator) -> str:
    """How another layer than the chosen one is named; empty where there is none."""
    labels = [op.label for op in layer_operators(model, None) if op is not chosen]
    if not labels:
        return ""
    shown = ", ".join(labels[:_SHOWN]) + (f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else "")
    return f"That is {chosen.label}; --op N (op=N in Python) names another one: {shown}"
