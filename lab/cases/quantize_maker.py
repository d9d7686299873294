"""One random float model: its tensors, ranges, weights and biases, near ties and at every limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from lastbit.model.graph import Operator, Tensor
from lastbit.model.types import DTYPES

FLOAT, INT32 = 0, 2
Range = tuple[np.float32, np.float32]


class Maker:
    """Builds one model. `weird` is the share of adversarial ranges, weights and biases.

    A `complete` model can be loaded by an interpreter: convolutions have a bias. Its constants have as many dimensions
    as what they meet.
    """

    def __init__(self, seed: int, weird: float = 0.3, complete: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.weird = weird
        self.complete = complete
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.ranges: dict[int, Range] = {}
        self.inputs: list[int] = []
        self.used: set[int] = set()

    def tensor(self, shape: tuple[int, ...], data: Any = None, code: int = FLOAT, ranged: bool = True) -> int:
        """Add a tensor; its index."""
        index = len(self.tensors)
        dtype = DTYPES[code]
        array = None if data is None else np.ascontiguousarray(data, dtype.numpy).reshape(shape)
        self.tensors.append(Tensor(index, f"t{index}", shape, shape, dtype, None, array))
        if data is None and code == FLOAT and ranged:
            self.ranges[index] = self.range()
        return index

    def constant(self, data: Any, code: int = FLOAT) -> int:
        """Add a constant; its index."""
        array = np.asarray(data)
        return self.tensor(array.shape, array, code)

    def op(self, name: str, inputs: list[int], shapes: list[tuple[int, ...]], code: int = FLOAT, **options: Any) -> int:
        """Add an operator; the index of its first output."""
        self.used.update(i for i in inputs if i >= 0)
        outputs = [self.tensor(shape, code=code) for shape in shapes]
        self.operators.append(Operator(len(self.operators), name, 1, tuple(inputs), tuple(outputs), options))
        return outputs[0]

    def range(self) -> Range:
        """A range that a calibrator might have seen, or one that it should not have."""
        rng = self.rng
        low, high = sorted(rng.normal(size=2) * np.exp(rng.normal() * 2))
        if rng.random() < self.weird:
            kind = rng.integers(13)
            size = float(np.exp(rng.uniform(-40, 40)))
            if kind == 0:
                low, high = -size, -size * rng.uniform(0.1, 0.9)
            elif kind == 1:
                low, high = size * rng.uniform(0.1, 0.9), size
            elif kind == 2:
                low, high = 0.0, size
            elif kind == 3:
                low, high = -size, 0.0
            elif kind == 4:
                low = high = rng.normal()
            elif kind == 5:
                low = high = 0.0
            elif kind == 6:
                low, high = -rng.uniform(0, 2e-6), rng.uniform(0, 2e-6)
            elif kind == 7:
                low, high = -1e-40, 3e-40
            elif kind == 8:
                low, high = -size, size
            elif kind == 9:  # zero points at ties
                scale = np.float32(2.0 ** rng.integers(-12, 8))
                steps = rng.integers(0, 255) + 0.5
                low, high = -scale * steps, scale * (255 - steps)
            elif kind == 10:
                low, high = rng.choice([-1e-6, -5e-7, 0.0, 1e-7]), rng.choice([0.0, 1e-6, 5e-7, 1.1e-6])
                low, high = min(low, high), max(low, high)
            elif kind == 11:  # round numbers, whose zero point is a tie in float32 only at times
                low, high = -rng.integers(0, 60) / 10, rng.integers(1, 60) / 10
            else:
                low, high = 0.0, rng.choice([6.0, 1.0, 255.0, 256.0])
        return np.float32(low), np.float32(high)

    def weights(self, shape: tuple[int, ...], axis: int) -> np.ndarray[Any, Any]:
        """Weights: random, or with values next to the ties of their own scale, channels of zeros, specials."""
        rng = self.rng
        values = rng.normal(size=shape).astype(np.float32) * np.float32(np.exp(rng.normal() * 2))
        if rng.random() < 0.5:
            moved = np.moveaxis(values, axis, 0)
            for channel in moved:
                kind = rng.integers(6) if rng.random() < self.weird + 0.3 else 9
                top = np.float32(np.exp(rng.uniform(-12, 8)))
                ties = (rng.integers(-127, 127, channel.shape) + 0.5).astype(np.float32) * (top / np.float32(127))
                if kind in (0, 1):
                    steps = rng.integers(-2, 3, channel.shape)
                    flat = (ties.view(np.int32) + steps).astype(np.int32).view(np.float32)
                    channel[...] = np.clip(flat, -top, top)
                    channel.flat[0] = top * rng.choice([-1, 1])
                elif kind == 2:
                    channel[...] = 0
                elif kind == 3:
                    channel[...] = np.float32(rng.choice([1e-9, -1e-9, 1e-30, 1e-41, 4e-7, 6e-7, -2.0]))
                elif kind == 4:
                    channel[...] = np.abs(channel)
                elif kind == 5:
                    channel[...] = -np.abs(channel) * np.float32(np.exp(rng.uniform(-30, 10)))
        return values

    def bias(self, size: int, source: int, weights: np.ndarray[Any, Any], axis: int) -> int:
        """A bias near what the weights' and input's scales allow, over it at times; -1 for none at times."""
        rng = self.rng
        if rng.random() < 0.15 and not (self.complete and weights.ndim == 4):
            return -1
        low, high = self.ranges.get(source, (np.float32(-1), np.float32(1)))
        scale = max(float(high) - min(float(low), 0), 1e-9) / 255 * max(float(np.abs(weights).max()), 1e-9) / 127
        values = rng.normal(size=size) * scale * np.exp(rng.uniform(0, 12))
        if rng.random() < self.weird:
            kind = rng.integers(4)
            if kind == 0:
                values = rng.normal(size=size) * scale * 2.0**30
            elif kind == 1:
                values = np.where(rng.random(size) < 0.3, rng.normal(size=size) * scale * 2.0 ** rng.uniform(28, 34), 0)
            elif kind == 2:
                values = (rng.integers(-1000, 1000, size) + 0.5) * scale
            else:
                values = np.zeros(size)
        with np.errstate(over="ignore"):
            data = np.clip(values, -1e30, 1e30).astype(np.float32)
        return self.constant(data)


def pick(make: Maker, rank: int | None = None, fresh: float = 0.7) -> int:
    """A float tensor that is fed or computed, preferably one that nothing has read yet."""
    fit = [
        t.index
        for t in make.tensors
        if t.data is None and t.dtype.name == "float32" and (rank is None or len(t.shape) == rank)
    ]
    unread = [i for i in fit if i not in make.used]
    if unread and make.rng.random() < fresh:
        return int(make.rng.choice(unread))
    if not fit:
        shape = {4: (1, 4, 4, 3), 2: (1, 8), 3: (2, 3, 4), None: (1, 8)}[rank]
        index = make.tensor(shape)
        make.inputs.append(index)
        return index
    return int(make.rng.choice(fit))
