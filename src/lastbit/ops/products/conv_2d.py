"""CONV_2D: windows laid out as rows (im2col), one exact matrix product, requantization."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arith.matmul import pack_weights
from ...arith.windows import patches
from ...model.graph import Model, Operator
from ...model.types import Array, integer_type
from ...rules.base import ChannelGroups, ElementGroups, ThreeByThree
from ...rules.hybrid.convolutions import HYBRID_CONVOLUTIONS
from ...rules.hybrid.words import convolution_equation
from ...rules.operators.float_convolutions import CONVOLUTIONS
from ...rules.operators.floats import float_equations
from ...rules.requantize.table import CHOICES_AROUND_DENSE
from ..base import PreparedOperator
from ..entry import LAYER_ROLES, OperatorEntry, OperatorGroup
from .convolution import RULES as CONVOLUTION_RULES
from .convolution import convolution, convolution_variant, finish
from .float_convolution import prepare_float_convolution
from .hybrid_convolution import prepare_hybrid_convolution

__all__ = ["ENTRIES", "RULES", "prepare_conv_2d"]

# Its kernels treat all outputs alike, and all filters.
_BY_PLACE = {
    name
    for name, choice in CHOICES_AROUND_DENSE.items()
    if isinstance(choice.when, ChannelGroups | ElementGroups | ThreeByThree)
}
RULES: dict[str, str] = {name: text for name, text in CONVOLUTION_RULES.items() if name not in _BY_PLACE}
RULES |= float_equations(CONVOLUTIONS)
RULES |= {name: convolution_equation(rule) for name, rule in HYBRID_CONVOLUTIONS.items()}

# Bytes that the laid-out windows of one matrix product may take.
_CHUNK = 1 << 25


def prepare_conv_2d(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare CONV_2D: int8, uint8, int16 x int8, float32 or hybrid, with or without a bias; grouped, strided, dilated.

    acc[n, y, x, o] = sum over the window and the group's channels of (input - zx)(weights - zw) + bias, in an int32
    that wraps, or in 64 bits where the rule says so. Padding counts as zx.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `acc`, those of the requantization, `output`, all `[n, out_h, out_w, out]`; of float32: `sum`, `output`;
        of hybrid ones see `prepare_hybrid_convolution`.

    Raises:
        UnsupportedError: the convolution is outside of what LastBit covers.

    Source: google-ai-edge/LiteRT, tflite/kernels/conv.cc @01d971c556e3 (which kernel), .../reference/integer_ops/
    conv.h @4e3f91a2024a; google/XNNPACK, src/configs and src/qs8-gemm for the delegate.
    """
    layer = convolution(model, op, rule)
    if rule in CONVOLUTIONS:
        return prepare_float_convolution(layer, CONVOLUTIONS[rule])
    if rule in HYBRID_CONVOLUTIONS:
        return prepare_hybrid_convolution(layer, HYBRID_CONVOLUTIONS[rule])
    assert layer.weights.data is not None
    groups = layer.groups
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    # [out, kh, kw, c]: each group has whole output channels. With both zero points subtracted, padding is 0.
    weights = layer.weights.data.reshape(layer.channels, -1)
    dtype = integer_type(layer.input.dtype)
    largest = max(zx - dtype.qmin, dtype.qmax - zx)
    packed = [pack_weights(part, largest, zw) for part in np.split(weights, groups)]
    depth = weights.shape[1]

    def accumulate(x: Array) -> npt.NDArray[np.int64]:
        height, width = layer.rows.outputs(x.shape[1]), layer.columns.outputs(x.shape[2])
        sums = np.empty((x.shape[0], height, width, layer.channels), np.int64)
        kind = max((part.kind for part in packed), key=lambda d: d.itemsize)
        step = max(_CHUNK // (height * width * depth * kind.itemsize), 1)
        for start in range(0, x.shape[0], step):
            centered = x[start : start + step].astype(kind) - kind.type(zx)
            view = patches(centered, layer.rows, layer.columns, 0)
            for number, part in enumerate(packed):
                channels = view[..., number * view.shape[5] // groups : (number + 1) * view.shape[5] // groups]
                outputs = slice(number * layer.channels // groups, (number + 1) * layer.channels // groups)
                rows = channels.reshape(-1, depth)
                sums[start : start + step, ..., outputs] = part.dot(rows).reshape(*view.shape[:3], -1)
        return sums

    return finish(layer, rule, accumulate)


ENTRIES = {
    "CONV_2D": OperatorEntry(
        prepare_conv_2d, RULES, OperatorGroup.PRODUCTS, convolution_variant, (2, 3), roles=LAYER_ROLES
    ),
}
