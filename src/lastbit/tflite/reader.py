"""Reading a .tflite file into a Model.

The order is: get the bytes (`source`), check their structure (`check`), then read what the tables say and
hold it against itself: indices, shapes, the sizes of constants, quantization, and the order of the operators.
Whatever is wrong with a file is a ModelError that says what, where, found and wanted.

What is valid but beyond LastBit never fails the load. It stays in the Model under a name that nobody
computes, so that the caller can refuse it with everything else that is unsupported: operators `UNKNOWN(250)`
and `CUSTOM(name)`, element types `unknown(19)`, `sparse(int8)` for compressed constants and
`custom_quantization(int8)` for tensors whose quantization is not the affine one. A dtype whose `numpy` is
None never has data.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import ModelError
from ..model import Model, Operator, Subgraph
from .check import verify
from .options import read_options
from .source import read_source
from .tensors import Constants, read_tensor

__all__ = ["load"]

_CUSTOM = 32


def load(source: str | os.PathLike[str] | bytes) -> Model:
    """Read a .tflite model.

    Every scale is kept as stored, to the bit; constants are read-only arrays of their own element type (int4
    unpacked to int8). Time and memory stay in proportion to the file's size, whatever its bytes are.

    Args:
        source: the path of a .tflite file, or its bytes.

    Returns:
        The model, checked: indices are in range, constants have the bytes their shape needs, scales are
        positive and finite, zero points are inside their type, and each operator reads only what is fed,
        constant, a variable or written by an operator before it.

    Raises:
        ModelError: the file is missing, is not a .tflite file, is damaged or contradicts itself.
        InputError: `source` is neither a path nor bytes.

    Source: tensorflow/lite/schema/schema.fbs (schema version 3).
    """
    content, name = read_source(source)
    verify(content, name)
    return _Reader(content, name).model()


class _Reader:
    """Reads one file whose structure has been checked."""

    def __init__(self, content: bytes, source: str) -> None:
        import tflite as schema

        self.content = content
        self.source = source
        self.root: Any = schema.Model.GetRootAs(content, 0)
        self.builtins = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
        # Each code is an int32 slot; the accessor BuiltinCode() does not give the larger of the two fields.
        self.int32 = _int32_flags()

    def model(self) -> Model:
        """The whole file."""
        version = self.root.Version()
        if version != 3:
            raise ModelError(
                f"{self.source}: the schema version is {version}, wanted 3. The file is damaged or of "
                "another generation of TFLite; convert the model again."
            )
        if not self.root.SubgraphsLength():
            raise ModelError(f"{self.source}: the model has no subgraphs, wanted at least 1; convert the model again.")
        constants = Constants(self.content, self.root)
        codes = tuple(self.operator_code(index) for index in range(self.root.OperatorCodesLength()))
        subgraphs = tuple(self.subgraph(index, constants, codes) for index in range(self.root.SubgraphsLength()))
        return Model(subgraphs, text(self.root.Description()), version, self.content, self.source)

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

    def subgraph(self, index: int, constants: Constants, codes: tuple[tuple[str, int], ...]) -> Subgraph:
        """One subgraph, with its indices and its order checked."""
        graph = self.root.Subgraphs(index)
        # Most models have one subgraph; errors need not name it then.
        where = self.source if index == 0 else f"{self.source}: subgraph {index}"
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
            tensor, is_constant = read_tensor(graph.Tensors(position), position, constants, position in computed, where)
            tensors.append(tensor)
            if is_constant:
                constant.add(position)
        subgraph = Subgraph(text(graph.Name()), tuple(tensors), operators, inputs, outputs)
        check_order(subgraph, constant, where)
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
            options=read_options(entry, name, label),
        )

    def indices(self, vector: Any, count: int, where: str, optional: bool = False) -> tuple[int, ...]:
        """Tensor indices, each held against the number of tensors."""
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


def _int32_flags() -> Any:
    from flatbuffers.number_types import Int32Flags

    return Int32Flags


def check_order(graph: Subgraph, constant: set[int], where: str) -> None:
    """Refuse operators that read what nothing has written yet, and tensors with two writers.

    Args:
        graph: the subgraph.
        constant: the tensors whose values are in the file.
        where: how errors call the subgraph.

    Raises:
        ModelError: the operators are not in an order in which they can run.
    """
    variable = {tensor.index for tensor in graph.tensors if tensor.is_variable}
    writer: dict[int, str] = dict.fromkeys(graph.inputs, "the caller, as a graph input")
    writer.update(dict.fromkeys(constant, "the file, as a constant"))
    for op in graph.operators:
        for index in op.inputs:
            if index >= 0 and index not in writer and index not in variable:
                later = next((other.label for other in graph.operators if index in other.outputs), None)
                found = f"which only {later} writes" if later else "which nothing writes"
                raise ModelError(
                    f"{where}: {op.label} reads {graph.tensors[index].label}, {found}. Wanted operators in "
                    "execution order, without cycles; convert the model again."
                )
        for index in op.outputs:
            if index in writer and index not in variable:
                raise ModelError(
                    f"{where}: {op.label} writes {graph.tensors[index].label}, which is already written by "
                    f"{writer[index]}. Wanted one writer per tensor; convert the model again."
                )
            writer[index] = op.label
    for index in graph.outputs:
        if index not in writer and index not in variable:
            raise ModelError(
                f"{where}: the graph output {graph.tensors[index].label} is written by no operator; the "
                "file is damaged, convert the model again."
            )
