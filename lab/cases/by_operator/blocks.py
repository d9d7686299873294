"""Cases of operators that cut arrays into blocks, or take parts of them by position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand, random_values, scale, zero_point

__all__ = ["blocks_and_parts", "operator_cases"]


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """Those of every type."""
    for number, dtype in enumerate(("int8", "uint8", "int16", "float32", "int32")):
        yield from blocks_and_parts(np.random.default_rng([seed, 107, number]), count(60), dtype)


def blocks_and_parts(rng: np.random.Generator, count: int, dtype: str) -> Iterator[Case]:
    """`count` cases of SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND, GATHER and SLICE each."""
    for _ in range(count):
        quantized = dtype in ("int8", "uint8", "int16")
        maker = _Blocks(rng, dtype, scale(rng) if quantized else None, zero_point(rng, dtype) if quantized else 0)
        yield maker.to_batch()
        yield maker.to_space()
        yield maker.gather()
        yield maker.part()


@dataclass(frozen=True)
class _Blocks:
    """Cases of one element type and quantization."""

    rng: np.random.Generator
    dtype: str
    scale: float | None
    zero_point: int

    def values(self, shape: tuple[int, ...]) -> Array:
        return random_values(self.rng, shape, self.dtype)

    def case(self, op: str, x: Array, output: tuple[int, ...], constants: list[Array], **options: int) -> Case:
        operands = [Operand(c.shape, str(c.dtype), None, 0, c) for c in constants]
        data = Operand(x.shape, self.dtype, self.scale, self.zero_point)
        made = Operand(output, self.dtype, self.scale, self.zero_point)
        return Case(op, [data, *operands], [made], [x], options, 2)

    def sides(self) -> tuple[list[int], list[int], list[int]]:
        """Blocks of an image of one or two sides, its sides in blocks, and in elements."""
        rank = 2 if self.rng.random() < 0.75 else 1
        blocks = [int(b) for b in self.rng.choice([1, 2, 2, 3], rank)]
        times = [int(n) for n in self.rng.integers(2, 5, rank)]
        return blocks, times, [b * n for b, n in zip(blocks, times, strict=True)]

    def around(self, sides: list[int]) -> Array:
        """How much of each side lies in front and behind, so that at least one element is left: int32 `[sides, 2]`."""
        front = [int(self.rng.integers(0, min(3, side))) for side in sides]
        behind = [int(self.rng.integers(0, min(3, side - f))) for side, f in zip(sides, front, strict=True)]
        return np.stack([front, behind], 1).astype(np.int32)

    def to_batch(self) -> Case:
        blocks, times, padded = self.sides()
        around = self.around(padded) if self.rng.random() < 0.6 else np.zeros((len(blocks), 2), np.int32)
        inner = [side - int(pair.sum()) for side, pair in zip(padded, around, strict=True)]
        first, depth = int(self.rng.integers(1, 3)), int(self.rng.choice([1, 3, 8]))
        x = self.values((first, *inner, depth))
        output = (first * int(np.prod(blocks)), *times, depth)
        return self.case("SPACE_TO_BATCH_ND", x, output, [np.asarray(blocks, np.int32), around])

    def to_space(self) -> Case:
        blocks, times, whole = self.sides()
        around = self.around(whole)
        kept = [side - int(pair.sum()) for side, pair in zip(whole, around, strict=True)]
        first, depth = int(self.rng.integers(1, 3)), int(self.rng.choice([1, 3, 8]))
        x = self.values((first * int(np.prod(blocks)), *times, depth))
        constants = [np.asarray(blocks, np.int32), around]
        return self.case("BATCH_TO_SPACE_ND", x, (first, *kept, depth), constants)

    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.rng.choice([1, 2, 3, 5, 8], int(self.rng.integers(1, 5))))

    def gather(self) -> Case:
        x = self.values(self.shape())
        axis = int(self.rng.integers(0, x.ndim))
        shape = ((), (1,), (4,), (2, 3))[int(self.rng.integers(0, 4))]
        kind = np.int32 if self.rng.random() < 0.7 else np.int64
        positions = np.asarray(self.rng.integers(0, x.shape[axis], shape), kind)
        signed = axis - x.ndim if self.rng.random() < 0.4 else axis
        return self.case("GATHER", x, np.take(x, positions, axis).shape, [positions], axis=signed, batch_dims=0)

    def part(self) -> Case:
        x = self.values(self.shape())
        begin = np.asarray([self.rng.integers(0, n) for n in x.shape])
        size = np.asarray([self.rng.integers(1, n - b + 1) for n, b in zip(x.shape, begin, strict=True)])
        written = np.where((self.rng.random(x.ndim) < 0.4) & (begin + size == x.shape), -1, size)
        kind = np.int32 if self.rng.random() < 0.7 else np.int64
        output = tuple(int(n) for n in size)
        return self.case("SLICE", x, output, [begin.astype(kind), written.astype(kind)])
