"""Random numbers that are hard for kernels: ends of types, scales that separate rules, accumulators next to ties."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["RANGES", "hard_accumulators", "scale_triples", "values"]

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def values(rng: Rng, dtype: str, shape: tuple[int, ...], extreme: bool) -> Array:
    """Random integers of a type; with `extreme`, only its two ends."""
    low, high = RANGES[dtype]
    found = rng.choice([low, high], shape) if extreme else rng.integers(low, high + 1, shape)
    return found.astype(dtype)


def scale_triples(rng: Rng, units: int, kind: int) -> tuple[np.float32, Array, np.float32]:
    """Scales of input, weights and output of one of six kinds.

    Effective scales are ordinary, powers of two, halves (ties), vanishing, above one, or just below a power of two.
    """
    target = [
        rng.uniform(1e-4, 1, units),
        2.0 ** rng.integers(-31, 3, units),
        1.5 * 2.0 ** rng.integers(-20, 3, units),
        2.0 ** rng.uniform(-40, -25, units),
        2.0 ** rng.uniform(0, 7.9, units),
        2.0 ** rng.integers(-10, 3, units) * (1 - 2.0**-24),
    ][kind % 6]
    s_x, s_y = np.float32(rng.choice([1.0, 0.0371, 2.0**-7])), np.float32(rng.choice([1.0, 0.11, 2.0**-4]))
    return s_x, (target * s_y / s_x).astype(np.float32), s_y


def hard_accumulators(rng: Rng, factor: Array, bits: int) -> Array:
    """For each effective scale an accumulator: next to a tie or step of the output, at a register's end, or small."""
    steps = rng.integers(-300, 301, factor.size) + rng.choice([0.0, 0.5], factor.size)
    near = np.clip(np.rint(steps / np.maximum(factor, 1e-30)) + rng.integers(-1, 2, factor.size), -(2.0**62), 2.0**62)
    ends = rng.choice([-(2**31), -(2**31) + 1, 2**31 - 1, 2**31 - 2, 2**24 + 1, 0, -1, 1], factor.size)
    if bits == 64:
        ends = ends * rng.choice([1, 2**16, 2**30], factor.size)
    small = rng.integers(-5000, 5000, factor.size)
    acc = np.choose(rng.integers(0, 3, factor.size), [near.astype(np.int64), ends, small])
    return acc if bits == 64 else acc.astype(np.int32).astype(np.int64)
