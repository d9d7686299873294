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
        weights: for each input that holds weights (its position, axis of its channels; -1: one scale).
        biases: for each bias (its position, the positions of the two whose scales make its scale).
        mlir_only: the older quantizer has no form of it.
    """

    same_scale: bool = False
    fixed: tuple[float, int] | None = None
    weights: tuple[tuple[int, int], ...] = ()
    biases: tuple[tuple[int, tuple[int, int]], ...] = ()
    mlir_only: bool = False

    def is_weights(self, position: int) -> bool:
        """Whether an input holds weights."""
        return any(place == position for place, _ in self.weights)

    def is_bias(self, position: int) -> bool:
        """Whether an input is a bias."""
        return any(place == position for place, _ in self.biases)


_SAME = Traits(same_scale=True)
_FREE = Traits()
_PRODUCT = ((2, (0, 1)),)

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
    "CONV_2D": Traits(weights=((1, 0),), biases=_PRODUCT),
    "DEPTHWISE_CONV_2D": Traits(weights=((1, 3),), biases=_PRODUCT),
    "FULLY_CONNECTED": Traits(weights=((1, 0),), biases=_PRODUCT),
    "TRANSPOSE_CONV": Traits(weights=((1, 0),), biases=((3, (2, 1)),)),
    # For the gates in turn: matrices of what is fed, of what comes back, and biases (`lstm` has its other rules).
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Traits(
        weights=tuple((position, -1) for position in range(1, 9)),
        biases=tuple((12 + gate, (0, 1 + gate)) for gate in range(4)),
        mlir_only=True,
    ),
}
