"""Cases of BATCH_MATMUL, ARG_MAX and ARG_MIN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Case, Operand, scale, zero_point

__all__ = ["far_products", "positions", "products"]

BATCHES = (((), ()), ((2,), (2,)), ((3,), (1,)), ((1,), (2,)), ((2, 1), (1, 3)), ((2, 2), (2, 2)))


def products(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of BATCH_MATMUL: ties, both sides stored either way, broadcasting, one side a constant."""
    info = np.iinfo(dtype)
    for number in range(count):
        rows, columns = (int(n) for n in rng.choice([1, 2, 3, 8, 17, 33], 2))
        depth = int(rng.choice([1, 2, 3, 8, 16, 31, 70]))
        adjoint = bool(rng.random() < 0.4), bool(rng.random() < 0.4)
        batches = BATCHES[number % len(BATCHES)]
        shapes = [(*batches[0], rows, depth), (*batches[1], depth, columns)]
        shapes = [(*s[:-2], s[-1], s[-2]) if turn else s for s, turn in zip(shapes, adjoint, strict=True)]
        values = [rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in shapes]
        if rng.random() < 0.6:  # small products, so that many land on ties
            values = [np.clip(v, -9, 9).astype(dtype) for v in values]
        to = scale(rng)
        ties = [2.0 ** -int(rng.integers(0, 9)), int(rng.integers(1, 99)) / 256]
        factor = float(rng.choice([*ties, np.exp(rng.uniform(-9, 1))]))
        if dtype == "int16":
            factor *= float(rng.choice([1, 2.0**-12]))
        one = scale(rng)
        scales = one, float(np.float32(factor * to / one))
        zeros = [zero_point(rng, dtype) for _ in range(3)]
        constant = int(rng.integers(0, 6))
        operands = [
            Operand(v.shape, dtype, scales[i], zeros[i], v if constant == i else None) for i, v in enumerate(values)
        ]
        output = (*np.broadcast_shapes(*batches), rows, columns)
        options = {"adj_x": adjoint[0], "adj_y": adjoint[1]}
        fed = [v for i, v in enumerate(values) if i != constant]
        yield Case("BATCH_MATMUL", operands, [Operand(output, dtype, to, zeros[2])], fed, options, 2)


def far_products(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """BATCH_MATMUL with sums that are far outside of int32 when scaled."""
    for number in range(count):
        depth, end = 700, -128 if number % 2 else 127
        one = np.full((2, depth), end, np.int8)
        two = rng.choice(np.asarray([-128, 0, 127], np.int8), (1, 5)).repeat(depth, 0)
        zero = -1 - end
        yield Case(
            "BATCH_MATMUL",
            [Operand(one.shape, "int8", 255.0, zero), Operand(two.shape, "int8", 255.0, 0)],
            [Operand((2, 5), "int8", 256.0, zero_point(rng, "int8"))],
            [one, two],
            {"adj_x": False, "adj_y": False},
            2,
        )


def positions(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases of ARG_MAX and ARG_MIN: every axis, equal elements."""
    for _ in range(count):
        for op in ("ARG_MAX", "ARG_MIN"):
            rank = int(rng.integers(1, 5))
            shape = tuple(int(n) for n in rng.choice([1, 2, 3, 8, 17, 40], rank))
            axis = int(rng.integers(-rank, rank))
            if dtype == "float32":
                x = rng.choice([-1.5, 0.0, -0.0, 0.25, 1e-42, 3.0, -7.0], shape).astype(np.float32)
            else:
                info = np.iinfo(dtype)
                x = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
                x = np.clip(x, info.min, info.min + 3).astype(dtype) if rng.random() < 0.3 else x
            kind = str(rng.choice(["int32", "int64"]))
            quantized = dtype in ("int8", "uint8", "int16")
            yield Case(
                op,
                [
                    Operand(
                        shape, dtype, scale(rng) if quantized else None, zero_point(rng, dtype) if quantized else 0
                    ),
                    Operand((1,), "int32", None, 0, np.asarray([axis])),
                ],
                [Operand(tuple(np.delete(shape, axis)), kind)],
                [x],
                {"output_type": kind},
                2,
            )
