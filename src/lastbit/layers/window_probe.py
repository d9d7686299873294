"""A convolution that prints its requantization function: zero weights, and an output channel for each accumulator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arith.windows import WindowAxis
from ..model.graph import Subgraph, Tensor
from ..model.tflite.synthesize import DTYPE_BY_NAME, quant
from ..model.types import Array, Int64Array, QuantParams
from ..ops.products.window_layer import WindowLayer

__all__ = ["like", "window_probe"]

# Kernels may depend on whether the depth is odd, and take eight channels at a time.
_CHANNELS = 8
_OUTPUTS = 2


def window_probe(layer: WindowLayer, accs: Sequence[Int64Array], channels: Sequence[int]) -> Subgraph:
    """The graph of a probe: the convolution's own window, stride, padding and scales, with fewer inputs.

    Args:
        layer: the convolution.
        accs: for each channel, the accumulators to print, within the bias's type.
        channels: the output channels whose scales are probed.

    Returns:
        The graph; its output is `[1, h, w, total]`, the accumulators one after another in the last dimension, each
        h * w times. A few are repeated at the end, so that kernels which take several channels at a time take all.
    """
    convolution, zw = layer.convolution, layer.weights_zero_point
    depthwise = layer.operator.name == "DEPTHWISE_CONV_2D"
    bias = np.concatenate(list(accs))
    groups = convolution.groups
    multiplier = layer.units // groups
    whole = math.lcm(_CHANNELS, multiplier if depthwise else groups)
    more = -bias.size % whole
    bias = np.append(bias, np.repeat(bias[-1:], more))
    scales = layer.weights_scale
    if scales.size > 1:
        scales = np.concatenate([np.full(len(a), scales[c]) for a, c in zip(accs, channels, strict=True)])
        scales = np.append(scales, np.repeat(scales[-1:], more))
    own = convolution.weights.shape[3]
    seen = min(own, _CHANNELS + own % 2)
    kernel = convolution.rows.size, convolution.columns.size
    shape = (1, *kernel, bias.size) if depthwise else (bias.size, *kernel, seen)
    inputs = bias.size // multiplier if depthwise else groups * seen
    places = [min(count, _OUTPUTS) for count in layer.output.shape[1:3]]
    height, width = map(_length, (convolution.rows, convolution.columns), places)
    stored = convolution.weights
    assert stored.quant is not None
    wide = "int64" if layer.input.dtype.name == "int16" else "int32"
    kind = wide if layer.bias is None else layer.bias.dtype.name
    bias_quant = quant(layer.input_scale * scales)
    tensors = (
        like(layer.input, 0, (1, height, width, inputs)),
        like(stored, 1, shape, np.full(shape, zw), replace(quant(scales, zw), axis=stored.quant.axis)),
        replace(like(layer.bias or layer.input, 2, bias.shape, bias, bias_quant, kind), name="bias"),
        like(layer.output, 3, (1, *places, bias.size)),
    )
    op = replace(layer.operator, index=0, inputs=(0, 1, 2), outputs=(3,))
    return Subgraph("main", tensors, (op,), (0,), (3,))


def _length(axis: WindowAxis, outputs: int) -> int:
    """An axis's length that gives this many outputs."""
    return (outputs - 1) * axis.stride + (1 if axis.same else axis.reach)


def like(
    tensor: Tensor,
    index: int,
    shape: tuple[int, ...],
    data: Array | None = None,
    params: QuantParams | None = None,
    dtype: str = "",
) -> Tensor:
    """A tensor with another index, shape, values, quantization and element type."""
    kind = DTYPE_BY_NAME[dtype] if dtype else tensor.dtype
    values = None if data is None else np.asarray(data).astype(kind.numpy)
    return replace(
        tensor, index=index, shape=shape, shape_signature=shape, dtype=kind, data=values, quant=params or tensor.quant
    )
