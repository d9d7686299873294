"""Convolutions and sums of two arrays by NumPy and BLAS, a part of the images at a time, so that it stays in cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..arith.matmul import integer_product
from ..arith.windows import WindowAxis
from ..model.types import Array, IntArray, IntegerType, integer_type
from ..ops.base import PreparedOperator
from ..ops.elements.binary import PreparedBinary
from ..ops.products.convolution import PreparedConvolution
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.forms import Float
from .quick_requantize import Finish, constant_channels, finisher
from .scratch import Scratch, ScratchPool, line_aligned

__all__ = ["image_function"]

Function = Callable[[Sequence[Array], int], Array]

# Values of windows, or of padded images, that are worked on at once.
_BLOCK = 1 << 18
_LARGEST_16 = 2**15 - 1
# Pairs below which a table of all of them costs more than it saves.
_LEAST_PAIRS = 1 << 11


def image_function(entry: PreparedOperator, pool: ScratchPool) -> Function | None:
    """A function of an operator's inputs -> its output, as the reference gives it; None where there is none.

    Args:
        entry: the operator.
        pool: memory that its calls share with those of others.
    """
    if isinstance(entry, PreparedBinary):
        return _pair_table(entry)
    if not isinstance(entry, PreparedConvolution) or any(part.outputs != "all" for part in entry.parts):
        return None
    kinds: dict[str, type[_Blocks]] = {"CONV_2D": _Products, "DEPTHWISE_CONV_2D": _DepthwiseTaps}
    kind = kinds.get(entry.operator.name)
    return None if kind is None else kind(entry, pool)


class _Blocks:
    """A convolution: images padded with the zero point, sums without it, and what the zero point adds in the bias."""

    def __init__(self, entry: PreparedConvolution, pool: ScratchPool) -> None:
        layer = entry.convolution
        self.layer, self.pool = layer, pool
        assert layer.weights.data is not None
        self.weights = layer.weights.data.astype(np.int64) - layer.weights_zero_point
        channels_last = layer.operator.name == "DEPTHWISE_CONV_2D"
        by_channel = (
            self.weights.reshape(-1, layer.channels).T if channels_last else self.weights.reshape(layer.channels, -1)
        )
        bias = layer.bias_values - layer.input_zero_point * by_channel.sum(axis=1)
        dtype = integer_type(layer.input.dtype)
        low, high = _ends(by_channel, bias, dtype)
        requantized = []
        for part in entry.parts:
            channels = slice(part.first, part.end)
            params, constant, fixed = constant_channels(part.params, low[channels], high[channels])
            by_channel[channels][constant] = 0
            bias[channels][constant] = fixed
            requantized.append((channels, params))
        # Of partial sums without the bias, of the bias, and of both.
        reach = np.abs(by_channel).sum(axis=1) * max(-dtype.qmin, dtype.qmax)
        each = np.max([reach, np.abs(bias), *np.abs(_ends(by_channel, bias, dtype))], axis=0)
        largest = int(each.max(initial=0))
        self.kind = np.float32 if largest < 2**24 else np.float64
        self.laid_out: type[np.generic] = self.kind
        # What a sum takes: one value, or with 64 bits and then 32 beside it.
        self.per_sum = 1 if all(_in_place(part.params) for part in entry.parts) else 4
        assert largest < 2**53, "depth times operand range is far beyond any model"
        # What belongs to a channel is laid out for a whole row of outputs: NumPy's loops are as long as that then.
        self.width = layer.columns.outputs(layer.input.shape[2])
        self.finish: list[tuple[slice, Finish]] = [
            (channels, finisher(params, bias[channels], each[channels], self.width)) for channels, params in requantized
        ]
        self.padding = layer.rows.padding(layer.input.shape[1]), layer.columns.padding(layer.input.shape[2])

    def __call__(self, values: Sequence[Array], threads: int) -> Array:
        """The output for images `[n, h, w, c]`."""
        layer, x = self.layer, np.asarray(values[0])
        layer.check(x)
        height, width = layer.rows.outputs(x.shape[1]), layer.columns.outputs(x.shape[2])
        out = np.empty((len(x), height, width, layer.channels), layer.output.dtype.numpy)
        with self.pool.lent() as scratch:
            self.blocks(x, out, scratch)
        return out

    def blocks(self, x: Array, out: Array, scratch: Scratch) -> None:
        """The output, a block of rows of some images at a time."""
        height, width = out.shape[1:3]
        row = self.row_values(width)
        images = max(_BLOCK // max(row * height, 1), 1)
        rows = -(-height // max(row * height // _BLOCK, 1))
        for start in range(0, len(x), images):
            padded = self.padded(x[start : start + images], scratch)
            for top in range(0, height, rows):
                acc = self.sums(padded, (top, min(top + rows, height)), width, scratch)
                made = out[start : start + images, top : top + rows]
                for channels, finish in self.finish:
                    seen = acc if len(self.finish) == 1 else acc[..., channels].copy()
                    finish(seen.reshape(seen.shape[0] * seen.shape[1], -1), made[..., channels], scratch)

    def padded(self, x: Array, scratch: Scratch) -> Array:
        """Images in the type that they are laid out in, with the zero point around them."""
        (top, bottom), (left, right) = self.padding
        shape = (len(x), x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        padded = scratch("padded", shape, self.laid_out)
        if top or bottom or left or right:
            padded.fill(self.layer.input_zero_point)
        padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
        return padded

    def row_values(self, width: int) -> int:
        """How many values a row of outputs is made from."""
        raise NotImplementedError

    def sums(self, padded: Array, ends: tuple[int, int], width: int, scratch: Scratch) -> Array:
        """Sums of products of the output rows from the first end to the second: `[n, rows, width, out]`."""
        raise NotImplementedError


def _in_place(params: RequantParams) -> bool:
    """Whether sums of 32 bits are rounded where they are."""
    form = params.rule.requantize
    return isinstance(form, Float) and form.bits == 32


def _ends(weights: IntArray, bias: IntArray, inputs: IntegerType) -> Array:
    """The smallest and the largest accumulator of each channel: weights `[out, taps]` -> `[2, out]`."""
    ends = weights * inputs.qmin, weights * inputs.qmax
    return np.stack([np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)]) + bias


class _Products(_Blocks):
    """CONV_2D: windows as the rows of a matrix."""

    def __init__(self, entry: PreparedConvolution, pool: ScratchPool) -> None:
        super().__init__(entry, pool)
        groups, rows = self.layer.groups, self.layer.rows
        flat = self.weights.reshape(groups, self.layer.channels // groups, -1)
        self.matrices = [np.ascontiguousarray(part.T, self.kind) for part in flat]
        # Of windows that overlap, each row of the image is laid out once, and not once for each row of the window.
        self.by_lines = groups == 1 and rows.stride == 1 and rows.size > 1

    def row_values(self, width: int) -> int:
        """Those of its windows, and its sums, also in the types that they are rounded in."""
        high = 1 if self.by_lines else self.layer.rows.size
        return width * (high * self.layer.columns.size * self.layer.input.shape[3] + self.per_sum * self.layer.channels)

    def sums(self, padded: Array, ends: tuple[int, int], width: int, scratch: Scratch) -> Array:
        """A product with each group's matrix, or with each line's part of the matrix."""
        if self.by_lines:
            return self.line_sums(padded, ends, width, scratch)
        windows = _windows(padded, self.layer.rows, self.layer.columns, ends, width)
        count, depth = math.prod(windows.shape[:3]), windows.shape[5] // len(self.matrices)
        acc = scratch("sums", (*windows.shape[:3], self.layer.channels), self.kind)
        for number, matrix in enumerate(self.matrices):
            seen = windows[..., number * depth : (number + 1) * depth].reshape(count, -1)
            if len(self.matrices) == 1:
                integer_product(seen, matrix, acc.reshape(count, -1))
            else:
                own = slice(number * matrix.shape[1], (number + 1) * matrix.shape[1])
                acc.reshape(count, -1)[:, own] = integer_product(seen, matrix)
        return acc

    def line_sums(self, padded: Array, ends: tuple[int, int], width: int, scratch: Scratch) -> Array:
        """The same with windows of one line each, whose products are added."""
        rows, channels = self.layer.rows, self.layer.channels
        top, end = ends
        one = WindowAxis(1, 1, 1, False)
        seen = _windows(padded, one, self.layer.columns, (top, end - 1 + rows.reach), width)
        lines = scratch("lines", seen.shape, self.kind)
        np.copyto(lines, seen)
        lines = lines.reshape(len(padded), -1, seen.shape[4] * seen.shape[5])
        count = (end - top) * width
        acc = scratch("sums", (len(padded), count, channels), self.kind)
        more = scratch("products", acc.shape, self.kind)
        for i, part in enumerate(self.matrices[0].reshape(rows.size, -1, channels)):
            first = i * rows.dilation * width
            integer_product(lines[:, first : first + count], part, more if i else acc)
            if i:
                acc += more
        return acc.reshape(len(padded), end - top, width, -1)


class _DepthwiseTaps(_Blocks):
    """DEPTHWISE_CONV_2D: tap by tap, all channels at once.

    Sums of few taps of int8 fit in 16 bits, in which NumPy multiplies three times as many at a time as in float32.
    """

    def __init__(self, entry: PreparedConvolution, pool: ScratchPool) -> None:
        super().__init__(entry, pool)
        self.multiplier = self.layer.channels // self.layer.input.shape[3]
        taps = self.weights[0]
        small = self.layer.input.dtype.name == "int8" and np.abs(taps).max(initial=0) * 128 <= _LARGEST_16
        if small:
            self.laid_out = np.int16
        # One tap for a whole row of outputs, `[width, out]`.
        shape = (*taps.shape[:2], self.width, taps.shape[2])
        self.taps = line_aligned(np.broadcast_to(taps[:, :, None], shape).astype(self.laid_out))
        self.groups = _groups(taps) if small else [list(np.ndindex(taps.shape[:2]))]

    def row_values(self, width: int) -> int:
        """Its sums and the products of a tap, also in the types that they are rounded in."""
        return (1 + self.per_sum) * width * self.layer.channels

    def padded(self, x: Array, scratch: Scratch) -> Array:
        """The images, every channel as often as outputs see it, by the columns that one tap meets.

        `[stride, n, h, w / stride, c]`: every stride-th column, from the first, from the second and so on.
        """
        padded = super().padded(x, scratch)
        if self.multiplier > 1:
            padded = np.repeat(padded, self.multiplier, axis=3)
        stride = self.layer.columns.stride
        if stride == 1:
            return padded[None]
        columns = -(-padded.shape[2] // stride)
        planes = scratch("planes", (stride, *padded.shape[:2], columns, padded.shape[3]), padded.dtype)
        for first, plane in enumerate(planes):
            seen = padded[:, :, first::stride]
            plane[:, :, : seen.shape[2]] = seen
        return planes

    def sums(self, padded: Array, ends: tuple[int, int], width: int, scratch: Scratch) -> Array:
        """Products of each tap, added."""
        rows, columns = self.layer.rows, self.layer.columns
        top, end = ends
        shape = (padded.shape[1], end - top, width, self.layer.channels)
        total, acc, products = (
            scratch(name, shape, kind)
            for name, kind in (("sums", self.kind), ("some", self.laid_out), ("products", self.laid_out))
        )
        for turn, group in enumerate(self.groups):
            for number, (i, j) in enumerate(group):
                first = top * rows.stride + i * rows.dilation
                left, plane = divmod(j * columns.dilation, columns.stride)
                seen = padded[
                    plane, :, first : first + (end - top - 1) * rows.stride + 1 : rows.stride, left : left + width
                ]
                np.multiply(seen, self.taps[i, j], out=products if number else acc)
                if number:
                    acc += products
            if len(self.groups) == 1 and self.kind is self.laid_out:
                return acc
            if turn:
                total += acc
            else:
                np.copyto(total, acc)
        return total


def _groups(taps: IntArray) -> list[list[tuple[int, ...]]]:
    """The taps `[kh, kw, out]`, so many at a time as have sums of 16 bits with any int8, in each channel."""
    groups: list[list[tuple[int, ...]]] = []
    used = np.zeros(taps.shape[2], np.int64)
    for place in np.ndindex(taps.shape[:2]):
        used = used + 128 * np.abs(taps[place])
        if not groups or used.max(initial=0) > _LARGEST_16:
            groups.append([])
            used = 128 * np.abs(taps[place])
        groups[-1].append(place)
    return groups


def _windows(padded: Array, rows: WindowAxis, columns: WindowAxis, ends: tuple[int, int], width: int) -> Array:
    """Every window of some rows of outputs: a view `[n, rows, width, kh, kw, c]` of the padded images."""
    n, h, w, c = padded.strides
    top, end = ends
    shape = (len(padded), end - top, width, rows.size, columns.size, padded.shape[3])
    strides = (n, h * rows.stride, w * columns.stride, h * rows.dilation, w * columns.dilation, c)
    return np.lib.stride_tricks.as_strided(padded[:, top * rows.stride :], shape, strides, writeable=False)


def _pair_table(entry: PreparedBinary) -> Function | None:
    """ADD, SUB or MUL of two byte arrays of one shape, as a table of all pairs.

    None for broadcasting, constants, and sizes that are no whole vectors: places matter to some kernels.
    """
    first, second = entry.tensors
    kind, size = first.dtype.numpy, math.prod(first.shape)
    if first.shape != second.shape or first.dtype.name not in ("int8", "uint8") or kind is None:
        return None
    if second.dtype.name != first.dtype.name or first.data is not None or second.data is not None:
        return None
    if size % 16 or size < _LEAST_PAIRS:
        return None
    values = np.arange(256, dtype=np.uint8).view(kind)
    table = entry.evaluate([np.repeat(values, 256), np.tile(values, 256)])["output"]

    def run(given: Sequence[Array], threads: int) -> Array:
        one, two = (np.ascontiguousarray(x) for x in given)
        if one.shape != two.shape:
            return entry.evaluate(given)["output"]
        places = one.view(np.uint8).astype(np.uint16)
        places <<= 8
        places |= two.view(np.uint8)
        return np.asarray(table[places])

    return run
