"""Operators on images for the compiled chain: convolutions, pools, sums of two images, and what moves values.

`pack_image_operator` gives what a chain runs, or None where there is no compiled code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...model.graph import Model
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.elements.binary import PreparedBinary
from ...ops.products.convolution import Convolution, PreparedConvolution
from ..plan import MOVES, Around
from . import matmul
from .depthwise import PackedDepthwise, pack_depthwise
from .moves import PackedMove, pack_move
from .pairs import PackedPairs, pack_pairs
from .pools import PackedPool, pack_pool
from .windows import Windows

__all__ = ["PackedImage", "pack_image_operator"]

PackedImage = matmul.PackedDense | PackedDepthwise | PackedPairs | PackedPool | PackedMove

_NONE: Around = ((0, 0), (0, 0))


def pack_image_operator(entry: PreparedOperator, model: Model, around: Around = _NONE) -> PackedImage | None:
    """An operator ready for a chain, or None.

    Args:
        entry: the operator.
        model: its model.
        around: of a convolution, rows and columns of padding that were put around its images before.
    """
    if isinstance(entry, PreparedConvolution):
        if entry.convolution.weights.data is None or any(part.outputs != "all" for part in entry.parts):
            return None
        make = {"CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise}.get(entry.operator.name)
        return None if make is None else make(entry, around)
    if isinstance(entry, PreparedBinary):
        return pack_pairs(entry)
    return pack_move(entry, model) if entry.operator.name in MOVES else pack_pool(entry, model)


def _image(layer: Convolution, around: Around) -> tuple[int, ...]:
    """`[h, w, c]` of the images without what was put around them."""
    height, width, channels = layer.input.shape[1:]
    return height - sum(around[0]), width - sum(around[1]), channels


def _folded(layer: Convolution, weights: Array) -> npt.NDArray[np.int64]:
    """What the sums begin with: the bias less the input's zero point times the weights `[out, depth]` less theirs."""
    sums: npt.NDArray[np.int64] = weights.sum(axis=1, dtype=np.int64) - weights.shape[1] * layer.weights_zero_point
    return layer.bias_values - layer.input_zero_point * sums


def _convolution(entry: PreparedConvolution, around: Around) -> matmul.PackedDense | None:
    """Every window is a row of a dense layer. None where there are groups, or the kernels do not know the rule."""
    layer = entry.convolution
    assert layer.weights.data is not None
    return None if layer.groups != 1 else _products(entry, layer.weights.data.reshape(layer.channels, -1), around)


def _products(entry: PreparedConvolution, weights: Array, around: Around) -> matmul.PackedDense | None:
    layer, dtype = entry.convolution, entry.convolution.input.dtype.numpy
    if len(entry.parts) != 1 or dtype is None:
        return None
    params = entry.parts[0].params
    rows, columns = layer.rows, layer.columns
    image = _image(layer, around)
    places: int | Windows = Windows.of(image, rows, columns, around, layer.input_zero_point)
    if (rows.size, columns.size, rows.stride, columns.stride) == (1, 1, 1, 1) and around == _NONE:
        places = image[0] * image[1]
    return matmul.pack(
        weights,
        weights_zero_point=layer.weights_zero_point,
        bias=_folded(layer, weights),
        epilogue=matmul.Epilogue(params, cheapest=True),
        acc_bits=params.rule.sums.bits,
        input_type=dtype.name,
        rows=places,
    )


def _depthwise(entry: PreparedConvolution, around: Around) -> PackedDepthwise | matmul.PackedDense | None:
    """Channel by channel; with one input channel that is a convolution. None for int16."""
    layer = entry.convolution
    assert layer.weights.data is not None
    image = _image(layer, around)
    if image[2] == 1 and len(entry.parts) == 1:
        return _products(entry, np.ascontiguousarray(layer.weights.data.reshape(-1, layer.channels).T), around)
    if layer.input.dtype.name not in ("int8", "uint8"):
        return None
    stored = layer.weights.data.reshape(-1, layer.channels)
    weights = stored.astype(np.int64) - layer.weights_zero_point
    times = layer.channels // image[2]
    return pack_depthwise(
        weights,
        Windows.by_channel(image, times, layer.rows, layer.columns, around, layer.input_zero_point),
        bias=_folded(layer, stored.T),
        parts=[(slice(part.first, part.end), part.params) for part in entry.parts],
        input_type=layer.input.dtype.name,
    )
