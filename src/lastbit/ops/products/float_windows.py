"""A float32 convolution seen as the dense layer over its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...model.types import Array, Float32Array
from ..dense.layer import PreparedLayer
from .float_convolution import PreparedFloatConvolution
from .window_layer import WindowLayer, seen_as, window_layer

__all__ = ["PreparedFloatWindows", "float_windows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedFloatWindows(PreparedLayer):
    """A float32 convolution as a dense layer over its windows. `evaluate` takes images; its steps have a row a window.

    Attributes:
        layer: its windows.
        weights: float32 `[out, depth]`.
        bias: float32 `[out]`, or None.
    """

    layer: WindowLayer
    weights: Float32Array
    bias: Float32Array | None


def float_windows(prepared: PreparedFloatConvolution) -> PreparedFloatWindows | None:
    """The dense layer over a float32 convolution's windows; None for operators that are not seen so."""
    layer = window_layer(prepared.convolution)
    if layer is None:
        return None

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        steps = prepared.evaluate(values)
        return {"with_bias": steps["sum"].reshape(-1, layer.units), "output": steps["output"]}

    bias = None if layer.bias is None else layer.bias.data
    return seen_as(
        PreparedFloatWindows,
        prepared,
        evaluate=evaluate,
        layer=layer,
        weights=np.asarray(layer.weights.data, np.float32),
        bias=None if bias is None else np.asarray(bias, np.float32).reshape(-1),
    )
