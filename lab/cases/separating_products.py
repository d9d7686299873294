"""Few cases of convolutions and matrix products, each made so that two of their rules differ on it.

A convolution whose input is its zero point everywhere has its bias for accumulator, so accumulators can be chosen. They
lie on ties; or so little below one that a first rounding, to a step of the 31-bit product, takes them to it; or they
leave 16 or 32 bits where they are shifted or scaled. Some kernels are for one output pixel, others for one channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["operator_cases"]

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
ZERO_POINTS = {"int8": (-3, -128, 127), "uint8": (100, 0, 255), "int16": (0,)}
VERSIONS = {"int8": 3, "uint8": 2, "int16": 8}
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


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """All of them, whatever the seed and the count."""
    for dtype, zero_points in ZERO_POINTS.items():
        for op in OPERATORS:
            for pixels, window in ((1, ONE), (4, ONE), (2, THREE), (1, MANY_TAPS)):
                for scales in (*SMALL, TINY[dtype]):
                    accumulators = beside_ties(scales, dtype, zero_points[0])
                    kept = accumulators[UNITS % 8 :] if window == THREE else accumulators
                    yield layer(op, dtype, scales, kept, zero_points[0], pixels, window)
                for zero_point in zero_points:
                    for scales in LARGE:
                        yield layer(op, dtype, scales, np.resize(FAR, UNITS), zero_point, pixels, window)
    for dtype in ("int8", "uint8"):
        yield from one_channel(dtype)
    for scales in SMALL:
        yield matrices(scales)


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


def layer(
    op: str,
    dtype: str,
    scales: Scales,
    accumulators: Array,
    zero_point: int,
    pixels: int,
    window: tuple[int, int],
) -> Case:
    """A layer with these accumulators in its output channels, the same ones in every pixel."""
    units = len(accumulators)
    depth = units if op == "DEPTHWISE_CONV_2D" else min(units, DEPTH)
    size, output = (1, window[0], window[1] + pixels - 1, depth), (1, 1, pixels, units)
    shape = (1, *window, units) if op == "DEPTHWISE_CONV_2D" else (units, *window, depth)
    if op == "TRANSPOSE_CONV":
        size, output = (1, 1, pixels, depth), (1, window[0], window[1] + pixels - 1, units)
    given = ZERO_POINTS[dtype][0]
    weights = Operand(shape, "uint8" if dtype == "uint8" else "int8", scales[1], 0, np.ones(shape))
    bias_type = "int64" if (op, dtype) == ("DEPTHWISE_CONV_2D", "int16") else "int32"
    bias_scale = float(np.float32(scales[0]) * np.float32(scales[1]))
    x, bias = Operand(size, dtype, scales[0], given), Operand((units,), bias_type, bias_scale, 0, accumulators)
    options: dict[str, object] = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
    version = VERSIONS[dtype]
    inputs = [x, weights, bias]
    if op == "TRANSPOSE_CONV":
        inputs = [Operand((4,), "int32", data=np.asarray(output)), weights, x, bias]
        version = 5 if dtype == "int16" else 3
    if op == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"], version = 1, min(version, 4)
    elif dtype == "int16":
        options["quantized_bias_type"] = bias_type
    made = Operand(output, dtype, scales[2], zero_point)
    return Case(op, inputs, [made], [np.full(size, given, dtype)], options, version)


def one_channel(dtype: str) -> Iterator[Case]:
    """CONV_2D of one channel to one channel, with windows of up to 25 taps and more, far beyond 32 bits."""
    for window in (THREE, MANY_TAPS):
        for end in FAR[:8]:
            for zero_point in ZERO_POINTS[dtype]:
                yield layer("CONV_2D", dtype, LARGE[1], np.asarray([end]), zero_point, 1, window)


def matrices(scales: Scales) -> Case:
    """BATCH_MATMUL of int8: a matrix whose columns are all 127, 127, .. 1 makes an accumulator of each row."""
    zero_point = ZERO_POINTS["int8"][0]
    accumulators = beside_ties(scales, "int8", zero_point).tolist()
    rows = np.asarray([_digits(accumulator, 127) for accumulator in accumulators], np.int8)
    columns = np.tile(np.asarray([[127]] * (DEPTH - 1) + [[1]], np.int8), (1, 3))
    given = [Operand(x.shape, "int8", scale) for x, scale in zip((rows, columns), scales, strict=False)]
    made = Operand((len(rows), 3), "int8", scales[2], zero_point)
    return Case("BATCH_MATMUL", given, [made], [rows, columns], {"adj_x": False, "adj_y": False}, 2)


def _digits(number: int, base: int) -> Sequence[int]:
    """Numbers of 8 bits whose sum, all but the last times `base`, is the number."""
    whole, rest = divmod(number, base)
    share, left = divmod(whole, DEPTH - 1)
    return [share + (place < left) for place in range(DEPTH - 1)] + [rest]
