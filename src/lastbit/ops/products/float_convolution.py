"""CONV_2D and DEPTHWISE_CONV_2D of float32, where the order of additions is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arith.floats import flush_subnormals, fma32
from ...arith.windows import taps
from ...model.types import Array
from ...rules.operators.float_convolutions import FloatConvolution
from ..base import PreparedOperator, refuse
from ..elements.floats import clamp, float_bounds
from .convolution import Convolution
from .float_beside import values_beside
from .float_lanes import lanes_of

__all__ = ["PreparedFloatConvolution", "prepare_float_convolution"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedFloatConvolution(PreparedOperator):
    """A float32 convolution with its constants folded for one runtime.

    Attributes:
        convolution: the convolution as the file has it.
    """

    convolution: Convolution


def prepare_float_convolution(layer: Convolution, rule: FloatConvolution) -> PreparedOperator:
    """Prepare a float32 convolution.

    Args:
        layer: the convolution; its types are checked here.
        rule: its rule.

    Returns:
        Steps: `sum` (with the bias), `output`, all `[n, out_h, out_w, out]`.

    Raises:
        UnsupportedError: there is no bias, or a type other than float32.

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/reference/conv.h and depthwiseconv_float.h; google/XNNPACK,
    src/f32-igemm and src/f32-dwconv. The order was found by probing.
    """
    op = layer.operator
    tensors = [layer.input, layer.weights, layer.bias, layer.output]
    if any(tensor is None or tensor.dtype.name != "float32" for tensor in tensors):
        raise refuse(op, "LastBit covers float32 convolutions with float32 weights and a float32 bias")
    assert layer.weights.data is not None
    assert layer.bias is not None
    assert layer.bias.data is not None
    flush, last = rule.flush, rule.bias == "last"
    low, high = float_bounds(op, finite=not flush)
    weights, bias = _flush(layer.weights.data, flush), _flush(layer.bias.data, flush)
    groups = layer.input.shape[3] if op.name == "DEPTHWISE_CONV_2D" else layer.groups
    if op.name == "DEPTHWISE_CONV_2D":
        # [1, kh, kw, out] to CONV_2D's [out, kh, kw, 1]: it is a convolution with a group for each input channel.
        weights = weights.transpose(3, 1, 2, 0)

    def accumulate(x: Array) -> Array:
        depth, each = weights.shape[3], layer.channels // groups
        x, columns_first = _flush(x, flush), layer.depthwise(rule.columns_first_taps)
        seen = {(i, j): part for i, j, part in taps(x, layer.rows, layer.columns, 0)}
        order = sorted(seen, key=lambda place: place[::-1] if columns_first else place)
        shape = (*next(iter(seen.values())).shape[:3], layer.channels)
        lanes = lanes_of(layer, rule, shape)
        start = bias + np.float32(0) if lanes.from_zero else bias
        sums = [np.broadcast_to(np.float32(0) if last else start, shape)]
        sums += [np.zeros(shape, np.float32)] * (lanes.count - 1)
        for tap, (i, j) in enumerate(order):
            for channel in range(depth):
                values = np.repeat(seen[i, j][..., channel::depth], each, axis=3)
                sums = lanes.joined(sums, channel, depth)
                lane = lanes.lane(tap, channel, len(sums))
                if rule.fused and not _in_group(channel, depth, rule.unfused_group):
                    sums[lane] = fma32(values, weights[:, i, j, channel], sums[lane], flush=flush, arm=rule.arm)
                else:
                    sums[lane] = sums[lane] + values * weights[:, i, j, channel]
        if columns_first:
            for tap, values in enumerate(values_beside(layer, x), len(order)):
                lane = lanes.lane(tap, 0, len(sums))
                sums[lane] = fma32(values, np.float32(0), sums[lane], flush=flush, arm=rule.arm)
        total = lanes.total(sums)
        return total + bias if last else np.asarray(total)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        layer.check(values[0])
        with np.errstate(all="ignore"):
            total = accumulate(values[0])
        return {"sum": total, "output": clamp(total, low, high, rule.zeros)}

    return PreparedFloatConvolution(
        operator=op, rule=rule.name, inputs=(layer.input.index,), evaluate=evaluate, convolution=layer
    )


def _flush(x: Array, wanted: bool) -> Array:
    return flush_subnormals(x) if wanted else x


def _in_group(channel: int, depth: int, group: int) -> bool:
    """Whether a channel is in a whole group of so many of its tap."""
    return group > 0 and channel < depth - depth % group
