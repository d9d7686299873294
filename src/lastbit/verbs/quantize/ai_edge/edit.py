"""Carry the instructions out on a graph, in the quantizer's own order: that decides where a QUANTIZE stands.

Numbers of operators are kept as the quantizer keeps them, its slips included: an output that the graph returns reads
whatever was made last, and -1 names the last operator.

Source: google-ai-edge/ai-edge-quantizer (0.10.0) transformation_performer.py and transformations/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....model.graph import Operator, Subgraph, Tensor
from ....model.types import DTYPES, QuantParams
from .instructions import Action, Instruction
from .numbers import UseParameters
from .uses import OUTSIDE, GivesUp

__all__ = ["carry_out"]

_TYPES = {dtype.name: dtype for dtype in DTYPES.values()}


@dataclass(eq=False)
class _Op:
    """An operator whose inputs may change."""

    source: Operator | None
    name: str
    inputs: list[int]
    outputs: list[int]


class _Editor:
    """One graph while it is changed."""

    def __init__(self, graph: Subgraph) -> None:
        self.tensors = list(graph.tensors)
        self.ops = [_Op(op, op.name, list(op.inputs), list(op.outputs)) for op in graph.operators]
        self.outputs = list(graph.outputs)
        # Where each of the file's own operators stands now, and where each new one stood when it was made.
        self.places = list(range(len(self.ops)))
        self.added: list[int] = []
        self.copies: set[int] = set()

    def do(self, index: int, todo: Sequence[Instruction]) -> None:
        """All that is done to one tensor."""
        current = {id(one): index for one in todo}
        for number, one in enumerate(todo):
            made, is_op = self.apply(current[id(one)], one)
            later = [other for other in todo[number + 1 :] if set(other.users) & set(one.users)]
            if is_op:
                self.added.append(made[1])
            if is_op or one.action is Action.COPY:
                for other in later:
                    current[id(other)] = made[0]
                    if is_op:
                        other.producer = len(self.places) + len(self.added) - 1

    def apply(self, index: int, one: Instruction) -> tuple[tuple[int, int], bool]:
        """One instruction: ((the tensor that the users read now, the new operator's place), whether one was made)."""
        producer = self.place(one.producer)
        users = [OUTSIDE if user == OUTSIDE else self.places[user] for user in one.users]
        match one.action:
            case Action.COPY:
                return (self.copy(index, users), 0), False
            case Action.INTEGERS:
                self.quantize(index, one.params)
            case Action.DEQUANTIZE:
                new = self.new_tensor(index, "_dequant")
                self.quantize(index, one.params)
                return (new, self.insert("DEQUANTIZE", index, new, producer, users, one)), True
            case Action.QUANTIZE:
                new = self.new_tensor(index, "_quantized")
                self.quantize(new, one.params)
                return (new, self.insert("QUANTIZE", index, new, producer, users, one)), True
            case Action.NOTHING:
                pass
        return (index, 0), False

    def place(self, producer: int) -> int:
        """Where a producer stands now."""
        if producer < 0:
            return OUTSIDE
        return self.places[producer] if producer < len(self.places) else self.added[producer - len(self.places)]

    def new_tensor(self, index: int, ending: str) -> int:
        """A float32 tensor of the same shape; its index. The quantizer cannot name one that follows its own copy."""
        source = self.tensors[index]
        if index in self.copies:
            raise GivesUp(
                f"a constant that several operators want in different ways needs a DEQUANTIZE: {source.name!r}"
            )
        new = len(self.tensors)
        shape = source.shape
        self.tensors.append(Tensor(new, source.name + ending, shape, shape, _TYPES["float32"], None, None))
        return new

    def copy(self, index: int, users: Sequence[int]) -> int:
        """A constant of their own for some users; its index."""
        source = self.tensors[index]
        new = len(self.tensors)
        self.copies.add(new)
        self.tensors.append(replace(source, index=new, name=f"{source.name}_duplicated_{new}"))
        for user in users:
            inputs = self.ops[user].inputs
            if index in inputs:
                inputs[inputs.index(index)] = new
        return new

    def quantize(self, index: int, params: UseParameters | None) -> None:
        """Give a tensor its type, scales and integers."""
        assert params is not None
        scale = np.ravel(params.scale).astype(np.float32)
        quant = QuantParams(scale, np.ravel(params.zero_point).astype(np.int64), params.axis or 0)
        data = self.tensors[index].data if params.data is None else params.data
        dtype = _TYPES[f"int{params.bits}"]
        self.tensors[index] = replace(self.tensors[index], dtype=dtype, quant=quant, data=data)

    def insert(self, name: str, source: int, new: int, producer: int, users: list[int], one: Instruction) -> int:
        """A new operator before its first user; its place."""
        for user in users:
            inputs = self.ops[user].inputs
            self.ops[user].inputs = [new if other == source else other for other in inputs]
        self.outputs = [new if other == source else other for other in self.outputs]
        at = max(producer + 1, min(users))
        self.ops.insert(at, _Op(None, name, [source], [new]))
        first = min(one.users)
        start = first if first >= 0 else one.producer + 1
        self.places = [place + (number >= start) for number, place in enumerate(self.places)]
        return at


def carry_out(graph: Subgraph, order: Sequence[int], todo: Mapping[int, Sequence[Instruction]]) -> Subgraph:
    """The quantized graph.

    Args:
        graph: the float32 graph.
        order: the tensors in the order in which they are treated.
        todo: tensor index -> its instructions.
    """
    editor = _Editor(graph)
    for index in order:
        editor.do(index, todo.get(index, ()))
    operators = [
        Operator(number, op.name, 1, tuple(op.inputs), tuple(op.outputs), {})
        if op.source is None
        else replace(op.source, index=number, inputs=tuple(op.inputs), outputs=tuple(op.outputs))
        for number, op in enumerate(editor.ops)
    ]
    return Subgraph(graph.name, tuple(editor.tensors), tuple(operators), graph.inputs, tuple(editor.outputs))
