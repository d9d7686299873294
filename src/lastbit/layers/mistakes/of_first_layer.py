"""Mistakes of networks alone: layers read a constant that is the first layer's.

Functions: (the first layer) -> what the slot is given elsewhere, see `zero_points` and `scaling`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...ops.dense.layer import DenseLayer
from .base import Mistake
from .scaling import has_scales

__all__ = ["OF_FIRST_LAYER", "of_first"]


def _zero_point(first: DenseLayer) -> Callable[..., Any]:
    return lambda _case, x: (x, first.input_zero_point)


def _scale(first: DenseLayer) -> Callable[..., Any]:
    return lambda _case, scales: replace(scales, input=float(first.input_scale))


_MADE: tuple[Mistake, ...] = (
    Mistake(
        "input_zero_point_of_first_layer",
        "input_zero_point",
        "the input's zero point is the first layer's; each layer's input has its own",
        "acc = (x.astype(np.int32) - layer.zx) @ layer.w.astype(np.int32).T + layer.bias",
        "acc += (x[k] - layer->zx) * w[k];",
        _zero_point,
        rarity=2.5,
    ),
    Mistake(
        "input_scale_of_first_layer",
        "members",
        "s_x is the first layer's; each layer's input has its own",
        "m = layer.s_x * layer.s_w / layer.s_y",
        "m[unit] = (double)layer->s_x * layer->s_w[unit] / layer->s_y;",
        _scale,
        has_scales,
        rarity=2.5,
    ),
)

OF_FIRST_LAYER: dict[str, Mistake] = {mistake.name: mistake for mistake in _MADE}
"""Name -> mistake."""


def of_first(name: str, first: DenseLayer) -> Mistake:
    """One of these mistakes as it is made in a network with this first layer."""
    mistake = OF_FIRST_LAYER[name]
    return replace(mistake, function=mistake.function(first))
