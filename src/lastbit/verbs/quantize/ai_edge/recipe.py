"""Which operators ai-edge-quantizer quantizes in each of its recipes, and what it knows of each.

Source: google-ai-edge/ai-edge-quantizer (0.10.0) ai_edge_quantizer/default_policy.py (the lists),
algorithms/uniform_quantize/common_quantize.py (what is shared, fixed or left out) and recipe.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["INPUT", "OPERATORS", "OUTPUT", "Operation", "Recipe", "ScaleOwner"]

# The recipe's names for what feeds the graph and what it returns.
INPUT, OUTPUT = "INPUT", "OUTPUT"


class ScaleOwner(Enum):
    """Whose scale an operator's tensors have."""

    OWN = "each its own"
    INPUTS = "outputs that of the input"
    OUTPUTS = "inputs that of the output"
    FIXED = "the output always the same"


@dataclass(frozen=True)
class Operation:
    """What ai-edge-quantizer knows of one operator.

    Attributes:
        scales: whose scale its tensors have.
        ignored: positions of inputs that are no values.
        bias: the bias's position, and those of the input and the weights whose scales make its scale.
        axis: the axis of a constant's channels; None: one scale.
        fixed: bits -> (scale, zero point) of the output.
    """

    scales: ScaleOwner = ScaleOwner.OWN
    ignored: tuple[int, ...] = ()
    bias: tuple[int, int, int] | None = None
    axis: int | None = None
    fixed: Mapping[int, tuple[float, int]] = field(default_factory=dict)


_INDEXED = Operation(ScaleOwner.INPUTS, (1,))
_SIGMOID = Operation(ScaleOwner.FIXED, fixed={8: (1 / 256, -128), 16: (1 / 32768, 0)})

OPERATORS: dict[str, Operation] = {
    INPUT: Operation(),
    OUTPUT: Operation(),
    **dict.fromkeys(
        (
            "ADD",
            "BATCH_MATMUL",
            "DIV",
            "EQUAL",
            "GELU",
            "HARD_SWISH",
            "MUL",
            "NOT_EQUAL",
            "RELU",
            "RSQRT",
            "SQRT",
            "SQUARED_DIFFERENCE",
            "SUB",
        ),
        Operation(),
    ),
    "CONV_2D": Operation(ignored=(2,), bias=(2, 0, 1), axis=0),
    "DEPTHWISE_CONV_2D": Operation(ignored=(2,), bias=(2, 0, 1), axis=3),
    "FULLY_CONNECTED": Operation(ignored=(2,), bias=(2, 0, 1), axis=0),
    "TRANSPOSE_CONV": Operation(ignored=(0, 3), bias=(3, 2, 1), axis=0),
    "EMBEDDING_LOOKUP": Operation(ignored=(0,), axis=0),
    "LOGISTIC": _SIGMOID,
    "SOFTMAX": _SIGMOID,
    "TANH": Operation(ScaleOwner.FIXED, fixed={8: (1 / 128, 0), 16: (1 / 32768, 0)}),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "SPACE_TO_DEPTH", "UNPACK"), Operation(ScaleOwner.INPUTS)),
    **dict.fromkeys(
        (
            "BROADCAST_TO",
            "GATHER",
            "GATHER_ND",
            "MIRROR_PAD",
            "PAD",
            "REDUCE_MIN",
            "RESHAPE",
            "RESIZE_BILINEAR",
            "RESIZE_NEAREST_NEIGHBOR",
            "TRANSPOSE",
        ),
        _INDEXED,
    ),
    **dict.fromkeys(("MEAN", "SUM"), Operation(ignored=(1,))),
    "SLICE": Operation(ScaleOwner.INPUTS, (1, 2)),
    "SPLIT": Operation(ScaleOwner.INPUTS, (0,)),
    "STRIDED_SLICE": Operation(ScaleOwner.INPUTS, (1, 2, 3)),
    **dict.fromkeys(("CONCATENATION", "MAXIMUM", "PACK"), Operation(ScaleOwner.OUTPUTS)),
    **dict.fromkeys(("SELECT", "SELECT_V2"), Operation(ScaleOwner.OUTPUTS, (0,))),
    "DYNAMIC_UPDATE_SLICE": Operation(ScaleOwner.OUTPUTS, (2,)),
    "PADV2": Operation(ScaleOwner.OUTPUTS, (1,)),
}

# Operators whose constants are weights.
WEIGHTED = frozenset(
    ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "EMBEDDING_LOOKUP", "FULLY_CONNECTED", "TRANSPOSE_CONV")
)
_INT8_ONLY = frozenset(("HARD_SWISH", "SPACE_TO_DEPTH", "SQUARED_DIFFERENCE"))
_NOT_STATIC = frozenset(("EMBEDDING_LOOKUP",))
_INT4_STATIC = frozenset(("CONV_2D", "FULLY_CONNECTED"))
_INT4 = frozenset(("CONV_2D", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"))


@dataclass(frozen=True)
class Recipe:
    """What is quantized, and to how many bits.

    Attributes:
        weights: bits of weights, 8 or 4.
        activations: bits of activations, 8 or 16; None: they stay float32.
        in_kernel: whether kernels take quantized weights; else a DEQUANTIZE stands before each.
        float_inputs: whether the graph's inputs stay float32.
        float_outputs: whether its outputs do.
    """

    weights: int
    activations: int | None = None
    in_kernel: bool = True
    float_inputs: bool = False
    float_outputs: bool = False

    def quantizes(self, name: str) -> bool:
        """Whether an operator is quantized in this recipe."""
        if name not in OPERATORS or (name == INPUT and self.float_inputs) or (name == OUTPUT and self.float_outputs):
            return False
        if self.activations is None:
            narrow = _INT4 if self.in_kernel else _INT4 | {"BATCH_MATMUL"}
            return name in (WEIGHTED if self.weights == 8 else narrow)
        if self.weights == 4 and name in WEIGHTED:
            return name in _INT4_STATIC
        return name not in _NOT_STATIC and (self.activations == 8 or name not in _INT8_ONLY)
