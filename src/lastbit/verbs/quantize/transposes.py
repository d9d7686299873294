"""What the converter's optimizer makes of TRANSPOSEs in a row, and beside SQUEEZE and RESHAPE.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_pass.cc (01d971c556e3).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from operator import mul

from .ir import Graph, Op, Value
from .new_operators import constant_of, integers, replace_by

__all__ = ["fold_transposes", "reorder_transposes", "squeeze_first"]


def fold_transposes(graph: Graph, op: Op) -> bool:
    """Two TRANSPOSEs in a row become one, if the first has no other user."""
    value = op.operands[0] if op.name == "TRANSPOSE" else None
    first = value.producer if value is not None and len(value.uses) == 1 else None
    if first is None or first.name != "TRANSPOSE" or first.operands[0] is None:
        return False
    orders = [constant_of(each.operands[1]) for each in (first, op)]
    if orders[0] is None or orders[1] is None:
        return False
    order = orders[0].reshape(-1)[orders[1].reshape(-1)].tolist()
    replace_by(graph, op, "TRANSPOSE", [first.operands[0], integers(graph, order, op)])
    return True


def squeeze_first(graph: Graph, op: Op) -> bool:
    """SQUEEZE of a TRANSPOSE becomes TRANSPOSE of a SQUEEZE."""
    move = op.defining(0) if op.name == "SQUEEZE" else None
    order = constant_of(move.operands[1]) if move is not None and move.name == "TRANSPOSE" else None
    given = move.operands[0] if move is not None else None
    if move is None or order is None or given is None:
        return False
    axes, shape = order.reshape(-1).tolist(), given.tensor.shape
    dropped = list(op.options.get("squeeze_dims") or ()) or [i for i, axis in enumerate(axes) if shape[axis] == 1]
    gone = sorted(axes[axis] for axis in dropped)
    left = [axis for axis in range(len(axes)) if axis not in gone]
    turned = [left.index(axis) for position, axis in enumerate(axes) if position not in dropped]
    first = _shaped(graph, "SQUEEZE", given, tuple(shape[axis] for axis in left), op, {"squeeze_dims": tuple(gone)})
    replace_by(graph, op, "TRANSPOSE", [first, integers(graph, turned, op)])
    return True


def reorder_transposes(graph: Graph, op: Op) -> bool:
    """TRANSPOSE of two dimensions, RESHAPE, TRANSPOSE: the RESHAPE comes first, if it splits the two dimensions."""
    reshape = op.defining(0) if op.name == "TRANSPOSE" else None
    inner = reshape.defining(0) if reshape is not None and reshape.name == "RESHAPE" else None
    order = constant_of(inner.operands[1]) if inner is not None and inner.name == "TRANSPOSE" else None
    given = inner.operands[0] if inner is not None else None
    if reshape is None or inner is None or given is None or order is None or order.reshape(-1).tolist() != [1, 0]:
        return False
    shape = reshape.results[0].tensor.shape
    rows = inner.results[0].tensor.shape[0]
    ends = [axis for axis, product in enumerate(accumulate(shape, mul)) if product == rows]
    if not ends:
        return False
    split = ends[-1] + 1
    turned = [*range(len(shape) - split, len(shape)), *range(len(shape) - split)]
    first = _shaped(graph, "RESHAPE", given, (*shape[split:], *shape[:split]), op)
    result = reshape.results[0]
    operands = [first, integers(graph, turned, op)]
    made = graph.add("TRANSPOSE", operands, [(result.tensor, result.params)], at=graph.ops.index(op))
    graph.replace(reshape, made.results[0])
    return True


def _shaped(
    graph: Graph, name: str, given: Value, shape: tuple[int, ...], before: Op, options: dict[str, object] | None = None
) -> Value:
    """SQUEEZE or RESHAPE of a value to a shape, before an operator."""
    tensor = replace(given.tensor, shape=shape, shape_signature=shape)
    operands = [given, integers(graph, list(shape), before)] if name == "RESHAPE" else [given]
    return graph.add(name, operands, [(tensor, given.params)], options, at=graph.ops.index(before)).results[0]
