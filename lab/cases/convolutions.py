"""Cases of CONV_2D, DEPTHWISE_CONV_2D and the pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lab.cases.operators import Array, Case, Operand, scale, zero_point

__all__ = [
    "ACTIVATIONS",
    "BIASES_16",
    "bias_on_ties",
    "biases_16",
    "convolutions",
    "far_convolutions",
    "pools",
    "random_factors",
    "random_values",
    "windows",
]

# The bias of a layer with int16 input: its type, and what `quantized_bias_type` says of it.
BIASES_16 = (("int64", None), ("int32", "int32"), ("int64", "int64"))
ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def random_values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Any values of a type."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def random_factors(rng: np.random.Generator, count: int) -> Array:
    """Real factors s_x*s_w/s_y: powers of two, halves of odd numbers (ties), tiny ones (precision), and anything."""
    exact = 2.0 ** rng.integers(-11, 1, count)
    odd = rng.integers(1, 200, count) / 2.0 ** rng.integers(1, 9, count) / 64
    free = np.exp(rng.uniform(-9, 1.5, count))
    tiny = np.exp(rng.uniform(-15, -9, count))
    return np.choose(rng.integers(0, 4, count), [exact, odd, free, tiny])


def bias_on_ties(rng: np.random.Generator, factors: Array, spread: float, dtype: str) -> Array:
    """Biases that put a window of zero points on a tie, or a step beside one, all over the output range."""
    reach = 140 if dtype != "int16" else 33_000
    steps = rng.integers(-reach, reach + 1, factors.size) + 0.5
    tie = np.rint(steps / factors).astype(np.int64)
    near = tie + rng.integers(-1, 2, factors.size)
    free = np.rint(rng.normal(0, 1, factors.size) * spread).astype(np.int64)
    limit = 2**30 if dtype != "int16" else 2**40
    return np.clip(np.where(rng.random(factors.size) < 0.7, near, free), -limit, limit)


def convolutions(
    rng: np.random.Generator, count: int, dtype: str = "int8", size: int = 0, *, grouped: bool = False
) -> Iterator[Case]:
    """CONV_2D and DEPTHWISE_CONV_2D, `count` of each: strides, dilations, both paddings, groups, one pixel, ties.

    With `grouped` CONV_2D alone, every one with groups. `size` makes the images larger.
    """
    for number in range(count):
        for op in ("CONV_2D",) if grouped else ("CONV_2D", "DEPTHWISE_CONV_2D"):
            yield _convolution(rng, op, dtype, 3 if grouped else number, size)


def _convolution(rng: np.random.Generator, op: str, dtype: str, number: int, size: int) -> Case:
    kh, kw = (int(k) for k in rng.choice([1, 1, 2, 3, 4, 5], 2))
    if number % 4 == 0:
        kh = kw = 3
    if number % 4 == 1 and op == "CONV_2D":
        kh = kw = 1
    strides = [int(s) for s in rng.choice([1, 1, 2, 3], 2)]
    if rng.random() < 0.5:
        strides = [strides[0]] * 2
    dilations = [1, 1] if rng.random() < 0.7 else [int(d) for d in rng.choice([1, 2, 3], 2)]
    if max(dilations) > 1:
        strides = [1, 1]
    reach = (kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1
    height, width = (r + int(rng.integers(0, 6 + size)) for r in reach)
    groups = 1
    if op == "CONV_2D":
        if number % 8 == 3 and dtype != "uint8":
            groups = int(rng.choice([2, 3]))
        depth = groups * int(rng.choice([1, 2, 3, 8, 16, 17]))
        units = groups * int(rng.choice([1, 3, 8, 16, 19]))
        shape: tuple[int, ...] = (units, kh, kw, depth // groups)
    else:
        depth = int(rng.choice([1, 3, 8, 16, 17, 32, 33]))
        multiplier = 1 if rng.random() < 0.6 else int(rng.choice([2, 3, 8]))
        units = depth * multiplier
        shape = (1, kh, kw, units)
    channels = units if dtype != "uint8" and rng.random() < 0.7 else 1
    zx, zy = zero_point(rng, dtype), zero_point(rng, dtype)
    sx, sy = scale(rng), scale(rng)
    taps = kh * kw * (depth // groups if op == "CONV_2D" else 1)
    factors = np.minimum(random_factors(rng, channels), 3000 / taps**0.5 / 40)
    weights_scale = (factors * sy / sx).astype(np.float32)
    weights_type = "uint8" if dtype == "uint8" else "int8"
    weights_zero = 0 if dtype != "uint8" else zero_point(rng, dtype)
    weights = random_values(rng, shape, weights_type)
    if rng.random() < 0.3:  # sparse and small, so that many sums stay near the bias
        weights = np.where(rng.random(shape) < 0.8, weights_zero, weights)
    bias = bias_on_ties(rng, np.resize(factors, units), 100 * taps**0.5 * 50, dtype)
    padding = str(rng.choice(["SAME", "VALID"]))
    outputs = []
    for length, r, s in zip((height, width), reach, strides, strict=True):
        outputs.append(-(-length // s) if padding == "SAME" else (length - r) // s + 1)
    batch = int(rng.choice([1, 1, 1, 3]))
    values = random_values(rng, (batch, height, width, depth), dtype)
    values = np.where(rng.random(values.shape) < rng.choice([0.0, 0.6, 0.95]), values.dtype.type(zx), values)
    options = {
        "padding": padding,
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h_factor": dilations[0],
        "dilation_w_factor": dilations[1],
        "fused_activation_function": str(rng.choice(ACTIVATIONS)),
    }
    if op == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = units // depth
    bias_type = "int32"
    if dtype == "int16":
        bias_type, told = BIASES_16[int(rng.integers(len(BIASES_16)))] if op == "CONV_2D" else ("int64", None)
        if told is not None:
            options["quantized_bias_type"] = told
    if bias_type == "int32":
        bias = np.clip(bias, -(2**30), 2**30)
    bias_scale = np.float32(sx) * weights_scale
    axis = 0 if op == "CONV_2D" or (channels == 1 and rng.random() < 0.5) else 3
    return Case(
        op,
        [
            Operand(values.shape, dtype, sx, zx),
            Operand(shape, weights_type, weights_scale, weights_zero, weights, axis),
            Operand((units,), bias_type, bias_scale, 0, bias),
        ],
        [Operand((batch, *outputs, units), dtype, sy, zy)],
        [values],
        options,
        {"int8": 3, "uint8": 2, "int16": 8 if "quantized_bias_type" in options else 4}[dtype],
    )


def far_convolutions(
    rng: np.random.Generator, count: int, dtype: str = "int8", *, grouped: bool = False
) -> Iterator[Case]:
    """The same with a scale of 200 and biases up to 2^30: accumulators that are far outside of int32 when scaled."""
    for case in convolutions(rng, count, dtype, grouped=grouped):
        x, weights, bias = case.inputs
        assert x is not None
        assert weights is not None
        assert bias is not None
        factor = np.float32(200 * float(np.max(case.outputs[0].scale)) / float(np.max(x.scale)))  # type: ignore[arg-type]
        scales = np.full(np.shape(np.atleast_1d(weights.scale)), factor, np.float32)  # type: ignore[arg-type]
        ends = rng.choice([-(2**30), 2**30, -(2**25), 2**25, -11_000_000, -10_737_418, -3, 0], bias.shape)
        far = [x, replace(weights, scale=scales), replace(bias, scale=np.float32(x.scale) * scales, data=ends)]
        yield replace(case, inputs=far)


WINDOWS = ((1, 1), (1, 3), (2, 2), (3, 3), (5, 5), (1, 25), (2, 13), (13, 2), (4, 7), (7, 7))


def windows(rng: np.random.Generator, count: int, dtype: str) -> Iterator[Case]:
    """CONV_2D and DEPTHWISE_CONV_2D of int8 or float32, `count` of each, with up to and more than 25 taps.

    An output channel sees an input channel that no other sees in most, and shares it in the rest. Of int8, what
    accumulators are scaled to lies on both sides of -2^31.
    """
    for number in range(count):
        for op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kh, kw = WINDOWS[number % len(WINDOWS)]
            depth, multiplier = int(rng.choice([1, 7, 16, 17, 33, 48])), int(rng.choice([1, 1, 2]))
            units = depth * multiplier
            shape = (units, kh, kw, 1) if op == "CONV_2D" else (1, kh, kw, units)
            size = (1, kh + int(rng.integers(0, 3)), kw + 1, depth)
            outputs = (1, size[1] - kh + 1, 2, units)
            options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_w_factor": 1, "dilation_h_factor": 1}
            if op == "DEPTHWISE_CONV_2D":
                options["depth_multiplier"] = multiplier
            if dtype == "float32":
                x, weights, bias = (rng.normal(0, 1, s).astype(np.float32) for s in (size, shape, (units,)))
                inputs = [Operand(size, dtype), *(Operand(a.shape, dtype, data=a) for a in (weights, bias))]
                yield Case(op, inputs, [Operand(outputs, dtype)], [x], options, 1)
                continue
            factors = np.exp(rng.uniform(np.log(20), np.log(255), units if rng.random() < 0.5 else 1))
            sx, sy = 0.5, 0.25
            scales = (factors * sy / sx).astype(np.float32)
            edge = np.rint(-(2.0**31) / np.resize(factors, units)) + rng.integers(-40_000, 40_000, units)
            ends = rng.choice([-(2**30), 2**30, -(2**25), 2**25, 0], units)
            bias = np.where(rng.random(units) < 0.5, edge, ends).astype(np.int64)
            options["fused_activation_function"] = str(rng.choice(ACTIVATIONS))
            inputs = [
                Operand(size, dtype, sx, 3),
                Operand(shape, dtype, scales, 0, random_values(rng, shape, dtype), 0 if op == "CONV_2D" else 3),
                Operand((units,), "int32", np.float32(sx) * scales, 0, bias),
            ]
            yield Case(
                op,
                inputs,
                [Operand(outputs, dtype, sy, int(rng.choice([-128, -1, 0, 127])))],
                [random_values(rng, size, dtype)],
                options,
                3,
            )


def biases_16(case: Case) -> Iterator[Case]:
    """A case with int16 input, with no bias and with an int32 bias of which its options say nothing."""
    options = {name: value for name, value in case.options.items() if name != "quantized_bias_type"}
    bias = case.inputs[2]
    assert bias is not None
    assert bias.data is not None
    narrow = replace(bias, dtype="int32", data=np.clip(bias.data, -(2**30), 2**30))
    for other in (None, narrow):
        yield replace(case, inputs=[*case.inputs[:2], other], options=options, version=4)


def pools(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """AVERAGE_POOL_2D and MAX_POOL_2D, `count` of each."""
    for _ in range(count):
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            kh, kw = (int(k) for k in rng.choice([1, 2, 2, 3, 4, 7], 2))
            strides = [int(s) for s in rng.choice([1, 2, 3], 2)]
            height, width = kh + int(rng.integers(0, 6)), kw + int(rng.integers(0, 6))
            depth = int(rng.choice([1, 3, 8, 16, 17, 40]))
            padding = str(rng.choice(["SAME", "VALID"]))
            outputs = []
            for length, k, s in zip((height, width), (kh, kw), strides, strict=True):
                outputs.append(-(-length // s) if padding == "SAME" else (length - k) // s + 1)
            batch = int(rng.choice([1, 3]))
            values = random_values(rng, (batch, height, width, depth), dtype)
            if rng.random() < 0.5:
                values = np.clip(values, -3, 3).astype(dtype)
            sx, zx = scale(rng), zero_point(rng, dtype)
            if rng.random() < 0.4:  # a bound of the activation between two steps
                sx = float(np.float32(rng.choice([1, 6]) / (int(rng.integers(0, 60)) + 0.5)))
            options = {
                "padding": padding,
                "stride_h": strides[0],
                "stride_w": strides[1],
                "filter_height": kh,
                "filter_width": kw,
                "fused_activation_function": str(rng.choice(ACTIVATIONS)),
            }
            yield Case(
                op,
                [Operand(values.shape, dtype, sx, zx)],
                [Operand((batch, *outputs, depth), dtype, sx, zx)],
                [values],
                options,
                2,
            )
