"""What converters know of each operator: which inputs are weights and bias, which scales are fixed or shared.

Source: google-ai-edge/LiteRT tflite/converter/ir/tfl_ops.td (020bd8ffd30d) for the MLIR quantizer.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRAITS", "Traits"]


@dataclass(frozen=True)
class Traits:
    """What the MLIR quantizer knows of one operator.

    Attributes:
        same_scale: inputs and outputs have one scale and zero point.
        fixed: (scale, zero point) of an int8 output that has always the same.
        weights: (input's position, axis of its channels; -1: one scale).
        bias: (the bias's position, the positions of the two whose scales make its scale).
    """

    same_scale: bool = False
    fixed: tuple[float, int] | None = None
    weights: tuple[int, int] | None = None
    bias: tuple[int, tuple[int, int]] | None = None


_SAME = Traits(same_scale=True)
_FREE = Traits()
_PRODUCT = (2, (0, 1))

TRAITS: dict[str, Traits] = {
    **dict.fromkeys(
        (
            "AVERAGE_POOL_2D",
            "BATCH_TO_SPACE_ND",
            "CONCATENATION",
            "EXPAND_DIMS",
            "FILL",
            "GATHER",
            "MAX_POOL_2D",
            "MAXIMUM",
            "MINIMUM",
            "MIRROR_PAD",
            "PACK",
            "PAD",
            "PADV2",
            "RESHAPE",
            "RESIZE_NEAREST_NEIGHBOR",
            "SLICE",
            "SPACE_TO_BATCH_ND",
            "SPLIT",
            "SPLIT_V",
            "SQUEEZE",
            "STRIDED_SLICE",
            "TRANSPOSE",
            "UNPACK",
        ),
        _SAME,
    ),
    **dict.fromkeys(
        (
            "ADD",
            "ARG_MAX",
            "ARG_MIN",
            "BATCH_MATMUL",
            "HARD_SWISH",
            "LEAKY_RELU",
            "MEAN",
            "MUL",
            "RELU",
            "RELU6",
            "RELU_N1_TO_1",
            "SHAPE",
            "SUB",
            "SUM",
        ),
        _FREE,
    ),
    "SOFTMAX": Traits(fixed=(1 / 256, -128)),
    "LOGISTIC": Traits(fixed=(1 / 256, -128)),
    "TANH": Traits(fixed=(1 / 128, 0)),
    "CONV_2D": Traits(weights=(1, 0), bias=_PRODUCT),
    "DEPTHWISE_CONV_2D": Traits(weights=(1, 3), bias=_PRODUCT),
    "FULLY_CONNECTED": Traits(weights=(1, 0), bias=_PRODUCT),
    "TRANSPOSE_CONV": Traits(weights=(1, 0), bias=(3, (2, 1))),
}
