"""Few cases of convolutions and matrix products, each made so that two of their rules differ on it.

A convolution whose input is its zero point everywhere has its bias for accumulator, so accumulators can be chosen. They
lie on ties; or so little below one that a first rounding, to a step of the 31-bit product, takes them to it; or they
leave 16 or 32 bits where they are shifted or scaled. Some kernels are for one output pixel, others for one channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["operator_cases"]

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
ZERO_POINTS = {"int8": (-3, -128, 127), "uint8": (100, 0, 255), "int16": (0,)}
# Not a multiple of eight or sixteen: channels beyond the last whole group are there.
UNITS, DEPTH = 68, 8
Scales = tuple[float, float, float]
"""Of the input, the weights and the output."""
SMALL: tuple[Scales, ...] = ((0.5, 0.125, 0.5), (0.5, 0.0123456789, 0.5), (0.5, 0.1, 0.5))
# The effective scale is another number in float64, in float32, and partly in each.
TINY: dict[str, Scales] = {"int8": (0.1, 0.00013, 70.1), "uint8": (0.1, 0.00013, 70.1), "int16": (0.1, 0.00013, 0.9)}
LARGE: tuple[Scales, ...] = ((0.5, 1.5, 0.5), (0.5, 200.0, 0.5))
FAR = np.asarray([sign * end for end in (2**30, 3 * 2**28, 2**25, 10_737_418, 20_000, 163, 3, 0) for sign in (1, -1)])
ONE, THREE, MANY_TAPS = (1, 1), (3, 3), (7, 4)


@dataclass(frozen=True)
class Kind:
    """What kernels ask of a layer.

    Attributes:
        op: the operator.
        dtype: of the input and the output.
        pixels: of the output, one row of them; of TRANSPOSE_CONV those of the input.
        window: its height and width.
        groups: of CONV_2D.
        stride: of CONV_2D.
        per_channel: whether every channel has its own scale, all of them equal.
        bias: its type.
    """

    op: str
    dtype: str
    pixels: int
    window: tuple[int, int]
    groups: int = 1
    stride: int = 1
    per_channel: bool = False
    bias: str = "int32"


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """All of them, whatever the seed and the count."""
    for dtype, zero_points in ZERO_POINTS.items():
        for kind in kinds(dtype):
            for scales in (*SMALL, TINY[dtype]):
                accumulators = beside_ties(scales, dtype, zero_points[0])
                kept = accumulators[UNITS % 8 :] if kind.window == THREE else accumulators
                yield layer(kind, scales, kept, zero_points[0])
            for zero_point in zero_points:
                for scales in LARGE:
                    yield layer(kind, scales, np.resize(FAR, UNITS), zero_point)
    for dtype in ("int8", "uint8"):
        yield from one_channel(dtype)
    for dtype in ("int8", "int16"):
        for scales in SMALL:
            yield matrices(scales, dtype)
    for zero_point in ZERO_POINTS["int8"]:
        yield far_matrices(zero_point)


def kinds(dtype: str) -> Iterator[Kind]:
    """Layers of all operators for which some runtime has a kernel of its own."""
    for op in OPERATORS:
        bias = "int64" if (op, dtype) == ("DEPTHWISE_CONV_2D", "int16") else "int32"
        for pixels, window in ((1, ONE), (4, ONE), (2, THREE), (1, MANY_TAPS)):
            yield Kind(op, dtype, pixels, window, bias=bias)
        if dtype != "uint8":
            yield Kind(op, dtype, 3, ONE, per_channel=True, bias=bias)
    yield Kind("CONV_2D", dtype, 2, ONE, stride=2)
    if dtype != "uint8":
        yield Kind("CONV_2D", dtype, 2, THREE, groups=2, per_channel=True)
        yield Kind("CONV_2D", dtype, 3, ONE, groups=2)
    if dtype == "int16":
        yield Kind("CONV_2D", dtype, 3, THREE, bias="int64")
        yield Kind("CONV_2D", dtype, 3, ONE, groups=2, bias="int64")
        yield Kind("TRANSPOSE_CONV", dtype, 3, THREE, bias="int64")


def beside_ties(scales: Scales, dtype: str, zero_point: int) -> Array:
    """Accumulators before ties, and those on or above them, for outputs all over the range: `[UNITS]`.

    With a factor of M 2^(-31 - right), a tie is (k + 0.5) 2^right in steps of the product of 31 bits. The accumulator
    before it lies half a step of it or less below as often as not: always where the factor is a power of two.
    """
    x, weights, y = (float(np.float32(scale)) for scale in scales)
    mantissa, exponent = np.frexp(x * weights / y)
    multiplier, right = int(np.rint(mantissa * 2.0**31)), -int(exponent)
    low, high = np.iinfo(dtype).min - zero_point, np.iinfo(dtype).max - zero_point
    ties = [(2 * int(k) + 1) << (right + 30) for k in np.linspace(low + 1, high - 2, UNITS // 2)]
    first = np.asarray([-(-tie // multiplier) for tie in ties])
    return np.concatenate([first - 1, first[::-1]])


def layer(kind: Kind, scales: Scales, accumulators: Array, zero_point: int) -> Case:
    """A layer with these accumulators in its output channels, the same ones in every pixel."""
    units, op, dtype = len(accumulators), kind.op, kind.dtype
    depth = units if op == "DEPTHWISE_CONV_2D" else min(units, DEPTH)
    (height, width), reach = kind.window, (kind.pixels - 1) * kind.stride
    size, output = (1, height, width + reach, depth * kind.groups), (1, 1, kind.pixels, units)
    shape = (1, height, width, units) if op == "DEPTHWISE_CONV_2D" else (units, height, width, depth)
    if op == "TRANSPOSE_CONV":
        size, output = (1, 1, kind.pixels, depth), (1, height, width + reach, units)
    given, weights_type = ZERO_POINTS[dtype][0], "uint8" if dtype == "uint8" else "int8"
    scale = np.full(units if kind.per_channel else 1, scales[1], np.float32)
    weights = Operand(shape, weights_type, scale, 0, np.ones(shape), 3 if op == "DEPTHWISE_CONV_2D" else 0)
    bias = Operand((units,), kind.bias, np.float32(scales[0]) * scale, 0, accumulators)
    inputs = [Operand(size, dtype, scales[0], given), weights, bias]
    version = {"int8": 3, "uint8": 2, "int16": 4}[dtype]
    options: dict[str, object] = {"padding": "VALID", "stride_h": kind.stride, "stride_w": kind.stride}
    if op == "TRANSPOSE_CONV":
        inputs = [Operand((4,), "int32", data=np.asarray(output)), weights, inputs[0], bias]
        version = 3
    if op == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = 1
    elif dtype == "int16":
        options["quantized_bias_type"], version = kind.bias, 5 if op == "TRANSPOSE_CONV" else 8
    made = Operand(output, dtype, scales[2], zero_point)
    return Case(op, inputs, [made], [np.full(size, given, dtype)], options, version)


def one_channel(dtype: str) -> Iterator[Case]:
    """CONV_2D of one channel to one channel, with windows of up to 25 taps and more, far beyond 32 bits."""
    for window in (THREE, MANY_TAPS):
        for end in FAR[:8]:
            for zero_point in ZERO_POINTS[dtype]:
                yield layer(Kind("CONV_2D", dtype, 1, window), LARGE[1], np.asarray([end]), zero_point)


def matrices(scales: Scales, dtype: str) -> Case:
    """BATCH_MATMUL: a matrix whose columns are all 127, 127, .. 1 makes an accumulator of each row."""
    zero_point, digit = ZERO_POINTS[dtype][0], int(np.iinfo(dtype).max)
    accumulators = beside_ties(scales, dtype, zero_point).tolist()
    rows = np.asarray([_digits(accumulator, digit) for accumulator in accumulators], dtype)
    columns = np.tile(np.asarray([[digit]] * (DEPTH - 1) + [[1]], dtype), (1, 3))
    return _product(scales, dtype, [rows, columns], (0, 0, zero_point))


def far_matrices(zero_point: int) -> Case:
    """BATCH_MATMUL with sums far below and above 32 bits once they are scaled; XNNPACK takes no second zero point."""
    rows, columns = np.full((2, 700), -128, np.int8), np.tile(np.asarray([-128, 127, -1], np.int8), (700, 1))
    return _product((0.5, 200.0, 0.5), "int8", [rows, columns], (127, 0, zero_point))


def _product(scales: Scales, dtype: str, values: list[Array], zero_points: tuple[int, int, int]) -> Case:
    given = [Operand(x.shape, dtype, s, z) for x, s, z in zip(values, scales, zero_points, strict=False)]
    made = Operand((len(values[0]), values[1].shape[1]), dtype, scales[2], zero_points[2])
    return Case("BATCH_MATMUL", given, [made], values, {"adj_x": False, "adj_y": False}, 2)


def _digits(number: int, base: int) -> Sequence[int]:
    """Numbers of 8 or 16 bits whose sum, all but the last times `base`, is the number."""
    whole, rest = divmod(number, base)
    share, left = divmod(whole, DEPTH - 1)
    return [share + (place < left) for place in range(DEPTH - 1)] + [rest]
