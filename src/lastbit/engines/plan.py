"""How a fast engine runs a prepared model: operators that can be chained are, all others run as the reference does.

A chain is a path of dense layers (hybrid ones too), operators that go from element to element (RELU, QUANTIZE,
LOGISTIC, ...), SOFTMAX and operators that only change the shape. Its rows are the samples of the batch: what one sample
becomes depends on no other, so a block of them goes through the whole chain before the next one begins.

Element-wise operators become tables: the reference is asked for all 256 values at every place of a sample, since some
kernels calculate the last elements of a sample otherwise than the rest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..model.graph import Model, Tensor
from ..model.types import Array, IntegerType
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.gemv_or_gemm import PreparedByRows, for_rows
from ..ops.dense.hybrid import PreparedHybrid
from ..ops.elements.unary import flush_subnormal, per_tensor
from ..ops.prepare import PreparedModel
from ..rules.base import ElementGroups, Pairs, Unsupported
from ..rules.operators.fold import leaves
from ..rules.operators.forms import Quotient
from ..rules.operators.rule import Choice
from ..rules.operators.table import QUANTIZE
from .blas import DenseByBlas, ElementTable, NumpyChain, QuantizeStep, Runnable, Softmax, SplitWeights
from .image_blocks import image_function

__all__ = ["ELEMENTWISE", "ChainStep", "OperatorStep", "Step", "make_steps"]

ELEMENTWISE = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH"),
    *("QUANTIZE", "DEQUANTIZE"),
)
"""Operators of one input and one output whose elements depend on one element each, and on its place."""

_SHAPES_ONLY = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
# 256 samples of this size are probed for a table.
_LARGEST_SAMPLE = 1 << 14


@dataclass(frozen=True, eq=False)
class OperatorStep:
    """One operator, as the reference engine runs it or by a function of the same outcome.

    Attributes:
        entry: the operator.
        function: its inputs -> its first output; None to run it as the reference does.
        lacking: what of the operator's rule the engine does not have, where that is why; else empty.
    """

    entry: PreparedOperator
    function: Callable[[Sequence[Array], int], Array] | None = None
    lacking: str = ""

    def run(self, tensors: dict[int, Array], threads: int) -> None:
        """Read the operator's inputs from `tensors` and put its outputs there."""
        values = [tensors[i] for i in self.entry.inputs]
        if self.function is not None:
            tensors[self.entry.operator.outputs[0]] = self.function(values, threads)
            return
        tensors.update(self.entry.written(self.entry.evaluate(values)))


@dataclass(frozen=True, eq=False)
class ChainStep:
    """Several operators in one pass.

    Attributes:
        entries: the operators, in order.
        source: the tensor that the first one reads.
        end: the tensor that the last one writes.
        chain: what runs them.
        shapes: input shape -> output shape, and whether the chain's own output is of another; filled as they come.
    """

    entries: tuple[PreparedOperator, ...]
    source: int
    end: int
    chain: Runnable
    shapes: dict[tuple[int, ...], tuple[tuple[int, ...], bool]] = field(default_factory=dict)

    def run(self, tensors: dict[int, Array], threads: int) -> None:
        """Read the first operator's input from `tensors` and put the last one's output there."""
        x = tensors[self.source]
        known = self.shapes.get(x.shape)
        shape = self._shape(x) if known is None else known[0]
        y = self.chain(np.ascontiguousarray(x), threads)
        if known is None:
            self.shapes[x.shape] = shape, y.shape != shape
        tensors[self.end] = y.reshape(shape)

    def _shape(self, x: Array) -> tuple[int, ...]:
        """The output's shape; an input that does not fit is refused in the operator's own words."""
        shape = x.shape
        for entry in self.entries:
            if isinstance(entry, PreparedDense | PreparedHybrid):
                # Memory that is never touched: only its shape counts.
                entry.layer.rows(np.empty(shape, np.int8))
                shape = entry.layer.output_shape(shape)
            elif entry.operator.name in _SHAPES_ONLY:
                shape = entry.evaluate([np.empty(shape, np.int8)])["output"].shape
        return shape


Step = OperatorStep | ChainStep


class Backend:
    """What an engine makes of dense layers and chains: here with NumPy. See `jit.backend.JitBackend`."""

    def dense(self, entry: PreparedDense, rows: int) -> tuple[object, str] | None:
        """A dense layer ready for a chain, and what all layers of one chain must have in common; None if it cannot."""
        layer = entry.layer
        dtype = layer.input.dtype
        if layer.input.data is not None or not isinstance(dtype, IntegerType) or entry.pairs is not None:
            return None
        weights = layer.weights_values
        made = DenseByBlas(
            weights=SplitWeights(weights, max(-dtype.qmin, dtype.qmax)),
            units=layer.units,
            depth=layer.depth,
            bias=entry.folded_bias,
            weights_zero_point=layer.weights_zero_point,
            params=entry.requant,
            acc_bits=entry.acc_bits,
            rows=rows,
        )
        return made, ""

    def hybrid(self, entry: PreparedHybrid, rows: int) -> tuple[object, str] | None:
        """The same of a hybrid dense layer."""
        return None

    def softmax(self, entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> Softmax | None:
        """SOFTMAX ready for a chain with so many elements in one row; None where it runs as the reference does."""
        return None

    def chain(self, operators: list[object], refuse: Callable[[Array], Array]) -> Runnable | None:
        """A chain of what `dense` and `softmax` made, and of tables. None: its operators are faster one by one.

        Args:
            operators: what it runs.
            refuse: its input -> its output as the reference calculates it. Asked where an operator refuses a row.
        """
        layers = any(isinstance(op, DenseByBlas) for op in operators)
        if not layers and not all(isinstance(op, ElementTable) for op in operators):
            return None
        return NumpyChain(operators, refuse)  # type: ignore[arg-type]

    def alone(self, entry: PreparedOperator, model: Model) -> Callable[[Sequence[Array], int], Array] | None:
        """A faster function for an operator that is in no chain; None to run it as the reference does."""
        return image_function(entry)


@dataclass
class _Open:
    """A chain that is being built.

    Attributes:
        source: the tensor it begins with.
        end: the tensor that the next operator must read.
        elements: elements of one sample of it.
        common: what its dense layers have in common.
        entries: its operators.
        operators: those that do something.
    """

    source: int
    end: int
    elements: int
    common: str | None = None
    entries: list[PreparedOperator] = field(default_factory=list)
    operators: list[object] = field(default_factory=list)


def make_steps(prepared: PreparedModel, backend: Backend, one_row: bool) -> list[Step]:
    """Cut a prepared model into steps.

    Args:
        prepared: the model; every operator is covered.
        backend: what makes chains.
        one_row: whether samples come one by one, which some kernels calculate in another way than a batch.
    """
    model = prepared.model
    readers: dict[int, int] = {}
    for op in model.operators:
        for index in set(op.inputs):
            readers[index] = readers.get(index, 0) + 1
    for tensor in model.outputs:
        readers[tensor.index] = readers.get(tensor.index, 0) + 1
    steps: list[Step] = []
    current: _Open | None = None
    for entry in prepared.operators.values():
        if isinstance(entry, PreparedByRows):
            given = model.tensors[entry.inputs[0]]
            rows, rest = divmod(_sample(given), entry.layer.depth)
            if len(given.shape) > 1 and not rest:
                # Samples of several rows are several rows whatever the batch is.
                entry = for_rows(entry, 1 if one_row and rows == 1 else 2)
            else:
                _close(current, model, steps, backend)
                current = None
                steps.append(OperatorStep(entry))
                continue
        continued = current is not None and entry.inputs == (current.end,) and readers.get(current.end) == 1
        if not continued:
            _close(current, model, steps, backend)
            current = None
        grown = _grow(model, entry, current, backend)
        if grown is None and current is not None:
            _close(current, model, steps, backend)
            current = None
            grown = _grow(model, entry, None, backend)
        if grown is None:
            steps.append(OperatorStep(entry, backend.alone(entry, model), _lacking(entry)))
        current = grown
    _close(current, model, steps, backend)
    return steps


def _lacking(entry: PreparedOperator) -> str:
    """What of a dense layer's sums is in no engine but the reference, in words; empty: all is."""
    if isinstance(entry, PreparedDense) and isinstance(entry.products, Pairs):
        return str(Unsupported("of the fast engines", "products", entry.products))
    return ""


def _sample(tensor: Tensor) -> int:
    """Elements of one sample of a batch; of the whole tensor where it has no batch."""
    return math.prod(tensor.shape[1:]) if len(tensor.shape) > 1 else math.prod(tensor.shape)


def _grow(model: Model, entry: PreparedOperator, chain: _Open | None, backend: Backend) -> _Open | None:
    """The chain with one operator more (a new one where there is none); None where it does not go in."""
    op = entry.operator
    if len(entry.inputs) != 1 or len(op.outputs) != 1:
        return None
    source = model.tensors[entry.inputs[0]]
    elements = _sample(source) if chain is None else chain.elements
    if elements <= 0 or source.dtype.numpy is None:
        return None
    common, made, after = None if chain is None else chain.common, None, elements
    if isinstance(entry, PreparedDense | PreparedHybrid):
        depth = entry.layer.depth
        if elements % depth:
            return None
        rows = elements // depth
        found = backend.dense(entry, rows) if isinstance(entry, PreparedDense) else backend.hybrid(entry, rows)
        if found is None or common not in (None, found[1]):
            return None
        made, common = found
        after = rows * entry.layer.units
    elif op.name in ELEMENTWISE or op.name == "SOFTMAX":
        if len(source.shape) < 2 or elements != _sample(source):
            return None
        output = model.tensors[op.outputs[0]]
        table = _quantizer if source.dtype.name == "float32" else _table
        make = backend.softmax if op.name == "SOFTMAX" else table
        made = make(entry, source, output, elements)
        if made is None:
            return None
    elif op.name not in _SHAPES_ONLY or not _keeps_batch(source, model.tensors[op.outputs[0]]):
        return None
    if chain is None:
        chain = _Open(source.index, source.index, elements)
    chain.entries.append(entry)
    if made is not None:
        chain.operators.append(made)
    chain.common, chain.elements, chain.end = common, after, op.outputs[0]
    return chain


def _keeps_batch(source: Tensor, output: Tensor) -> bool:
    """Whether samples stay samples: a change of shape that leaves the first dimension as it is."""
    return source.shape[:1] == output.shape[:1] and len(output.shape) > 1 and len(source.shape) > 1


# The rules that compiled code has, by its number: see `jit_elements`.
_QUANTIZE_RULES = tuple(
    QUANTIZE[name]
    for name in ("float32_divide_half_away", "vector8_inverse_half_even", "float32_inverse_half_even_saturate")
)


def _quantizer(entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> QuantizeStep | None:
    """QUANTIZE from float32 to 8 bits for a chain; None where it does not go in one."""
    kind, staged = output.dtype.numpy, entry.staged
    if entry.operator.name != "QUANTIZE" or staged is None or kind not in (np.int8, np.uint8):
        return None
    rule = staged.calculator.rule
    if rule not in _QUANTIZE_RULES:
        return None
    if source.data is not None:
        return None
    group = rule.when.elements if isinstance(rule, Choice) and isinstance(rule.when, ElementGroups) else 1
    if group > 1 and source.shape[0] != 1:
        return None  # places begin anew with every run of the file's batch
    to = per_tensor(entry.operator, output)
    number = _QUANTIZE_RULES.index(rule)
    with np.errstate(under="ignore"):
        floats = np.asarray([to.scale, np.float32(1) / to.scale], np.float32)
    if any(isinstance(stage, Quotient) and stage.flush for leaf in leaves(rule) for stage in leaf.stages):
        floats[1:] = flush_subnormal(floats[1:])
    whole = np.asarray([to.zero_point, to.qmin, to.qmax, number], np.int32)
    shape = source.shape[1:]
    assert kind is not None
    return QuantizeStep(
        constants=np.concatenate([floats.view(np.int32), whole]),
        split=elements - elements % group,
        period=elements,
        elements=elements,
        output=kind,
        evaluate=lambda x: entry.evaluate([x.reshape(-1, *shape)])["output"],
    )


def _table(entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> ElementTable | None:
    """An element-wise operator as a table; None where it has none."""
    kind, made = source.dtype.numpy, output.dtype.numpy
    if kind not in (np.int8, np.uint8) or made not in (np.int8, np.uint8, np.float32) or elements > _LARGEST_SAMPLE:
        return None
    batch = source.shape[0]
    values = np.arange(-128, 128).astype(np.int8) if kind == np.int8 else np.arange(256).astype(np.uint8)
    # 256 runs of the file's shape, each with one value at every place.
    probe = np.repeat(values, batch * elements).reshape(256 * batch, *source.shape[1:])
    found = entry.evaluate([probe])["output"].reshape(256, batch * elements)
    bits = found.view(np.int32) if found.dtype == np.float32 else found
    first, last = bits[:, :1], bits[:, -1:]
    as_first = (bits == first).all(axis=0)
    split = int(np.argmin(as_first)) if not as_first.all() else batch * elements
    if not (bits[:, split:] == last).all():
        return None
    if split < batch * elements and batch > 1:
        return None  # places begin anew with every run of the file's batch, which need not end with the samples given
    table = np.ascontiguousarray(np.stack([found[:, 0], found[:, -1]]))
    period = batch * elements
    if split >= period:
        split = period = elements
    return ElementTable(values=table, split=split, period=period, elements=elements, unsigned=kind == np.uint8)


def _close(chain: _Open | None, model: Model, steps: list[Step], backend: Backend) -> None:
    """Add a finished chain to the steps."""
    if chain is None:
        return
    entries = tuple(chain.entries)
    made = backend.chain(chain.operators, functools.partial(_evaluate, entries)) if chain.operators else None
    if made is None:
        steps.extend(OperatorStep(entry, backend.alone(entry, model)) for entry in entries)
    else:
        steps.append(ChainStep(entries, chain.source, chain.end, made))


def _evaluate(entries: Sequence[PreparedOperator], x: Array) -> Array:
    """Operators one after the other, as the reference runs them."""
    for entry in entries:
        x = entry.evaluate([x])["output"]
    return x
