"""Cases of SOFTMAX that the activations' recorder does not have: from uint8 to int16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Count, Operand, random_values, scale, zero_point

__all__ = ["operator_cases"]

_DEPTHS = (1, 2, 10, 257, 3, 16, 31, 100, 5, 511)


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """Rows of any values, of values near the largest one, and of one value; several depths and betas."""
    rng = np.random.default_rng([seed, 114])
    for number in range(count(60)):
        depth = _DEPTHS[number % len(_DEPTHS)]
        near = np.clip(rng.integers(0, 256) - rng.geometric(0.1, (4, depth)), 0, 255).astype(np.uint8)
        one = np.full((1, depth), rng.integers(0, 256), np.uint8)
        x = np.concatenate([random_values(rng, (4, depth), "uint8"), near, one])
        beta = float(np.float32((1.0, 1.0, 0.5, 2.0, np.exp(rng.uniform(-3, 3)))[number % 5]))
        given = Operand(x.shape, "uint8", scale(rng), zero_point(rng, "uint8"))
        yield Case("SOFTMAX", [given], [Operand(x.shape, "int16", 1 / 65536, -32768)], [x], {"beta": beta}, 3)
