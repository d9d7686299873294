"""Writing .tflite files: a graph to bytes, and a file with other outputs."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, ModelError, UnsupportedError
from ..graph import Operator, Signature, Subgraph, Tensor
from ..types import DTYPES, Array
from .check import IDENTIFIER, verify
from .extract import extract_operator
from .options import write_options

__all__ = ["extract_operator", "pack_int4", "with_outputs", "write"]

# What TFLite's kernels may assume of constants.
_ALIGNMENT = 16
# deprecated_builtin_code is one signed byte; larger codes store this and the wide field.
_LARGEST_NARROW_CODE = 127


def write(
    subgraph: Subgraph,
    description: str = "LastBit",
    signatures: Sequence[Signature] = (),
    others: Sequence[Subgraph] = (),
) -> bytes:
    """A complete .tflite file.

    The file is the simplest valid one: no metadata, one buffer per constant. `load` gives the same graph back.

    Args:
        subgraph: the graph. Each tensor's index is its position.
        description: the file's description.
        signatures: names for the graph's inputs and outputs.
        others: further subgraphs, such as the one that CALL_ONCE runs.

    Returns:
        The file's bytes (schema version 3). Constants are aligned to 16 bytes.

    Raises:
        UnsupportedError: an operator, an option or an element type cannot be written; it lists all of them.
        InputError: the graph's tensor indices are not its tensors.

    Source: tensorflow/lite/schema/schema.fbs (schema version 3).
    """
    for graph in (subgraph, *others):
        graph.require_scales()
        _check_graph(graph)
    return _Writer().finish((subgraph, *others), description, signatures)


def pack_int4(values: Array) -> bytes:
    """Int4 values, held in int8, two per byte, the low nibble first; an odd one out is followed by zero bits.

    Args:
        values: int8, -8 to 7, any shape.

    Returns:
        The packed bytes.

    >>> pack_int4(np.array([-1, -8, 7], np.int8)).hex()
    '8f07'
    """
    nibbles = values.reshape(-1).view(np.uint8) & 0xF
    if nibbles.size % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    packed: Array = nibbles[0::2] | (nibbles[1::2] << 4)
    return packed.astype(np.uint8).tobytes()


def _check_graph(graph: Subgraph) -> None:
    """Refuse what cannot be written, all of it at once."""
    count = len(graph.tensors)
    for position, tensor in enumerate(graph.tensors):
        if tensor.index != position:
            raise InputError(f"{tensor.label} is at position {position} of the graph; number the tensors anew.")
    named: list[tuple[str, Sequence[int], int]] = [
        ("the graph's inputs", graph.inputs, 0),
        ("the graph's outputs", graph.outputs, 0),
    ]
    for op in graph.operators:
        named += [(f"{op.label}: inputs", op.inputs, -1), (f"{op.label}: outputs", op.outputs, 0)]
        named += [(f"{op.label}: intermediates", op.intermediates, 0)]
    for where, indices, lowest in named:
        for index in indices:
            if not lowest <= index < count:
                raise InputError(f"{where}: there is no tensor {index}; the graph has tensors 0 to {count - 1}.")
    reasons = []
    for tensor in graph.tensors:
        if (tensor.dtype.numpy is None and tensor.dtype.name != "resource") or _type_code(tensor) is None:
            reasons.append(f"{tensor.label} has the type {tensor.dtype.name}, which LastBit cannot write")
        elif tensor.data is not None and (tensor.data.dtype != tensor.dtype.numpy or tensor.data.shape != tensor.shape):
            raise InputError(
                f"{tensor.label}: its data is {tensor.data.dtype} {list(tensor.data.shape)}, wanted "
                f"{tensor.dtype.numpy} {list(tensor.shape)}."
            )
    if reasons:
        raise UnsupportedError("the graph cannot be written to a .tflite file", reasons)


def _type_code(tensor: Tensor) -> int | None:
    return next((code for code, dtype in DTYPES.items() if dtype.name == tensor.dtype.name), None)


class _Writer:
    """Builds one file. FlatBuffers are built from the leaves up and from the file's back to its front."""

    def __init__(self) -> None:
        import flatbuffers
        import tflite as schema

        self.schema: Any = schema
        self.builder: Any = flatbuffers.Builder(1024)
        # Buffer 0 is the empty one that computed tensors point at.
        self.buffers: list[int] = []
        self.codes: dict[tuple[str, int], int] = {}

    def finish(self, graphs: Sequence[Subgraph], description: str, signatures: Sequence[Signature] = ()) -> bytes:
        """The whole file."""
        schema, builder = self.schema, self.builder
        schema.BufferStart(builder)
        self.buffers.append(schema.BufferEnd(builder))
        subgraphs = self.offsets([self.subgraph(graph) for graph in graphs])
        codes = self.offsets([self.operator_code(name, version) for name, version in self.codes])
        buffers = self.offsets(self.buffers)
        text = builder.CreateString(description)
        named = self.offsets([self.signature(signature) for signature in signatures])
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, 3)
        schema.ModelAddOperatorCodes(builder, codes)
        schema.ModelAddSubgraphs(builder, subgraphs)
        schema.ModelAddDescription(builder, text)
        schema.ModelAddBuffers(builder, buffers)
        if signatures:
            schema.ModelAddSignatureDefs(builder, named)
        builder.Finish(schema.ModelEnd(builder), IDENTIFIER)
        return bytes(builder.Output())

    def signature(self, signature: Signature) -> int:
        """One signature of the graph."""
        schema, builder = self.schema, self.builder
        inputs, outputs = self.tensor_names(signature.inputs), self.tensor_names(signature.outputs)
        key = builder.CreateString(signature.key)
        schema.SignatureDefStart(builder)
        schema.SignatureDefAddInputs(builder, inputs)
        schema.SignatureDefAddOutputs(builder, outputs)
        schema.SignatureDefAddSignatureKey(builder, key)
        schema.SignatureDefAddSubgraphIndex(builder, 0)
        offset: int = schema.SignatureDefEnd(builder)
        return offset

    def tensor_names(self, names: Mapping[str, int]) -> int:
        """A signature's names of tensors."""
        schema, builder = self.schema, self.builder
        entries = []
        for name, index in names.items():
            text = builder.CreateString(name)
            schema.TensorMapStart(builder)
            schema.TensorMapAddName(builder, text)
            schema.TensorMapAddTensorIndex(builder, index)
            entries.append(schema.TensorMapEnd(builder))
        return self.offsets(entries)

    def subgraph(self, graph: Subgraph) -> int:
        """One subgraph with its tensors and operators."""
        schema, builder = self.schema, self.builder
        tensors = self.offsets([self.tensor(tensor) for tensor in graph.tensors])
        operators = self.offsets([self.operator(op) for op in graph.operators])
        inputs, outputs = self.int32(graph.inputs), self.int32(graph.outputs)
        name = builder.CreateString(graph.name)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensors)
        schema.SubGraphAddInputs(builder, inputs)
        schema.SubGraphAddOutputs(builder, outputs)
        schema.SubGraphAddOperators(builder, operators)
        schema.SubGraphAddName(builder, name)
        offset: int = schema.SubGraphEnd(builder)
        return offset

    def offsets(self, values: Sequence[int]) -> int:
        """A vector of tables."""
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        offset: int = self.builder.EndVector()
        return offset

    def int32(self, values: Sequence[int]) -> int:
        """A vector of int32."""
        offset: int = self.builder.CreateNumpyVector(np.array(values, np.int32))
        return offset

    def buffer(self, tensor: Tensor) -> int:
        """The index of the buffer with a constant's bytes; 0 for what is computed, fed or has no elements."""
        if tensor.data is None or tensor.data.size == 0:
            return 0
        if tensor.dtype.bits == 4:
            content = pack_int4(tensor.data)
        else:
            content = tensor.data.astype(tensor.data.dtype.newbyteorder("<")).tobytes()
        # CreateByteVector alone aligns to 4.
        self.builder.Prep(_ALIGNMENT, len(content))
        data = self.builder.CreateByteVector(content)
        self.schema.BufferStart(self.builder)
        self.schema.BufferAddData(self.builder, data)
        self.buffers.append(self.schema.BufferEnd(self.builder))
        return len(self.buffers) - 1

    def quantization(self, tensor: Tensor) -> int:
        """A tensor's quantization, 0 where it has none."""
        quant, schema, builder = tensor.quant, self.schema, self.builder
        if quant is None:
            return 0
        scale = builder.CreateNumpyVector(np.asarray(quant.scale, np.float32).reshape(-1))
        zero_point = builder.CreateNumpyVector(np.asarray(quant.zero_point, np.int64).reshape(-1))
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scale)
        schema.QuantizationParametersAddZeroPoint(builder, zero_point)
        schema.QuantizationParametersAddQuantizedDimension(builder, quant.axis)
        offset: int = schema.QuantizationParametersEnd(builder)
        return offset

    def tensor(self, tensor: Tensor) -> int:
        """One tensor, with its buffer."""
        schema, builder = self.schema, self.builder
        buffer = self.buffer(tensor)
        quantization = self.quantization(tensor)
        shape = self.int32(tensor.shape)
        signature = self.int32(tensor.shape_signature) if tensor.shape_signature != tensor.shape else 0
        name = builder.CreateString(tensor.name)
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, shape)
        schema.TensorAddType(builder, _type_code(tensor))
        schema.TensorAddBuffer(builder, buffer)
        schema.TensorAddName(builder, name)
        if quantization:
            schema.TensorAddQuantization(builder, quantization)
        schema.TensorAddIsVariable(builder, tensor.is_variable)
        if signature:
            schema.TensorAddShapeSignature(builder, signature)
        offset: int = schema.TensorEnd(builder)
        return offset

    def operator(self, op: Operator) -> int:
        """One operator; its code is written later, once for all operators that share it."""
        schema, builder = self.schema, self.builder
        options_type, options = write_options(builder, op.name, op.options, op.label)
        inputs, outputs = self.int32(op.inputs), self.int32(op.outputs)
        intermediates = self.int32(op.intermediates) if op.intermediates else 0
        schema.OperatorStart(builder)
        schema.OperatorAddOpcodeIndex(builder, self.codes.setdefault((op.name, op.version), len(self.codes)))
        schema.OperatorAddInputs(builder, inputs)
        schema.OperatorAddOutputs(builder, outputs)
        if intermediates:
            schema.OperatorAddIntermediates(builder, intermediates)
        if options_type:
            schema.OperatorAddBuiltinOptionsType(builder, options_type)
            schema.OperatorAddBuiltinOptions(builder, options)
        offset: int = schema.OperatorEnd(builder)
        return offset

    def operator_code(self, name: str, version: int) -> int:
        """One operator code, in the old and in the new field."""
        schema, builder = self.schema, self.builder
        code = getattr(schema.BuiltinOperator, name)
        schema.OperatorCodeStart(builder)
        schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, _LARGEST_NARROW_CODE))
        schema.OperatorCodeAddVersion(builder, version)
        schema.OperatorCodeAddBuiltinCode(builder, code)
        offset: int = schema.OperatorCodeEnd(builder)
        return offset


def with_outputs(content: bytes, tensor_indices: Sequence[int]) -> bytes:
    """The same model file, with other tensors as the main subgraph's outputs.

    The file is not rebuilt: the new list goes to its end, and the one offset that says where the list is, is
    changed. So everything else keeps its place, constants behind the FlatBuffer, metadata and signatures
    included. (Signatures that name outputs by tensor index stay valid, and keep the old outputs.)

    Args:
        content: the file's bytes.
        tensor_indices: the new outputs, in order, as indices of the main subgraph's tensors.

    Returns:
        The new file's bytes.

    Raises:
        ModelError: the file is damaged.
        InputError: there is no such tensor, or no tensor is named.
        UnsupportedError: the file has no list of outputs to replace, or is too large for the offset.
    """
    import tflite as schema

    verify(content, "<bytes>")
    root = schema.Model.GetRootAs(content, 0)
    if not root.SubgraphsLength():
        raise ModelError("<bytes>: the model has no subgraphs, wanted at least 1; convert the model again.")
    graph = root.Subgraphs(0)
    count = graph.TensorsLength()
    if not tensor_indices:
        raise InputError("no outputs are named; name at least one tensor.")
    for index in tensor_indices:
        if not 0 <= index < count:
            raise InputError(f"there is no tensor {index} to be an output; the model has tensors 0 to {count - 1}.")
    slot = graph._tab.Offset(8)
    if not slot:
        raise UnsupportedError(
            "the model's outputs cannot be replaced",
            ["its main subgraph has no list of outputs; convert it again"],
        )
    field = graph._tab.Pos + slot
    result = bytearray(content)
    result.extend(bytes(-len(result) % 4))
    distance = len(result) - field
    if distance >= 2**32:
        raise UnsupportedError(
            "the model's outputs cannot be replaced",
            [f"the file has {len(content)} bytes, and a list of outputs reaches 4 GiB at most"],
        )
    struct.pack_into("<I", result, field, distance)
    result.extend(struct.pack(f"<I{len(tensor_indices)}i", len(tensor_indices), *tensor_indices))
    return bytes(result)
