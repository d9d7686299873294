"""Without data: weights become int8 or float16, and everything else stays float32, as TFLiteConverter does it.

A weight of an operator whose kernel takes int8 weights beside float32 inputs goes into it (dynamic range); any other
weight is followed by DEQUANTIZE.

Source: google-ai-edge/LiteRT tflite/converter/transforms/prepare_quantize_dynamic_range.cc (3846e2ab6de5) and
tensorflow/tensorflow tensorflow/compiler/mlir/lite/ir/tfl_ops.td (which operators have such kernels).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...model.graph import Subgraph, Tensor
from ...model.types import FLOAT16, Array
from .canonical import push_dequantize_down
from .ir import CONSTANT, DEQUANTIZE, RETURN, Graph, Op, Value
from .mlir import drop_dead, merge_constants, read
from .numbers import Parameters, expand, quantize_plain, weights_range

__all__ = [
    "FEWEST_ELEMENTS",
    "HYBRID",
    "NOT_KNOWN",
    "Hybrid",
    "dynamic_range_graph",
    "float16_graph",
    "float64_weights",
]

# Constants of fewer elements stay float32.
FEWEST_ELEMENTS = 1024


@dataclass(frozen=True)
class Hybrid:
    """What dynamic range makes of an operator's weights.

    Attributes:
        position: the input's position.
        axis: the axis of its channels; -1: one scale.
        in_kernel: whether a kernel takes them as int8; else a DEQUANTIZE stands before.
        marks: whether the operator is told to quantize its inputs with a zero point (asymmetric_quantize_inputs).
    """

    position: int = 1
    axis: int = -1
    in_kernel: bool = True
    marks: bool = False


HYBRID: dict[str, Hybrid] = {
    "BATCH_MATMUL": Hybrid(marks=True),
    "CONV_2D": Hybrid(axis=0),
    "DEPTHWISE_CONV_2D": Hybrid(axis=3),
    "EMBEDDING_LOOKUP": Hybrid(axis=0),
    "FULLY_CONNECTED": Hybrid(axis=0, marks=True),
    "GATHER": Hybrid(position=0, in_kernel=False),
    "TRANSPOSE_CONV": Hybrid(axis=0),
}
# The same for operators of which older converters know no such kernel.
_WITHOUT_KERNEL: dict[str, Hybrid] = {
    "EMBEDDING_LOOKUP": Hybrid(in_kernel=False),
    "TRANSPOSE_CONV": Hybrid(axis=0, in_kernel=False),
}

# Operators of which the converter quantizes weights as well; how has not been compared.
NOT_KNOWN = frozenset(
    (
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "LSTM",
        "RNN",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    )
)


def dynamic_range_graph(graph: Subgraph, *, per_tensor_dense: bool, dequantized: frozenset[str] = frozenset()) -> Graph:
    """The graph with int8 weights, as the converter writes it.

    Args:
        graph: the float32 graph.
        per_tensor_dense: one scale for all units of a dense layer.
        dequantized: operators of which this converter knows no kernel that takes int8 weights.
    """
    kernels = HYBRID | {name: _WITHOUT_KERNEL[name] for name in dequantized}
    if per_tensor_dense:
        kernels["FULLY_CONNECTED"] = replace(kernels["FULLY_CONNECTED"], axis=-1)
    result = read(graph, {})
    merge_constants(result)
    for constant in [op for op in result.ops if op.name == CONSTANT]:
        data = constant.data
        if data is None or data.dtype != np.float32 or data.size < FEWEST_ELEMENTS:
            continue
        made: dict[tuple[int, bool], Value] = {}
        for op, position in list(constant.results[0].uses):
            hybrid = kernels.get(op.name)
            if hybrid is None or hybrid.position != position:
                continue
            key = (hybrid.axis, hybrid.in_kernel)
            if key not in made:
                made[key] = _quantized(result, constant, *key)
            op.set_operand(position, made[key])
            if hybrid.marks:
                op.options = {**op.options, "asymmetric_quantize_inputs": True}
    drop_dead(result)
    push_dequantize_down(result)
    return result


def _quantized(graph: Graph, constant: Op, axis: int, in_kernel: bool) -> Value:
    """The constant as int8; behind DEQUANTIZE where no kernel takes it so."""
    assert constant.data is not None
    params = float64_weights(constant.data, axis)
    at = graph.ops.index(constant) + 1
    tensor = constant.results[0].tensor
    made = graph.add(CONSTANT, [], [(tensor, params)], data=quantize_plain(constant.data, params), at=at).results[0]
    return made if in_kernel else graph.dequantize(made, _first_operator(graph)).results[0]


def float64_weights(values: Array, axis: int) -> Parameters:
    """Scales of weights, -127 to 127: a file holds them as float32, the integers come from the float64 ones."""
    low, high = weights_range(values, axis)
    top = np.maximum(np.abs(low), np.abs(high))
    rmin, rmax = expand(-top, top)
    scale = (rmax - rmin) / 254
    return Parameters("int8", tuple(scale.tolist()), (0,) * scale.size, axis, -127, 127)


def float16_graph(graph: Subgraph) -> Graph:
    """The graph with float16 constants, each behind a DEQUANTIZE."""
    result = read(graph, {})
    merge_constants(result)
    for constant in [op for op in result.ops if op.name == CONSTANT]:
        data, value = constant.data, constant.results[0]
        users = [(op, position) for op, position in value.uses if op.name != RETURN]
        if data is None or data.dtype != np.float32 or not users:
            continue
        half = _float16(data)
        tensor = Tensor(-1, value.tensor.name, data.shape, data.shape, FLOAT16, None, half)
        at = result.ops.index(constant) + 1
        made = result.add(CONSTANT, [], [(tensor, None)], data=half, at=at).results[0]
        again = result.add(DEQUANTIZE, [made], [(value.tensor, None)], at=_first_operator(result)).results[0]
        for op, position in users:
            op.set_operand(position, again)
    drop_dead(result)
    return result


def _float16(values: Array) -> Array:
    """To nearest, within the finite numbers; a constant of only -0 becomes one of 0."""
    half = np.clip(values, np.float32(-65504), np.float32(65504)).astype(np.float16)
    return half if half.any() or not np.signbit(half).all() else np.zeros_like(half)


def _first_operator(graph: Graph) -> int:
    """Where the first operation stands that is not a constant."""
    return next(place for place, op in enumerate(graph.ops) if op.name != CONSTANT)
