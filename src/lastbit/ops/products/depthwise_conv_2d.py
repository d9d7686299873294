"""DEPTHWISE_CONV_2D: every input channel has `depth_multiplier` output channels of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...arith.windows import taps
from ...model.graph import Model, Operator
from ...model.types import Array
from ...rules.base import ElementGroups, OneRow
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

__all__ = ["ENTRIES", "RULES", "prepare_depthwise_conv_2d"]

# Its kernels choose by channel, wherever a row of them stands, and it is no matrix product, which has rows.
_BY_OTHERS = {name for name, choice in CHOICES_AROUND_DENSE.items() if isinstance(choice.when, ElementGroups | OneRow)}
RULES: dict[str, str] = {
    **{name: text for name, text in CONVOLUTION_RULES.items() if name not in _BY_OTHERS},
    **float_equations(CONVOLUTIONS),
    **{name: convolution_equation(rule) for name, rule in HYBRID_CONVOLUTIONS.items()},
}


def prepare_depthwise_conv_2d(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare DEPTHWISE_CONV_2D: int8, uint8, int16 x int8, float32 or hybrid, with or without bias; strided, dilated.

    Output channel `c * multiplier + m` sees input channel c alone. The multiplier is output channels by input
    channels, whatever the option says. Padding counts as zx.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `acc`, those of the requantization, `output`, all `[n, out_h, out_w, out]`; of float32: `sum`, `output`;
        of hybrid ones see `prepare_hybrid_convolution`.

    Raises:
        UnsupportedError: the convolution is outside of what LastBit covers.

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/reference/integer_ops/depthwise_conv.h @60f725ccc7ce and
    tflite/kernels/depthwise_conv.cc; google/XNNPACK, src/qs8-dwconv.
    """
    layer = convolution(model, op, rule)
    if rule in CONVOLUTIONS:
        return prepare_float_convolution(layer, CONVOLUTIONS[rule])
    if rule in HYBRID_CONVOLUTIONS:
        return prepare_hybrid_convolution(layer, HYBRID_CONVOLUTIONS[rule])
    assert layer.weights.data is not None
    multiplier = layer.channels // layer.input.shape[3]
    zx = layer.input_zero_point
    # Sums of int16 products may need more than the 32 bits in which those of 8-bit ones wrap, as the kernels' do.
    kind: type[np.integer[Any]] = np.int64 if layer.input.dtype.name == "int16" else np.int32
    weights = layer.weights.data[0].astype(kind) - kind(layer.weights_zero_point)

    def accumulate(x: Array) -> npt.NDArray[np.int64]:
        centered = x.astype(kind) - kind(zx)
        height, width = layer.rows.outputs(x.shape[1]), layer.columns.outputs(x.shape[2])
        acc = np.zeros((x.shape[0], height, width, x.shape[3], multiplier), kind)
        for i, j, seen in taps(centered, layer.rows, layer.columns, 0):
            acc += seen[..., None] * weights[i, j].reshape(x.shape[3], multiplier)
        return acc.reshape(*acc.shape[:3], layer.channels).astype(np.int64)

    return finish(layer, rule, accumulate)


ENTRIES = {
    "DEPTHWISE_CONV_2D": OperatorEntry(
        prepare_depthwise_conv_2d, RULES, OperatorGroup.PRODUCTS, convolution_variant, (2, 3), roles=LAYER_ROLES
    ),
}
