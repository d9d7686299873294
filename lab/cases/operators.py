"""One-operator models with inputs that separate rules: what evidence and golden files of the operators are made of.

Random models do not separate rules (see lab/cases/dense.py). Here the scales are powers of two as often as not,
accumulators and sums sit on ties, and saturate; zero points lie at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import load, write
from lastbit.model.types import DTYPES, QuantParams

__all__ = ["Array", "Case", "Count", "Operand", "random_values", "scale", "zero_point"]

Array = np.ndarray[Any, np.dtype[Any]]
Count = Callable[[int], int]
"""How many cases there are to be, of how many that a family has at scale 1."""
_DTYPE = {dtype.name: dtype for dtype in DTYPES.values()}


@dataclass(frozen=True)
class Operand:
    """One tensor of a case.

    Attributes:
        shape: its shape.
        dtype: its element type.
        scale: None, one scale or one per channel.
        zero_point: of every channel.
        data: the values of a constant, None for what is computed or fed.
        axis: along which the channels run.
    """

    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | Array | None = None
    zero_point: int = 0
    data: Array | None = None
    axis: int = 0

    def tensor(self, index: int) -> Tensor:
        """The same as a Tensor."""
        quant = None
        if self.scale is not None:
            scales = np.atleast_1d(np.asarray(self.scale, np.float32))
            quant = QuantParams(scales, np.full(scales.shape, self.zero_point, np.int64), self.axis)
        dtype = _DTYPE[self.dtype]
        data = None if self.data is None else np.ascontiguousarray(self.data).astype(dtype.numpy).reshape(self.shape)
        return Tensor(index, f"t{index}", self.shape, self.shape, dtype, quant, data)


@dataclass(frozen=True)
class Case:
    """One operator, its operands and the values fed to it.

    Attributes:
        op: the operator's name.
        inputs: its inputs; None for an optional one that is absent.
        outputs: its outputs.
        values: one array for each input that is not constant, in order.
        options: its options.
        version: its version in the file.
    """

    op: str
    inputs: Sequence[Operand | None]
    outputs: Sequence[Operand]
    values: Sequence[Array]
    options: dict[str, Any] = field(default_factory=dict)
    version: int = 1

    def content(self) -> bytes:
        """The one-operator model as a file."""
        tensors: list[Tensor] = []
        indices: list[int] = []
        for operand in self.inputs:
            indices.append(-1 if operand is None else len(tensors))
            if operand is not None:
                tensors.append(operand.tensor(len(tensors)))
        fed = tuple(i for i in indices if i >= 0 and tensors[i].data is None)
        made = tuple(range(len(tensors), len(tensors) + len(self.outputs)))
        tensors += [operand.tensor(len(indices) - indices.count(-1) + i) for i, operand in enumerate(self.outputs)]
        operator = Operator(0, self.op, self.version, tuple(indices), made, self.options)
        return write(Subgraph("main", tuple(tensors), (operator,), fed, made))

    def model(self) -> Model:
        """The same, loaded."""
        return load(self.content())


def scale(rng: np.random.Generator, low: float = -6, high: float = 0) -> float:
    """A scale; powers of two as often as not, since ties need them."""
    value = 2.0 ** int(rng.integers(-7, 1)) if rng.random() < 0.5 else np.exp(rng.uniform(low, high))
    return float(np.float32(value))


def zero_point(rng: np.random.Generator, dtype: str) -> int:
    """A zero point: either end, the middle or anything. 0 for int16."""
    if dtype == "int16":
        return 0
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return int(rng.choice([low, high, (low + high + 1) // 2, rng.integers(low, high + 1)]))


def random_values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Values of a type over its whole range; of float32 normal ones."""
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
