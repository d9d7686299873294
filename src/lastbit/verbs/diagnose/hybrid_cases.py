"""The right calculation of a hybrid or float32 layer, as what mistakes are made in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...layers.mistakes.base import Mistake
from ...layers.mistakes.hybrid import FLOAT, FLOAT_WINDOWS, HYBRID, HYBRID_WINDOWS
from ...layers.mistakes.hybrid_case import HybridCase
from ...layers.mistakes.hybrid_windows import image_windows
from ...model.types import Array, Float64Array, fused_bounds
from ...ops.dense.float32 import PreparedFloat
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.products.float_windows import PreparedFloatWindows
from ...ops.products.hybrid_windows import PreparedHybridWindows
from ...ops.products.window_layer import WindowLayer

__all__ = ["FloatLayer", "case_of", "known_mistakes"]

FloatLayer = PreparedHybrid | PreparedFloat | PreparedFloatWindows
"""A layer that prints float32."""

Quantized = Callable[[Float64Array], tuple[Float64Array, Float64Array, Float64Array]]


def known_mistakes(entry: FloatLayer) -> Mapping[str, Mistake]:
    """The mistakes that can be made in such a layer, by name."""
    real = not isinstance(entry, PreparedHybrid)
    if isinstance(entry.layer, WindowLayer):
        return FLOAT_WINDOWS if real else HYBRID_WINDOWS
    return FLOAT if real else HYBRID


def case_of(entry: FloatLayer, given: Array) -> HybridCase:
    """The layer on rows `[n, depth]` or images `[n, h, w, c]`, before anything is calculated."""
    if not isinstance(entry, PreparedHybrid):
        return _real_case(entry, given)
    windows = None
    if isinstance(entry, PreparedHybridWindows):
        windows = image_windows(entry.layer, len(given))
    quantize = _quantizer(entry)
    x = _together(entry, given).astype(np.float64)
    q, s_x, zero_point = quantize(x)
    bias = np.zeros(entry.layer.units) if entry.bias is None else entry.bias.astype(np.float64)
    w, scales = entry.layer.weights_values.astype(np.float64), entry.weights_scale.astype(np.float64)
    made = HybridCase(x, q, s_x, w, scales, bias, *fused_bounds(entry.layer.activation))
    return replace(made, windows=windows, zero_point=zero_point, quantize=quantize)


def _together(entry: PreparedHybrid, given: Array) -> Array:
    """What is quantized together, a row for each: rows, images or pixels."""
    if isinstance(entry, PreparedHybridWindows):
        return entry.prepared.rows(given)
    return given


def _quantizer(entry: PreparedHybrid) -> Quantized:
    """The right quantization of rows: x -> (q less its zero point, what a step is worth, the zero points)."""

    def quantize(x: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        rules = entry.prepared.arithmetic.symmetric if isinstance(entry, PreparedHybridWindows) else entry.rows
        rows = entry.quantize(rules, x.astype(np.float32))
        q = (rows.quantized - rows.zero_point[:, None]).astype(np.float64)
        return q, rows.scale.astype(np.float64), rows.zero_point.astype(np.float64)

    return quantize


def _real_case(entry: PreparedFloat | PreparedFloatWindows, rows: Array) -> HybridCase:
    """A float32 layer: nothing is quantized, and every scale is 1."""
    x, low_high = rows.astype(np.float64).reshape(len(rows), -1), fused_bounds(entry.layer.activation)
    bias = np.zeros(entry.layer.units) if entry.bias is None else entry.bias.astype(np.float64)
    made = HybridCase(x, x, np.ones(len(x)), entry.weights.astype(np.float64), np.ones(1), bias, *low_high)
    if not isinstance(entry, PreparedFloatWindows):
        return made
    return replace(made, windows=image_windows(entry.layer, len(rows)))
