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
from ...model.graph import Model
from ..run.verb import load
from .calibrate import CALIBRATORS, calibrate
from .converters import CONVERTERS, Converter, Quantizer, converter_named
from .ir import Graph
from .keras import is_keras, read_keras
from .mlir import quantize_graph, refusals
from .older import PROPERTIES, OlderQuantizer
from .operators import TRAITS
from .ranges import Ranges, ranges_from, read_ranges
from .uncovered import what_the_converter_does
from .write import model_of

__all__ = [
    "CALIBRATORS",
    "CONVERTERS",
    "Converter",
    "Ranges",
    "check",
    "converter_named",
    "io_ends",
    "measure",
    "open_model",
    "quantize",
    "ranges",
    "read_ranges",
]

_IO = {"int8": ("float32", "int8", "uint8"), "int16": ("float32", "int16")}


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


def measure(model: Model, data: Callable[[], Any], calibrator: str) -> Ranges:
    """The same for a loaded model; the data is fetched only where the model is float32. See `ranges`."""
    _check_float(model)
    if reasons := _subgraphs(model):
        raise UnsupportedError(f"{model.source}: its ranges cannot be measured", reasons)
    return calibrate(model, data(), calibrator)


def quantize(
    model: str | os.PathLike[str] | bytes | Model,
    data: Any = None,
    *,
    like: str = "tflite",
    activations: str = "int8",
    per_tensor_dense: bool = False,
    io: str | tuple[str, str] = "float32",
    ranges: Mapping[Any, Any] | Ranges | None = None,
    calibrator: str = "litert",
) -> Model:
    """Quantize a float32 model as a converter does, to the last bit of every scale, weight and bias.

    Args:
        model: a Model, a path (.tflite, .keras or .h5) or a .tflite file's bytes.
        data: representative samples (see `ranges`); not with `ranges`.
        like: the converter: `tflite`, `litert`, with a version `tflite@2.16`.
        activations: `int8` or `int16` (weights int8 in both).
        per_tensor_dense: one scale for all units of a dense layer.
        io: the type of inputs and outputs: `float32`, `int8`, `uint8` or `int16`; or one type for each.
        ranges: (least, greatest) of each tensor by index or name, instead of `data`.
        calibrator: `litert` or `lastbit`, for `data`.

    Returns:
        The quantized model; `model.content` is the .tflite file. Its description names converter and calibrator.

    Raises:
        ModelError: the model is malformed.
        InputError: an option does not fit, the model is quantized already, the data does not fit it, or a range is
            missing.
        UnsupportedError: an operator is not one whose quantized form is known, or the converter gives up.
        OracleMissingError: LiteRT is not installed.
        OracleError: LiteRT's calibrator cannot run the model.
    """
    converter = converter_named(like)
    ends = io_ends(io, activations)
    loaded = open_model(model, converter)
    check(loaded, converter, activations)
    if (data is None) == (ranges is None):
        raise InputError(
            f"{loaded.source}: give representative data or ranges, one of the two",
            python=": quantize(model, data) or quantize(model, ranges=...).",
            command=": --data x.npz or --ranges r.json.",
        )
    if data is not None:
        found = calibrate(loaded, data, calibrator)
    else:
        assert ranges is not None
        found = ranges if isinstance(ranges, Ranges) else ranges_from(ranges, loaded, "ranges")
    _check_ranges(loaded, found)
    graph = _graph(loaded, found, converter, activations, per_tensor_dense, ends)
    about = f"quantized by LastBit like {converter.label}, ranges by {found.calibrator}"
    return model_of(graph, loaded, about)


def io_ends(io: str | tuple[str, str], activations: str) -> tuple[str, str]:
    """The types of inputs and outputs.

    Raises:
        InputError: there are no such activations, or one of the types does not go with them.
    """
    if activations not in _IO:
        raise InputError(f"activations are {activations!r}, wanted int8 or int16.")
    ends = (io, io) if isinstance(io, str) else io
    for end in ends:
        if end not in _IO[activations]:
            wanted = ", ".join(_IO[activations])
            raise InputError(f"io is {end!r}; with activations of {activations} wanted one of {wanted}.")
    return ends


def check(model: Model, converter: Converter, activations: str) -> None:
    """Whether a model can be quantized at all, before any data is run.

    Raises:
        InputError: it is quantized already.
        UnsupportedError: it has operators whose quantized form is not known.
    """
    _check_float(model)
    _check_operators(model, _quantizer(converter, activations), activations)


def _quantizer(converter: Converter, activations: str) -> Quantizer:
    return converter.int8 if activations == "int8" else Quantizer.OLDER


def _graph(
    model: Model, found: Ranges, converter: Converter, activations: str, per_tensor_dense: bool, io: tuple[str, str]
) -> Graph:
    dense = per_tensor_dense or not converter.dense_per_channel
    if _quantizer(converter, activations) is Quantizer.OLDER:
        run = OlderQuantizer(
            model.subgraphs[0],
            found,
            activations=activations,
            per_tensor=False,
            per_tensor_dense=dense,
            names_bias_type=converter.names_bias_type,
        )
        return run.run(io)
    graph = quantize_graph(
        model.subgraphs[0],
        found,
        per_tensor_dense=dense,
        io=io,
        moves=converter.moves,
        vector_code=converter.vector_code,
    )
    if reasons := refusals(graph):
        raise UnsupportedError(f"{model.source}: {converter.label} gives up on this model", reasons)
    return graph


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
    return [f"it has {count} subgraphs (control flow); models of one subgraph are covered"] if count > 1 else []


def _check_operators(model: Model, quantizer: Quantizer, activations: str) -> None:
    known = TRAITS if quantizer is Quantizer.MLIR else {**TRAITS, **PROPERTIES}
    reasons = [
        f"{op.label}: LastBit has no quantized form of it; {what_the_converter_does(op.name, activations)}"
        for op in model.operators
        if op.name not in known
    ]
    reasons += _subgraphs(model)
    for tensor in model.tensors:
        if tensor.data is not None and tensor.dtype.name == "float32" and not np.isfinite(tensor.data).all():
            reasons.append(f"{tensor.label}: has weights that are not finite")
    if reasons:
        raise UnsupportedError(f"{model.source}: cannot be quantized as the converter does", reasons)


def _check_ranges(model: Model, found: Ranges) -> None:
    """Every float tensor that is fed or computed needs a range."""
    computed = {index for op in model.operators for index in op.outputs} | set(model.subgraphs[0].inputs)
    floats = [tensor for tensor in model.tensors if tensor.index in computed and tensor.dtype.name == "float32"]
    missing = [tensor.label for tensor in floats if tensor.index not in found]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise InputError(f"the ranges lack {shown}; give [min, max] for every float tensor that is fed or computed.")
