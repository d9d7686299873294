"""Reading a .tflite file into a Model.

The order is: get the bytes (`source`), check their structure (`check`), then read what the tables say and
compare it with itself: indices, shapes, the sizes of constants, quantization, and the order of the operators.
What makes a file unreadable is a ModelError that says what, where, found and wanted. What some runtime runs all the
same is a fault that the Model carries (`lastbit.model.faults`): whoever prepares the model for a runtime refuses it
where that runtime does. docs/files.md lists both kinds, and what the real interpreters say of each.

What is valid but beyond LastBit never fails the load. It stays in the Model under a name that nobody
computes, so that the caller can refuse it with everything else that is unsupported: operators `UNKNOWN(250)`
and `CUSTOM(name)`, element types `unknown(19)`, `sparse(int8)` for compressed constants and
`custom_quantization(int8)` for tensors whose quantization is not the affine one. A dtype whose `numpy` is
None never has data.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

from ..errors import ModelError
from ..faults import Fault, FaultKind
from ..graph import Model, Operator, Signature, Subgraph
from ..types import FileBytes
from .check import IDENTIFIER, verify
from .options import read_options
from .source import not_tflite, read_source
from .tensors import Buffers, Findings, read_tensor

__all__ = ["load"]

_CUSTOM = 32


def load(source: str | os.PathLike[str] | bytes) -> Model:
    """Read a .tflite model.

    Every scale is kept as stored, to the bit; constants are read-only arrays of their own element type (int4
    unpacked to int8). Time and memory stay in proportion to the file's size, whatever its bytes are. A large file
    is mapped: only what is used of its constants is read.

    Args:
        source: the path of a .tflite file, or its bytes.

    Returns:
        The model. Indices are in range, and constants have the bytes that their shape needs. `faults` lists what
        else is wrong: scales, zero points and the order of operators are as the file has them.

    Raises:
        ModelError: the file is missing, is not a .tflite file, or no runtime reads it.
        InputError: `source` is neither a path nor bytes.

    Source: tensorflow/lite/schema/schema.fbs (schema version 3).
    """
    content, name = read_source(source)
    found = Findings()
    if content[4:8] != IDENTIFIER:
        found.add_file(FaultKind.NO_IDENTIFIER, f"bytes 4 to 8 are {content[4:8]!r}, wanted {IDENTIFIER!r}")
    try:
        for text in verify(content, name):
            found.add_file(FaultKind.STRUCTURE, text)
    except ModelError:
        if content[4:8] != IDENTIFIER:
            raise not_tflite(content, name) from None
        raise
    return _Reader(content, name, found).model()


class _Reader:
    """Reads one file whose structure has been checked."""

    def __init__(self, content: FileBytes, source: str, found: Findings) -> None:
        import tflite as schema

        self.content = content
        self.source = source
        self.found = found
        self.root: Any = schema.Model.GetRootAs(content, 0)
        self.builtins = _builtin_names()
        # Each code is an int32 slot; the accessor BuiltinCode() does not give the larger of the two fields.
        self.int32 = _int32_flags()

    def model(self) -> Model:
        """The whole file."""
        version = self.root.Version()
        if version != 3:
            self.found.add_file(FaultKind.SCHEMA_VERSION, f"the schema version is {version}, wanted 3")
        if not self.root.SubgraphsLength():
            raise ModelError(f"{self.source}: the model has no subgraphs, wanted at least 1; convert the model again.")
        constants = Buffers(self.content, self.root)
        codes = tuple(self.operator_code(index) for index in range(self.root.OperatorCodesLength()))
        subgraphs = tuple(self.subgraph(index, constants, codes) for index in range(self.root.SubgraphsLength()))
        signatures = tuple(read_signatures(self.root, subgraphs))
        faults = tuple(self.found.faults)
        description = text(self.root.Description())
        return Model(subgraphs, description, version, self.content, self.source, faults, signatures)

    def operator_code(self, index: int) -> tuple[str, int]:
        """Name and version of one entry of operator_codes."""
        entry = self.root.OperatorCodes(index)
        slot = entry._tab.Offset(10)
        builtin = entry._tab.Get(self.int32, entry._tab.Pos + slot) if slot else 0
        # Old files have the narrow field only, new ones both; TFLite takes the larger.
        code = max(entry.DeprecatedBuiltinCode(), builtin)
        if code == _CUSTOM:
            return f"CUSTOM({text(entry.CustomCode())})", entry.Version()
        return self.builtins.get(code, f"UNKNOWN({code})"), entry.Version()

    def subgraph(self, index: int, constants: Buffers, codes: tuple[tuple[str, int], ...]) -> Subgraph:
        """One subgraph, with its indices checked."""
        graph = self.root.Subgraphs(index)
        # Most models have one subgraph; errors need not name it then.
        inside = "" if index == 0 else f"subgraph {index}: "
        where = f"{self.source}: {inside}".removesuffix(": ")
        count = graph.TensorsLength()
        inputs = self.indices(graph.InputsAsNumpy(), count, f"{where}: graph inputs")
        outputs = self.indices(graph.OutputsAsNumpy(), count, f"{where}: graph outputs")
        operators = tuple(
            self.operator(graph.Operators(position), position, codes, count, where)
            for position in range(graph.OperatorsLength())
        )
        computed = set(inputs).union(*(op.outputs for op in operators))
        tensors = []
        constant = set()
        for position in range(count):
            entry = graph.Tensors(position)
            label = f"tensor {position} {text(entry.Name())!r}"
            self.found.reading(f"{inside}{label}", None if index else position)
            tensor, is_constant = read_tensor(
                entry, position, constants, position in computed, f"{where}: {label}", self.found
            )
            tensors.append(tensor)
            if is_constant:
                constant.add(position)
        subgraph = Subgraph(text(graph.Name()), tuple(tensors), operators, inputs, outputs)
        if index == 0:
            self.found.faults += order_faults(subgraph, constant)
        return subgraph

    def operator(
        self, entry: Any, index: int, codes: tuple[tuple[str, int], ...], tensor_count: int, where: str
    ) -> Operator:
        """One operator."""
        code = entry.OpcodeIndex()
        if code >= len(codes):
            raise ModelError(
                f"{where}: operator {index}: its opcode_index is {code}, but the file has {len(codes)} "
                "operator codes; the file is damaged, convert the model again."
            )
        name, version = codes[code]
        label = f"{where}: operator {index} {name}"
        return Operator(
            index=index,
            name=name,
            version=version,
            inputs=self.indices(entry.InputsAsNumpy(), tensor_count, f"{label}: inputs", optional=True),
            outputs=self.indices(entry.OutputsAsNumpy(), tensor_count, f"{label}: outputs"),
            options=read_options(entry, name),
            intermediates=self.indices(entry.IntermediatesAsNumpy(), tensor_count, f"{label}: intermediates"),
        )

    def indices(self, vector: Any, count: int, where: str, optional: bool = False) -> tuple[int, ...]:
        """Tensor indices, each compared with the number of tensors."""
        # The accessor gives the number 0 for an absent vector.
        values: tuple[int, ...] = () if isinstance(vector, int) else tuple(vector.tolist())
        lowest = -1 if optional else 0
        for position, value in enumerate(values):
            if not lowest <= value < count:
                absent = " (or -1 for an absent one)" if optional else ""
                raise ModelError(
                    f"{where}: entry {position} is tensor {value}, but the subgraph has tensors 0 to "
                    f"{count - 1}{absent}; the file is damaged, convert the model again."
                )
        return values


def text(raw: bytes | None) -> str:
    """A string of the file. Bytes that are not UTF-8 are shown as escapes."""
    return (raw or b"").decode("utf-8", errors="backslashreplace")


@functools.cache
def _builtin_names() -> dict[int, str]:
    """Code of the schema -> operator."""
    import tflite as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def _int32_flags() -> Any:
    from flatbuffers.number_types import Int32Flags

    return Int32Flags


def read_signatures(root: Any, subgraphs: tuple[Subgraph, ...]) -> Iterator[Signature]:
    """The file's signatures. One that names a subgraph or a tensor that is not there is left out."""
    for position in range(root.SignatureDefsLength()):
        entry = root.SignatureDefs(position)
        index = entry.SubgraphIndex()
        if index >= len(subgraphs):
            continue
        count = len(subgraphs[index].tensors)
        inputs = {text(m.Name()): m.TensorIndex() for m in map(entry.Inputs, range(entry.InputsLength()))}
        outputs = {text(m.Name()): m.TensorIndex() for m in map(entry.Outputs, range(entry.OutputsLength()))}
        if all(tensor < count for tensor in (*inputs.values(), *outputs.values())):
            yield Signature(text(entry.SignatureKey()), index, inputs, outputs)


def order_faults(graph: Subgraph, constant: set[int]) -> Iterator[Fault]:
    """Operators that read what nothing has written yet, tensors with two writers, outputs that nothing computes.

    Args:
        graph: the main subgraph.
        constant: the tensors whose values are in the file.
    """
    variable = {tensor.index for tensor in graph.tensors if tensor.is_variable}
    writer: dict[int, str] = dict.fromkeys(graph.inputs, "the caller, as a graph input")
    writer.update(dict.fromkeys(constant, "the file, as a constant"))
    writers = {index: op.label for op in reversed(graph.operators) for index in op.outputs}
    for op in graph.operators:
        for index in op.inputs:
            if index >= 0 and index not in writer and index not in variable:
                later = f"before {writers[index]} writes it" if index in writers else "which nothing writes"
                text = f"{op.label} reads {graph.tensors[index].label}, {later}"
                yield Fault(FaultKind.READ_UNWRITTEN, text, index, op.index)
        for index in op.outputs:
            if index in writer and index not in variable:
                text = f"{op.label} writes {graph.tensors[index].label}, which is already written by {writer[index]}"
                yield Fault(FaultKind.WRITTEN_TWICE, text, index, op.index)
            writer[index] = op.label
    for index in graph.outputs:
        if index not in writer and index not in variable:
            text = f"nothing writes the graph output {graph.tensors[index].label}"
            yield Fault(FaultKind.OUTPUT_UNWRITTEN, text, index)
