"""Inputs that tell float kernels apart, for `verify`, `compare` and `vectors`: dense layers that take float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.types import Float64Array

__all__ = ["float_rows", "normal_rows"]


def float_rows(depth: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Inputs of a dense layer that takes float32: `[count, depth]`.

    A hybrid layer quantizes each row by the row's own range. So there are rows of zeros, of one value and with one
    value alone, rows of one sign, rows whose values lie half way between two steps of their own grid and one float
    beside, rows of all magnitudes at once, and rows near both ends of float32; the rest are normal values of many
    magnitudes. Infinities and NaN are left out: what follows from them is a matter of single instructions.
    """
    alone = np.zeros(depth)
    alone[int(rng.integers(depth))] = -3.25
    normal = rng.normal(size=depth)
    rows = [
        np.zeros(depth),
        normal,
        _on_ties(depth, -127, rng),
        _on_ties(depth, int(rng.integers(-255, 1)), rng),
        np.abs(normal),
        -np.abs(normal)[::-1],
        alone,
        np.full(depth, 0.75),
        np.full(depth, -0.0),
        rng.choice([-1.0, 1.0], depth) * 10.0 ** rng.uniform(-30, 30, depth),
        normal * 2.0**-140,  # subnormal
        normal * 2.0**-122,  # the inverse of such a row's scale overflows
        np.clip(normal, -3, 3) * 1e38,
        np.where(rng.random(depth) < 0.9, 0.0, normal),
    ]
    while len(rows) < count:
        kind = rng.random()
        if kind < 0.3:
            rows.append(_on_ties(depth, -127 if kind < 0.15 else int(rng.integers(-255, 1)), rng))
        else:
            rows.append(rng.normal(size=depth) * 2.0 ** int(rng.choice([-20, -3, 0, 0, 0, 2, 10])))
    return np.stack(rows[:count]).astype(np.float32)


def _on_ties(depth: int, low: int, rng: np.random.Generator) -> Float64Array:
    """Values half way between two steps of the row's grid, which reaches from `low` on: `[depth]`.

    -127 makes the grid of symmetric quantization (254 steps), anything else that of asymmetric (255 steps).
    """
    high = 127 if low == -127 else 255 + low
    values = rng.integers(low, high, depth) + 0.5
    # One float32 towards zero, which no rounding may take for the tie.
    beside = np.nextafter(values.astype(np.float32), np.float32(0)).astype(np.float64)
    values = np.where(rng.random(depth) < 0.3, beside, values)
    values[0], values[-1] = low, high
    scaled: Float64Array = values * 2.0 ** rng.integers(-8, 3)
    return scaled


def normal_rows(depth: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Rows of standard normal values: float32 `[count, depth]`."""
    return rng.normal(size=(count, depth)).astype(np.float32)
