"""Operators on images for the compiled chain: convolutions, pools, sums of two images, and what moves values.

`pack_image_operator` gives what a chain runs, or None where there is no compiled code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...model.graph import Model
from ...model.types import Array, Int64Array
from ...ops.base import PreparedOperator
from ...ops.elements.binary import PreparedBinary
from ...ops.products.convolution import Convolution, PreparedConvolution
from ...rules.requantize.step_tables import take_channels
from ..plan import MOVES, Around
from . import matmul
from .depthwise import PackedDepthwise, pack_depthwise
from .groups import PackedGroups, join_groups
from .moves import PackedMove, pack_move
from .pairs import PackedPairs, pack_pairs
from .pools import PackedPool, pack_pool
from .windows import Windows

__all__ = ["PackedImage", "pack_image_operator"]

PackedImage = matmul.PackedDense | PackedGroups | PackedDepthwise | PackedPairs | PackedPool | PackedMove

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


def _convolution(entry: PreparedConvolution, around: Around) -> matmul.PackedDense | PackedGroups | None:
    """Every window is a row of a dense layer, one for each group. None where the kernels do not know the rule."""
    layer = entry.convolution
    assert layer.weights.data is not None
    weights = layer.weights.data.reshape(layer.channels, -1)
    if layer.groups == 1:
        return _products(entry, weights, around)
    windows = _windows(layer, around, seen=layer.weights.shape[3])
    layers = [_layer(entry, weights, units, windows) for units in np.split(np.arange(layer.channels), layer.groups)]
    packed = [found for found in layers if found is not None]
    return join_groups(packed, windows) if len(packed) == len(layers) else None


def _windows(layer: Convolution, around: Around, seen: int = 0) -> Windows:
    return Windows.of(_image(layer, around), layer.rows, layer.columns, around, layer.input_zero_point, seen)


def _products(entry: PreparedConvolution, weights: Array, around: Around) -> matmul.PackedDense | None:
    layer, image = entry.convolution, _image(entry.convolution, around)
    rows, columns = layer.rows, layer.columns
    places: int | Windows = _windows(layer, around)
    if (rows.size, columns.size, rows.stride, columns.stride) == (1, 1, 1, 1) and around == _NONE:
        places = image[0] * image[1]
    return _layer(entry, weights, np.arange(layer.channels), places)


def _layer(
    entry: PreparedConvolution, weights: Array, units: Int64Array, places: int | Windows
) -> matmul.PackedDense | None:
    """The dense layer of some output channels; `weights`: of all, `[out, depth]`."""
    layer, dtype = entry.convolution, entry.convolution.input.dtype.numpy
    if len(entry.parts) != 1 or dtype is None:
        return None
    params = take_channels(entry.parts[0].params, units)
    return matmul.pack(
        weights[units],
        weights_zero_point=layer.weights_zero_point,
        bias=_folded(layer, weights)[units],
        epilogue=matmul.Epilogue(params, cheapest=True),
        acc_bits=params.rule.sums.bits,
        input_type=dtype.name,
        rows=places,
    )


def _depthwise(entry: PreparedConvolution, around: Around) -> PackedDepthwise | matmul.PackedDense | None:
    """Channel by channel; with one input channel that is a convolution."""
    layer = entry.convolution
    assert layer.weights.data is not None
    image = _image(layer, around)
    if image[2] == 1 and len(entry.parts) == 1:
        return _products(entry, np.ascontiguousarray(layer.weights.data.reshape(-1, layer.channels).T), around)
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
