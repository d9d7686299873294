"""Cases of RESIZE_NEAREST_NEIGHBOR: sides at which float32, float64 and fixed point choose another element."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Count, Operand, random_values, scale, zero_point

__all__ = ["operator_cases", "resizes"]

_OPTIONS = (
    {},
    {"align_corners": True},
    {"half_pixel_centers": True},
    {"align_corners": True, "half_pixel_centers": True},
)


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """Those of every type."""
    for number, dtype in enumerate(("int8", "uint8", "int16", "float32")):
        yield from resizes(np.random.default_rng([seed, 108, number]), count(90), dtype)


def resizes(rng: np.random.Generator, count: int, dtype: str) -> Iterator[Case]:
    """`count` cases, larger and smaller, whose elements along a side differ."""
    for _ in range(count):
        given, made = rng.integers(1, 60, (2, 2))
        if rng.random() < 0.4:
            # Whole multiples: where an element's place is a whole number, float32 may fall below it.
            made = np.minimum(given * rng.integers(1, 6, 2), 150)
        elif rng.random() < 0.6:
            # Long and thin: beyond 256 elements 16 fractional bits no longer tell whole places from those below.
            given[1], made[1] = rng.integers(200, 1500, 2)
            given[0], made[0] = rng.integers(1, 3, 2)
        if rng.random() < 0.2:
            given, made = made, given
        shape = (int(rng.integers(1, 3)), int(given[0]), int(given[1]), int(rng.choice([1, 2, 3])))
        x = random_values(rng, shape, dtype)
        quantized = dtype != "float32"
        data = Operand(shape, dtype, scale(rng) if quantized else None, zero_point(rng, dtype) if quantized else 0)
        output = Operand((shape[0], int(made[0]), int(made[1]), shape[3]), dtype, data.scale, data.zero_point)
        options = _OPTIONS[int(rng.choice(4, p=(0.4, 0.25, 0.25, 0.1)))]
        yield Case("RESIZE_NEAREST_NEIGHBOR", [data, Operand((2,), "int32", None, 0, made)], [output], [x], options, 3)
