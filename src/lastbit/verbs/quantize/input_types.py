"""The types of a quantized graph's inputs and outputs.

Source: google-ai-edge/LiteRT tflite/converter/transforms/modify_io_nodes.cc (ce21a59ad22f).
"""

from __future__ import annotations

from .ir import DEQUANTIZE, QUANTIZE, Graph, Value
from .numbers import Parameters

__all__ = ["set_io"]


def set_io(graph: Graph, io: tuple[str, str]) -> None:
    """Give inputs and outputs the types asked for."""
    if io[0] != "float32":
        _set_inputs(graph, io[0])
    if io[1] != "float32":
        _set_outputs(graph, io[1])


def _set_inputs(graph: Graph, io: str) -> None:
    for position, argument in enumerate(graph.arguments):
        op = argument.only_user
        if op is None or op.name != QUANTIZE:
            continue
        params = op.results[0].params
        assert params is not None
        if params.dtype == io:
            new = Value(argument.tensor, argument.dtype, params, None, [])
            op.results[0].replace_all(new)
            graph.erase(op)
        else:
            new = Value(argument.tensor, argument.dtype, unsigned(params), None, [])
            op.set_operand(0, new)
        graph.arguments[position] = new


def _set_outputs(graph: Graph, io: str) -> None:
    terminator = graph.ops[-1]
    for position, value in enumerate(list(terminator.operands)):
        op = value.producer if value is not None else None
        if op is None or op.name != DEQUANTIZE:
            continue
        source = op.operands[0]
        assert source is not None
        assert source.params is not None
        if source.params.dtype != io:
            at = len(graph.ops) - 1
            source = graph.quantize(source, unsigned(source.params), at).results[0]
        terminator.set_operand(position, source)


def unsigned(params: Parameters) -> Parameters:
    """The uint8 parameters that mean the same as int8 ones."""
    shift = 128
    zero = tuple(z + shift for z in params.zero_point)
    return Parameters("uint8", params.scale, zero, params.axis, params.low + shift, params.high + shift)
