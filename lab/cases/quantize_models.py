"""Random float models with ranges: what converters are asked to quantize (lab/checks/quantize_check.py).

A model is made from a seed: 20 to 50 operators of those that LastBit runs in int8, on small tensors. Ranges are wide,
one-sided, tiny, huge, denormal or have equal ends; weights are near ties, and biases do not fit. The ranges are written
into the file as a calibrator does (min and max of a tensor's quantization), so no data is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lastbit.model.graph import Operator, Subgraph, Tensor
from lastbit.model.tflite.writer import write
from lastbit.model.types import DTYPES

FLOAT, INT32 = 0, 2
Range = tuple[np.float32, np.float32]


class Maker:
    """Builds one model. `weird` is the share of adversarial ranges, weights and biases.

    A `complete` model can be loaded by an interpreter: convolutions have a bias. Its constants have as many dimensions
    as what they meet.
    """

    def __init__(self, seed: int, weird: float = 0.3, complete: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.weird = weird
        self.complete = complete
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.ranges: dict[int, Range] = {}
        self.inputs: list[int] = []
        self.used: set[int] = set()

    def tensor(self, shape: tuple[int, ...], data: Any = None, code: int = FLOAT, ranged: bool = True) -> int:
        """Add a tensor; its index."""
        index = len(self.tensors)
        dtype = DTYPES[code]
        array = None if data is None else np.ascontiguousarray(data, dtype.numpy).reshape(shape)
        self.tensors.append(Tensor(index, f"t{index}", shape, shape, dtype, None, array))
        if data is None and code == FLOAT and ranged:
            self.ranges[index] = self.range()
        return index

    def constant(self, data: Any, code: int = FLOAT) -> int:
        """Add a constant; its index."""
        array = np.asarray(data)
        return self.tensor(array.shape, array, code)

    def op(self, name: str, inputs: list[int], shapes: list[tuple[int, ...]], code: int = FLOAT, **options: Any) -> int:
        """Add an operator; the index of its first output."""
        self.used.update(i for i in inputs if i >= 0)
        outputs = [self.tensor(shape, code=code) for shape in shapes]
        self.operators.append(Operator(len(self.operators), name, 1, tuple(inputs), tuple(outputs), options))
        return outputs[0]

    def range(self) -> Range:
        """A range that a calibrator might have seen, or one that it should not have."""
        rng = self.rng
        low, high = sorted(rng.normal(size=2) * np.exp(rng.normal() * 2))
        if rng.random() < self.weird:
            kind = rng.integers(13)
            size = float(np.exp(rng.uniform(-40, 40)))
            if kind == 0:
                low, high = -size, -size * rng.uniform(0.1, 0.9)
            elif kind == 1:
                low, high = size * rng.uniform(0.1, 0.9), size
            elif kind == 2:
                low, high = 0.0, size
            elif kind == 3:
                low, high = -size, 0.0
            elif kind == 4:
                low = high = rng.normal()
            elif kind == 5:
                low = high = 0.0
            elif kind == 6:
                low, high = -rng.uniform(0, 2e-6), rng.uniform(0, 2e-6)
            elif kind == 7:
                low, high = -1e-40, 3e-40
            elif kind == 8:
                low, high = -size, size
            elif kind == 9:  # zero points at ties
                scale = np.float32(2.0 ** rng.integers(-12, 8))
                steps = rng.integers(0, 255) + 0.5
                low, high = -scale * steps, scale * (255 - steps)
            elif kind == 10:
                low, high = rng.choice([-1e-6, -5e-7, 0.0, 1e-7]), rng.choice([0.0, 1e-6, 5e-7, 1.1e-6])
                low, high = min(low, high), max(low, high)
            elif kind == 11:  # round numbers, whose zero point is a tie in float32 only at times
                low, high = -rng.integers(0, 60) / 10, rng.integers(1, 60) / 10
            else:
                low, high = 0.0, rng.choice([6.0, 1.0, 255.0, 256.0])
        return np.float32(low), np.float32(high)

    def weights(self, shape: tuple[int, ...], axis: int) -> np.ndarray[Any, Any]:
        """Weights: random, or with values next to the ties of their own scale, channels of zeros, specials."""
        rng = self.rng
        values = rng.normal(size=shape).astype(np.float32) * np.float32(np.exp(rng.normal() * 2))
        if rng.random() < 0.5:
            moved = np.moveaxis(values, axis, 0)
            for channel in moved:
                kind = rng.integers(6) if rng.random() < self.weird + 0.3 else 9
                top = np.float32(np.exp(rng.uniform(-12, 8)))
                ties = (rng.integers(-127, 127, channel.shape) + 0.5).astype(np.float32) * (top / np.float32(127))
                if kind in (0, 1):
                    steps = rng.integers(-2, 3, channel.shape)
                    flat = (ties.view(np.int32) + steps).astype(np.int32).view(np.float32)
                    channel[...] = np.clip(flat, -top, top)
                    channel.flat[0] = top * rng.choice([-1, 1])
                elif kind == 2:
                    channel[...] = 0
                elif kind == 3:
                    channel[...] = np.float32(rng.choice([1e-9, -1e-9, 1e-30, 1e-41, 4e-7, 6e-7, -2.0]))
                elif kind == 4:
                    channel[...] = np.abs(channel)
                elif kind == 5:
                    channel[...] = -np.abs(channel) * np.float32(np.exp(rng.uniform(-30, 10)))
        return values

    def bias(self, size: int, source: int, weights: np.ndarray[Any, Any], axis: int) -> int:
        """A bias near what the weights' and input's scales allow, over it at times; -1 for none at times."""
        rng = self.rng
        if rng.random() < 0.15 and not (self.complete and weights.ndim == 4):
            return -1
        low, high = self.ranges.get(source, (np.float32(-1), np.float32(1)))
        scale = max(float(high) - min(float(low), 0), 1e-9) / 255 * max(float(np.abs(weights).max()), 1e-9) / 127
        values = rng.normal(size=size) * scale * np.exp(rng.uniform(0, 12))
        if rng.random() < self.weird:
            kind = rng.integers(4)
            if kind == 0:
                values = rng.normal(size=size) * scale * 2.0**30
            elif kind == 1:
                values = np.where(rng.random(size) < 0.3, rng.normal(size=size) * scale * 2.0 ** rng.uniform(28, 34), 0)
            elif kind == 2:
                values = (rng.integers(-1000, 1000, size) + 0.5) * scale
            else:
                values = np.zeros(size)
        with np.errstate(over="ignore"):
            data = np.clip(values, -1e30, 1e30).astype(np.float32)
        return self.constant(data)


def pick(make: Maker, rank: int | None = None, fresh: float = 0.7) -> int:
    """A float tensor that is fed or computed, preferably one that nothing has read yet."""
    fit = [
        t.index
        for t in make.tensors
        if t.data is None and t.dtype.name == "float32" and (rank is None or len(t.shape) == rank)
    ]
    unread = [i for i in fit if i not in make.used]
    if unread and make.rng.random() < fresh:
        return int(make.rng.choice(unread))
    if not fit:
        shape = {4: (1, 4, 4, 3), 2: (1, 8), 3: (2, 3, 4), None: (1, 8)}[rank]
        index = make.tensor(shape)
        make.inputs.append(index)
        return index
    return int(make.rng.choice(fit))


def add_dense(make: Maker) -> None:
    """FULLY_CONNECTED."""
    source = pick(make, 2)
    shape = make.tensors[source].shape
    units = int(make.rng.integers(1, 9))
    weights = make.weights((units, shape[-1]), 0)
    bias = make.bias(units, source, weights, 0)
    act = str(make.rng.choice(["NONE", "RELU", "RELU6"]))
    make.op(
        "FULLY_CONNECTED",
        [source, make.constant(weights), bias],
        [(int(np.prod(shape[:-1])), units)],
        fused_activation_function=act,
    )


def add_dense_between(make: Maker) -> None:
    """A dense layer between two RESHAPEs: the second gives back the first one's dimensions, or others."""
    source = pick(make, 3)
    if is_from(make, source, MOVES | {"FULLY_CONNECTED"}):
        return
    lead, width = make.tensors[source].shape[:-1], make.tensors[source].shape[-1]
    rows = int(np.prod(lead))
    units = int(make.rng.integers(1, 6))
    flat = add_reshape(make, source, (rows, width))
    weights = make.weights((units, width), 0)
    inputs = [flat, make.constant(weights), make.bias(units, flat, weights, 0)]
    act = str(make.rng.choice(["NONE", "RELU"]))
    dense = make.op("FULLY_CONNECTED", inputs, [(rows, units)], fused_activation_function=act)
    add_reshape(make, dense, (*lead, units) if make.rng.random() < 0.6 else (1, rows, units))


def add_reshape(make: Maker, source: int, shape: tuple[int, ...]) -> int:
    """RESHAPE; the index of its output."""
    return make.op("RESHAPE", [source, make.constant(np.array(shape), INT32)], [shape], new_shape=shape)


def add_conv(make: Maker) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    source = pick(make, 4)
    batch, height, width, channels = make.tensors[source].shape
    kernel = int(make.rng.integers(1, 4))
    act = str(make.rng.choice(["NONE", "RELU", "RELU6"]))
    common: dict[str, Any] = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "fused_activation_function": act}
    if make.rng.random() < 0.5:
        units = int(make.rng.integers(1, 6))
        weights = make.weights((units, kernel, kernel, channels), 0)
        bias = make.bias(units, source, weights, 0)
        make.op("CONV_2D", [source, make.constant(weights), bias], [(batch, height, width, units)], **common)
    else:
        times = int(make.rng.integers(1, 3))
        weights = make.weights((1, kernel, kernel, channels * times), 3)
        bias = make.bias(channels * times, source, weights, 3)
        make.op(
            "DEPTHWISE_CONV_2D",
            [source, make.constant(weights), bias],
            [(batch, height, width, channels * times)],
            depth_multiplier=times,
            **common,
        )


def add_unary(make: Maker) -> None:
    """An operator of one input and its own output range, or a fixed one."""
    names = ["RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "LEAKY_RELU", "HARD_SWISH", "SOFTMAX"]
    name = str(make.rng.choice(names))
    source = pick(make)
    options: dict[str, Any] = {}
    if name == "LEAKY_RELU":
        options["alpha"] = 0.125
    if name == "SOFTMAX":
        options["beta"] = 1.0
    make.op(name, [source], [make.tensors[source].shape], **options)


def add_pool(make: Maker) -> None:
    """A pool, PAD, PADV2 or STRIDED_SLICE of an image."""
    source = pick(make, 4)
    batch, height, width, channels = make.tensors[source].shape
    kind = make.rng.integers(5)
    if kind < 2 and height >= 2 and width >= 2:
        make.op(
            ["AVERAGE_POOL_2D", "MAX_POOL_2D"][kind],
            [source],
            [(batch, height // 2, width // 2, channels)],
            padding="VALID",
            stride_w=2,
            stride_h=2,
            filter_width=2,
            filter_height=2,
            fused_activation_function="NONE",
        )
    elif kind < 4:
        pads = make.constant(np.array([[0, 0], [1, 1], [0, 1], [0, 0]]), INT32)
        shape = (batch, height + 2, width + 1, channels)
        if kind == 3:
            value = make.constant(np.float32(make.rng.choice([0.0, -1.0, make.rng.normal()])))
            make.op("PADV2", [source, pads, value], [shape])
        else:
            make.op("PAD", [source, pads], [shape])
    elif height > 1:
        begin = make.constant(np.array([0, 0, 0, 0]), INT32)
        end = make.constant(np.array([batch, height - 1, width, channels]), INT32)
        steps = make.constant(np.array([1, 1, 1, 1]), INT32)
        make.op("STRIDED_SLICE", [source, begin, end, steps], [(batch, height - 1, width, channels)])


def add_binary(make: Maker) -> None:
    """ADD, SUB, MUL, MAXIMUM or MINIMUM of two computed tensors or with a constant."""
    name = str(make.rng.choice(["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"]))
    source = pick(make)
    if is_from(make, source, MOVES):  # the converter moves these behind
        return
    shape = make.tensors[source].shape
    same = [
        t.index
        for t in make.tensors
        if t.data is None and t.dtype.name == "float32" and t.shape == shape and t.index != source
    ]
    if same and make.rng.random() < 0.6:
        other = int(make.rng.choice(same))
    else:
        size = () if make.rng.random() < 0.4 else (shape[-1],)
        values = make.rng.normal(size=size) * np.exp(make.rng.normal())
        if make.rng.random() < 0.3:
            values = np.abs(values)
        array = np.asarray(np.float32(values))
        other = make.constant(array.reshape((1,) * (len(shape) - array.ndim) + array.shape) if make.complete else array)
    inputs = [source, other]
    if make.rng.random() < 0.2:
        inputs.reverse()
    act = str(make.rng.choice(["NONE", "RELU"]))
    options = {} if name in ("MAXIMUM", "MINIMUM") else {"fused_activation_function": act}
    make.op(name, inputs, [shape], **options)


RESHAPES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
MOVES = RESHAPES | {"TRANSPOSE"}


def is_from(make: Maker, index: int, names: set[str]) -> bool:
    """Whether one of these operators gives a tensor."""
    return any(index in op.outputs and op.name in names for op in make.operators)


def add_shape(make: Maker) -> None:
    """An operator that moves values only."""
    kind = make.rng.integers(8)
    source = pick(make, 4 if kind in (0, 1) else 2 if kind in (2, 3) else None)
    shape = make.tensors[source].shape
    # In chains of these the converter's result depends on the order in which it looks at them.
    if kind in (0, 2, 3, 7) and is_from(make, source, MOVES | {"FULLY_CONNECTED"}):
        return
    if kind == 0:
        size = int(np.prod(shape))
        if size == shape[-1]:
            return
        add_reshape(make, source, (1, size))
    elif kind == 1:
        if 1 in shape[1:3] or is_from(make, source, MOVES):
            return
        perm = make.constant(np.array([0, 2, 1, 3]), INT32)
        make.op("TRANSPOSE", [source, perm], [(shape[0], shape[2], shape[1], shape[3])])
    elif kind == 2:
        axis = make.constant(np.int32(1), INT32)
        make.op("EXPAND_DIMS", [source, axis], [(shape[0], 1, shape[1])])
    elif kind == 3:
        if shape[1] % 4 == 0:
            add_reshape(make, source, (1, 2, 2, shape[0] * shape[1] // 4))
    elif kind == 4 and shape[-1] % 2 == 0:
        half = (*shape[:-1], shape[-1] // 2)
        axis = make.constant(np.int32(len(shape) - 1), INT32)
        make.op("SPLIT", [axis, source], [half, half], num_splits=2)
    elif kind == 5 and shape[-1] > 2:
        sizes = make.constant(np.array([1, shape[-1] - 1]), INT32)
        axis = make.constant(np.int32(len(shape) - 1), INT32)
        parts: list[tuple[int, ...]] = [(*shape[:-1], 1), (*shape[:-1], shape[-1] - 1)]
        make.op("SPLIT_V", [source, sizes, axis], parts, num_splits=2)
    elif kind == 6 and shape[0] > 1 and len(shape) > 2:
        make.op("UNPACK", [source], [shape[1:]] * shape[0], num=shape[0], axis=0)
    elif kind == 7 and 1 in shape and len(shape) > 2:
        axis = shape.index(1)
        make.op("SQUEEZE", [source], [(*shape[:axis], *shape[axis + 1 :])], squeeze_dims=(axis,))


def add_join(make: Maker) -> None:
    """CONCATENATION or PACK."""
    source = pick(make)
    shape = make.tensors[source].shape
    same = [t.index for t in make.tensors if t.data is None and t.dtype.name == "float32" and t.shape == shape]
    count = int(make.rng.integers(1, 4))
    parts = [source] + [int(make.rng.choice(same)) for _ in range(count)]
    if make.rng.random() < 0.15:
        parts[1] = make.constant(make.rng.normal(size=shape).astype(np.float32))
    if make.rng.random() < 0.7 or len(shape) > 3:
        total = (*shape[:-1], shape[-1] * len(parts))
        if np.prod(total) < 400:
            make.op("CONCATENATION", parts, [total], axis=len(shape) - 1, fused_activation_function="NONE")
    else:
        make.op("PACK", parts, [(len(parts), *shape)], values_count=len(parts), axis=0)


def add_reduce(make: Maker) -> None:
    """MEAN, SUM, ARG_MAX or ARG_MIN."""
    source = pick(make)
    shape = make.tensors[source].shape
    if shape[-1] == 1:  # the converter takes such a reduction away
        return
    axis = make.constant(np.array([len(shape) - 1]), INT32)
    kind = make.rng.integers(4)
    if kind < 2:
        make.op(["MEAN", "SUM"][kind], [source, axis], [(*shape[:-1], 1)], keep_dims=True)
    elif make.rng.random() < 0.4 and not is_from(make, source, {"SOFTMAX"}):
        scalar = make.constant(np.int32(len(shape) - 1), INT32)
        make.op(["ARG_MAX", "ARG_MIN"][kind - 2], [source, scalar], [shape[:-1]], INT32, output_type="int32")


def add_matmul(make: Maker) -> None:
    """BATCH_MATMUL of two computed tensors or with constant weights."""
    source = pick(make, 3)
    shape = make.tensors[source].shape
    same = [t.index for t in make.tensors if t.data is None and t.dtype.name == "float32" and t.shape == shape]
    if make.rng.random() < 0.6:
        other = int(make.rng.choice(same))
        make.op("BATCH_MATMUL", [source, other], [(shape[0], shape[1], shape[1])], adj_y=True)
    else:
        weights = make.weights((shape[0], shape[2], 4), 0)
        make.op("BATCH_MATMUL", [source, make.constant(weights)], [(shape[0], shape[1], 4)])


ADDERS = [
    *(add_dense, add_conv, add_unary, add_pool, add_binary, add_shape, add_join, add_reduce, add_matmul),
    add_dense_between,
]
SHARES = np.array([5, 6, 5, 4, 5, 5, 3, 2, 1, 1], float)


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
