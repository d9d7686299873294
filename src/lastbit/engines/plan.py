"""How a fast engine runs a prepared model: operators that can be chained are, all others run as the reference does.

A chain is a path of dense layers (hybrid ones too), operators that go from element to element (RELU, QUANTIZE,
LOGISTIC, ...), SOFTMAX and operators that only change the shape. Its rows are the samples of the batch: what one sample
becomes depends on no other, so a block of them goes through the whole chain before the next one begins.

Element-wise operators become tables: the reference is asked for all 256 values at every place of a sample, since some
kernels calculate the last elements of a sample otherwise than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..model.graph import Model, Tensor
from ..model.types import Array, IntegerType
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.hybrid import PreparedHybrid
from ..ops.products.convolution import PreparedConvolution
from .blas import DenseByBlas, ElementTable, NumpyChain, Runnable, Softmax, SplitWeights
from .element_tables import ELEMENTWISE
from .image_blocks import image_function
from .scratch import ScratchPool

__all__ = [
    "MOVES",
    "SHAPES_ONLY",
    "Around",
    "Backend",
    "ChainStep",
    "OperatorStep",
    "Planned",
    "Step",
    "sample_elements",
]

SHAPES_ONLY = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that leave all values where they are."""

MOVES = ("PAD", "PADV2", "TRANSPOSE", "CONCATENATION", "PACK", "SLICE", "STRIDED_SLICE")
"""Operators of one output that move values, in blocks, and calculate nothing."""

Around = tuple[tuple[int, int], tuple[int, int]]
"""Rows of padding above and below an image, columns of it at the left and at the right."""


def sample_elements(tensor: Tensor) -> int:
    """Elements of one sample of a batch; of the whole tensor where it has no batch."""
    return math.prod(tensor.shape[1:]) if len(tensor.shape) > 1 else math.prod(tensor.shape)


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

    @property
    def reads(self) -> tuple[int, ...]:
        """The tensors that it reads."""
        return self.entry.inputs

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
        model: the model.
        entries: the operators, in order.
        source: the tensor that the first one reads.
        end: the tensor that the last one writes.
        chain: what runs them.
        shapes: input shape -> output shape, and whether the chain's own output is of another; filled as they come.
    """

    model: Model
    entries: tuple[PreparedOperator, ...]
    source: int
    end: int
    chain: Runnable
    shapes: dict[tuple[int, ...], tuple[tuple[int, ...], bool]] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[int, ...]:
        """The tensor that it reads."""
        return (self.source,)

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
        shapes = {self.source: x.shape}
        for entry in self.entries:
            # Only the shape counts: one value stands for all.
            shape = shapes[entry.inputs[0]]
            given = np.broadcast_to(np.int8(0), shape)
            output = self.model.tensors[entry.operator.outputs[0]]
            if isinstance(entry, PreparedDense | PreparedHybrid):
                entry.layer.rows(given)
                shape = entry.layer.output_shape(shape)
            elif entry.operator.name in SHAPES_ONLY:
                # Memory that is never touched.
                shape = entry.evaluate([np.empty(shape, np.int8)])["output"].shape
            elif isinstance(entry, PreparedConvolution) and entry.inputs[0] == self.source:
                entry.convolution.check(given)
                shape = (shape[0], *output.shape[1:])
            elif entry.operator.name not in ELEMENTWISE and entry.operator.name != "SOFTMAX":
                shape = (shape[0], *output.shape[1:])
            shapes[output.index] = shape
        return shapes[self.end]


Step = OperatorStep | ChainStep


@dataclass(frozen=True, eq=False)
class Planned:
    """The steps of a model in order, and what memory they leave.

    Attributes:
        steps: the steps.
        unread: for each of them those that nobody reads after it; their memory is used again while it is in cache.
    """

    steps: list[Step]
    unread: list[tuple[int, ...]]

    @classmethod
    def of(cls, steps: list[Step], kept: frozenset[int]) -> Planned:
        """The plan of some steps; `kept` are tensors that are read after the last one."""
        last = {index: number for number, step in enumerate(steps) for index in step.reads if index not in kept}
        return cls(steps, [tuple(i for i in step.reads if last.get(i) == n) for n, step in enumerate(steps)])


class Backend:
    """What an engine makes of dense layers and chains: here with NumPy. See `jit.backend.JitBackend`.

    Attributes:
        branches: whether operators of a chain may read any output before them, not only the last one.
    """

    branches = False

    def __init__(self) -> None:
        self._pool = ScratchPool()

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

    def image(self, entry: PreparedOperator, model: Model, around: Around | None) -> object | None:
        """A convolution, a pool or an operator of two arrays ready for a chain; None where it does not go in one.

        Args:
            entry: the operator.
            model: its model.
            around: padding around a convolution's images that it adds itself.
        """
        return None

    def softmax(self, entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> Softmax | None:
        """SOFTMAX ready for a chain with so many elements in one row; None where it runs as the reference does."""
        return None

    def chain(
        self, operators: list[object], refuse: Callable[[Array], Array], wiring: list[tuple[int, ...]]
    ) -> Runnable | None:
        """A chain of what `dense` and `softmax` made, and of tables. None: its operators are faster one by one.

        Args:
            operators: what it runs.
            refuse: its input -> its output as the reference calculates it. Asked where an operator refuses a row.
            wiring: what each operator reads: 0 is the chain's input, k + 1 what operator k gives.
        """
        layers = any(isinstance(op, DenseByBlas) for op in operators)
        if not layers and not all(isinstance(op, ElementTable) for op in operators):
            return None
        return NumpyChain(operators, refuse)  # type: ignore[arg-type]

    def alone(self, entry: PreparedOperator, model: Model) -> Callable[[Sequence[Array], int], Array] | None:
        """A faster function for an operator that is in no chain; None to run it as the reference does."""
        return image_function(entry, self._pool)
