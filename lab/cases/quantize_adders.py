"""The operators of random float models: what `quantize_models` puts behind each other, and how often."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.cases.quantize_maker import INT32, Maker, pick


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


def add_image(make: Maker) -> None:
    """An operator that copies an image's values to other places: larger, mirrored, or in blocks."""
    source = pick(make, 4)
    batch, height, width, channels = make.tensors[source].shape
    kind = make.rng.integers(4)
    if kind == 0 and height * width < 100:
        size = (int(make.rng.integers(1, 2 * height + 1)), int(make.rng.integers(1, 2 * width + 1)))
        which = str(make.rng.choice(["", "align_corners", "half_pixel_centers"]))
        options = {which: True} if which else {}
        inputs = [source, make.constant(np.array(size), INT32)]
        if size != (height, width):  # the converter takes away what changes nothing
            make.op("RESIZE_NEAREST_NEIGHBOR", inputs, [(batch, *size, channels)], **options)
    elif kind == 1 and min(height, width) > 1 and height * width < 100:
        mode = str(make.rng.choice(["REFLECT", "SYMMETRIC"]))
        inputs = [source, make.constant(np.array([[0, 0], [1, 0], [1, 1], [0, 0]]), INT32)]
        make.op("MIRROR_PAD", inputs, [(batch, height + 1, width + 2, channels)], mode=mode)
    elif kind == 2 and height % 2 == 0 and width % 2 == 0:
        inputs = [source, *(make.constant(np.array(part), INT32) for part in ([2, 2], [[0, 0], [0, 0]]))]
        make.op("SPACE_TO_BATCH_ND", inputs, [(batch * 4, height // 2, width // 2, channels)])
    elif kind == 3 and batch % 4 == 0:
        inputs = [source, *(make.constant(np.array(part), INT32) for part in ([2, 2], [[0, 0], [0, 0]]))]
        make.op("BATCH_TO_SPACE_ND", inputs, [(batch // 4, height * 2, width * 2, channels)])


def add_transpose_conv(make: Maker) -> None:
    """TRANSPOSE_CONV to an image of twice the size."""
    source = pick(make, 4)
    batch, height, width, channels = make.tensors[source].shape
    if batch * height * width > 64:
        return
    units, kernel = (int(part) for part in make.rng.integers(1, 4, 2))
    shape = (batch, height * 2, width * 2, units)
    weights = make.weights((units, kernel, kernel, channels), 0)
    inputs = [make.constant(np.array(shape), INT32), make.constant(weights), source]
    bias = make.bias(units, source, weights, 0)
    inputs += [bias] if bias >= 0 else []
    act = str(make.rng.choice(["NONE", "RELU"]))
    options: dict[str, Any] = {"padding": "SAME", "stride_w": 2, "stride_h": 2, "fused_activation_function": act}
    make.op("TRANSPOSE_CONV", inputs, [shape], **options)


def add_part(make: Maker) -> None:
    """GATHER or SLICE along one axis."""
    source = pick(make)
    shape = make.tensors[source].shape
    axis = int(make.rng.integers(len(shape)))
    if shape[axis] < 2:
        return
    if make.rng.random() < 0.5:
        rows = make.rng.integers(0, shape[axis], int(make.rng.integers(2, 5)))
        inputs = [source, make.constant(rows, INT32)]
        made = (*shape[:axis], len(rows), *shape[axis + 1 :])
        make.op("GATHER", inputs, [made], axis=axis, batch_dims=0)
    else:
        begin = [int(i == axis) for i in range(len(shape))]
        size = [length - first for length, first in zip(shape, begin, strict=True)]
        inputs = [source, *(make.constant(np.array(part), INT32) for part in (begin, size))]
        make.op("SLICE", inputs, [tuple(size)])


ADDERS = [
    *(add_dense, add_conv, add_unary, add_pool, add_binary, add_shape, add_join, add_reduce, add_matmul),
    *(add_dense_between, add_image, add_transpose_conv, add_part),
]
SHARES = np.array([5, 6, 5, 4, 5, 5, 3, 2, 1, 1, 3, 1, 2], float)
