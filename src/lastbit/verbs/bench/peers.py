"""Who is timed: LastBit's engines, the real interpreters through their Python interfaces, and plain NumPy.

The interpreters run in this process, since a pipe to another one would be timed with them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engines.executable import Executable
from ...model.errors import LastBitError, UnsupportedError
from ...model.graph import Model
from ...model.types import Array
from ...ops.dense.layer import DenseLayer, PreparedLayer
from ...ops.prepare import prepare
from ...ops.work import products_of_sample
from ...oracles import on_this_machine
from ...runtimes import Runtime, get_runtime

__all__ = ["Contender", "contenders", "operations"]

Call = Callable[[Array], Array]

# Our name of the runtime that a peer is -> the peer.
_LITERT = {
    "litert-xnnpack": ("LiteRT", "AUTO"),
    "litert-builtin-x86": ("LiteRT builtin", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
    "litert-reference": ("LiteRT reference", "BUILTIN_REF"),
}


@dataclass(frozen=True)
class Contender:
    """One way of running the model.

    Attributes:
        name: what it is called in tables.
        runtime: the runtime whose outputs it must give; empty where it gives none's.
        ours: whether it is LastBit.
        make: the number of rows -> a function that runs so many. None where it cannot.
    """

    name: str
    runtime: str
    ours: bool
    make: Callable[[int], Call | None]


def operations(model: Model) -> int:
    """Additions and multiplications of the products of one sample: two for each weight that meets a value."""
    return 2 * products_of_sample(model)


def contenders(model: Model, runtimes: Sequence[str | Runtime], engine: str, threads: int) -> list[Contender]:
    """Everything that can be timed here: ours for each runtime, then the interpreters that are installed."""
    found = [_ours(model, get_runtime(runtime), engine, threads) for runtime in runtimes]
    if importlib.util.find_spec("ai_edge_litert") is not None:
        for runtime, (name, resolver) in _LITERT.items():
            real = on_this_machine(runtime)
            found.append(Contender(name, real, False, functools.partial(_litert, model, resolver, threads)))
    if importlib.util.find_spec("tflite_micro") is not None and threads == 1:
        found.append(Contender("TensorFlow Lite Micro", "tflm", False, functools.partial(_tflm, model)))
    layers = _dense_layers(model)
    if layers is not None and threads == 1:
        if len(layers) == 1 and importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
            found.append(Contender("ONNX Runtime", "", False, lambda rows: _onnxruntime(layers[0])))
        found.append(Contender("NumPy int32", "", False, lambda rows: _numpy(layers)))
    return found


def _ours(model: Model, runtime: Runtime, engine: str, threads: int) -> Contender:
    def make(rows: int) -> Call | None:
        try:
            return Executable(prepare(model, runtime), engine, threads)
        except UnsupportedError:
            return None

    kept: list[Call | None] = []

    def once(rows: int) -> Call | None:
        if not kept:
            kept.append(make(rows))
        return kept[0]

    return Contender(f"LastBit {runtime.name}", runtime.name, True, once)


def _litert(model: Model, resolver: str, threads: int, rows: int) -> Call | None:
    module: Any = importlib.import_module("ai_edge_litert.interpreter")
    try:
        interpreter = module.Interpreter(
            model_content=model.content,
            num_threads=threads,
            experimental_op_resolver_type=getattr(module.OpResolverType, resolver),
        )
        given, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        tensor = model.inputs[0]
        if len(tensor.shape) > 1:
            interpreter.resize_tensor_input(given, (rows, *tensor.shape[1:]))
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError):
        return None

    def call(x: Array) -> Array:
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(taken))

    return call


def _tflm(model: Model, rows: int) -> Call | None:
    module: Any = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    try:
        interpreter = module.Interpreter.from_bytes(model.content, arena_size=max(1 << 22, 10 * len(model.content)))
    except (RuntimeError, ValueError):
        return None
    shape = model.inputs[0].shape
    size = shape[0] if len(shape) > 1 else 1
    if rows % size:
        return None  # it cannot take another batch than the file's

    def call(x: Array) -> Array:
        parts = []
        for start in range(0, len(x), size):
            interpreter.set_input(x[start : start + size], 0)
            interpreter.invoke()
            parts.append(interpreter.get_output(0))
        return np.concatenate(parts)

    return call


def _dense_layers(model: Model) -> list[DenseLayer] | None:
    """The layers of a model of int8 dense layers only, one after the other."""
    if any(op.name != "FULLY_CONNECTED" for op in model.operators) or model.inputs[0].dtype.name != "int8":
        return None
    try:
        prepared = prepare(model, "litert-reference")
        prepared.require_all()
    except LastBitError:
        return None
    layers = [entry.layer for entry in prepared.operators.values() if isinstance(entry, PreparedLayer)]
    return layers if len(layers) == len(model.operators) else None


def _onnxruntime(layer: DenseLayer) -> Call | None:
    from ...oracles.dense_worker import OnnxRuntime

    run = OnnxRuntime(1).prepare(layer)
    return lambda x: run(x.reshape(-1, layer.depth))  # its products take rows, whatever the layer's input looks like


def _numpy(layers: list[DenseLayer]) -> Call:
    """What people write: int32 matrix products, then a float factor, rounded and clipped."""
    ready = [
        (
            layer.weights_values.T.astype(np.int32),
            layer.bias_values.astype(np.int32),
            np.int32(layer.input_zero_point),
            layer.input_scale * layer.weights_scale / layer.output_scale,
            layer.output_zero_point,
        )
        for layer in layers
    ]

    def call(x: Array) -> Array:
        for weights, bias, zx, factor, zy in ready:
            acc = (x.astype(np.int32) - zx) @ weights + bias
            x = np.clip(np.round(acc * factor) + zy, -128, 127).astype(np.int8)
        return x

    return call
