"""The layer in NumPy: as the question had it, and right."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ...model.types import Array

__all__ = ["body_of", "numpy_as_asked", "numpy_right"]


def numpy_as_asked(
    x: Array, w: Array, s_x: np.float32, z_x: int, s_w: Array, z_w: int, s_y: np.float32, z_y: int
) -> Any:
    """The question's way, with its three mistakes, in LastBit's own words."""
    scale = s_x * s_w[0] / s_y  # channel 0's scale, for every channel
    product = x @ w.T  # int8 @ int8 stays int8 and wraps
    sums_w, sums_x = w.sum(axis=1), x.sum(axis=-1, keepdims=True)
    correction = z_x * sums_w + z_w * sums_x - w.shape[1] * z_x * z_w
    return z_y + scale + (product - correction)  # the scale is added


def numpy_right(x: Array, w: Array, s_x: np.float32, z_x: int, s_w: Array, z_w: int, s_y: np.float32, z_y: int) -> Any:
    """The same in LiteRT's default arithmetic (XNNPACK), without bias or activation."""
    acc = (x.astype(np.int32) - z_x) @ (w.astype(np.int32) - z_w).T
    scaled = acc.astype(np.float32) * (s_x * s_w / s_y)  # a scale per channel
    return np.clip(np.rint(scaled) + z_y, -128, 127).astype(np.int8)


def body_of(function: Callable[..., Any]) -> str:
    """A function's body without its signature and docstring."""
    return inspect.cleandoc(inspect.getsource(function).split('"""')[2])
