"""Cases of MEAN and SUM: sums on ties, every choice of axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Operand, scale, zero_point

__all__ = ["reductions"]


def reductions(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of MEAN and of SUM."""
    info = np.iinfo(dtype)
    for number in range(count):
        for op in ("MEAN", "SUM"):
            rank = 4 if number % 2 else int(rng.integers(1, 5))
            shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4, 5, 8, 17, 33], rank))
            axes = (
                [1, 2] if number % 4 == 1 else sorted(rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False))
            )
            keep = bool(rng.random() < 0.7)
            x = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
            if rng.random() < 0.5:
                x = np.clip(x, 0, 3).astype(dtype)
            to = scale(rng)
            factor = float(rng.choice([1.0, 1.0, 0.5, 1.5, 2.0, 3.0, np.exp(rng.uniform(-4, 4))]))
            if op == "SUM":
                factor /= 2.0 ** int(rng.integers(0, 9))
            zeros = zero_point(rng, dtype), zero_point(rng, dtype)
            if dtype == "int16":
                factor /= float(rng.choice([1, 2**5]))
            given = float(np.float32(to * factor))
            if factor == 1.0 and rng.random() < 0.5:
                zeros = zeros[0], zeros[0]
            signed = np.asarray([a - rank if rng.random() < 0.3 else a for a in axes], np.int32)
            output = x.astype(np.int64).sum(axis=tuple(int(a) for a in axes), keepdims=keep).shape
            yield Case(
                op,
                [Operand(shape, dtype, given, zeros[0]), Operand(signed.shape, "int32", None, 0, signed)],
                [Operand(output, dtype, to, zeros[1])],
                [x],
                {"keep_dims": keep},
                2,
            )
