"""Cases of MIRROR_PAD: both modes, one to four axes, no padding up to all that can be mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Count, Operand, random_values, scale, zero_point

__all__ = ["mirrored", "operator_cases"]


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """Those of every type."""
    for number, dtype in enumerate(("int8", "uint8", "int16", "float32", "int32")):
        yield from mirrored(np.random.default_rng([seed, 109, number]), count(120), dtype)


def mirrored(rng: np.random.Generator, count: int, dtype: str) -> Iterator[Case]:
    """`count` cases of one type."""
    for _ in range(count):
        shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8], int(rng.integers(1, 5))))
        mode = str(rng.choice(["REFLECT", "SYMMETRIC"]))
        most = [max(size - (mode == "REFLECT"), 0) for size in shape]
        around = np.asarray([rng.integers(0, limit + 1, 2) for limit in most]).reshape(-1, 2)
        quantized = dtype in ("int8", "uint8", "int16")
        data = Operand(shape, dtype, scale(rng) if quantized else None, zero_point(rng, dtype) if quantized else 0)
        padded = tuple(int(size + sum(pair)) for size, pair in zip(shape, around, strict=True))
        paddings = Operand(around.shape, "int32" if rng.random() < 0.7 else "int64", None, 0, around)
        output = Operand(padded, dtype, data.scale, data.zero_point)
        yield Case("MIRROR_PAD", [data, paddings], [output], [random_values(rng, shape, dtype)], {"mode": mode}, 2)
