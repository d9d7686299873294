"""Cases of LEAKY_RELU and HARD_SWISH: every value of the input type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Operand, scale, zero_point

__all__ = ["unaries"]


def unaries(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of each operator; HARD_SWISH of 8 bits only."""
    info = np.iinfo(dtype)
    for _ in range(count):
        for op in ("LEAKY_RELU", "HARD_SWISH") if dtype != "int16" else ("LEAKY_RELU",):
            if dtype == "int16":
                x = rng.integers(info.min, info.max, (1, 300), dtype, endpoint=True)
            else:
                x = np.arange(info.min, info.max + 1).astype(dtype).reshape(1, 256)
                x = x[:, : int(rng.integers(200, 257))]
            to = scale(rng)
            factor = rng.choice(
                [1.0, 0.5, 1.5, 3.0, 0.0625, int(rng.integers(1, 300)) / 128, np.exp(rng.uniform(-5, 4))]
            )
            alpha = float(
                np.float32(rng.choice([0.5, 0.25, 0.75, 0.1, 0.2, 0.3, 1.5, -0.5, 0.0, np.exp(rng.uniform(-6, 0))]))
            )
            yield Case(
                op,
                [Operand(x.shape, dtype, float(np.float32(to * factor)), zero_point(rng, dtype))],
                [Operand(x.shape, dtype, to, zero_point(rng, dtype))],
                [x],
                {"alpha": alpha} if op == "LEAKY_RELU" else {},
                1 if op == "HARD_SWISH" else 2,
            )
