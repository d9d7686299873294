"""Few cases, each made so that two rules differ on it that random scales and values do not tell apart.

What makes them differ is said at each: a ratio of scales that float32 rounds to a tie, an activation's bound on a tie,
a logistic function on a tie, a sum whose product with the factor is rounded or not, zeros with a sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["operator_cases"]

# Their ratio is 0.75 in float32 and 1.5 * 2^-26 less than that in float64.
NEAR_THREE_QUARTERS = (12582911 * 2.0**-29, (2**24 - 1) * 2.0**-29)
ZERO_POINTS = {"int8": -3, "uint8": 100, "int16": 0}


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """All of them, whatever the seed and the count."""
    for dtype in ZERO_POINTS:
        yield from ratios(dtype)
        yield from pools(dtype)
        yield from sums(dtype, np.random.default_rng([5, len(dtype)]))
    for dtype in ("int8", "uint8"):
        yield from curves(dtype)
        yield from softmax_of_two(dtype)
        yield from swishes(dtype)
    yield softmax_beside_entries()
    yield from zeros()


def values_of(dtype: str) -> Array:
    """Every value of 8 bits, or 800 around zero: `[1, N]`."""
    low, high = (-400, 399) if dtype == "int16" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.arange(low, high + 1).astype(dtype).reshape(1, -1)


def unary(op: str, dtype: str, scales: tuple[float, float], zero_points: tuple[int, int], **options: float) -> Case:
    """An operator of one input, at every value."""
    x = values_of(dtype)
    given, made = (Operand(x.shape, dtype, s, z) for s, z in zip(scales, zero_points, strict=True))
    return Case(op, [given], [made], [x], options, 2)


def ratios(dtype: str) -> Iterator[Case]:
    """Ratios of scales that are a tie in float32 only, and negative slopes on ties."""
    zero_points = ZERO_POINTS[dtype], ZERO_POINTS[dtype]
    for op in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield replace(unary(op, dtype, NEAR_THREE_QUARTERS, zero_points), version=1)
    yield unary("LEAKY_RELU", dtype, NEAR_THREE_QUARTERS, zero_points, alpha=0.75)
    for alpha, to in ((-0.75, 0.5), (-0.25, 0.5), (-0.25, 0.25)):
        yield unary("LEAKY_RELU", dtype, (0.5, to), zero_points, alpha=alpha)


def pools(dtype: str) -> Iterator[Case]:
    """Bounds of a fused activation half way between two steps, the lower one even."""
    x = values_of(dtype).reshape(1, 1, -1, 1)
    window = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "filter_height": 1, "filter_width": 1}
    for scale, activation in ((12.0, "RELU6"), (2.4, "RELU6"), (2.0, "RELU_N1_TO_1"), (0.4, "RELU_N1_TO_1")):
        operand = Operand(x.shape, dtype, scale, ZERO_POINTS[dtype] & -2)
        options = {**window, "fused_activation_function": activation}
        yield Case("MAX_POOL_2D", [operand], [operand], [x], options, 2)


def sums(dtype: str, rng: np.random.Generator) -> Iterator[Case]:
    """Sums beside ties, where a fused multiply-add differs from a product that is rounded first."""
    axis = Operand((1,), "int32", None, 0, np.asarray([1]))
    info = np.iinfo(dtype)
    for number in range(24):
        length, odd = (int(n) for n in rng.choice([2, 3, 5, 7, 11], 2))
        x = rng.integers(info.min, info.max, (400, length), dtype, endpoint=True)
        x = x // 512 if dtype == "int16" else x
        to = float(np.float32(rng.choice([1.0, 0.5, 0.03, 0.77])))
        given = float(np.float32(to * int(rng.integers(1, 12)) / (2 * odd)))
        zero = 0 if dtype == "int16" else int(rng.integers(info.min, info.max))
        operands = [Operand(x.shape, dtype, given, zero), axis]
        made = Operand((400, 1), dtype, to, zero)
        yield Case(("SUM", "MEAN")[number % 2], operands, [made], [x], {"keep_dims": True}, 2)


def curves(dtype: str) -> Iterator[Case]:
    """Curves on ties, where half away and half even differ.

    One step of the input of LOGISTIC gives 1 / (1 + exp(-x)) on a tie. The C library decides all ties of TANH but those
    of 1 and -1, which an output scale of 1 / (k + 0.5) makes.
    """
    low = int(np.iinfo(dtype).min)
    for step in (0.007812539115548134, 0.00781254656612873, 0.007812551222741604):
        yield unary("LOGISTIC", dtype, (step, 1 / 256), (ZERO_POINTS[dtype], low))
    for steps in (12.5, 32.5, 64.5):
        yield unary("TANH", dtype, (16.0, float(np.float32(1 / steps))), (ZERO_POINTS[dtype], low + 128))


def softmax_of_two(dtype: str) -> Iterator[Case]:
    """Rows of two values, one step apart, whose outputs are beside a tie: 256 / (1 + exp(-step)) is k + 0.5, nearly."""
    x = np.stack([np.arange(64), np.arange(64) + 1], 1).astype(dtype)
    made = Operand(x.shape, dtype, 1 / 256, int(np.iinfo(dtype).min))
    for step in (0.07034146785736084, 0.11732186377048492, 0.1330081969499588, 0.16443194448947906):
        yield Case("SOFTMAX", [Operand(x.shape, dtype, step, 0)], [made], [x], {"beta": 1.0}, 2)


def swishes(dtype: str) -> Iterator[Case]:
    """HARD_SWISH whose product of 16 bits is rounded, down in groups of eight and towards zero elsewhere.

    With output steps 64 to 128 times as fine as the input's nothing is rounded after it; with coarser ones ties count.
    """
    zero_point = ZERO_POINTS[dtype]
    for given, times in ((0.015625, 100.0), (0.0625, 70.0), (0.03125, 4.0), (0.0234375, 1.0)):
        yield replace(unary("HARD_SWISH", dtype, (given, given / times), (zero_point, zero_point)), version=1)


def softmax_beside_entries() -> Case:
    """SOFTMAX of int16 with sums of 1.3125 and 1.574, where tables of 1 / (1 + x) in float32 and float64 differ.

    One step of the input is one of the table of exponentials: 10 / 65535.
    """
    sums = np.concatenate([entry / 512 + np.linspace(-1, 1, 40) / 512 for entry in (160, 294)])
    below = np.rint(np.log(sums) * 6553.5)
    x = np.stack([np.zeros_like(below), below], 1).astype(np.int16)
    made = Operand(x.shape, "int16", 2.0**-15)
    return Case("SOFTMAX", [Operand(x.shape, "int16", 10 / 65535)], [made], [x], {"beta": 1.0}, 3)


def zeros() -> Iterator[Case]:
    """Zeros of both signs against a bound of zero, in whole groups of four and beyond them."""
    for length in (1, 3, 4, 5, 8, 17, 30, 45):
        x = np.resize(np.asarray([-0.0, 0.0, -0.0, 1.0, -1.0, -0.0, 7.0], np.float32), (1, length))
        given = Operand(x.shape, "float32")
        for op in ("RELU", "RELU6", "HARD_SWISH"):
            yield Case(op, [given], [given], [x], {}, 1)
        for activation in ("NONE", "RELU", "RELU6"):
            yield Case("ADD", [given] * 2, [given], [x, x], {"fused_activation_function": activation}, 1)
            yield Case("SUB", [given] * 2, [given], [x, -x], {"fused_activation_function": activation}, 1)
            yield Case("MUL", [given] * 2, [given], [x, abs(x)], {"fused_activation_function": activation}, 1)
    yield from broadcast_zeros()


def broadcast_zeros() -> Iterator[Case]:
    """The same for sums, differences and products of arrays of two shapes, all -0.0."""
    shapes = (
        ((2, 3, 5), (5,)),
        ((2, 3, 9), (1,)),
        ((2, 1, 5), (1, 3, 5)),
        ((2, 3, 1), (2, 3, 6)),
        ((2, 1, 6), (1, 3, 1)),
    )
    for one, other in shapes:
        made = Operand(np.broadcast_shapes(one, other), "float32")
        x = np.full(one, -0.0, np.float32)
        for op, second in (("ADD", -0.0), ("SUB", 0.0), ("MUL", 1.0)):
            values = [x, np.full(other, second, np.float32)]
            given = [Operand(one, "float32"), Operand(other, "float32")]
            yield Case(op, given, [made], values, {"fused_activation_function": "RELU"}, 1)
