"""Cases of the operators with two inputs: all pairs of values that meet at ties, broadcasting, constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Array, Case, Operand, scale, zero_point

__all__ = ["binaries", "power_of_two_sums"]

ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")
# Shapes of both inputs: equal, then every way of repeating one of them.
SHAPES = (
    ((1, 256), (1, 256)),
    ((1, 5, 7, 3), (1, 5, 7, 3)),
    ((3, 17, 31), (3, 17, 31)),
    ((2, 4, 9), (9,)),
    ((1, 472), (472,)),
    ((2, 4, 9), (1,)),
    ((2, 4, 9), ()),
    ((1, 6, 5, 16), (1, 1, 1, 16)),
    ((1, 6, 5, 11), (1, 6, 5, 1)),
    ((1, 6, 1, 11), (1, 1, 5, 11)),
    ((2, 1, 9), (1, 3, 1)),
    ((2, 3, 1, 4, 19), (2, 1, 5, 4, 19)),
)


def _near(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def _quantization(rng: np.random.Generator, op: str) -> tuple[float, float, float]:
    """Scales of both inputs and the output: ties, and factors up to where the kernels decline."""
    to = scale(rng, -5, -1)
    if rng.random() < 0.15:  # a bound of the activation between two steps
        to = float(np.float32(rng.choice([1, 6]) / (int(rng.integers(0, 60)) + 0.5)))
    choices = [1.0, 0.5, 0.25, 1.5, 0.75, 2.0, 0.125, int(rng.integers(1, 200)) / 64, np.exp(rng.uniform(-6, 5.5))]
    one, two = (float(rng.choice(choices)) for _ in range(2))
    if op == "MUL":
        s1 = scale(rng)
        return s1, float(np.float32(one * to / s1 * 2.0 ** -int(rng.integers(0, 9)))), to
    return float(np.float32(one * to)), float(np.float32(two * to)), to


def power_of_two_sums(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of ADD and SUB of int16 whose scales are powers of two; some that the kernel for these refuses."""
    for _ in range(count):
        for op in ("ADD", "SUB"):
            to = int(rng.integers(-14, -3))
            shifts = [0, int(rng.choice([0, 1, 2, 3, 7, 14]))]
            if rng.random() < 0.15:
                shifts[0] = int(rng.choice([-1, 1]))
            rng.shuffle(shifts)
            values = [_near(rng, (1, 300), "int16") for _ in range(2)]
            operands = [Operand((1, 300), "int16", 2.0 ** (to - shift)) for shift in shifts]
            options = {"fused_activation_function": str(rng.choice(ACTIVATIONS)), "pot_scale_int16": True}
            yield Case(op, operands, [Operand((1, 300), "int16", 2.0**to)], values, options, 2)


def binaries(rng: np.random.Generator, names: tuple[str, ...], count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of each operator; an input is a constant in some."""
    for number in range(count):
        for op in names:
            shapes = SHAPES[number % len(SHAPES)]
            if rng.random() < 0.5:
                shapes = shapes[1], shapes[0]
            scales = _quantization(rng, op)
            if dtype == "int16":
                scales = (
                    *scales[:2],
                    float(np.float32(scales[2] * (2.0 ** int(rng.integers(0, 14)) if op == "MUL" else 1))),
                )
            values = [_near(rng, shape, dtype) for shape in shapes]
            zeros = [zero_point(rng, dtype) if dtype != "int32" else 0 for _ in range(3)]
            if op in ("MAXIMUM", "MINIMUM"):
                scales, zeros = (scales[0],) * 3, [zeros[0]] * 3
            constant = int(rng.integers(0, 6))
            operands = [
                Operand(
                    shape,
                    dtype,
                    scales[i] if dtype != "int32" else None,
                    zeros[i],
                    values[i] if constant == i else None,
                )
                for i, shape in enumerate(shapes)
            ]
            fed = [v for i, v in enumerate(values) if i != constant]
            options = {}
            if op in ("ADD", "SUB", "MUL"):
                options["fused_activation_function"] = str(rng.choice(ACTIVATIONS))
            if op in ("ADD", "SUB"):
                options["pot_scale_int16"] = False
            output = Operand(np.broadcast_shapes(*shapes), dtype, scales[2] if dtype != "int32" else None, zeros[2])
            yield Case(op, operands, [output], fed, options, 2)
