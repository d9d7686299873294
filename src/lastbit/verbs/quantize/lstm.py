"""UNIDIRECTIONAL_SEQUENCE_LSTM in the MLIR quantizer: what a sequence of steps needs beside inputs and outputs.

The hidden state counts in the output's steps, the cell state in int16 with a power of two as scale, each matrix has one
scale. Projection, peepholes and layer normalization have rules of their own and are not here.

Source: tensorflow/tensorflow tensorflow/compiler/mlir/lite/transforms/prepare_quantize_lstm.h (14f463dcacb0) and
tensorflow/lite/tools/optimize/operator_property.cc (01da0c850b40).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...model.graph import Model, Operator, Tensor
from ...model.types import FLOAT32
from .ir import CONSTANT, STATISTICS, Graph, Op, Value
from .numbers import Parameters, float32_parameters, symmetric_weights
from .operators import TRAITS

__all__ = ["CELL", "HIDDEN", "LSTM", "add_intermediates", "cell_state", "joined_range", "prepare_lstm", "why_not"]

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_TRAITS = TRAITS[LSTM]
_CONSTANTS = tuple(position for position, _ in (*_TRAITS.weights, *_TRAITS.biases))
HIDDEN, CELL = 18, 19
_NOT_HERE = {
    **dict.fromkeys((9, 10, 11), "peepholes"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys((20, 21, 22, 23), "layer normalization"),
}
INTERMEDIATES = (
    "input_to_input_intermediate",
    "input_to_forget_intermediate",
    "input_to_cell_intermediate",
    "input_to_output_intermediate",
    "effective_hidden_scale_intermediate",
)
"""What the operator notes of its inside; the last one, the hidden state, is the only one with a scale here."""


def why_not(model: Model, op: Operator) -> list[str]:
    """Why an LSTM is not covered; empty where it is."""
    given = {position for position, index in enumerate(op.inputs) if index >= 0}
    reasons = list(dict.fromkeys(what for position, what in _NOT_HERE.items() if position in given))
    missing = [position for position in (0, *_CONSTANTS, HIDDEN, CELL) if position not in given]
    computed = [p for p in _CONSTANTS if p in given and model.tensors[op.inputs[p]].data is None]
    if missing:
        reasons.append(f"no input at position {', '.join(map(str, missing))}")
    if computed:
        reasons.append(f"weights or biases that are computed (position {', '.join(map(str, computed))})")
    return [f"{op.label}: has {' and '.join(reasons)}, and LastBit covers it without"] if reasons else []


def add_intermediates(op: Operator, made: Op, graph: Graph, ranges: Mapping[int, tuple[Any, Any]]) -> None:
    """The five tensors that the calibrator adds; the hidden state has the output's range where none is said."""
    limits = ranges.get(op.intermediates[-1]) if len(op.intermediates) == len(INTERMEDIATES) else None
    limits = ranges.get(op.outputs[0]) if limits is None else limits
    for name in INTERMEDIATES:
        tensor = Tensor(0, name, (0,), (0,), FLOAT32, None, None)
        made.intermediates.append(Value(tensor, tensor.dtype, None, None, []))
    if limits is not None:
        made.intermediates[-1].params = narrow(*limits)


def prepare_lstm(graph: Graph) -> None:
    """Give each LSTM the scales that its own rules decide; all others follow from ranges and shared scales."""
    operators = [op for op in graph.ops if op.name == LSTM]
    for op in operators:
        _join_ranges(op)
    for op in operators:
        for position, axis in _TRAITS.weights:
            source = op.defining(position)
            if source is not None and source.name == CONSTANT and source.data is not None:
                _through_integers(graph, op, position, symmetric_weights(source.data, axis))
        _quantize_range(graph, op, 0, fed)
        state = _quantize_range(graph, op, CELL, cell_state)
        if state is not None and state.scale == (0.0,):
            graph.refused.append(f"the cell state of {op.name} is always 0, and its process ends (a scale of 0)")


def _join_ranges(op: Op) -> None:
    """The hidden state and the output get both ranges together."""
    state, after = op.defining(HIDDEN), op.results[0].only_user
    if state is None or after is None or state.name != STATISTICS or after.name != STATISTICS:
        return
    state.options = after.options = {"range": _both(state.options["range"], after.options["range"])}


def _both(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    return min(one[0], other[0]), max(one[1], other[1])


def joined_range(model: Model, ranges: Mapping[int, tuple[Any, Any]], index: int) -> tuple[Any, Any]:
    """The range of a float model's tensor; for the output of an LSTM with that of its hidden state."""
    op = model.writers.get(index)
    if op is None or op.name != LSTM or op.inputs[HIDDEN] not in ranges:
        return ranges[index]
    return _both(ranges[index], ranges[op.inputs[HIDDEN]])


def _quantize_range(graph: Graph, op: Op, position: int, rule: Callable[[Any, Any], Parameters]) -> Parameters | None:
    """The range of one input becomes QUANTIZE and DEQUANTIZE by a rule of the operator's own."""
    statistics = op.defining(position)
    if statistics is None or statistics.name != STATISTICS:
        return None
    value = statistics.operands[0]
    assert value is not None
    at = graph.ops.index(statistics) + 1
    params = rule(*statistics.options["range"])
    quantize = graph.quantize(value, params, at)
    dequantize = graph.dequantize(quantize.results[0], at + 1)
    statistics.results[0].replace_all(dequantize.results[0])
    graph.erase(statistics)
    return params


def fed(low: np.float32, high: np.float32) -> Parameters:
    """int8 of what is fed: as for every range, except that one narrower than 1e-6 is not widened."""
    return narrow(min(low, np.float32(0)), max(high, np.float32(0)))


def narrow(low: np.float32, high: np.float32) -> Parameters:
    """int8 of what only stands in the file: nor need 0 be in the range."""
    return float32_parameters(float(low), float(high), "int8", -128, 127)


def cell_state(low: np.float32, high: np.float32) -> Parameters:
    """int16 with the least power of two as limit that no value is beyond."""
    top = max(abs(float(low)), abs(float(high)))
    bound = 2.0 ** math.ceil(math.log2(top)) if top else 0.0
    return Parameters("int16", (bound / 32768,), (0,), -1, -32768, 32767)


def _through_integers(graph: Graph, op: Op, position: int, params: Parameters) -> None:
    """QUANTIZE and DEQUANTIZE before one input."""
    value = op.operands[position]
    assert value is not None
    at = graph.place_after(value)
    quantize = graph.quantize(value, params, at)
    op.set_operand(position, graph.dequantize(quantize.results[0], at + 1).results[0])
