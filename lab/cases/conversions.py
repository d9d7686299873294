"""Cases of RESHAPE, the float32 clamps, and QUANTIZE and DEQUANTIZE of rarer types."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.floats import numbers
from lab.cases.operators import Case, Operand, scale, zero_point

__all__ = ["clamps", "conversions", "reshapes"]

# (from, to): rescaling of integers that the activations' recorder does not have.
RESCALED = (("int32", "int8"), ("int32", "int16"), ("int16", "int32"), ("uint8", "int16"))


def reshapes(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of RESHAPE for each type, with the shape as a constant; one dimension may be -1."""
    for _ in range(count):
        for dtype in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool"):
            shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8], int(rng.integers(1, 5))))
            size = int(np.prod(shape))
            first = int(rng.choice([d for d in range(1, size + 1) if size % d == 0]))
            wanted = (first, size // first)
            told = np.asarray([-1 if rng.random() < 0.3 else first, size // first])
            x = (
                numbers(rng, shape)
                if dtype == "float32"
                else rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
            )
            quantized = dtype in ("int8", "uint8", "int16")
            params = (scale(rng), zero_point(rng, dtype)) if quantized else (None, 0)
            yield Case(
                "RESHAPE",
                [Operand(shape, dtype, *params), Operand((2,), "int32", None, 0, told)],
                [Operand(wanted, dtype, *params)],
                [x],
                {"new_shape": tuple(int(n) for n in told)},
                1,
            )


def clamps(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of RELU, RELU6 and RELU_N1_TO_1 of float32."""
    for _ in range(count):
        for op in ("RELU", "RELU6", "RELU_N1_TO_1"):
            shape = (1, int(rng.integers(1, 200)))
            yield Case(op, [Operand(shape, "float32")], [Operand(shape, "float32")], [numbers(rng, shape)], {}, 1)


def conversions(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` cases of each pair of `RESCALED`, and of DEQUANTIZE from float16."""
    for _ in range(count):
        for given, made in RESCALED:
            info = np.iinfo(given)
            x = rng.integers(info.min, info.max, (1, 300), given, endpoint=True)
            if given == "int32":
                x = (x >> int(rng.integers(0, 28))).astype(np.int32)
            to = scale(rng)
            factor = float(rng.choice([1.0, 0.5, 0.25, 1.5, np.exp(rng.uniform(-6, 3))]))
            zeros = [zero_point(rng, t) if t in ("int8", "uint8") else 0 for t in (given, made)]
            operands = [Operand(x.shape, given, float(np.float32(to * factor)), zeros[0])]
            yield Case("QUANTIZE", operands, [Operand(x.shape, made, to, zeros[1])], [x], {}, 2)
        half = rng.integers(0, 2**16, (1, 300)).astype(np.uint16).view(np.float16)
        half = np.where(np.isnan(half), np.float16(1), half).astype(np.float16)
        yield Case("DEQUANTIZE", [Operand(half.shape, "float16")], [Operand(half.shape, "float32")], [half], {}, 3)
