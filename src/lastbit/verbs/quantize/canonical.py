"""What the converter's optimizer makes of operators that another operator can stand for.

A float file of the converter has none of these, for the same optimizer has seen it before; files of other tools may.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td and optimize_pass.cc.
"""

from __future__ import annotations

import math

import numpy as np

from ...model.graph import Tensor
from ...model.types import INT32
from .ir import CONSTANT, DEQUANTIZE, Graph, Op, Value
from .operators import TRAITS

__all__ = ["canonicalize", "constants_to_the_right", "fuse_activations", "push_dequantize_down", "read_before_reshape"]

_COMMUTATIVE = ("ADD", "MAXIMUM", "MINIMUM", "MUL")
_RESHAPES = ("EXPAND_DIMS", "SQUEEZE")


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


def canonicalize(graph: Graph, slices: bool) -> None:
    """SQUEEZE and EXPAND_DIMS become RESHAPE, and with `slices` STRIDED_SLICE of steps of 1 becomes SLICE."""
    for op in list(graph.ops):
        if op.name in _RESHAPES:
            _reshape(graph, op)
        elif slices and op.name == "STRIDED_SLICE":
            _slice(graph, op)


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


def read_before_reshape(graph: Graph) -> None:
    """A dense layer reads what a RESHAPE of known size reads that leaves the last dimension: the layer flattens."""
    for op in graph.ops:
        value = op.operands[0] if op.name == "FULLY_CONNECTED" else None
        source = value.producer if value is not None else None
        if value is None or source is None or source.name != "RESHAPE" or op.options.get("keep_num_dims"):
            continue
        before, after = source.operands[0], op.results[0]
        if before is None or len(after.tensor.shape) != 2 or any(_dynamic(v) for v in (before, value, after)):
            continue
        if before.tensor.shape[-1:] == value.tensor.shape[-1:]:
            op.set_operand(0, before)


def _dynamic(value: Value) -> bool:
    """Whether a dimension is left open, as a batch of any size."""
    return any(size < 0 for size in value.tensor.shape_signature or ())


def fuse_activations(graph: Graph) -> None:
    """An activation goes into the operator before it, which then stands in the activation's place."""
    for op in list(graph.ops):
        value = op.operands[0] if op.name in _ACTIVATIONS else None
        source = value.producer if value is not None else None
        if value is None or source is None or source.name not in _FUSING:
            continue
        if len(value.uses) != 1 and source.name != "FULLY_CONNECTED":  # which it copies, if it must
            continue
        if source.options.get("fused_activation_function", "NONE") != "NONE":
            continue
        result = op.results[0]
        options = {**source.options, "fused_activation_function": op.name}
        at = graph.ops.index(op)
        made = graph.add(source.name, source.operands, [(result.tensor, result.params)], options, at=at)
        result.replace_all(made.results[0])
        graph.erase(op)
        if not value.uses:
            graph.erase(source)


def push_dequantize_down(graph: Graph) -> None:
    """A float operator that only moves values and makes them fewer works on integers, and DEQUANTIZE follows it."""
    changed = True
    while changed:
        changed = False
        for op in [op for op in graph.ops if op.name == DEQUANTIZE]:
            user = op.results[0].only_user
            if user is None or user.name not in TRAITS or not TRAITS[user.name].same_scale or len(user.results) != 1:
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


def _constant(value: Value | None) -> bool:
    return value is not None and value.producer is not None and value.producer.name == CONSTANT


def _integers(graph: Graph, values: list[int], op: Op) -> Value:
    """A new constant of int32."""
    data = np.array(values, np.int32)
    tensor = Tensor(-1, f"{op.results[0].tensor.name}/shape", data.shape, data.shape, INT32, None, data)
    return graph.add(CONSTANT, [], [(tensor, None)], data=data, at=0).results[0]


def _replace(graph: Graph, op: Op, name: str, operands: list[Value | None]) -> None:
    at = graph.ops.index(op)
    result = op.results[0]
    made = graph.add(name, operands, [(result.tensor, result.params)], at=at)
    result.replace_all(made.results[0])
    graph.erase(op)


def _reshape(graph: Graph, op: Op) -> None:
    """An EXPAND_DIMS with an open size stays, a SQUEEZE with one does not."""
    result = op.results[0].tensor
    shape = list(result.shape)
    if _dynamic(op.results[0]):
        shape = list(result.shape_signature or ())
        if op.name == "EXPAND_DIMS" or shape.count(-1) > 1:
            return
    _replace(graph, op, "RESHAPE", [op.operands[0], _integers(graph, shape, op)])


def _slice(graph: Graph, op: Op) -> None:
    """Only without masks, from begins that are not negative, in steps of 1."""
    limits = [value.producer.data for value in op.operands[1:] if value is not None and value.producer is not None]
    if len(limits) != 3 or any(part is None for part in limits) or any(op.options.values()):
        return
    begin, end, steps = (np.asarray(part).astype(int).tolist() for part in limits)
    if any(step != 1 for step in steps) or any(b < 0 or e < 0 for b, e in zip(begin, end, strict=True)):
        return
    size = [e - b for b, e in zip(begin, end, strict=True)]
    _replace(graph, op, "SLICE", [op.operands[0], _integers(graph, begin, op), _integers(graph, size, op)])
