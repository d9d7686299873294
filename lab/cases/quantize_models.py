"""Random float models with ranges: what converters are asked to quantize (lab/checks/quantize_check.py).

A model is made from a seed: 20 to 50 operators of those that LastBit runs in int8, on small tensors. Ranges are wide,
one-sided, tiny, huge, denormal or have equal ends; weights are near ties, and biases do not fit. The ranges are written
into the file as a calibrator does (min and max of a tensor's quantization), so no data is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lab.cases.quantize_adders import ADDERS, SHARES
from lab.cases.quantize_maker import Maker, Range, pick
from lastbit.model.graph import Subgraph, Tensor
from lastbit.model.tflite.writer import write


def make_model(seed: int, weird: float = 0.3, complete: bool = False) -> tuple[Subgraph, dict[int, Range]]:
    """The graph of a seed and the ranges of its float tensors that are not constants."""
    make = Maker(seed, weird, complete)
    pick(make, 4)
    pick(make, 2)
    wanted = int(make.rng.integers(20, 51))
    while len(make.operators) < wanted:
        adder = ADDERS[int(make.rng.choice(len(ADDERS), p=SHARES / SHARES.sum()))]
        adder(make)
    made = {i for op in make.operators for i in op.outputs}
    outputs = [i for i in sorted(made) if i not in make.used]
    inputs = [i for i in make.inputs if i in make.used]
    graph = Subgraph("main", tuple(make.tensors), tuple(make.operators), tuple(inputs), tuple(outputs))
    return drop_unused(graph, make.ranges)


def drop_unused(graph: Subgraph, ranges: dict[int, Range]) -> tuple[Subgraph, dict[int, Range]]:
    """The same without tensors that nothing touches."""
    touched = {i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    order = sorted(touched)
    new = {old: position for position, old in enumerate(order)}
    new[-1] = -1
    tensors = [graph.tensors[i] for i in order]
    tensors = [Tensor(new[t.index], t.name, t.shape, t.shape_signature, t.dtype, t.quant, t.data) for t in tensors]
    operators = [
        replace(o, inputs=tuple(new[i] for i in o.inputs), outputs=tuple(new[i] for i in o.outputs))
        for o in graph.operators
    ]
    kept = {new[i]: r for i, r in ranges.items() if i in new}
    inputs, outputs = (tuple(new[i] for i in part) for part in (graph.inputs, graph.outputs))
    return Subgraph(graph.name, tuple(tensors), tuple(operators), inputs, outputs), kept


def with_ranges(content: bytes, ranges: dict[int, Range]) -> bytes:
    """The file with min and max of its tensors' quantization set, as a calibrator leaves it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for index, (low, high) in ranges.items():
        tensor = model.subgraphs[0].tensors[index]
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.min = np.array([low], np.float32)
        tensor.quantization.max = np.array([high], np.float32)
    if not model.signatureDefs:
        model.signatureDefs = [_signature(schema, model.subgraphs[0])]
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signature(schema: Any, graph: Any) -> Any:
    """A signature, which ai-edge-quantizer needs."""
    made = schema.SignatureDefT()
    made.signatureKey = b"serving_default"
    made.subgraphIndex = 0
    made.inputs, made.outputs = [], []
    for maps, indices in ((made.inputs, graph.inputs), (made.outputs, graph.outputs)):
        for index in dict.fromkeys(int(i) for i in indices):
            one = schema.TensorMapT()
            one.name, one.tensorIndex = graph.tensors[index].name, index
            maps.append(one)
    return made


def write_model(seed: int, weird: float = 0.3, complete: bool = False) -> tuple[bytes, dict[int, Range]]:
    """The float file of a seed, with its ranges in it, and the ranges."""
    graph, ranges = make_model(seed, weird, complete)
    return with_ranges(write(graph, f"seed {seed}"), ranges), ranges


def write_ties() -> bytes:
    """A float file whose zero points are ties in float32 and not in float64: a chain of LEAKY_RELU with such ranges."""
    make = Maker(0, 0)
    last = pick(make, 2)
    for low in range(1, 100):
        for high in range(1, 100):
            ends = np.float32(-low / 10), np.float32(high / 10)
            inner = -128 - float(ends[0]) / float((ends[1] - ends[0]) / np.float32(255))
            if abs(float(np.float32(inner))) % 1 == 0.5 and inner != float(np.float32(inner)):
                last = make.op("LEAKY_RELU", [last], [(1, 8)], alpha=0.125)
                make.ranges[last] = ends
    graph = Subgraph("main", tuple(make.tensors), tuple(make.operators), tuple(make.inputs), (last,))
    return with_ranges(write(graph, "ties"), make.ranges)
