"""Convolutions and sums of images in compiled code: patches gathered as rows, depthwise products, tables of pairs.

Each is a function of the same outcome as the reference's; `fast_image_operator` gives it, or None where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...model.types import Array, integer_type
from ...ops.base import PreparedOperator
from ...ops.elements.binary import PreparedBinary
from ...ops.products.convolution import Convolution, OutputPart, PreparedConvolution
from ...rules.base import Unsupported
from ...rules.requantize.forms import Float, Requantize, TwoRoundings
from . import matmul
from .memory import address

__all__ = ["depthwise_form", "fast_image_operator"]

Function = Callable[[Sequence[Array], int], Array]

# Gathered patches of as many images as fit here go through the matrix kernel together.
_PATCH_BYTES = 400_000
# A table of 65,536 is made for as many elements at least.
_LEAST_PAIRS = 4096
# The forms that `image_kernels.depthwise` has code for, and their numbers there.
_DEPTHWISE_FORMS: dict[Requantize, int] = {
    Float(32, "half_even", "in_acc", "upper_bound", "int32_min", "wrap32", "type_then_low"): 0,
    Float(32, "half_even", "in_acc", "none", "saturate16", "saturate16", "bounds"): 1,
    TwoRoundings("wrap32", "half_up", "half_up", 0, "wrap32"): 2,
    TwoRoundings("wrap32", "half_up", "half_away", 0, "wrap32"): 3,
}


def depthwise_form(form: Requantize) -> int:
    """The number of a form in `image_kernels.depthwise`.

    Raises:
        Unsupported: it has no code for the form.
    """
    if form not in _DEPTHWISE_FORMS:
        raise Unsupported("depthwise", "requantize", form)
    return _DEPTHWISE_FORMS[form]


def fast_image_operator(entry: PreparedOperator) -> Function | None:
    """A compiled function for a convolution or a sum of two arrays: (its inputs, threads) -> its output, or None."""
    if isinstance(entry, PreparedConvolution):
        make = {"CONV_2D": _Rows.make, "DEPTHWISE_CONV_2D": _Depthwise.make}.get(entry.operator.name)
        return None if make is None else make(entry)
    if isinstance(entry, PreparedBinary):
        return _Pairs.make(entry)
    return None


def _bytes(x: Array) -> npt.NDArray[np.uint8]:
    """Images as bytes `[n, h, w * c]`."""
    return np.ascontiguousarray(x).reshape(*x.shape[:2], -1).view(np.uint8)


def _fill(layer: Convolution) -> int:
    """The byte that padding is made of."""
    return layer.input_zero_point & 0xFF


def _folded(layer: Convolution, weights: Array) -> npt.NDArray[np.int64]:
    """What the sums begin with: the bias less the input's zero point times the centered weights `[out, depth]`."""
    sums: npt.NDArray[np.int64] = weights.sum(axis=1, dtype=np.int64)
    return layer.bias_values - layer.input_zero_point * sums


class _Rows:
    """CONV_2D: every window is a row of a dense layer."""

    def __init__(self, layer: Convolution, chain: matmul.Chain) -> None:
        self._layer = layer
        self._chain = chain
        rows, columns = layer.rows, layer.columns
        height, width = layer.input.shape[1:3]
        self._pixel = layer.input.shape[3] * np.dtype(layer.input.dtype.numpy).itemsize
        self._outputs = rows.outputs(height), columns.outputs(width)
        self._padding = rows.padding(height), columns.padding(width)
        taps = (rows.size, columns.size, rows.stride, columns.stride)
        self._plain = taps == (1, 1, 1, 1)
        self._row_bytes = rows.size * columns.size * self._pixel

    @classmethod
    def make(cls, entry: PreparedConvolution) -> _Rows | None:
        """None where there are groups, or the kernels do not know the rule."""
        layer = entry.convolution
        dtype = layer.input.dtype.numpy
        if layer.groups != 1 or len(entry.parts) != 1 or layer.weights.data is None or dtype is None:
            return None
        params = entry.parts[0].params
        weights = layer.weights.data.reshape(layer.channels, -1)
        packed = matmul.pack(
            weights,
            weights_zero_point=layer.weights_zero_point,
            bias=_folded(layer, weights.astype(np.int64) - layer.weights_zero_point),
            epilogue=matmul.Epilogue(params, cheapest=True),
            acc_bits=params.rule.sums.bits,
            input_type=dtype.name,
        )
        return None if packed is None else cls(layer, matmul.Chain([packed]))

    def __call__(self, values: Sequence[Array], threads: int) -> Array:
        from .compile import python_function
        from .image_kernels import Windows, gather

        layer, x = self._layer, np.ascontiguousarray(values[0])
        layer.check(x)
        count, (height, width), (top, left) = x.shape[0], self._outputs, (self._padding[0], self._padding[1])
        shape = (count, height, width, layer.channels)
        if self._plain:
            return self._chain(x.reshape(-1, x.shape[3]), threads).reshape(shape)
        pixels = height * width
        images = max(_PATCH_BYTES // (pixels * self._row_bytes), 1)
        source = _bytes(x)
        # One row more than needed: copies go in words and read a little beyond.
        size = (x.shape[1] + sum(top) + 1, source.shape[2] + sum(left) * self._pixel)
        padded = np.full(size, _fill(layer), np.uint8)
        patches = np.empty((min(images, count) * pixels + 8, self._row_bytes), np.uint8)
        out = np.empty((count * pixels, layer.channels), layer.output.dtype.numpy)
        columns, rows = layer.columns, layer.rows
        # Neighbouring columns lie behind each other: they are copied as one.
        runs, run = (columns.size, self._pixel) if columns.dilation > 1 else (1, columns.size * self._pixel)
        windows = Windows(
            source=0,
            images=0,
            rows=x.shape[1],
            row_bytes=source.shape[2],
            padded=address(padded),
            padded_bytes=padded.shape[1],
            top=top[0],
            left=left[0] * self._pixel,
            height=height,
            width=width,
            taps=rows.size,
            runs=runs,
            run=run,
            stride=rows.stride,
            step=columns.stride * self._pixel,
            dilation=rows.dilation,
            gap=columns.dilation * self._pixel,
            out=address(patches),
        )
        for start in range(0, count, images):
            stop = min(start + images, count)
            taken = patches[: (stop - start) * pixels]
            part = windows._replace(source=address(source[start:stop]), images=stop - start)
            fields = np.asarray(part, np.int64)
            python_function(gather)(address(fields))
            out[start * pixels : stop * pixels] = self._chain(taken.view(x.dtype), threads)
        return out.reshape(shape)


class _Depthwise:
    """DEPTHWISE_CONV_2D of bytes: products channel by channel, requantized pixel by pixel."""

    def __init__(self, layer: Convolution, parts: Sequence[OutputPart]) -> None:
        assert layer.weights.data is not None
        self._layer = layer
        weights = layer.weights.data[0].astype(np.int32) - np.int32(layer.weights_zero_point)
        self._weights = np.ascontiguousarray(weights)
        self._start = layer.bias_values.astype(np.int32)
        channels = layer.channels
        self._forms = np.empty(len(parts), np.int64)
        self._ends = np.asarray([part.end for part in parts], np.int64)
        self._factor = np.zeros(channels, np.float32)
        self._multiplier, self._left, self._right = (np.zeros(channels, np.int64) for _ in range(3))
        for number, part in enumerate(parts):
            channels_of_part, params = slice(part.first, part.end), part.params
            self._forms[number] = depthwise_form(params.rule.requantize)
            self._factor[channels_of_part] = params.effective_scale.astype(np.float32)
            self._multiplier[channels_of_part] = params.multiplier
            self._left[channels_of_part] = np.clip(params.shift, 0, 31)
            self._right[channels_of_part] = np.maximum(-params.shift, 0)
        self._params = parts[0].params

    @classmethod
    def make(cls, entry: PreparedConvolution) -> _Depthwise | None:
        """None for int16, and for rules without a compiled form."""
        layer = entry.convolution
        if layer.input.dtype.name not in ("int8", "uint8"):
            return None
        if any(part.outputs != "all" or part.params.rule.requantize not in _DEPTHWISE_FORMS for part in entry.parts):
            return None
        return cls(layer, entry.parts)

    def __call__(self, values: Sequence[Array], threads: int) -> Array:
        from .compile import python_function
        from .image_kernels import Depthwise, depthwise

        layer, x, params = self._layer, np.ascontiguousarray(values[0]), self._params
        layer.check(x)
        rows, columns = layer.rows, layer.columns
        height, width = rows.outputs(x.shape[1]), columns.outputs(x.shape[2])
        (top, bottom), (left, right) = rows.padding(x.shape[1]), columns.padding(x.shape[2])
        padded = np.zeros((x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), np.int16)
        out = np.empty((x.shape[0], height, width, layer.channels), layer.output.dtype.numpy)
        sums = np.empty(layer.channels, np.int32)
        convolution = Depthwise(
            source=address(x),
            images=x.shape[0],
            rows=x.shape[1],
            columns=x.shape[2],
            depth=x.shape[3],
            unsigned=int(x.dtype == np.uint8),
            zero=layer.input_zero_point,
            padded=address(padded),
            padded_columns=padded.shape[1],
            top=top,
            left_columns=left,
            height=height,
            width=width,
            channels=layer.channels,
            taps_high=self._weights.shape[0],
            taps_wide=self._weights.shape[1],
            stride_high=rows.stride,
            stride_wide=columns.stride,
            dilation_high=rows.dilation,
            dilation_wide=columns.dilation,
            weights=address(self._weights),
            begin=address(self._start),
            sums=address(sums),
            parts=len(self._forms),
            forms=address(self._forms),
            ends=address(self._ends),
            factor=address(self._factor),
            multiplier=address(self._multiplier),
            left=address(self._left),
            right=address(self._right),
            zero_point=params.output_zero_point,
            low=params.activation_min,
            high=params.activation_max,
            qmax=integer_type(layer.output.dtype).qmax,
            out=address(out),
        )
        fields = np.asarray(convolution, np.int64)
        python_function(depthwise)(address(fields))
        return out


class _Pairs:
    """ADD, SUB or MUL of two byte arrays of one shape: one table of all 65,536 pairs."""

    def __init__(self, entry: PreparedOperator, table: Array) -> None:
        self._entry = entry
        self._table = table

    @classmethod
    def make(cls, entry: PreparedBinary) -> _Pairs | None:
        """None for broadcasting, constants, and sizes that are no whole vectors: places matter to some kernels."""
        first, second = (tensor for tensor in entry.tensors)
        kind = first.dtype.numpy
        size = math.prod(first.shape)
        if first.shape != second.shape or first.dtype.name not in ("int8", "uint8") or kind is None:
            return None
        if first.data is not None or second.data is not None or size % 16 or size < _LEAST_PAIRS:
            return None
        low = -128 if kind == np.int8 else 0
        values = np.arange(low, low + 256).astype(kind)
        # Whole vectors: what is done at one place is done at all.
        return cls(entry, entry.evaluate([np.repeat(values, 256), np.tile(values, 256)])["output"])

    def __call__(self, values: Sequence[Array], threads: int) -> Array:
        from .compile import python_function
        from .image_kernels import look_up_pairs

        first, second = (np.ascontiguousarray(x) for x in values)
        if first.shape != second.shape:
            return self._entry.evaluate(values)["output"]
        out = np.empty(first.shape, self._table.dtype)
        flip = 128 if first.dtype == np.int8 else 0
        look_up = python_function(look_up_pairs)
        look_up(address(first), address(second), first.size, flip, address(self._table), address(out))
        return out
