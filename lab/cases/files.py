"""The smallest files that a reader could refuse, one for each reason: what the real interpreters are asked about.

Each is a small good model with one thing changed. `lab/record/files.py` asks and records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from lastbit.model.graph import Operator, Subgraph, Tensor
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant

__all__ = ["FileCase", "all_cases"]

Change = Callable[[Any], None]


@dataclass(frozen=True)
class FileCase:
    """One file.

    Attributes:
        group: which part of a file it is about.
        what: what is unusual about it.
        content: the file.
        values: one sample: an array for each graph input.
    """

    group: str
    what: str
    content: bytes
    values: tuple[np.ndarray[Any, Any], ...]


_X = np.array([[-128, -7, 50, 127]], np.int8)


def _dense(weights_scale: Any = (0.02, 0.01, 0.03), **options: Any) -> Subgraph:
    weights = np.array([[1, -2, 3, 4], [-5, 60, 7, -8], [9, 10, -110, 12]], np.int8)
    return dense_subgraph(
        weights,
        input_quant=quant(0.05, -3),
        weights_quant=quant(weights_scale),
        output_quant=quant(0.25, 7),
        bias=np.array([500, -600, 70]),
        **options,
    )


def _chain(*steps: tuple[int, int], tensors: int = 0) -> Subgraph:
    """RELU operators, each from one int8 tensor to another."""
    count = max(tensors, 1 + max(max(step) for step in steps))
    listed = tuple(Tensor(i, f"t{i}", (1, 4), (1, 4), DTYPE_BY_NAME["int8"], quant(0.5), None) for i in range(count))
    operators = tuple(Operator(i, "RELU", 1, (a,), (b,)) for i, (a, b) in enumerate(steps))
    return Subgraph("chain", listed, operators, (0,), (steps[-1][1],))


def _pool() -> Subgraph:
    listed = tuple(
        Tensor(i, f"t{i}", shape, shape, DTYPE_BY_NAME["int8"], quant(0.5), None)
        for i, shape in enumerate(((1, 4), (1, 2, 2, 1), (1, 2, 2, 1)))
    )
    options: dict[str, Any] = {"new_shape": (1, 2, 2, 1)}
    window = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "filter_width": 2, "filter_height": 2}
    pool = Operator(1, "MAX_POOL_2D", 1, (1,), (2,), window)
    return Subgraph("pool", listed, (Operator(0, "RESHAPE", 1, (0,), (1,), options), pool), (0,), (2,))


def _packed(graph: Subgraph, change: Change) -> bytes:
    """The graph's file with a change of the schema's objects."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(write(graph)), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor_change(index: int, **fields: Any) -> Change:
    def change(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[index]
        for name, value in fields.items():
            target = tensor.quantization if hasattr(tensor.quantization, name) else tensor
            setattr(target, name, value)

    return change


def _graph_change(**fields: Any) -> Change:
    return lambda model: [setattr(model.subgraphs[0], name, value) for name, value in fields.items()] and None


def _operator_change(**fields: Any) -> Change:
    return lambda model: [setattr(model.subgraphs[0].operators[0], k, v) for k, v in fields.items()] and None


def _bytes_of(model: Any, tensor: int, change: Callable[[Any], Any]) -> None:
    buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
    buffer.data = change(buffer.data)


# Tensors of the dense model: 0 input, 1 weights, 2 bias, 3 output.
_SCALES: tuple[tuple[str, Any], ...] = (
    ("0", [0.0]),
    ("negative", [-0.5]),
    ("NaN", [float("nan")]),
    ("infinite", [float("inf")]),
    ("subnormal", [1e-40]),
    ("absent", None),
)


def _quantization() -> Iterator[tuple[str, bytes]]:
    one = _dense(0.02)
    for role, index in (("input", 0), ("weights", 1), ("bias", 2), ("output", 3)):
        for word, value in _SCALES:
            yield f"{role}: scale {word}", _packed(one, _tensor_change(index, scale=value))
    unused = replace(one, tensors=(*one.tensors, replace(one.tensors[0], index=4, name="unused")))
    for word, value in _SCALES[:4]:
        yield f"unused tensor: scale {word}", _packed(unused, _tensor_change(4, scale=value))
    several = _dense()
    for word, value in _SCALES[:4]:
        yield f"weights: scale of unit 1 {word}", _packed(several, _tensor_change(1, scale=[0.02, *value, 0.03]))
        yield f"bias: scale of unit 1 {word}", _packed(several, _tensor_change(2, scale=[0.001, *value, 0.001]))
    yield "weights: 2 scales for 3 units", _packed(several, _tensor_change(1, scale=[0.02, 0.01], zeroPoint=[0, 0]))
    yield "bias: 2 scales for 3 units", _packed(several, _tensor_change(2, scale=[0.001, 0.001], zeroPoint=[0, 0]))
    yield "weights: 3 scales, 2 zero points", _packed(several, _tensor_change(1, zeroPoint=[0, 0]))
    yield "weights: 3 scales, 1 zero point", _packed(several, _tensor_change(1, zeroPoint=[0]))
    yield "weights: 3 scales, no zero points", _packed(several, _tensor_change(1, zeroPoint=None))
    yield "bias: 3 scales, 2 zero points", _packed(several, _tensor_change(2, zeroPoint=[0, 0]))
    for role, index, rank in (("input", 0, 2), ("weights", 1, 2), ("bias", 2, 1), ("output", 3, 2)):
        for axis in (rank, -1):
            change = _tensor_change(index, quantizedDimension=axis)
            yield f"{role}: quantized_dimension {axis} of {rank} dimensions", _packed(several, change)
    yield "unused tensor: quantized_dimension 2 of 2", _packed(unused, _tensor_change(4, quantizedDimension=2))
    for role, index, value in (("input", 0, 128), ("weights", 1, -129), ("output", 3, 300), ("bias", 2, 2**31)):
        yield f"{role}: zero point {value}", _packed(one, _tensor_change(index, zeroPoint=[value]))


def _shapes() -> Iterator[tuple[str, bytes]]:
    dense = _dense()
    unused = replace(dense, tensors=(*dense.tensors, replace(dense.tensors[0], index=4, name="unused")))
    yield "unused tensor: 33 dimensions", _packed(unused, _tensor_change(4, shape=[1] * 33))
    yield "unused tensor: a size of -1", _packed(unused, _tensor_change(4, shape=[1, -1]))
    yield "output: a size of -1", _packed(dense, _tensor_change(3, shape=[1, -1]))
    yield "input: a size of -1", _packed(dense, _tensor_change(0, shape=[-1, 4]))
    yield "unused tensor: 2^31 elements", _packed(unused, _tensor_change(4, shape=[2**16, 2**15]))
    yield "output: 2^31 elements", _packed(dense, _tensor_change(3, shape=[2**16, 2**15]))
    yield "input: shape_signature of another length", _packed(dense, _tensor_change(0, shapeSignature=[-1]))
    yield "input: shape_signature with -2", _packed(dense, _tensor_change(0, shapeSignature=[-2, 4]))
    yield "weights: shape_signature of another length", _packed(dense, _tensor_change(1, shapeSignature=[3]))


def _constants() -> Iterator[tuple[str, bytes]]:
    dense = _dense()
    yield "weights: one byte too few", _packed(dense, lambda m: _bytes_of(m, 1, lambda data: data[:-1]))
    yield "weights: one byte too many", _packed(dense, lambda m: _bytes_of(m, 1, lambda data: [*data, 0]))
    yield "bias: four bytes too few", _packed(dense, lambda m: _bytes_of(m, 2, lambda data: data[:-4]))
    yield "bias: four bytes too many", _packed(dense, lambda m: _bytes_of(m, 2, lambda data: [*data, 0, 0, 0, 0]))
    four = _dense(weights_dtype="int4")
    yield "int4 weights: one byte too few", _packed(four, lambda m: _bytes_of(m, 1, lambda data: data[:-1]))
    yield "int4 weights: one byte a value", _packed(four, lambda m: _bytes_of(m, 1, lambda data: list(range(1, 13))))
    yield "weights: buffer beyond the list", _packed(dense, _tensor_change(1, buffer=99))
    yield "output: buffer beyond the list", _packed(dense, _tensor_change(3, buffer=99))
    yield "buffer 0 has data", _packed(dense, lambda m: setattr(m.buffers[0], "data", [1, 2, 3, 4]))
    yield "buffer 0 has the input's data", _packed(dense, lambda m: setattr(m.buffers[0], "data", [1] * 4))
    unused = replace(dense, tensors=(*dense.tensors, replace(dense.tensors[0], index=4, name="state")))

    def variable(model: Any) -> None:
        _tensor_change(4, isVariable=True, buffer=model.subgraphs[0].tensors[1].buffer, shape=[3, 4])(model)

    yield "a variable with data", _packed(unused, variable)
    yield "constants outside the FlatBuffer", _external(dense, 0, 0)
    yield "constants outside the FlatBuffer, beyond the file", _external(dense, 1 << 20, 0)
    yield "constants outside the FlatBuffer, one byte too few", _external(dense, 0, -1)


def _external(graph: Subgraph, further: int, longer: int) -> bytes:
    """Constants behind the FlatBuffer, at 16-byte places; the offset or the size may be wrong."""
    payload: list[bytes] = []

    def change(model: Any, base: int = 1 << 12) -> None:
        for buffer in model.buffers:
            if buffer.data is not None and len(buffer.data):
                buffer.offset = base + sum(map(len, payload)) + further
                buffer.size = len(buffer.data) + longer
                data = bytes(bytearray(buffer.data))
                payload.append(data + bytes(-len(data) % 16))
                buffer.data = None

    head = _packed(graph, change)
    assert len(head) <= 1 << 12
    return head + bytes((1 << 12) - len(head)) + b"".join(payload)


def _graphs() -> Iterator[tuple[str, bytes]]:
    yield "an operator reads a tensor that nothing writes", write(_chain((0, 1), (2, 3)))
    yield "operators in the wrong order", write(_chain((1, 2), (0, 1), (2, 3)))
    yield "an operator writes over its own input", write(_chain((0, 1), (1, 1)))
    yield "an operator writes over the graph's input", write(_chain((0, 0)))
    yield "two operators write one tensor", write(_chain((0, 1), (0, 1)))
    constant = _chain((0, 1))
    data = replace(constant.tensors[1], data=np.ones((1, 4), np.int8))
    yield "an operator writes a constant", write(replace(constant, tensors=(constant.tensors[0], data)))
    yield "nothing writes the graph's output", write(replace(_chain((0, 1), tensors=3), outputs=(2,)))
    fed = replace(_chain((0, 1), tensors=3), outputs=(1, 0))
    yield "the graph's input is an output", write(fed)
    listed = list(fed.tensors)
    listed[2] = replace(listed[2], data=np.array([[1, 2, 3, 4]], np.int8))
    yield "a constant is an output", write(replace(fed, tensors=tuple(listed), outputs=(1, 2)))
    yield "the only output is a constant", write(replace(fed, tensors=tuple(listed), outputs=(2,)))
    yield "an output twice", write(replace(fed, outputs=(1, 1)))
    yield "no outputs", write(replace(fed, outputs=()))
    yield "no operators, the input is the output", write(replace(fed, operators=(), outputs=(0,)))
    yield "an operator without outputs", _packed(_chain((0, 1), (0, 2)), _operator_change(outputs=[]))
    yield "an operator without inputs", _packed(_chain((0, 1), (0, 2)), _operator_change(inputs=[]))
    chain = _chain((0, 1), (0, 2))
    yield "an operator's input is tensor 99", _packed(chain, _operator_change(inputs=[99]))
    yield "an operator's input is tensor -2", _packed(chain, _operator_change(inputs=[-2]))
    yield "an operator's output is tensor 99", _packed(chain, _operator_change(outputs=[99]))
    yield "an operator's output is tensor -1", _packed(chain, _operator_change(outputs=[-1]))
    yield "the graph's input is tensor 99", _packed(chain, _graph_change(inputs=[0, 99]))
    yield "the graph's output is tensor 99", _packed(chain, _graph_change(outputs=[99]))
    yield "an operator's code is 99", _packed(chain, _operator_change(opcodeIndex=99))
    yield "schema version 2", _packed(chain, lambda m: setattr(m, "version", 2))
    yield "no subgraphs", _packed(chain, lambda m: setattr(m, "subgraphs", []))


def _options() -> Iterator[tuple[str, bytes]]:
    dense = _dense()
    for name, value in (("fusedActivationFunction", 6), ("fusedActivationFunction", 4), ("weightsFormat", 2)):
        yield f"{name} {value}", _packed(dense, lambda m, n=name, v=value: setattr(_table(m), n, v))
    pool = _pool()
    for name, value in (("padding", 2), ("padding", -1), ("fusedActivationFunction", 6), ("strideW", 0)):
        yield f"pool: {name} {value}", _packed(pool, lambda m, n=name, v=value: setattr(_table(m), n, v))


def _table(model: Any) -> Any:
    return model.subgraphs[0].operators[-1].builtinOptions


def _structure() -> Iterator[tuple[str, bytes]]:
    good = write(_dense())
    yield "no identifier", good[:4] + b"XXXX" + good[8:]
    yield "the root's offset is 0", bytes(4) + good[4:]
    yield "the root is beyond the file", struct.pack("<I", len(good)) + good[4:]
    yield "cut in half", good[: len(good) // 2]
    yield "one byte cut off", good[:-1]
    root = struct.unpack_from("<I", good)[0]
    vtable = root - struct.unpack_from("<i", good, root)[0]
    for word, length in (("odd", 13), ("2", 2), ("beyond the file", 0xFFFE)):
        yield f"a vtable's length is {word}", _patched(good, vtable, "<H", length)
    name = good.index(b"weights\0")
    yield "a name is not ended by a zero byte", _patched(good, name + 7, "<B", 65)
    yield "a name is longer than the file", _patched(good, name - 4, "<I", len(good))
    yield "a vector is longer than the file", _patched(good, good.index(struct.pack("<3I", 2, 3, 4)), "<I", len(good))
    yield "a name is no UTF-8", _patched(good, name, "<B", 0xFF)


def _patched(content: bytes, at: int, kind: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(kind, changed, at, value)
    return bytes(changed)


def all_cases() -> list[FileCase]:
    """Every file, in the order of the document."""
    groups = {
        "structure": _structure,
        "graph": _graphs,
        "shapes": _shapes,
        "constants": _constants,
        "quantization": _quantization,
        "options": _options,
    }
    return [FileCase(group, what, content, (_X,)) for group, make in groups.items() for what, content in make()]
