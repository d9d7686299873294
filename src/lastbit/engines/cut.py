"""Cuts a prepared model into steps: chains that grow operator by operator, and operators alone.

A chain has one input. It may end where only its last output is read by others; what was taken in beyond such a place is
cut off again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model.graph import Tensor
from ..model.types import Array
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.gemv_or_gemm import PreparedByRows, for_rows
from ..ops.dense.hybrid import PreparedHybrid
from ..ops.elements.binary import PreparedBinary
from ..ops.moves.pad import around_images
from ..ops.prepare import PreparedModel
from ..ops.products.convolution import PreparedConvolution
from ..rules.base import Pairs, Unsupported
from .element_tables import ELEMENTWISE, element_table, quantizer
from .plan import MOVES, SHAPES_ONLY, Around, Backend, ChainStep, OperatorStep, Step, sample_elements

__all__ = ["make_steps"]

_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN")


@dataclass
class _Open:
    """A chain that is being built.

    Attributes:
        source: the tensor it begins with.
        wires: tensor -> its number: 0 for the source, k + 1 for what operator k gives.
        elements: of one sample, for each of these numbers.
        common: what its layers have in common.
        entries: its operators.
        operators: those that do something.
        wiring: what each of those reads.
        around: tensors whose padding their reader adds itself, and that padding.
        ends: after how many entries, and operators, it may end.
    """

    source: int
    wires: dict[int, int]
    elements: list[int]
    common: str | None = None
    entries: list[PreparedOperator] = field(default_factory=list)
    operators: list[object] = field(default_factory=list)
    wiring: list[tuple[int, ...]] = field(default_factory=list)
    around: dict[int, Around] = field(default_factory=dict)
    ends: list[tuple[int, int]] = field(default_factory=list)

    def add(self, entry: PreparedOperator, made: object | None, elements: int) -> None:
        """One operator more; `made`: what does it, or None where values stay as they are."""
        output = entry.operator.outputs[0]
        read = tuple(self.wires[index] for index in entry.inputs)
        self.entries.append(entry)
        if made is None:
            self.wires[output] = read[0]
            return
        self.operators.append(made)
        self.wiring.append(read)
        self.elements.append(elements)
        self.wires[output] = len(self.operators)

    def may_end(self, readers: dict[int, set[int]]) -> bool:
        """Whether only the last output is read by others, and the last operator gives it."""
        own = {entry.operator.index for entry in self.entries}
        last = self.entries[-1].operator.outputs[0]
        if last in self.around or self.wires[last] != len(self.operators):
            return False
        return all(index in (last, self.source) or readers.get(index, set()) <= own for index in self.wires)


@dataclass(frozen=True)
class _Made:
    """An operator ready for a chain.

    Attributes:
        operator: what runs it; None where values stay as they are.
        elements: of one sample of its output.
        common: what all layers of its chain must have in common.
    """

    operator: object | None
    elements: int
    common: str | None = None


def make_steps(prepared: PreparedModel, backend: Backend, one_row: bool) -> list[Step]:
    """Cut a prepared model into steps.

    Args:
        prepared: the model; every operator is covered.
        backend: what makes chains.
        one_row: whether samples come one by one, which some kernels calculate in another way than a batch.
    """
    return _Cutter(prepared, backend, one_row).steps()


class _Cutter:
    def __init__(self, prepared: PreparedModel, backend: Backend, one_row: bool) -> None:
        self._model, self._backend, self._one_row = prepared.model, backend, one_row
        self._entries = prepared.operators
        self._steps: list[Step] = []
        self._known: dict[tuple[object, ...], _Made | None] = {}
        # Tensor -> the operators that read it; -1 is whoever takes the model's outputs.
        self._readers: dict[int, set[int]] = {}
        for op in self._model.operators:
            for index in op.inputs:
                self._readers.setdefault(index, set()).add(op.index)
        for tensor in self._model.outputs:
            self._readers.setdefault(tensor.index, set()).add(-1)

    def steps(self) -> list[Step]:
        """All steps."""
        left = list(self._entries.values())[::-1]
        current: _Open | None = None
        while left or current is not None:
            entry = self._of_rows(left.pop()) if left else None
            grown = None if entry is None else self._grown(entry, current)
            if grown is not None:
                current = grown
                continue
            if current is not None:
                # The operator is tried again as the first of a chain, and so is what the chain cannot keep.
                left += [] if entry is None else [entry]
                left += self._close(current)[::-1]
                current = None
            elif entry is not None:
                self._alone(entry)
        return self._steps

    def _of_rows(self, entry: PreparedOperator) -> PreparedOperator:
        """A layer that is calculated in another way for one row, as it is calculated here; itself where both can be."""
        if not isinstance(entry, PreparedByRows):
            return entry
        given = self._model.tensors[entry.inputs[0]]
        rows, rest = divmod(sample_elements(given), entry.layer.depth)
        if len(given.shape) < 2 or rest:
            return entry
        # Samples of several rows are several rows whatever the batch is.
        return for_rows(entry, 1 if self._one_row and rows == 1 else 2)

    def _alone(self, entry: PreparedOperator) -> None:
        by_rows = isinstance(entry, PreparedByRows)
        function = None if by_rows else self._backend.alone(entry, self._model)
        self._steps.append(OperatorStep(entry, function, "" if by_rows else _lacking(entry)))

    def _grown(self, entry: PreparedOperator, chain: _Open | None) -> _Open | None:
        """The chain with one operator more (a new one where there is none); None where it does not go in."""
        op, inputs = entry.operator, entry.inputs
        if isinstance(entry, PreparedByRows) or not inputs or len(op.outputs) != 1 or entry.writes is not None:
            return None
        source = self._model.tensors[inputs[0]]
        if chain is None:
            chain = _Open(source.index, {source.index: 0}, [sample_elements(source)])
        if any(index not in chain.wires for index in inputs):
            return None
        read = [chain.wires[index] for index in inputs]
        if not self._backend.branches and read != [len(chain.operators)]:
            return None
        elements, around = chain.elements[read[0]], chain.around.get(inputs[0])
        if elements <= 0 or source.dtype.numpy is None:
            return None
        key = (op.index, elements, around)
        if key not in self._known:
            self._known[key] = self._made(entry, source, elements, around)
        made = self._known[key]
        if made is None or (made.common is not None and chain.common not in (None, made.common)):
            return None
        chain.common = chain.common or made.common
        chain.add(entry, made.operator, made.elements)
        padding = self._absorbed(entry) if op.name == "PAD" else None
        if padding is not None:
            chain.around[op.outputs[0]] = padding
        if chain.may_end(self._readers):
            chain.ends.append((len(chain.entries), len(chain.operators)))
        return chain

    def _made(self, entry: PreparedOperator, source: Tensor, elements: int, around: Around | None) -> _Made | None:
        """An operator ready for a chain; None where it does not go in one."""
        op = entry.operator
        output = self._model.tensors[op.outputs[0]]
        if isinstance(entry, PreparedConvolution):
            return self._image(entry, elements, around)
        if around is not None:
            return None
        if isinstance(entry, PreparedDense | PreparedHybrid):
            return self._layer(entry, elements)
        if op.name in SHAPES_ONLY:
            return _Made(None, elements) if _keeps_batch(source, output) else None
        if len(source.shape) < 2 or elements != sample_elements(source):
            return None
        if op.name == "PAD" and self._absorbed(entry) is not None:
            return _Made(None, elements)
        if isinstance(entry, PreparedBinary) or op.name in _POOLS or op.name in MOVES:
            return self._image(entry, elements, None)
        if op.name not in ELEMENTWISE and op.name != "SOFTMAX":
            return None
        table = quantizer if source.dtype.name == "float32" else element_table
        make = self._backend.softmax if op.name == "SOFTMAX" else table
        made = make(entry, source, output, elements)
        return None if made is None else _Made(made, elements)

    def _layer(self, entry: PreparedDense | PreparedHybrid, elements: int) -> _Made | None:
        rows, rest = divmod(elements, entry.layer.depth)
        if rest:
            return None
        make = self._backend.dense if isinstance(entry, PreparedDense) else self._backend.hybrid
        found = make(entry, rows)  # type: ignore[arg-type]
        return None if found is None else _Made(found[0], rows * entry.layer.units, found[1])

    def _image(self, entry: PreparedOperator, elements: int, around: Around | None) -> _Made | None:
        made = self._backend.image(entry, self._model, around)
        return (
            None
            if made is None
            else _Made(made, sample_elements(self._model.tensors[entry.operator.outputs[0]]), "compiled")
        )

    def _absorbed(self, entry: PreparedOperator) -> Around | None:
        """The padding that a PAD puts around images, where their only reader adds it itself; else None."""
        around = around_images(self._model, entry.operator)
        readers = self._readers.get(entry.operator.outputs[0], set())
        reader = self._entries.get(next(iter(readers))) if len(readers) == 1 else None
        if around is None or not isinstance(reader, PreparedConvolution):
            return None
        key = (reader.operator.index, sample_elements(self._model.tensors[entry.inputs[0]]), around)
        if key not in self._known:
            self._known[key] = self._image(reader, key[1], around)
        return None if self._known[key] is None else around

    def _close(self, chain: _Open) -> list[PreparedOperator]:
        """Add a chain to the steps; the operators that it cannot keep."""
        if not chain.ends:
            self._alone(chain.entries[0])
            return chain.entries[1:]
        count, operators = chain.ends[-1]
        entries = tuple(chain.entries[:count])
        made = None
        if operators:
            refuse = functools.partial(_evaluate, entries)
            made = self._backend.chain(chain.operators[:operators], refuse, chain.wiring[:operators])
        if made is None:
            for entry in entries:
                self._alone(entry)
        else:
            end = entries[-1].operator.outputs[0]
            self._steps.append(ChainStep(self._model, entries, chain.source, end, made))
        return chain.entries[count:]


def _lacking(entry: PreparedOperator) -> str:
    """What of a dense layer's sums is in no engine but the reference, in words; empty: all is."""
    if isinstance(entry, PreparedDense) and isinstance(entry.products, Pairs):
        return str(Unsupported("of the fast engines", "products", entry.products))
    return ""


def _keeps_batch(source: Tensor, output: Tensor) -> bool:
    """Whether samples stay samples: a change of shape that leaves the first dimension as it is."""
    return source.shape[:1] == output.shape[:1] and len(output.shape) > 1 and len(source.shape) > 1


def _evaluate(entries: Sequence[PreparedOperator], x: Array) -> Array:
    """Operators one after the other, as the reference runs them."""
    tensors = {entries[0].inputs[0]: x}
    for entry in entries:
        output = entry.evaluate([tensors[index] for index in entry.inputs])["output"]
        tensors[entry.operator.outputs[0]] = output
    return output
