"""A small graph with use lists, in which the converter's passes can be said as they are.

The MLIR quantizer decides by the order in which users of a value were added, and by walking its operations. So this
graph keeps both: uses with the newest first, and operations in one list.

Source: llvm/llvm-project mlir/include/mlir/IR/UseDefLists.h (use lists), google-ai-edge/LiteRT
tflite/converter/flatbuffer_import.cc and flatbuffer_export.cc (what becomes a value).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...model.graph import Tensor
from ...model.types import Array, DType
from .numbers import Parameters

__all__ = ["CONSTANT", "DEQUANTIZE", "QUANTIZE", "RETURN", "STATISTICS", "Graph", "Op", "Value"]

CONSTANT, QUANTIZE, DEQUANTIZE, RETURN = "constant", "QUANTIZE", "DEQUANTIZE", "return"
STATISTICS = "statistics"


@dataclass(eq=False)
class Value:
    """What an operation gives, or an argument of the graph.

    Attributes:
        tensor: the tensor of the float file that it stands for (name and shape).
        dtype: its type in the float file; where `params` are set, the quantized type is theirs.
        params: how it is quantized, or None.
        producer: the operation that gives it, None for an argument.
        uses: (operation, operand's position), the newest first.
    """

    tensor: Tensor
    dtype: DType
    params: Parameters | None
    producer: Op | None
    uses: list[tuple[Op, int]]

    @property
    def is_float(self) -> bool:
        """Whether it is float32 and not quantized."""
        return self.params is None and self.dtype.name == "float32"

    @property
    def only_user(self) -> Op | None:
        """The operation that uses it, where it is used once."""
        return self.uses[0][0] if len(self.uses) == 1 else None

    def replace_all(self, other: Value) -> None:
        """Let every user use another value: the newest is moved first."""
        while self.uses:
            op, position = self.uses[0]
            op.set_operand(position, other)


@dataclass(eq=False)
class Op:
    """One operation: an operator of the file, a constant, or the return of the graph.

    Attributes:
        name: the operator's name, or `constant` or `return`.
        operands: values; None for one that is absent.
        results: the values it gives.
        options: the operator's options.
        data: a constant's values.
        removable: a quantization that the quantizer added itself and may take away again.
        version: the operator's version in the float file.
        intermediates: what an LSTM calculates inside, as tensors.
    """

    name: str
    operands: list[Value | None]
    results: list[Value]
    options: Mapping[str, Any]
    data: Array | None = None
    removable: bool = False
    version: int = 1
    intermediates: list[Value] = field(default_factory=list)

    def set_operand(self, position: int, value: Value) -> None:
        """Let an operand be another value."""
        old = self.operands[position]
        if old is not None:
            old.uses.remove((self, position))
        self.operands[position] = value
        value.uses.insert(0, (self, position))

    def defining(self, position: int) -> Op | None:
        """The operation that gives an operand."""
        value = self.operands[position]
        return None if value is None else value.producer


class Graph:
    """Arguments and operations in order; the last operation is the return.

    Attributes:
        refused: why the converter gives up on the graph; empty where it does not.
    """

    def __init__(self) -> None:
        self.arguments: list[Value] = []
        self.ops: list[Op] = []
        self.refused: list[str] = []

    def argument(self, tensor: Tensor) -> Value:
        """A new argument."""
        value = Value(tensor, tensor.dtype, None, None, [])
        self.arguments.append(value)
        return value

    def add(
        self,
        name: str,
        operands: Sequence[Value | None],
        results: Sequence[tuple[Tensor, Parameters | None]],
        options: Mapping[str, Any] | None = None,
        *,
        data: Array | None = None,
        at: int | None = None,
    ) -> Op:
        """A new operation, at the end or at a place of the list."""
        op = Op(name, [None] * len(operands), [], {} if options is None else options, data)
        for position, value in enumerate(operands):
            if value is not None:
                op.set_operand(position, value)
        op.results = [Value(tensor, tensor.dtype, params, op, []) for tensor, params in results]
        self.ops.insert(len(self.ops) if at is None else at, op)
        return op

    def replace(self, op: Op, value: Value) -> None:
        """Let the users of an operation's only result use another value, and remove the operation."""
        op.results[0].replace_all(value)
        self.erase(op)

    def erase(self, op: Op) -> None:
        """Remove an operation whose results nobody uses."""
        for position, value in enumerate(op.operands):
            if value is not None:
                value.uses.remove((op, position))
        op.operands = []
        self.ops.remove(op)

    def place_after(self, value: Value) -> int:
        """Where an operation goes that follows a value: after its producer, or at the start."""
        return 0 if value.producer is None else self.ops.index(value.producer) + 1

    def quantize(self, value: Value, params: Parameters, at: int) -> Op:
        """QUANTIZE of a value."""
        return self.add(QUANTIZE, [value], [(value.tensor, params)], at=at)

    def dequantize(self, value: Value, at: int) -> Op:
        """DEQUANTIZE of a quantized value."""
        return self.add(DEQUANTIZE, [value], [(value.tensor, None)], at=at)
