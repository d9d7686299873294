"""What TensorFlow's converter does with operators whose quantized form LastBit does not have.

Each was asked: a model of the operator alone, converted by TensorFlow 2.21 (WHILE and IF by 2.15 too), with int8
and with int16 activations and float32 allowed beside them. WHILE and IF: by ai-edge-quantizer 0.10 too.
"""

from __future__ import annotations

__all__ = ["what_the_converter_does"]

_INT8_ONLY = (
    "DEPTH_TO_SPACE",
    "DIV",
    "EQUAL",
    "GREATER",
    "L2_NORMALIZATION",
    "LESS",
    "LOG_SOFTMAX",
    "PRELU",
    "SPACE_TO_DEPTH",
    "SQRT",
    "TOPK_V2",
)
_BOTH = (
    "ABS",
    "BROADCAST_TO",
    "EXP",
    "GATHER_ND",
    "GELU",
    "LOG",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "REDUCE_PROD",
    "RESIZE_BILINEAR",
    "REVERSE_V2",
    "RSQRT",
    "SELECT",
    "SQUARED_DIFFERENCE",
    "TILE",
)
_NEITHER = (
    "CAST",
    "CEIL",
    "CONV_3D",
    "COS",
    "CUMSUM",
    "ELU",
    "FLOOR",
    "FLOOR_DIV",
    "FLOOR_MOD",
    "LOCAL_RESPONSE_NORMALIZATION",
    "NEG",
    "POW",
    "ROUND",
    "SIN",
    "SQUARE",
)
_FLOAT = "leaves it in float32, between DEQUANTIZE and QUANTIZE"
_INTEGER = "gives it integers"
_OTHERS = {
    ("IF", "int8"): "passes float32 through it and gives integers to what stands in its branches",
    ("WHILE", "int8"): "passes float32 through it and gives integers to what stands in its body",
}


# The MLIR quantizer's form is here (`lstm`); these sentences are about the older one.
_OLDER_LSTM = {
    "int8": "the older quantizer gives it int8 where the calibrator has added its intermediate tensors; "
    "TFLiteConverter's int8 is covered",
    "int16": "the older quantizer refuses it with int16 activations, or leaves it in float32 where that is allowed",
}


def what_the_converter_does(name: str, activations: str) -> str:
    """A half-sentence: what TensorFlow's converter does with an operator.

    Args:
        name: the operator's name.
        activations: `int8` or `int16`.
    """
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return _OLDER_LSTM[activations]
    if (name, activations) in _OTHERS:
        return f"TensorFlow's converter {_OTHERS[name, activations]}"
    if name in _BOTH or (name in _INT8_ONLY and activations == "int8"):
        return f"TensorFlow's converter {_INTEGER}"
    if name in _NEITHER or name in _INT8_ONLY:
        return f"TensorFlow's converter {_FLOAT}"
    return "what converters do with it was not asked"
