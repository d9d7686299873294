"""The MLIR quantizer of TFLiteConverter: a float graph and its ranges to a quantized graph.

Source: google-ai-edge/LiteRT tflite/converter/transforms/{prepare_quantize,quantize,post_quantize,modify_io_nodes}.cc
and tflite/converter/quantization/lite/quantize_model.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.graph import Subgraph
from ...model.types import Array
from .canonical import constants_to_the_right, drop_neutral, drop_requantize, push_dequantize_down
from .greedy import Optimizer
from .input_types import set_io
from .ir import CONSTANT, DEQUANTIZE, QUANTIZE, RETURN, STATISTICS, Graph, Op, Value
from .lstm import LSTM, add_intermediates, prepare_lstm
from .matmuls import wrong_ranks
from .moves import NEWEST, MoveRules, fold_same, fold_shape, optimize_moves
from .numbers import Parameters, activation, quantize_bias, quantize_plain, quantize_weights
from .operators import TRAITS, Traits
from .propagate import Propagation

__all__ = ["quantize_graph"]

_NONE = Traits()
Ranges = Mapping[int, tuple[Any, Any]]


def quantize_graph(
    graph: Subgraph,
    ranges: Ranges,
    *,
    per_tensor: bool = False,
    per_tensor_dense: bool = False,
    io: tuple[str, str] = ("float32", "float32"),
    moves: MoveRules = NEWEST,
    vector_code: bool = False,
) -> Graph:
    """The quantized graph, as the converter writes it."""
    result = read(graph, ranges)
    merge_constants(result)
    constants_to_the_right(result)
    if moves.folds_first:
        Optimizer(result).apply(fold_same, fold_shape, *([drop_neutral] if moves.drops_neutral else []))
    drop_redundant(result)
    prepare_lstm(result)
    quantize_statistics(result)
    return_quantized(result)
    Propagation(result, per_tensor=per_tensor, per_tensor_dense=per_tensor_dense).run()
    renew_pairs(result)
    rewrite(result)
    quantize_constants(result, vector_code)
    clean(result)
    push_dequantize_down(result)
    if moves.drops_first:
        Optimizer(result).apply(drop_requantize)
    _verify(result)
    optimize_moves(result, moves)
    drop_dead(result)
    set_io(result, io)
    drop_dead(result)
    remove_pairs(result, keep_io=False)
    drop_dead(result)
    _verify(result)
    return result


def _verify(graph: Graph) -> None:
    """Note why the converter gives up here: it looks at the graph after each of its passes."""
    for op in graph.ops:
        if _traits(op).same_scale:
            values = [value for value in (*op.operands, *op.results) if value is not None]
            if len({value.params for value in values if value.params is not None}) > 1:
                graph.refused.append(f"{op.name} needs one scale for its inputs and outputs and would get several")
    graph.refused += [
        "its optimizer merges RESHAPEs into a BATCH_MATMUL whose output then has fewer dimensions than a factor"
        for _ in wrong_ranks(graph)
    ]


def read(graph: Subgraph, ranges: Ranges) -> Graph:
    """The graph with statistics behind each float value that has a range."""
    result = Graph()
    values: dict[int, Value] = {}
    for index in graph.inputs:
        values[index] = result.argument(graph.tensors[index])
    for index in graph.inputs:
        values[index] = _with_statistics(result, values[index], ranges.get(index))
    for op in graph.operators:
        for index in op.inputs:
            tensor = graph.tensors[index] if index >= 0 else None
            if tensor is not None and index not in values:
                constant = result.add(CONSTANT, [], [(tensor, None)], data=tensor.data).results[0]
                limits = ranges.get(index) if tensor.is_variable else None
                values[index] = _with_statistics(result, constant, limits)
        operands = [values[i] if i >= 0 else None for i in op.inputs]
        made = result.add(op.name, operands, [(graph.tensors[i], None) for i in op.outputs], op.options)
        made.version = op.version
        if op.name == LSTM:
            add_intermediates(op, made, result, ranges)
        for index, value in zip(op.outputs, made.results, strict=True):
            values[index] = _with_statistics(result, value, ranges.get(index))
    result.add(RETURN, [values[i] for i in graph.outputs], [])
    return result


def _with_statistics(graph: Graph, value: Value, limits: tuple[Any, Any] | None) -> Value:
    if limits is None or not value.is_float:
        return value
    return graph.add(STATISTICS, [value], [(value.tensor, None)], {"range": limits}).results[0]


def merge_constants(graph: Graph) -> None:
    """Equal constants become one."""
    first: dict[tuple[str, tuple[int, ...], bytes], Op] = {}
    for op in [op for op in graph.ops if op.name == CONSTANT and op.data is not None]:
        assert op.data is not None
        key = (op.data.dtype.str, op.data.shape, op.data.tobytes())
        kept = first.setdefault(key, op)
        if kept is not op:
            op.results[0].replace_all(kept.results[0])
            graph.erase(op)
    constants = [op for op in graph.ops if op.name == CONSTANT]
    graph.ops = constants + [op for op in graph.ops if op.name != CONSTANT]


def _float_operands(op: Op) -> int:
    return sum(value is not None and value.is_float for value in op.operands)


def _traits(op: Op | None) -> Traits:
    return _NONE if op is None else TRAITS.get(op.name, _NONE)


def drop_redundant(graph: Graph) -> None:
    """Remove ranges that fixed outputs and shared scales make superfluous."""
    every = [op for op in graph.ops if op.name == STATISTICS]
    redundant: dict[Op, None] = {}
    todo = list(every)
    while todo:
        statistics = todo.pop()
        if _traits(statistics.defining(0)).fixed is not None:
            redundant[statistics] = None
        for user, _ in statistics.results[0].uses:
            if not _traits(user).same_scale or _float_operands(user) > 1:
                continue
            for result in user.results:
                following = result.only_user
                if following is not None and following.name == STATISTICS:
                    redundant[following] = None
                    todo.append(following)
    todo = [op for op in every if op not in redundant]
    while todo:
        source = todo.pop().defining(0)
        if source is None or not _traits(source).same_scale:
            continue
        for operand in source.operands:
            before = operand.producer if operand is not None else None
            if before is not None and before.name == STATISTICS:
                redundant[before] = None
                todo.append(before)
    for statistics in redundant:
        argument = statistics.operands[0]
        assert argument is not None
        statistics.results[0].replace_all(argument)
        graph.erase(statistics)


def quantize_statistics(graph: Graph) -> None:
    """Every range that is left becomes QUANTIZE and DEQUANTIZE."""
    for statistics in [op for op in graph.ops if op.name == STATISTICS]:
        at = graph.ops.index(statistics) + 1
        value = statistics.operands[0]
        assert value is not None
        quantize = graph.quantize(value, activation(*statistics.options["range"]), at)
        dequantize = graph.dequantize(quantize.results[0], at + 1)
        quantize.removable = True
        statistics.results[0].replace_all(dequantize.results[0])
        graph.erase(statistics)


def return_quantized(graph: Graph) -> None:
    """What is returned and quantized as well is returned quantized."""
    terminator = graph.ops[-1]
    for position, value in enumerate(list(terminator.operands)):
        assert value is not None
        pairs = []
        for user, _ in value.uses:
            following = user.results[0].uses if user.name == QUANTIZE else []
            if following and following[0][0].name == DEQUANTIZE:
                pairs.append(following[0][0].results[0])
        if len(pairs) == 1:
            terminator.set_operand(position, pairs[0])


def renew_pairs(graph: Graph) -> None:
    """The converter makes every QUANTIZE and DEQUANTIZE anew here, which turns the order of their users around."""
    for op in graph.ops:
        if op.name in (QUANTIZE, DEQUANTIZE):
            op.results[0].uses.reverse()


def rewrite(graph: Graph) -> None:
    """Operators between DEQUANTIZE and QUANTIZE become quantized ones."""
    changed = True
    while changed:
        changed = _squash(graph) | _rewrite_users(graph) | _rewrite_producers(graph)
        drop_dead(graph)
    for op in [op for op in graph.ops if op.name == DEQUANTIZE]:
        quantize = op.defining(0)
        source = quantize.defining(0) if quantize is not None and quantize.name == QUANTIZE else None
        if source is not None and source.name == CONSTANT:
            op.results[0].replace_all(source.results[0])
    drop_dead(graph)


def _squash(graph: Graph) -> bool:
    changed = False
    for op in [op for op in graph.ops if op.name == QUANTIZE]:
        before = op.defining(0)
        if before is not None and before.name == DEQUANTIZE:
            source = before.operands[0]
            assert source is not None
            if source.params == op.results[0].params and op.results[0].uses:
                op.results[0].replace_all(source)
                changed = True
    return changed


def _rewrite_users(graph: Graph) -> bool:
    changed = False
    for op in [op for op in graph.ops if op.name == DEQUANTIZE]:
        if op not in graph.ops:
            continue
        users = list(dict.fromkeys(user for user, _ in op.results[0].uses))
        for user in users:
            if user.name not in TRAITS or not _make_quantized(graph, user):
                break
            changed = True
    return changed


def _rewrite_producers(graph: Graph) -> bool:
    changed = False
    for op in [op for op in graph.ops if op.name == QUANTIZE]:
        value = op.operands[0] if op in graph.ops and op.operands else None
        source = value.producer if value is not None else None
        if value is None or value.params is not None or source is None or source.name not in TRAITS:
            continue
        changed |= _make_quantized(graph, source)
    return changed


def _make_quantized(graph: Graph, op: Op) -> bool:
    """Replace one operator by its quantized form, if all of its inputs and outputs have one."""
    inputs: list[Value | None] = []
    for value in op.operands:
        source = value.producer if value is not None else None
        if source is not None and source.name == DEQUANTIZE:
            inputs.append(source.operands[0])
        elif value is not None and value.is_float:
            return False
        else:
            inputs.append(value)
    outputs = []
    for result in op.results:
        user = result.only_user
        if user is not None and user.name == QUANTIZE:
            outputs.append((user.results[0], user.results[0].params))
        elif not result.is_float:
            outputs.append((result, result.params))
        else:
            return False
    if all(old is new for old, new in zip(op.operands, inputs, strict=True)) and all(
        old is new for old, (new, _) in zip(op.results, outputs, strict=True)
    ):
        return False
    at = graph.ops.index(op) + 1
    made = graph.add(op.name, inputs, [(value.tensor, params) for value, params in outputs], op.options, at=at)
    made.intermediates = op.intermediates
    for (old, _), new in zip(outputs, made.results, strict=True):
        old.replace_all(new)
    for result in op.results:
        for user, _ in list(result.uses):
            if user.name == QUANTIZE and not user.results[0].uses:
                graph.erase(user)
    graph.erase(op)
    return True


def quantize_constants(graph: Graph, vector_code: bool) -> None:
    """Constants behind QUANTIZE become integers."""
    for op in [op for op in graph.ops if op.name == QUANTIZE]:
        source = op.defining(0)
        params = op.results[0].params
        if source is None or source.name != CONSTANT or params is None:
            continue
        variable = op.results[0].tensor.is_variable
        if source.data is None and not variable:
            continue
        if source.results[0].params is not None:
            continue
        data = None if source.data is None else _integers(source.data, params, vector_code)
        at = graph.ops.index(op)
        constant = graph.add(CONSTANT, [], [(op.results[0].tensor, params)], data=data, at=at)
        constant.removable = op.removable
        op.results[0].replace_all(constant.results[0])
        graph.erase(op)
    drop_dead(graph)


def _integers(data: Array, params: Parameters, vector_code: bool) -> Array:
    if params.dtype == "int32":
        return quantize_bias(data, params)
    if params.low == -127:
        return quantize_weights(data, params, vector_code)
    return quantize_plain(data, params)


def clean(graph: Graph) -> None:
    """After quantization: requantizations that the operator before can do itself, and pairs between float operators."""
    drop_dead(graph)
    fold_requantize(graph)
    remove_pairs(graph, keep_io=True)
    fold_requantize(graph)


def fold_requantize(graph: Graph) -> None:
    """QUANTIZE of a quantized value goes into the operator before, where that is free to choose its scale."""
    for op in [op for op in graph.ops if op.name == QUANTIZE]:
        value = op.operands[0]
        assert value is not None
        source = value.producer
        if value.params is None or source is None or len(value.uses) != 1:
            continue
        traits = TRAITS.get(source.name)
        if traits is None or traits.same_scale or traits.fixed is not None:
            continue
        value.params = op.results[0].params
        op.results[0].replace_all(value)
        graph.erase(op)


def remove_pairs(graph: Graph, *, keep_io: bool) -> None:
    """Remove QUANTIZE and DEQUANTIZE that only stand between float values."""
    for op in [op for op in graph.ops if op.name == DEQUANTIZE]:
        quantize = op.defining(0)
        if quantize is None or quantize.name != QUANTIZE or not quantize.removable:
            continue
        source = quantize.operands[0]
        assert source is not None
        if keep_io:
            user = op.results[0].only_user
            if source.producer is None or (user is not None and user.name == RETURN):
                continue
        if source.params is not None:
            op.set_operand(0, source)
        else:
            op.results[0].replace_all(source)
    drop_dead(graph)


def drop_dead(graph: Graph) -> None:
    """Remove operations whose results nobody uses."""
    for op in reversed(list(graph.ops)):
        if op.name != RETURN and not any(result.uses for result in op.results):
            graph.erase(op)
