"""What the converter's optimizer makes of operators that only move values, and of the dense layers beside them.

A float file of the converter has few of these, for the same optimizer has seen it before; files of other tools have
more.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td (0f6b97dd17c6) and optimize_pass.cc
(8714dad87b45); ReshapeOp and TransposeOp in tflite/converter/ir/tfl_ops.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .canonical import drop_requantize, fuse_activation
from .greedy import Optimizer, Step
from .ir import CONSTANT, Graph, Op, Value
from .matmuls import merge_reshapes, merge_transpose, swap_transposed
from .new_operators import constant_of, integers, replace_by
from .numbers import Parameters
from .paddings import join_padding
from .transposes import fold_transposes, reorder_transposes, squeeze_first

__all__ = ["NEWEST", "MoveRules", "fold_same", "fold_shape", "optimize_moves"]

# Elementwise operators that go before an operator that only moves values, where their scales are equal.
_ELEMENTWISE = ("LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
_MOVES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE")


@dataclass(frozen=True)
class MoveRules:
    """In what versions differ.

    Attributes:
        slices: whether a STRIDED_SLICE of steps of 1 becomes a SLICE.
        folds_transposes: whether two TRANSPOSEs in a row become one.
        matmul_least: how many dimensions a BATCH_MATMUL's first factor of three must have had before a RESHAPE that
            goes into it; 0 where BATCH_MATMULs stay as they are.
        transposes_second: whether a TRANSPOSE of a BATCH_MATMUL's second factor goes into it, as the first one's does.
        swaps_matmul: whether a TRANSPOSE behind a BATCH_MATMUL goes into it.
        reads_more_dims: whether a dense layer reads before a RESHAPE also where that makes the dimensions fewer.
        keeps_dims_for_any: whether a dense layer before a RESHAPE keeps its input's dimensions, whatever the RESHAPE
            makes of them; then a RESHAPE behind such a layer can go before it as well.
        folds_first: whether a RESHAPE that changes nothing goes before ranges are looked at, and its range stays.
        drops_neutral: whether a sum with zeros and a product with ones go as such a RESHAPE does.
        moves_transposes: whether a TRANSPOSE goes behind a SQUEEZE, and one of two dimensions behind a RESHAPE that
            another TRANSPOSE reads.
        drops_first: whether a scale that such a range has left over goes before the optimizer's first phase.
        joins_padding: whether zeros around an image become the padding of the convolution after them.
    """

    slices: bool = True
    folds_transposes: bool = True
    matmul_least: int = 3
    transposes_second: bool = True
    swaps_matmul: bool = True
    reads_more_dims: bool = True
    keeps_dims_for_any: bool = True
    folds_first: bool = True
    drops_neutral: bool = True
    moves_transposes: bool = True
    drops_first: bool = False
    joins_padding: bool = True


NEWEST = MoveRules()


def optimize_moves(graph: Graph, rules: MoveRules) -> None:
    """Apply the optimizer's three phases: RESHAPEs beside products, what stands alone, then both."""
    dense: list[Step] = [_keep_dims, _read_before_reshape if rules.reads_more_dims else _read_fewer_dims]
    products: list[Step] = [_drop_ones] if rules.keeps_dims_for_any else []
    products += [merge_reshapes(rules.matmul_least)] if rules.matmul_least else []
    alone: list[Step] = [
        fold_same,
        fold_shape,
        drop_requantize,
        _move_behind,
        fuse_activation,
        _as_reshape,
        *products,
        _fold,
    ]
    alone += [_as_slice] if rules.slices else []
    alone += [fold_transposes] if rules.folds_transposes else []
    alone += [join_padding] if rules.joins_padding else []
    last: list[Step] = [merge_transpose(0)] if rules.matmul_least else []
    last += [merge_transpose(1)] if rules.transposes_second else []
    last += [swap_transposed] if rules.swaps_matmul else []
    last += [_reshape_before, _keep_any_dims] if rules.keeps_dims_for_any else []
    last += [reorder_transposes] if rules.moves_transposes else []
    run = Optimizer(graph)
    run.apply(fold_same, fold_shape, *dense, *products, *([squeeze_first] if rules.moves_transposes else []))
    run.apply(*alone)
    run.apply(*alone, *dense, *last)


def _as_reshape(graph: Graph, op: Op) -> bool:
    """SQUEEZE, EXPAND_DIMS and a TRANSPOSE that moves only dimensions of 1 become RESHAPE.

    An EXPAND_DIMS with an open size stays, a SQUEEZE with one does not.
    """
    if op.name not in _MOVES or op.name == "RESHAPE":
        return False
    result = op.results[0]
    shape = list(result.tensor.shape)
    if op.name == "TRANSPOSE" and not _moves_only_ones(op):
        return False
    if _dynamic(result):
        shape = list(result.tensor.shape_signature or ())
        if op.name != "SQUEEZE" or shape.count(-1) > 1:
            return False
    replace_by(graph, op, "RESHAPE", [op.operands[0], integers(graph, shape, op)])
    return True


def _moves_only_ones(op: Op) -> bool:
    """Whether the dimensions above 1 of a TRANSPOSE of known size stay in their order."""
    given, order = op.operands[0], constant_of(op.operands[1])
    if given is None or order is None or _dynamic(given):
        return False
    large = [axis for axis in order.reshape(-1).tolist() if given.tensor.shape[axis] != 1]
    return large == sorted(large)


def _as_slice(graph: Graph, op: Op) -> bool:
    """STRIDED_SLICE without masks, from begins that are not negative, in steps of 1, becomes SLICE."""
    if op.name != "STRIDED_SLICE" or any(op.options.values()):
        return False
    limits = [constant_of(value) for value in op.operands[1:]]
    if len(limits) != 3 or any(part is None for part in limits):
        return False
    begin, end, steps = (np.asarray(part).astype(int).tolist() for part in limits)
    if any(step != 1 for step in steps) or any(b < 0 or e < 0 for b, e in zip(begin, end, strict=True)):
        return False
    size = [e - b for b, e in zip(begin, end, strict=True)]
    replace_by(graph, op, "SLICE", [op.operands[0], integers(graph, begin, op), integers(graph, size, op)])
    return True


def _fold(graph: Graph, op: Op) -> bool:
    """A RESHAPE reads what another RESHAPE before it reads."""
    before = op.defining(0) if op.name == "RESHAPE" else None
    if before is None or before.name != "RESHAPE":
        return False
    replace_by(graph, op, "RESHAPE", [before.operands[0], op.operands[1]])
    return True


def fold_same(graph: Graph, op: Op) -> bool:
    """A RESHAPE that changes nothing goes."""
    given = op.operands[0] if op.name == "RESHAPE" else None
    if given is None or not _same_shape(given, op.results[0]):
        return False
    graph.replace(op, given)
    return True


def fold_shape(graph: Graph, op: Op) -> bool:
    """A SHAPE of known size becomes a constant."""
    given = op.operands[0] if op.name == "SHAPE" else None
    if given is None or _dynamic(given):
        return False
    tensor = op.results[0].tensor
    data = np.array(given.tensor.shape, tensor.dtype.numpy)
    made = graph.add(CONSTANT, [], [(replace(tensor, data=data), None)], data=data, at=0)
    graph.replace(op, made.results[0])
    return True


def _move_behind(graph: Graph, op: Op) -> bool:
    """An elementwise operator goes before an operator that moves values for it alone, where both have one scale."""
    value, result = op.operands[0] if op.operands else None, op.results[0] if op.results else None
    move = value.producer if value is not None else None
    if op.name not in _ELEMENTWISE or value is None or result is None or move is None or move.name not in _MOVES:
        return False
    source = move.operands[0]
    if source is None or len(value.uses) != 1 or not value.params == source.params == result.params:
        return False
    at = graph.ops.index(op)
    shaped = replace(result.tensor, shape=source.tensor.shape, shape_signature=source.tensor.shape_signature)
    first = graph.add(op.name, [source], [(shaped, result.params)], op.options, at=at)
    operands = [first.results[0], *move.operands[1:]]
    second = graph.add(move.name, operands, [(result.tensor, result.params)], move.options, at=at + 1)
    graph.replace(op, second.results[0])
    return True


def _read_before_reshape(graph: Graph, op: Op) -> bool:
    """A dense layer reads what a RESHAPE of known size reads that leaves the last dimension: the layer flattens."""
    value = op.operands[0] if op.name == "FULLY_CONNECTED" else None
    source = value.producer if value is not None else None
    if value is None or source is None or source.name != "RESHAPE" or op.options.get("keep_num_dims"):
        return False
    before, after = source.operands[0], op.results[0]
    if before is None or len(after.tensor.shape) != 2 or any(_dynamic(v) for v in (before, value, after)):
        return False
    if before.tensor.shape[-1:] != value.tensor.shape[-1:]:
        return False
    op.set_operand(0, before)
    return True


def _read_fewer_dims(graph: Graph, op: Op) -> bool:
    """The same, only where the RESHAPE does not make the dimensions fewer."""
    source = op.defining(0) if op.name == "FULLY_CONNECTED" else None
    before = source.operands[0] if source is not None and source.name == "RESHAPE" else None
    if source is None or before is None or len(before.tensor.shape) > len(source.results[0].tensor.shape):
        return False
    return _read_before_reshape(graph, op)


def _keep_dims(graph: Graph, op: Op) -> bool:
    """A RESHAPE that gives a dense layer's output its input's dimensions becomes a part of the layer."""
    dense = _dense_before(op)
    given = dense.operands[0] if dense is not None else None
    if dense is None or given is None or dense.options.get("keep_num_dims"):
        return False
    if any(_dynamic(value) for value in (given, dense.results[0], op.results[0])):
        return False
    if op.results[0].tensor.shape != _kept(given, dense):
        return False
    graph.replace(op, _dense_again(graph, dense, given, op, op.results[0].tensor.shape, op.results[0].params))
    return True


def _keep_any_dims(graph: Graph, op: Op) -> bool:
    """A dense layer that a RESHAPE alone reads keeps its input's dimensions."""
    dense = _dense_before(op)
    given = dense.operands[0] if dense is not None else None
    if dense is None or given is None or dense.options.get("keep_num_dims"):
        return False
    if len(given.tensor.shape) == 2:
        return False
    graph.replace(dense, _dense_again(graph, dense, given, op, _kept(given, dense), dense.results[0].params))
    return True


def _drop_ones(graph: Graph, op: Op) -> bool:
    """A dense layer that keeps its input's two dimensions reads before a RESHAPE that only drops leading ones."""
    source = op.defining(0) if op.name == "FULLY_CONNECTED" and op.options.get("keep_num_dims") else None
    before = source.operands[0] if source is not None and source.name == "RESHAPE" else None
    if source is None or before is None or _dynamic(before) or _dynamic(source.results[0]):
        return False
    shape, kept = before.tensor.shape, source.results[0].tensor.shape
    if len(kept) != 2 or len(shape) < 3 or shape[-2:] != kept or any(size != 1 for size in shape[:-2]):
        return False
    options, result = {**op.options, "keep_num_dims": False}, op.results[0]
    operands = [before, *op.operands[1:]]
    made = graph.add(op.name, operands, [(result.tensor, result.params)], options, at=graph.ops.index(op))
    graph.replace(op, made.results[0])
    return True


def _reshape_before(graph: Graph, op: Op) -> bool:
    """A RESHAPE behind a dense layer that reads a RESHAPE goes before it, if it leaves the last dimension."""
    dense = _dense_before(op)
    given = dense.operands[0] if dense is not None else None
    first = given.producer if given is not None else None
    if dense is None or given is None or first is None or first.name != "RESHAPE":
        return False
    after = op.results[0].tensor
    if any(map(_dynamic, (given, dense.results[0], op.results[0]))) or len(after.shape) < 2:
        return False
    if after.shape[-1:] != dense.results[0].tensor.shape[-1:]:
        return False
    shape = (*after.shape[:-1], *given.tensor.shape[-1:])
    tensor = replace(given.tensor, shape=shape, shape_signature=shape)
    operands = [given, integers(graph, list(shape), first)]
    moved = graph.add("RESHAPE", operands, [(tensor, given.params)], at=graph.ops.index(op))
    graph.replace(op, _dense_again(graph, dense, moved.results[0], op, after.shape, op.results[0].params))
    return True


def _dense_before(op: Op) -> Op | None:
    """The dense layer whose output a RESHAPE alone reads."""
    value = op.operands[0] if op.name == "RESHAPE" else None
    source = value.producer if value is not None and len(value.uses) == 1 else None
    return source if source is not None and source.name == "FULLY_CONNECTED" else None


def _kept(given: Value, dense: Op) -> tuple[int, ...]:
    """The shape of a dense layer's output that keeps its input's dimensions."""
    return (*given.tensor.shape[:-1], *dense.results[0].tensor.shape[-1:])


def _dense_again(
    graph: Graph, dense: Op, given: Value, before: Op, shape: tuple[int, ...], params: Parameters | None
) -> Value:
    """The output of the dense layer anew before an operator: it reads another value, and keeps its dimensions."""
    signature = shape
    if _dynamic(given):
        signature = (*(given.tensor.shape_signature or ())[:-1], *shape[-1:])
    tensor = replace(dense.results[0].tensor, shape=shape, shape_signature=signature)
    operands: Sequence[Value | None] = [given, *dense.operands[1:]]
    options = {**dense.options, "keep_num_dims": True}
    return graph.add(dense.name, operands, [(tensor, params)], options, at=graph.ops.index(before)).results[0]


def _dynamic(value: Value) -> bool:
    """Whether a dimension is left open, as a batch of any size."""
    return any(size < 0 for size in value.tensor.shape_signature or ())


def _same_shape(first: Value, second: Value) -> bool:
    return first.tensor.shape == second.tensor.shape and not _dynamic(first) and not _dynamic(second)
