"""lastbit quantize: a float32 model and its ranges to the quantized file, as a converter writes it.

Ranges to file is a pure function of the weights and the ranges, exact for each converter and version
(docs/converter.md). Data to ranges is LiteRT's own calibrator's work, or that of LastBit's float32 operators.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.tflite.options import can_be_written
from ..run.verb import load
from .ai_edge import GivesUp, Recipe, quantize_with_recipe
from .calibrate import CALIBRATORS, calibrate
from .converters import CONVERTERS, Converter, Quantizer, converter_named
from .dynamic_range import NOT_KNOWN, dynamic_range_graph, float16_graph
from .ir import Graph
from .keras import is_keras, read_keras
from .lstm import LSTM, why_not
from .mlir import quantize_graph
from .older import PROPERTIES, OlderQuantizer
from .operators import TRAITS
from .per_sample import average_ranges
from .ranges import Ranges, ranges_from, read_ranges
from .settings import Method, Settings, settings_of
from .uncovered import what_the_converter_does
from .write import model_of, with_signatures

__all__ = [
    "CALIBRATORS",
    "CONVERTERS",
    "Converter",
    "Method",
    "Ranges",
    "Settings",
    "check",
    "converter_named",
    "measure",
    "open_model",
    "quantize",
    "quantize_by",
    "ranges",
    "read_ranges",
    "settings_of",
]


def ranges(
    model: str | os.PathLike[str] | bytes | Model,
    data: Any,
    *,
    calibrator: str = "litert",
) -> Ranges:
    """Run a float32 model on representative data and note each tensor's least and greatest value.

    Args:
        model: a Model, a path (.tflite, .keras or .h5) or a .tflite file's bytes.
        data: the input array of a model with one input, samples first; else a mapping from input name or index, or a
            sequence in the model's order.
        calibrator: `litert`: the calibrator of the installed LiteRT, in a process of its own. `lastbit`: LastBit's
            float32 operators, for models that they cover. The last bits of ranges are those of whoever calculates.

    Returns:
        Tensor index -> (least, greatest), with the calibrator's name and version.

    Raises:
        ModelError: the model is malformed.
        InputError: the model is quantized already, or the data does not fit it.
        OracleMissingError: LiteRT is not installed.
        OracleError: LiteRT's calibrator cannot run the model.
        UnsupportedError: LastBit's float32 operators do not cover it.
    """
    return measure(open_model(model, CONVERTERS[0]), lambda: data, calibrator)


def open_model(model: str | os.PathLike[str] | bytes | Model, converter: Converter) -> Model:
    """Load a float32 .tflite model, or lower a Keras file (.keras, .h5) as a converter does (see `read_keras`)."""
    if isinstance(model, (str, os.PathLike)) and is_keras(model):
        return read_keras(model, converter.folding)
    return load(model)


def measure(
    model: Model,
    data: Callable[[], Any],
    calibrator: str,
    converter: Converter = CONVERTERS[0],
    progress: Callable[[int, int, str], None] | None = None,
) -> Ranges:
    """The same for a loaded model; the data is fetched only where the model is float32. See `ranges`.

    ai-edge-quantizer keeps a moving average of each sample's own ranges, all others the least and greatest value.
    """
    _check_float(model)
    if reasons := _subgraphs(model):
        raise UnsupportedError(f"{model.source}: its ranges cannot be measured", reasons)
    if converter.int8 is not Quantizer.AI_EDGE:
        return calibrate(model, data(), calibrator, progress)
    return average_ranges(model, data(), calibrator, progress)


def quantize(
    model: str | os.PathLike[str] | bytes | Model,
    data: Any = None,
    *,
    like: str = "tflite",
    activations: str | None = None,
    weights: str = "int8",
    weight_only: bool = False,
    per_tensor_dense: bool = False,
    io: str | tuple[str, str] | None = None,
    ranges: Mapping[Any, Any] | Ranges | None = None,
    calibrator: str = "litert",
) -> Model:
    """Quantize a float32 model as a converter does, to the last bit of every scale, weight and bias.

    Without data and ranges only weights are quantized (dynamic range), and nothing is calibrated.

    Args:
        model: a Model, a path (.tflite, .keras or .h5) or a .tflite file's bytes.
        data: representative samples (see `ranges`); not with `ranges`.
        like: the converter: `tflite`, `litert` or `ai-edge-quantizer`, with a version `tflite@2.16`.
        activations: `int8` (None) or `int16`.
        weights: `int8`; `int4` (ai-edge-quantizer); `float16` (tflite, without data).
        weight_only: weights are integers, and a DEQUANTIZE before each makes them float32 (ai-edge-quantizer).
        per_tensor_dense: one scale for all units of a dense layer.
        io: the type of inputs and outputs: `float32`, `int8`, `uint8` or `int16`; or one type for each. None: float32,
            and for ai-edge-quantizer with data that of the activations.
        ranges: (least, greatest) of each tensor by index or name, instead of `data`.
        calibrator: `litert` or `lastbit`, for `data`. For ai-edge-quantizer the ranges are its moving average.

    Returns:
        The quantized model; `model.content` is the .tflite file. Its description names converter and calibrator.

    Raises:
        ModelError: the model is malformed.
        InputError: an option does not fit, no converter makes this, the model is quantized already, the data does not
            fit it, or a range is missing.
        UnsupportedError: an operator is not one whose quantized form is known, or the converter gives up.
        OracleMissingError: LiteRT is not installed.
        OracleError: LiteRT's calibrator cannot run the model.
    """
    if data is not None and ranges is not None:
        raise InputError("data and ranges exclude each other; give one of them.")
    settings = settings_of(
        like,
        ranged=data is not None or ranges is not None,
        activations=activations,
        weights=weights,
        weight_only=weight_only,
        per_tensor_dense=per_tensor_dense,
        io=io,
    )
    loaded = open_model(model, settings.converter)
    check(loaded, settings)
    if data is not None:
        found: Ranges | None = measure(loaded, lambda: data, calibrator, settings.converter)
    elif ranges is None or isinstance(ranges, Ranges):
        found = ranges
    else:
        found = ranges_from(ranges, loaded, "ranges")
    return quantize_by(loaded, settings, found)


def quantize_by(model: Model, settings: Settings, found: Ranges | None) -> Model:
    """The same for a model that `check` has passed, and its ranges where the method needs them."""
    about = f"quantized by LastBit like {settings.label}"
    if found is not None:
        _check_ranges(model, found, settings)
        about += f", ranges by {found.calibrator}"
    if settings.quantizer is Quantizer.AI_EDGE:
        return _by_recipe(model, settings, found, about)
    return model_of(_graph(model, settings, found), model, about)


def check(model: Model, settings: Settings) -> None:
    """Whether a model can be quantized at all, before any data is run.

    Raises:
        InputError: it is quantized already.
        UnsupportedError: it has operators whose quantized form is not known.
    """
    _check_float(model)
    if settings.quantizer is Quantizer.AI_EDGE:
        reasons = [
            f"{op.label}: LastBit cannot copy it; what ai-edge-quantizer does with it was not asked"
            for op in model.operators
            if not can_be_written(op.name, op.options)
        ]
    else:
        reasons = _unknown_operators(model, settings)
    reasons += _subgraphs(model)
    for tensor in model.tensors:
        if tensor.data is not None and tensor.dtype.name == "float32" and not np.isfinite(tensor.data).all():
            reasons.append(f"{tensor.label}: has weights that are not finite")
    if reasons:
        raise UnsupportedError(f"{model.source}: cannot be quantized as the converter does", reasons)


def _unknown_operators(model: Model, settings: Settings) -> list[str]:
    """Operators whose treatment LastBit does not know."""
    if settings.method is not Method.STATIC:
        return [
            f"{op.label}: how the converter treats its weights without data was not compared"
            for op in model.operators
            if op.name in NOT_KNOWN and settings.method is Method.DYNAMIC
        ]
    known = {name for name, traits in TRAITS.items() if settings.quantizer is Quantizer.MLIR or not traits.mlir_only}
    known |= set(PROPERTIES) if settings.quantizer is not Quantizer.MLIR else set()
    activations = settings.activations
    reasons = [
        f"{op.label}: LastBit has no quantized form of it; {what_the_converter_does(op.name, activations)}"
        for op in model.operators
        if op.name not in known
    ]
    reasons += [
        reason for op in model.operators if op.name == LSTM and op.name in known for reason in why_not(model, op)
    ]
    if settings.quantizer is Quantizer.MLIR and settings.converter.moves.drops_neutral:
        reasons += [
            f"{op.label}: multiplies with zeros only: the converter makes a constant of it, and LastBit does not"
            for op in model.operators
            if op.name == "MUL" and _is_zero(model, op)
        ]
    return reasons


def _is_zero(model: Model, op: Operator) -> bool:
    """Whether an operand is a constant of zeros in the output's shape."""
    shape = model.tensors[op.outputs[0]].shape
    constants = (model.tensors[index] for index in op.inputs if index >= 0)
    return any(tensor.data is not None and tensor.shape == shape and not tensor.data.any() for tensor in constants)


def _by_recipe(model: Model, settings: Settings, found: Ranges | None, about: str) -> Model:
    """By one of ai-edge-quantizer's recipes."""
    activations = None if found is None else 16 if settings.activations == "int16" else 8
    recipe = Recipe(
        weights=4 if settings.weights == "int4" else 8,
        activations=activations,
        in_kernel=settings.method is not Method.WEIGHT_ONLY,
        float_inputs=settings.io[0] == "float32",
        float_outputs=settings.io[1] == "float32",
    )
    try:
        with np.errstate(all="ignore"):
            graph = quantize_with_recipe(model, {} if found is None else found.limits, recipe)
    except GivesUp as error:
        raise UnsupportedError(
            f"{model.source}: {settings.converter.label} gives up on this model", [str(error)]
        ) from None
    return with_signatures(graph, model, about)


def _graph(model: Model, settings: Settings, found: Ranges | None) -> Graph:
    """By TFLiteConverter or the older quantizer."""
    graph, converter = model.subgraphs[0], settings.converter
    dense = settings.per_tensor_dense or not converter.dense_per_channel
    if settings.method is Method.FLOAT16:
        return float16_graph(graph)
    if found is None:
        return dynamic_range_graph(graph, per_tensor_dense=dense, dequantized=converter.dequantized)
    if settings.quantizer is Quantizer.OLDER:
        run = OlderQuantizer(
            graph,
            found,
            activations=settings.activations,
            per_tensor=False,
            per_tensor_dense=dense,
            names_bias_type=converter.names_bias_type,
            stay_float=converter.float_in_int16,
        )
        made = run.run(settings.io)
    else:
        made = quantize_graph(
            graph,
            found,
            per_tensor_dense=dense,
            io=settings.io,
            moves=converter.moves,
            vector_code=converter.vector_code,
        )
    if made.refused:
        reasons = list(dict.fromkeys(made.refused))
        raise UnsupportedError(f"{model.source}: {converter.label} gives up on this model", reasons)
    return made


def _check_float(model: Model) -> None:
    """Refuse what is quantized already."""
    for tensor in model.tensors:
        if tensor.quant is not None or (tensor.dtype.name in ("int8", "uint8", "int16") and tensor.data is None):
            raise InputError(
                f"{model.source}: is quantized already: {tensor.label} is {tensor.dtype.name}. Wanted a float32 "
                "model: convert without optimizations, or take the file from before quantization."
            )
    if not any(tensor.dtype.name == "float32" for tensor in model.tensors):
        raise InputError(f"{model.source}: has no float32 tensor; there is nothing to quantize.")


def _subgraphs(model: Model) -> list[str]:
    """The reason to refuse a model of several subgraphs."""
    count = len(model.subgraphs)
    if count == 1:
        return []
    return [f"it has {count} subgraphs (control flow); models of one subgraph are covered, converters take several"]


def _check_ranges(model: Model, found: Ranges, settings: Settings) -> None:
    """Every float tensor that is computed needs a range, and every one that is fed; states where they get integers."""
    read = {index for op in model.operators for index in op.inputs}
    static = settings.quantizer is not Quantizer.AI_EDGE
    states = {tensor.index for tensor in model.tensors if tensor.is_variable and static}
    computed = {index for op in model.operators for index in op.outputs}
    computed |= (set(model.subgraphs[0].inputs) | states) & read
    floats = [tensor for tensor in model.tensors if tensor.index in computed and tensor.dtype.name == "float32"]
    missing = [tensor.label for tensor in floats if tensor.index not in found]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise InputError(f"the ranges lack {shown}; give [min, max] for every float tensor that is fed or computed.")
