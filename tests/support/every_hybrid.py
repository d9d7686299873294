"""Hybrid and float32 rules of every combination of values, and inputs that are hard for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from lastbit.rules.floats.forms import FloatRule
from lastbit.rules.hybrid.forms import Conversion, Finish, Nibbles, Rows
from lastbit.rules.hybrid.table import FOR_NIBBLES, NEON_FOR_NIBBLES
from lastbit.rules.requantize.forms import Meaningless, values_of


def product_of(kind: type[Any], **fixed: Any) -> Iterator[Any]:
    """Every combination of a type's values, or the reason why it means nothing."""
    values = {name: (fixed[name],) if name in fixed else legal for name, legal in values_of(kind).items()}
    for chosen in itertools.product(*values.values()):
        try:
            yield kind(*chosen)
        except Meaningless as error:
            yield str(error)


@cache
def conversions() -> tuple[Conversion, ...]:
    return tuple(product_of(Conversion))


@cache
def every_rows() -> tuple[tuple[Rows, ...], tuple[str, ...]]:
    """Every range with every conversion, at the head of a row beside another one at its tail; and what is refused."""
    made, refused = [], []
    kinds = values_of(Rows)
    ranges = [kinds[name] for name in ("range", "inverse", "nan_takes", "zero_inverse")]
    all_of = conversions()
    for chosen in itertools.product(*ranges):
        for number, head in enumerate(all_of):
            # A prime step: in the end each has stood beside many others.
            for tail in (head, all_of[(number * 131 + 7) % len(all_of)]):
                try:
                    made.append(Rows(*chosen, head, tail))
                except Meaningless as error:
                    refused.append(str(error))
    return tuple(dict.fromkeys(made)), tuple(refused)


@cache
def every_finish() -> tuple[Finish, ...]:
    return tuple(product_of(Finish))


@cache
def every_nibbles() -> tuple[Nibbles, ...]:
    return tuple(made for rows in (FOR_NIBBLES, NEON_FOR_NIBBLES) for made in product_of(Nibbles, rows=rows))


@cache
def every_float() -> tuple[tuple[FloatRule, ...], tuple[str, ...]]:
    made = list(product_of(FloatRule, name="unnamed"))
    return tuple(m for m in made if not isinstance(m, str)), tuple(m for m in made if isinstance(m, str))


def hard_rows(depth: int) -> np.ndarray:
    """Ties, tiny and huge rows, infinities, zeros, and values of one sign: float32 `[rows, depth]`."""
    rng = np.random.default_rng(depth)
    rows = [rng.normal(size=depth) * 2.0**e for e in (*range(-149, 128, 9), -20, -3, 0, 0, 2, 10)]
    rows += [rng.integers(-254, 255, depth) / 2 for _ in range(12)]
    rows += [np.zeros(depth), -np.zeros(depth), np.full(depth, 0.75), np.full(depth, -3.0), np.full(depth, 3e38)]
    ends = np.where(np.arange(depth) % 2, 3.4e38, -3.4e38)
    rows += [ends, np.abs(rng.normal(size=depth)), -np.abs(rng.normal(size=depth))]
    near = np.full(depth, 0.49999997)
    near[0] = 127
    rows += [near, -near, np.where(np.arange(depth) == 1, 255, near / 2)]
    for infinite in ((0,), (depth - 1,), (0, depth - 1)):
        for sign in (1, -1):
            row = rng.normal(size=depth)
            row[list(infinite)] = sign * np.inf
            rows.append(row)
    both = rng.normal(size=depth)
    both[0], both[-1] = np.inf, -np.inf
    with np.errstate(over="ignore"):
        return np.stack([*rows, both]).astype(np.float32)
