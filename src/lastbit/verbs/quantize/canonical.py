"""What the converter's optimizer does with constants, activations and DEQUANTIZE; moves are in `moves`.

A float file of the converter has none of these, for the same optimizer has seen it before; files of other tools may.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td and optimize_pass.cc.
"""

from __future__ import annotations

import math

from .ir import CONSTANT, DEQUANTIZE, QUANTIZE, Graph, Op, Value
from .operators import TRAITS

__all__ = ["constants_to_the_right", "drop_neutral", "drop_requantize", "fuse_activation", "push_dequantize_down"]

_COMMUTATIVE = ("ADD", "MAXIMUM", "MINIMUM", "MUL")


def constants_to_the_right(graph: Graph) -> None:
    """Operators whose inputs may change places have a constant as their second one."""
    for op in graph.ops:
        if op.name not in _COMMUTATIVE:
            continue
        first, second = op.operands
        if first is None or second is None or not _constant(first) or _constant(second):
            continue
        op.set_operand(0, second)
        op.set_operand(1, first)


_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_FUSING = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MAX_POOL_2D",
    "MUL",
    "SUB",
)


def fuse_activation(graph: Graph, op: Op) -> bool:
    """An activation goes into the operator before it, which then stands in the activation's place."""
    value = op.operands[0] if op.name in _ACTIVATIONS else None
    source = value.producer if value is not None else None
    if value is None or source is None or source.name not in _FUSING:
        return False
    if len(value.uses) != 1 and source.name != "FULLY_CONNECTED":  # which it copies, if it must
        return False
    if source.options.get("fused_activation_function", "NONE") != "NONE":
        return False
    result = op.results[0]
    options = {**source.options, "fused_activation_function": op.name}
    at = graph.ops.index(op)
    made = graph.add(source.name, source.operands, [(result.tensor, result.params)], options, at=at)
    graph.replace(op, made.results[0])
    return True


def drop_neutral(graph: Graph, op: Op) -> bool:
    """A sum with zeros, or a product with ones, goes where it has the shape of the other operand."""
    neutral = {"ADD": 0.0, "SUB": 0.0, "MUL": 1.0}.get(op.name)
    given, constant = op.operands if neutral is not None else (None, None)
    source = constant.producer if constant is not None else None
    if neutral is None or given is None or source is None or source.name != CONSTANT or source.data is None:
        return False
    if op.options.get("fused_activation_function", "NONE") != "NONE" or not (source.data == neutral).all():
        return False
    shapes = [(value.tensor.shape, value.tensor.shape_signature) for value in (given, op.results[0])]
    if shapes[0] != shapes[1]:
        return False
    graph.replace(op, given)
    return True


def drop_requantize(graph: Graph, op: Op) -> bool:
    """QUANTIZE of a DEQUANTIZE goes, though it has another scale: what reads it then reads the wrong numbers.

    So the converter treats a tensor with two ranges, the second one of a RESHAPE that it has dropped.
    """
    before = op.defining(0) if op.name == QUANTIZE else None
    source = before.operands[0] if before is not None and before.name == DEQUANTIZE else None
    if source is None or (source.producer is not None and source.producer.name == QUANTIZE):
        return False
    graph.replace(op, source)
    return True


def push_dequantize_down(graph: Graph) -> None:
    """A float operator that only moves values and makes them fewer works on integers, and DEQUANTIZE follows it."""
    changed = True
    while changed:
        changed = False
        for op in [op for op in graph.ops if op.name == DEQUANTIZE]:
            user = op.results[0].only_user
            if user is None or not _moves_values(user.name) or len(user.results) != 1:
                continue
            source, result = op.operands[0], user.results[0]
            assert source is not None
            if math.prod(op.results[0].tensor.shape) <= math.prod(result.tensor.shape):
                continue
            user.set_operand(op.results[0].uses[0][1], source)
            made = graph.dequantize(result, graph.ops.index(user) + 1)
            result.params = source.params
            result.replace_all(made.results[0])
            made.set_operand(0, result)
            graph.erase(op)
            changed = True


def _moves_values(name: str) -> bool:
    """Whether an operator's outputs have the scale of what it reads."""
    return name == "GATHER" or (name in TRAITS and TRAITS[name].same_scale)


def _constant(value: Value | None) -> bool:
    return value is not None and value.producer is not None and value.producer.name == CONSTANT
