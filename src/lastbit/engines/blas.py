"""What fast engines are made of: dense layers by BLAS, tables, and chains of both, without Numba.

A chain runs operators one after the other over blocks of rows, so that what lies between stays in the cache. This
file has the NumPy form; `jit.matmul.Chain` is the compiled one. Both give what the reference engine gives, bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import low_bits
from ..arith.matmul import integer_product
from ..model.errors import InputError
from ..model.types import Array, IntArray
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.vector import requantize

__all__ = [
    "DenseByBlas",
    "ElementTable",
    "Elementwise",
    "NumpyChain",
    "QuantizeStep",
    "Runnable",
    "Softmax",
    "SplitWeights",
]

# Elements of a block's accumulators: as int64 with their rounding steps they stay in the second level cache.
_BLOCK_ELEMENTS = 1 << 15
# Below this length of a part, float64 over the whole depth is faster than float32 in parts.
_SHORTEST_PART = 64


class Runnable(Protocol):
    """What runs a chain of operators."""

    output: np.dtype[Any]

    def __call__(self, x: Array, threads: int = 1) -> Array:
        """`[rows, ...]` -> `[rows, elements of one row]`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ElementTable:
    """An operator from each 8-bit element to one, by its value (and its place in a period).

    Attributes:
        values: outputs `[2, 256]`, in the order of the input's values; the second row is for places from `split` on.
        split: see `values`.
        period: elements after which places begin anew.
        elements: elements in one row of the chain.
        unsigned: whether inputs are uint8.
    """

    values: Array
    split: int
    period: int
    elements: int
    unsigned: bool

    @property
    def output(self) -> np.dtype[Any]:
        """The type of the outputs."""
        return self.values.dtype

    @functools.cached_property
    def scaling(self) -> npt.NDArray[np.int32] | None:
        """Zero point, the bits of a scale, and what changes inputs to uint8, where float32 outputs are just that.

        The outputs are `(x - zero point) * scale` then, bit for bit; the zero point belongs to uint8.
        """
        values = self.values[0]
        zeros = np.flatnonzero(values == 0)
        if values.dtype != np.float32 or self.split < self.period or len(zeros) != 1:
            return None
        zero = int(zeros[0])
        scale = values[zero + 1] if zero < 255 else -values[zero - 1]
        with np.errstate(over="ignore"):
            made = (np.arange(256) - zero).astype(np.float32) * scale
        if not np.array_equal(made.view(np.int32), values.view(np.int32)):
            return None
        return np.asarray([zero, scale.view(np.int32), 0 if self.unsigned else 128], np.int32)

    def __call__(self, x: Array) -> Array:
        """Outputs for `[rows, elements]`."""
        index = x if self.unsigned else x.view(np.uint8) ^ 128
        if self.split >= self.period:
            return np.asarray(self.values[0][index])
        inside = np.arange(index.size) % self.period < self.split
        flat = index.reshape(-1)
        return np.asarray(np.where(inside, self.values[0][flat], self.values[1][flat])).reshape(x.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizeStep:
    """QUANTIZE from float32, with what is different at the end of a sample.

    Attributes:
        constants: float32 s and 1/s, then int32 zero point, smallest and largest output, number of the rule: 24 bytes.
        split: of each `period` elements, so many are calculated by the rule's vector loop.
        period: elements of a sample.
        elements: the same.
        output: the type of the outputs.
        evaluate: the reference: float32 of any batch -> outputs.
    """

    constants: Array
    split: int
    period: int
    elements: int
    output: np.dtype[Any]
    evaluate: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        """Outputs for `[rows, elements]`."""
        return self.evaluate(x).reshape(x.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax:
    """SOFTMAX from 8 bits to the same 8 bits, or from 16 to 16, see `jit_softmax`.

    Attributes:
        table: the exponential of so many steps below a row's maximum `[256]`: float32, or int64 in Q0.31. Of 16 bits
            int16 `[2, 65536]`: exponentials, and 1 / (1 + x) of every int16 x.
        constants: what is added to outputs, their smallest and largest value, whether they are uint8, the bits of
            the output's scale: int64 `[5]`. Of 16 bits nothing.
        classes: elements that are normalized together.
        elements: elements in one row of the chain, a multiple of that.
        rule: whether sums are fixed-point numbers or float32, or (16 bits) tables are interpolated.
        unsigned: whether inputs are uint8.
        output: the type of the outputs.
        evaluate: the reference: `[rows, classes]` -> outputs. Raises InputError where the real kernel aborts.
    """

    table: Array
    constants: npt.NDArray[np.int64]
    classes: int
    elements: int
    rule: Literal["fixed", "float", "interpolated"]
    unsigned: bool
    output: np.dtype[Any]
    evaluate: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        """Outputs for `[rows, elements]`."""
        return self.evaluate(x.reshape(-1, self.classes)).reshape(x.shape)


Elementwise = ElementTable | QuantizeStep | Softmax
"""What stands in a chain beside dense layers."""


class SplitWeights:
    """Weights for exact products by float BLAS, the depth in parts where that allows float32.

    A float sum of integers is exact as long as no partial sum can leave the range in which every integer is
    representable: 2^24 for float32, 2^53 for float64.

    Args:
        weights: integers `[out, depth]`.
        largest_input: the largest absolute value of an input element.
    """

    def __init__(self, weights: IntArray, largest_input: int) -> None:
        largest = np.abs(weights.astype(np.int64))
        self._parts: list[tuple[int, int, Array]] = []
        depth = weights.shape[1]
        # A part's length at which even the largest products fit.
        least = (2**24 - 1) // max(int(largest.max(initial=1)) * largest_input, 1)
        if depth > least and least < _SHORTEST_PART:
            assert int(largest.sum(axis=1).max(initial=0)) * largest_input < 2**53
            self._parts.append((0, depth, np.ascontiguousarray(weights.T, np.float64)))
            return
        for begin in range(0, depth, max(least, 1)):
            end = min(begin + max(least, 1), depth)
            self._parts.append((begin, end, np.ascontiguousarray(weights[:, begin:end].T, np.float32)))

    def dot(self, rows: IntArray) -> npt.NDArray[np.int64]:
        """`rows @ weights.T` without rounding or wrapping: `[n, depth]` -> int64 `[n, out]`."""
        total: Any = 0
        for begin, end, part in self._parts:
            total = total + integer_product(rows[:, begin:end].astype(part.dtype), part).astype(np.int64)
        return np.asarray(total)


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseByBlas:
    """A dense layer with an integer accumulator, by BLAS and NumPy.

    Attributes:
        weights: the weights.
        units: output units.
        depth: accumulation depth.
        bias: what the sums begin with, int64 `[out]`.
        weights_zero_point: zw.
        params: the requantization.
        acc_bits: bits of the accumulator.
        rows: rows of this layer for one row of a chain.
    """

    weights: SplitWeights
    units: int
    depth: int
    bias: npt.NDArray[np.int64]
    weights_zero_point: int
    params: RequantParams
    acc_bits: int
    rows: int = 1

    @property
    def output(self) -> np.dtype[Any]:
        """The type of the outputs."""
        return np.dtype(self.params.dtype.numpy)

    def __call__(self, x: Array) -> Array:
        """Outputs for rows `[n, depth]`."""
        acc = self.weights.dot(x) + self.bias
        if self.weights_zero_point:
            acc = acc - self.weights_zero_point * x.sum(axis=1, dtype=np.int64, keepdims=True)
        if self.acc_bits < 32:
            acc = low_bits(acc, self.acc_bits)
        return requantize(acc, self.params)["output"]


class NumpyChain:
    """Operators one after the other over blocks of rows, by NumPy. `threads` is BLAS's own business here.

    Args:
        operators: what it runs.
        refuse: asked where one of them refuses a row: the same operators over all rows, for its words.
    """

    def __init__(
        self, operators: Sequence[DenseByBlas | Elementwise], refuse: Callable[[Array], Array] | None = None
    ) -> None:
        self._operators = list(operators)
        self._refuse = refuse
        first, last = operators[0], operators[-1]
        self._elements = first.rows * first.depth if isinstance(first, DenseByBlas) else first.elements
        self.output = last.output
        widest = max(op.rows * op.units if isinstance(op, DenseByBlas) else op.elements for op in operators)
        self._block = max(_BLOCK_ELEMENTS // widest, 1)

    def __call__(self, x: Array, threads: int = 1) -> Array:
        """Run the chain: `[rows, ...]` -> `[rows, elements of one row]`."""
        try:
            return self._blocks(x)
        except InputError:
            if self._refuse is None:
                raise
            return self._refuse(x)

    def _blocks(self, x: Array) -> Array:
        given = x.reshape(-1, self._elements)
        parts = []
        for start in range(0, len(given), self._block):
            block = given[start : start + self._block]
            rows = len(block)
            for op in self._operators:
                block = op(block.reshape(-1, op.depth)).reshape(rows, -1) if isinstance(op, DenseByBlas) else op(block)
            parts.append(block)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
