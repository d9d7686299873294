"""Cases of the operators on float32 that round once: huge, tiny and subnormal numbers, both zeros, infinities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lab.cases.elementwise import ACTIVATIONS, SHAPES
from lab.cases.operators import Array, Case, Operand
from lab.cases.reductions import reductions

__all__ = ["float_binaries", "float_convolutions", "float_pools", "float_reductions", "float_unaries", "numbers"]


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random bit patterns without NaN, and numbers near each other whose sums and products are inexact."""
    patterns = rng.integers(0, 2**32, shape, np.uint64).astype(np.uint32)
    wild = np.asarray(patterns).view(np.float32)
    wild = np.where(np.isnan(wild), np.float32(1), wild)
    kinds = rng.integers(0, 4, shape)
    near = rng.normal(0, 2, shape).astype(np.float32)
    tiny = (rng.normal(0, 1, shape) * 1e-38).astype(np.float32)
    special = rng.choice(np.asarray([0.0, -0.0, 1.0, -1.0, 6.0, 3.0, -3.0, 1e-45, np.inf], np.float32), shape)
    return np.choose(kinds, [wild, near, tiny, special]).astype(np.float32)


def float_binaries(rng: np.random.Generator, names: tuple[str, ...], count: int) -> Iterator[Case]:
    """`count` cases of each operator; an input is a constant in some. Sums and products that give NaN are left out."""
    for number in range(count):
        for op in names:
            shapes = SHAPES[number % len(SHAPES)]
            if rng.random() < 0.5:
                shapes = shapes[1], shapes[0]
            values = [numbers(rng, shape) for shape in shapes]
            if op in ("ADD", "SUB", "MUL"):
                values = [np.where(np.isinf(v), np.float32(2), v).astype(np.float32) for v in values]
            constant = int(rng.integers(0, 6))
            operands = [Operand(s, "float32", data=values[i] if constant == i else None) for i, s in enumerate(shapes)]
            options: dict[str, Any] = {}
            if op in ("ADD", "SUB", "MUL"):
                options["fused_activation_function"] = str(rng.choice(ACTIVATIONS))
            output = Operand(np.broadcast_shapes(*shapes), "float32")
            yield Case(op, operands, [output], [v for i, v in enumerate(values) if i != constant], options, 1)


def float_unaries(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of LEAKY_RELU and HARD_SWISH."""
    for _ in range(count):
        for op in ("LEAKY_RELU", "HARD_SWISH"):
            shape = (1, int(rng.integers(1, 90)))
            x = numbers(rng, shape)
            if op == "HARD_SWISH":
                x = np.where(np.isinf(x), np.float32(2), x).astype(np.float32)
            alpha = float(np.float32(rng.choice([0.5, 0.1, 0.3, 1.5, -0.5, 0.0])))
            options = {"alpha": alpha} if op == "LEAKY_RELU" else {}
            yield Case(op, [Operand(shape, "float32")], [Operand(shape, "float32")], [x], options, 1)


def float_convolutions(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of CONV_2D, DEPTHWISE_CONV_2D and CONV_2D with groups: sums whose order shows."""
    from lab.cases.convolutions import convolutions

    for case in (*convolutions(rng, count), *convolutions(rng, max(count // 3, 1), grouped=True)):
        shapes = [np.shape(case.values[0]), *(operand.shape for operand in case.inputs[1:] if operand is not None)]
        x, weights, bias = (rng.normal(0, 1, shape).astype(np.float32) for shape in shapes)
        if rng.random() < 0.3:
            x = (x * 2.0 ** rng.integers(-140, 1, x.shape)).astype(np.float32)
        inputs = [Operand(x.shape, "float32"), *(Operand(a.shape, "float32", data=a) for a in (weights, bias))]
        yield Case(case.op, inputs, [Operand(case.outputs[0].shape, "float32")], [x], case.options, 1)


def float_reductions(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of MEAN and of SUM: sums whose order shows, some of subnormal numbers."""
    for case in reductions(rng, count):
        x = rng.normal(0, 1, case.values[0].shape) * 10.0 ** rng.integers(-3, 3, case.values[0].shape)
        x = (x * (1e-38 if rng.random() < 0.25 else 1.0)).astype(np.float32)
        inputs = [Operand(x.shape, "float32"), case.inputs[1]]
        yield Case(case.op, inputs, [Operand(case.outputs[0].shape, "float32")], [x], case.options, 1)


def float_pools(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of MAX_POOL_2D and of AVERAGE_POOL_2D; the former again with both zeros in the windows."""
    from lab.cases.convolutions import pools

    for case in pools(rng, count):
        x = numbers(rng, case.values[0].shape)
        if case.op == "AVERAGE_POOL_2D":
            x = (rng.normal(0, 1, x.shape) * 10.0 ** rng.integers(-3, 3, x.shape)).astype(np.float32)
        made = Operand(case.outputs[0].shape, "float32")
        yield Case(case.op, [Operand(x.shape, "float32")], [made], [x], case.options, 1)
