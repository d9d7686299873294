"""diagnose: which mistakes make an output what it is?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...layers.layer_input import layer_operator
from ...model.errors import InputError
from ...model.graph import Model
from ...runtimes import Runtime, get_runtime
from ..run.verb import load
from .hybrid import diagnose_hybrid, hybrid_layers
from .hybrid_report import HybridDiagnosis
from .layer import MOST_MISTAKES, How, diagnose_layer
from .network import diagnose_network, is_network
from .network_report import NetworkDiagnosis
from .report import Diagnosis

__all__ = ["MOST_MISTAKES", "Diagnosis", "HybridDiagnosis", "NetworkDiagnosis", "diagnose"]


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

    Returns:
        The Diagnosis: a Report. `explanations` has the shortest sets of mistakes that reproduce every element. Of
        several layers a NetworkDiagnosis, whose `sets` say in which operators each mistake is made.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: x does not fit, or the function cannot be called.
        UnsupportedError: the layer is no integer dense layer and no integer convolution that LastBit covers.
    """
    loaded = load(model)
    if not 0 <= most <= MOST_MISTAKES:
        raise InputError(f"most is {most}; wanted 0 to {MOST_MISTAKES}")
    how = How(None if runtime is None else get_runtime(runtime), acc, scaled, quantize_input, params, most, seed)
    if op is None and acc is None and scaled is None and is_network(loaded, x, mine):
        return diagnose_network(loaded, x, mine, how)
    operator = layer_operator(loaded, op)
    hybrid = hybrid_layers(loaded, operator, how)
    if hybrid and acc is None and scaled is None:
        return diagnose_hybrid(loaded, hybrid, x, mine, how)
    return diagnose_layer(loaded, operator, x, mine, how)
