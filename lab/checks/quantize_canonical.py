"""A .tflite file as converters' results are compared: operators and options in order; each tensor's type and numbers.

Names, metadata, operator versions and the numbering of tensors are left out. QUANTIZE and DEQUANTIZE operators that
follow each other are put in the order of their sources: where one operator has several outputs, TensorFlow orders them
by addresses in memory, so two runs of the same converter differ. Those of constants stand in the order of their first
users.
"""

from __future__ import annotations

import collections
import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_ADAPTERS = ("DEQUANTIZE", "QUANTIZE")

Described = tuple[Any, ...]


def canonical(content: bytes) -> list[tuple[str, Described]]:
    """(where, what) of every operator and tensor that it touches, of the graph's inputs and outputs, in order.

    For operators `what` is (option, value)..., for tensors (source, type, shape, scales as float32 bits, zero points,
    axis, digest of the data). NaN equals NaN.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    source: dict[int, str] = {index: f"input {k}" for k, index in enumerate(graph.inputs)}
    operators = [_operator(model, op) for op in graph.operators]
    found = [(f"input {k}", ("", *_describe(model, index))) for k, index in enumerate(graph.inputs)]
    for number, (name, op) in enumerate(_settled(operators, list(graph.inputs))):
        found.append((f"{number} {name} options", _options(name, op)))
        for k, index in enumerate(op.inputs):
            what = ("absent",) if index < 0 else (source.get(index, "constant"), *_describe(model, index))
            found.append((f"{number} {name} in {k}", what))
        for k, index in enumerate(op.outputs):
            source[index] = f"{number}.{k}"
            found.append((f"{number} {name} out {k}", ("", *_describe(model, index))))
        for k, index in enumerate(() if op.intermediates is None else op.intermediates):
            found.append((f"{number} {name} inside {k}", ("", *_describe(model, index))))
    found += [(f"output {k}", (source.get(index, "constant"),)) for k, index in enumerate(graph.outputs)]
    return found


Entry = tuple[str, Described]


def differing(ours: Sequence[Entry], theirs: Sequence[Entry]) -> list[tuple[Entry, Entry]] | None:
    """The entries of two files in which they differ, each with its twin; None where their operators differ."""
    if [where for where, _ in ours] != [where for where, _ in theirs]:
        return None
    return [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]


def where_they_part(ours: Sequence[Entry], theirs: Sequence[Entry]) -> str:
    """The first place at which two files have other operators, in words."""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a[0] != b[0]), 0)
    return f"{ours[at - 1 : at + 1]} and {theirs[at - 1 : at + 1]}"


def digests(content: bytes, options: bool = False) -> list[str]:
    """Eight hexadecimal digits for each tensor's entry of `canonical`; with `options` for each operator's as well."""
    entries = [entry for entry in canonical(content) if options or not entry[0].endswith(" options")]
    return [hashlib.sha256(repr(entry).encode()).hexdigest()[:8] for entry in entries]


def ranges_of(content: bytes) -> dict[int, tuple[np.float32, np.float32]]:
    """The ranges that a calibrated file carries."""
    found = {}
    for index, tensor in enumerate(schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors):
        params = tensor.quantization
        if params is not None and params.min is not None and len(params.min):
            found[index] = (np.float32(params.min[0]), np.float32(params.max[0]))
    return found


def _operator(model: Any, op: Any) -> tuple[str, Any]:
    code = model.operatorCodes[op.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)], op


def _options(name: str, op: Any) -> Described:
    """The options, sorted; none for RESHAPE, whose shape is its second input, as some converters leave them out."""
    if op.builtinOptions is None or name == "RESHAPE":
        return ()
    values = vars(op.builtinOptions).items()
    return tuple(sorted((key, tuple(np.asarray(value).reshape(-1).tolist())) for key, value in values))


def _settled(operators: list[tuple[str, Any]], inputs: list[int]) -> list[tuple[str, Any]]:
    """The operators with runs of QUANTIZE and DEQUANTIZE in one order."""
    place: dict[int, tuple[int, int]] = {index: (-2, k) for k, index in enumerate(inputs)}
    users = first_users(operators)
    result: list[tuple[str, Any]] = []
    run: list[tuple[str, Any]] = []

    def flush() -> None:
        run.sort(key=lambda entry: (place.get(entry[1].inputs[0], users[entry[1].outputs[0]]), entry[0]))
        result.extend(run)
        run.clear()

    for number, (name, op) in enumerate(operators):
        made_here = {index for _, other in run for index in other.outputs}
        if name not in _ADAPTERS or made_here & set(op.inputs):
            flush()
        for k, index in enumerate(op.outputs):
            place[index] = (number, k)
        (run if name in _ADAPTERS else result).append((name, op))
    flush()
    return result


def first_users(operators: list[tuple[str, Any]]) -> dict[int, tuple[int, int]]:
    """Tensor index -> (-1, which input of all operators that are no adapters reads it first)."""
    found: dict[int, tuple[int, int]] = collections.defaultdict(lambda: (-1, sys.maxsize))
    reads = [index for name, op in operators if name not in _ADAPTERS for index in op.inputs]
    for number, index in enumerate(reads):
        found.setdefault(index, (-1, number))
    return found


def _describe(model: Any, index: int) -> Described:
    tensor = model.subgraphs[0].tensors[index]
    params = tensor.quantization
    scales = np.array([] if params is None or params.scale is None else params.scale, np.float32)
    zeros = () if params is None or params.zeroPoint is None else tuple(int(z) for z in params.zeroPoint)
    shape = () if tensor.shape is None else tuple(int(part) for part in tensor.shape)
    data = model.buffers[tensor.buffer].data
    digest = "" if data is None or not len(data) else hashlib.sha256(bytes(bytearray(data))).hexdigest()[:12]
    bits = tuple("nan" if np.isnan(s) else s.tobytes().hex() for s in scales)
    axis = params.quantizedDimension if scales.size > 1 else 0
    return _TYPES[tensor.type], shape, bits, zeros if scales.size else (), axis, digest
