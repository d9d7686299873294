"""Cases of hybrid CONV_2D that decide which loop of ARM64's kernels takes them.

One output pixel, one pixel of one tap, and images of which most values are the lowest there are, by weights of -128:
two such products do not fit 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.by_operator.float_windows import window_options
from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["operator_cases"]

_TAPS = ((1, 1), (1, 1), (2, 2), (3, 1))


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """All of them."""
    rng = np.random.default_rng([seed, 115])
    for number in range(count(600)):
        yield _windows(rng, number)


def _windows(rng: np.random.Generator, number: int) -> Case:
    taps = _TAPS[number % len(_TAPS)]
    height, width = (t + int(rng.choice([0, 0, 0, 1, 3])) for t in taps)
    groups = int(rng.choice([1, 1, 2]))
    depth, units = groups * int(rng.choice([1, 3, 8, 16, 17, 24, 33])), groups * int(rng.choice([1, 3, 4, 6, 8, 17]))
    stride = int(rng.choice([1, 1, 2]))
    batch = int(rng.choice([1, 1, 3]))
    lowest = rng.random() < 0.5
    shape = (batch, height, width, depth)
    values = rng.normal(size=shape)
    weights = rng.integers(-127, 128, (units, *taps, depth // groups))
    if lowest:
        values = np.where(rng.random(shape) < 0.8, -1.0, np.clip(values, -1, 1))
        weights = np.where(rng.random(weights.shape) < 0.8, -128, weights)
    scales = np.exp(rng.uniform(-9, 0, 1 if rng.random() < 0.3 else units)).astype(np.float32)
    out = [(length - tap) // stride + 1 for length, tap in zip((height, width), taps, strict=True)]
    return Case(
        "CONV_2D",
        [
            Operand(shape, "float32"),
            Operand(weights.shape, "int8", scales, 0, weights),
            Operand((units,), "float32", data=rng.normal(size=units).astype(np.float32)),
        ],
        [Operand((batch, *out, units), "float32")],
        [_float32(values * 2.0 ** int(rng.integers(-6, 7)))],
        window_options(rng, stride),
        5,
    )


def _float32(values: Array) -> Array:
    return values.astype(np.float32)
