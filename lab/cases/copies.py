"""Cases of the operators that move values: every axis, negative positions and strides, constants among the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from lab.cases.operators import Array, Case, Operand, scale, zero_point

__all__ = ["copies"]


def copies(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of each operator that moves values."""
    for _ in range(count):
        yield from _Maker(rng, dtype).all()


class _Maker:
    """Cases of one round, all of one element type and quantization."""

    def __init__(self, rng: np.random.Generator, dtype: str) -> None:
        self.rng = rng
        self.dtype = dtype
        self.quantized = dtype in ("int8", "uint8", "int16")
        self.scale = scale(rng) if self.quantized else None
        self.zero_point = zero_point(rng, dtype) if self.quantized else 0

    def operand(self, shape: Sequence[int], data: Array | None = None) -> Operand:
        return Operand(tuple(shape), self.dtype, self.scale, self.zero_point, data)

    def values(self, shape: Sequence[int]) -> Array:
        if self.dtype == "float32":
            return self.rng.normal(size=tuple(shape)).astype(np.float32)
        info = np.iinfo(self.dtype)
        return self.rng.integers(info.min, info.max, tuple(shape), self.dtype, endpoint=True)

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(int(n) for n in self.rng.choice([1, 2, 3, 5, 8, 17], int(self.rng.integers(low, high + 1))))

    def case(
        self,
        op: str,
        x: Array,
        outputs: Sequence[Sequence[int]],
        *constants: Array,
        axis_first: bool = False,
        **options,
    ) -> Case:
        operands = [Operand(np.shape(c), "int32", None, 0, np.asarray(c)) for c in constants]
        inputs = [*operands, self.operand(x.shape)] if axis_first else [self.operand(x.shape), *operands]
        return Case(op, inputs, [self.operand(shape) for shape in outputs], [x], options, 2)

    def all(self) -> Iterator[Case]:
        rng = self.rng
        x = self.values(self.shape())
        order = rng.permutation(x.ndim)
        yield self.case("TRANSPOSE", x, [x.transpose(order).shape], order.astype(np.int32))
        axis = int(rng.integers(-x.ndim - 1, x.ndim + 1))
        yield replace(self.case("EXPAND_DIMS", x, [np.expand_dims(x, axis).shape], np.int32(axis)), version=1)
        ones = self.values((1, *self.shape(1, 2), 1))
        named = () if rng.random() < 0.5 else (0,)
        squeezed = ones.squeeze(named or None).shape
        yield replace(self.case("SQUEEZE", ones, [squeezed], squeeze_dims=named), version=1)
        widths = rng.integers(0, 4, (x.ndim, 2)).astype(np.int32)
        padded = np.pad(x, widths).shape
        yield self.case("PAD", x, [padded], widths)
        fill = self.operand((), self.values(()))
        pad = self.case("PADV2", x, [padded], widths)
        yield Case(pad.op, [*pad.inputs, fill], pad.outputs, pad.values, {}, 2)
        yield from self.shapes(x)
        yield from self.slices()
        yield from self.parts()
        yield from self.joined()

    def shapes(self, x: Array) -> Iterator[Case]:
        kind = "int32" if self.rng.random() < 0.7 else "int64"
        known = Operand((x.ndim,), kind)
        yield Case("SHAPE", [self.operand(x.shape)], [known], [x], {"out_type": kind})
        one = self.values(())
        dims = np.asarray(x.shape, kind)
        if self.rng.random() < 0.7:
            constant = Operand((x.ndim,), kind, None, 0, dims)
            yield Case("FILL", [constant, self.operand(())], [self.operand(x.shape)], [one], {}, 3)
        else:
            yield Case("FILL", [known, self.operand((), one)], [self.operand(x.shape)], [dims], {}, 3)

    def slices(self) -> Iterator[Case]:
        rng = self.rng
        x = self.values(self.shape())
        begin = np.asarray([rng.integers(-n, (n + 1) // 2) for n in x.shape], np.int32)
        end = np.asarray([rng.integers(n // 2, n + 2) for n in x.shape], np.int32)
        step = rng.choice([1, 1, 2, 3], x.ndim).astype(np.int32)
        backwards = rng.random(x.ndim) < 0.2
        begin, end = np.where(backwards, end, begin), np.where(backwards, begin, end)
        step = np.where(backwards, -step, step).astype(np.int32)
        if rng.random() < 0.4:
            step = np.ones(x.ndim, np.int32)
        begin_mask, end_mask = (int(rng.integers(0, 2**x.ndim)) for _ in range(2))
        shrink = int(rng.integers(0, 2**x.ndim)) if rng.random() < 0.4 else 0
        shrink &= sum(1 << i for i, n in enumerate(x.shape) if -n <= begin[i] < n)
        step = np.where(shrink >> np.arange(x.ndim) & 1, 1, step).astype(np.int32)
        index = tuple(
            int(0 if begin_mask >> i & 1 else begin[i])
            if shrink >> i & 1
            else slice(
                None if begin_mask >> i & 1 else int(begin[i]), None if end_mask >> i & 1 else int(end[i]), int(step[i])
            )
            for i in range(x.ndim)
        )
        if x[index].size:
            masks = {"begin_mask": begin_mask, "end_mask": end_mask, "shrink_axis_mask": shrink}
            yield self.case("STRIDED_SLICE", x, [x[index].shape], begin, end, step, **masks)

    def parts(self) -> Iterator[Case]:
        rng = self.rng
        parts, axis = int(rng.integers(1, 6)), int(rng.integers(0, 3))
        shape = list(self.shape(3, 3))
        shape[axis] *= parts
        x = self.values(shape)
        cut = [part.shape for part in np.split(x, parts, axis)]
        signed = axis - 3 if rng.random() < 0.5 else axis
        yield self.case("SPLIT", x, cut, np.int32(signed), axis_first=True, num_splits=parts)
        sizes = rng.integers(1, 5, parts).astype(np.int32)
        shape[axis] = int(sizes.sum())
        x = self.values(shape)
        cut = [part.shape for part in np.split(x, np.cumsum(sizes)[:-1], axis)]
        if rng.random() < 0.5:
            sizes[rng.integers(parts)] = -1
        yield self.case("SPLIT_V", x, cut, sizes, np.int32(signed), num_splits=parts)
        shape[axis] = parts
        x = self.values(shape)
        slices = [np.delete(shape, axis)] * parts
        yield self.case("UNPACK", x, [tuple(map(int, s)) for s in slices], num=parts, axis=signed)

    def joined(self) -> Iterator[Case]:
        rng = self.rng
        count = int(rng.integers(1, 6))
        shape = self.shape(2, 3)
        axis = int(rng.integers(0, len(shape)))
        arrays = [self.values((*shape[:axis], int(rng.integers(1, 6)), *shape[axis + 1 :])) for _ in range(count)]
        output = np.concatenate(arrays, axis).shape
        yield self.join("CONCATENATION", arrays, output, axis=axis)
        arrays = [self.values(shape) for _ in range(count)]
        yield self.join("PACK", arrays, np.stack(arrays, axis).shape, axis=axis, values_count=count)

    def join(self, op: str, arrays: list[Array], output: tuple[int, ...], **options) -> Case:
        constant = int(self.rng.integers(1, 9))
        inputs = [self.operand(a.shape, a if i == constant else None) for i, a in enumerate(arrays)]
        fed = [a for i, a in enumerate(arrays) if i != constant]
        return Case(op, inputs, [self.operand(output)], fed, options, 2)
