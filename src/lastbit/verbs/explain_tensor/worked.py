"""A scale and zero point worked with their numbers: from a range, from weights, from a bias. Lines for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...model.graph import Tensor
from ...model.types import Array, hex_float, integer_type
from ...report.phrases import name_text, short_hex
from ..quantize.lstm import cell_state
from ..quantize.numbers import F32, NEAR_ZERO, activation, round_away, weights_range
from ..quantize.older_numbers import activation as older_activation

__all__ = [
    "bias_lines",
    "cell_file_lines",
    "cell_lines",
    "implied_lines",
    "label_text",
    "range_lines",
    "scale_text",
    "weights_file_lines",
    "weights_float_lines",
    "widened_lines",
]

_BIAS_HALF = (2**31 - 1) // 2


def label_text(tensor: Tensor) -> str:
    """A tensor's number and its name, a long one without its middle."""
    return f"tensor {tensor.index} '{name_text(tensor.name)}'"


def scale_text(scale: float | np.floating[Any]) -> str:
    """A scale in decimals and as hexadecimal float."""
    return f"{float(scale):.9g} ({short_hex(hex_float(float(scale)))})"


def range_lines(low: np.float32, high: np.float32, dtype: str) -> list[str]:
    """From a calibrated range to scale and zero point, as TFLiteConverter calculates them."""
    lines = []
    if dtype == "int16":
        top = max(abs(float(low)), abs(float(high)))
        scale = older_activation(low, high, "int16").scale[0]
        lines.append(f"scale = max(|{low:.9g}|, |{high:.9g}|) / 32767 = {top:.9g} / 32767 = {scale_text(scale)}")
        return [*lines, "zero point = 0: int16 is symmetric"]
    rmin, rmax = min(float(low), 0.0), max(float(high), 0.0)
    if rmin != low or rmax != high:
        lines.append(f"0 must be in the range: {float(low):.9g} to {float(high):.9g} becomes {rmin:.9g} to {rmax:.9g}")
    if abs(rmax - rmin) < NEAR_ZERO:
        rmin, rmax = rmin - NEAR_ZERO, rmax + NEAR_ZERO
        lines.append(f"it is narrower than 1e-6, so 1e-6 is added at both ends: {rmin:.9g} to {rmax:.9g}")
    params = activation(low, high)
    scale = params.scale[0]
    lines.append(f"scale = ({rmax:.9g} - {rmin:.9g}) / 255, all in float32 = {scale_text(scale)}")
    with np.errstate(all="ignore"):
        inner = -128 - np.float64(rmin) / np.float64(scale)
        single = F32(inner)
    lines.append(f"-128 - min/scale = -128 - {rmin:.9g}/{scale:.9g} = {inner:.12g}, as float32 {float(single):.9g}")
    rounded = int(round_away(np.array(single))) if np.isfinite(single) else -128
    clamp = "" if rounded == params.zero_point[0] else f", limited to {params.zero_point[0]}"
    tie = ", a tie: away from zero" if abs(float(single) - np.trunc(single)) == 0.5 else ""
    lines.append(f"zero point = round to nearest{tie} = {rounded}{clamp}")
    return lines


def implied_lines(tensor: Tensor) -> list[str]:
    """What range a file's scale and zero point stand for."""
    assert tensor.quant is not None
    scale, zero = float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0])
    dtype = integer_type(tensor.dtype)
    low, high = ((end - zero) * scale for end in (dtype.qmin, dtype.qmax))
    if dtype.name == "int16":
        return [
            f"its range reached +-{32767 * scale:.9g}: scale = max(|min|, |max|) / 32767, zero point {zero}",
        ]
    return [
        f"its range was about {low:.9g} to {high:.9g}: max - min = 255 * scale = {255 * scale:.9g}, and each end is",
        f"known to half a step ({scale / 2:.3g}), for the zero point was rounded",
        *(["the range has no negative values: zero point = the least integer"] if zero == dtype.qmin else []),
        *(["the range has no positive values: zero point = the greatest integer"] if zero == dtype.qmax else []),
    ]


def cell_file_lines(tensor: Tensor) -> list[str]:
    """What range the scale of an LSTM's cell state stands for."""
    assert tensor.quant is not None
    top = 32768 * float(tensor.quant.scale[0])
    return [f"32768 * scale = {top:.9g}: the largest magnitude was between {top / 2:.9g} and {top:.9g}"]


def cell_lines(low: np.float32, high: np.float32) -> list[str]:
    """From the range of an LSTM's cell state to its scale."""
    scale, top = cell_state(low, high).scale[0], max(abs(float(low)), abs(float(high)))
    return [
        f"the least power of two that is not below max(|{low:.9g}|, |{high:.9g}|) = {top:.9g} is {scale * 32768:.9g}",
        f"scale = {scale * 32768:.9g} / 32768 = {scale_text(scale)}",
        "a power of two, so that the kernel multiplies by shifts; zero point = 0",
    ]


def bias_lines(bias: Tensor, given: Tensor | None, weights: Tensor | None, unit: int) -> list[str]:
    """A bias's scale against the product of its input's and weights' scales."""
    if given is None or weights is None or given.quant is None or weights.quant is None or bias.quant is None:
        return ["the input or the weights have no scale, so none follows for the bias"]
    s_x, own = given.quant.scale[0], bias.quant.scale
    s_w = weights.quant.scale[min(unit, weights.quant.scale.size - 1)]
    stored = own[min(unit, own.size - 1)]
    product = F32(np.float64(s_x) * np.float64(s_w))
    whose = label_text(given), label_text(weights)
    equal = "the same" if product == stored else f"the file has {scale_text(stored)}, {stored / product:.6g} times it"
    lines = [
        "a bias is added to sums of products, so it counts in their steps: scale = s_x * s_w",
        f"{float(s_x):.9g} ({whose[0]}) * {float(s_w):.9g} ({whose[1]}) = {scale_text(product)}: {equal}",
    ]
    if bias.data is not None:
        value = int(bias.data.reshape(-1)[unit])
        lines.append(
            f"value = {value}, so the real bias is {value} * {float(stored):.9g} = {value * float(stored):.9g}"
        )
        ends = np.iinfo(bias.data.dtype)
        if value <= ends.min + 1 or value == ends.max:
            lines.append(f"that is {bias.dtype.name}'s limit: the real bias did not fit and is lost")
    return lines


def weights_file_lines(weights: Tensor, axis: int, unit: int) -> list[str]:
    """What the integers tell of the weights' range."""
    assert weights.quant is not None
    assert weights.data is not None
    scale = weights.quant.scale
    moved = np.moveaxis(weights.data, axis, 0).reshape(weights.shape[axis], -1) if scale.size > 1 else weights.data
    values = moved[unit] if scale.size > 1 else moved
    top = int(np.abs(values.astype(int)).max(initial=0))
    own = float(scale[unit if scale.size > 1 else 0])
    of = f"unit {unit}" if scale.size > 1 else "all units"
    most = 127 if weights.dtype.name == "int8" else 7
    lines = [f"the largest integer of {of} is {top}: {top} * scale = {top * own:.9g} was its largest weight"]
    if top == most:
        return [*lines, f"scale = {top * own:.9g} / {most}: the largest weight has the largest integer"]
    return [
        *lines,
        f"it is not {most}, so the scale was not made from these weights alone: the converter widens it where a bias",
        "would not fit in int32, takes almost-zero weights to be wider, or the weights were quantized elsewhere",
    ]


def weights_float_lines(values: Array, axis: int, unit: int, scale: np.floating[Any], most: int = 127) -> list[str]:
    """From the float weights to their scale; `most` is the greatest integer, 7 for int4."""
    low, high = weights_range(values, axis)
    channel = 0 if axis < 0 else unit
    top = F32(max(abs(float(low[channel])), abs(float(high[channel]))))
    part = values if axis < 0 else np.take(values, unit, axis)
    place = [int(i) for i in np.unravel_index(int(np.argmax(np.abs(part))), part.shape)]
    of = "of all units" if axis < 0 else f"of unit {unit}"
    own = top / F32(most)
    largest = float(part[tuple(place)])
    lines = [f"the largest weight {of} is {largest:.9g} at {place}; scale = {top:.9g} / {most} = {scale_text(own)}"]
    far = float(scale) / float(own) if own else np.inf
    if abs(far - 1) > 1e-6:
        lines.append(f"the file's is {scale_text(scale)}, {far:.6g} times as large")
    return lines


def widened_lines(bias: float, s_x: float, s_w: float, found: float) -> list[str]:
    """Why a weights scale was widened: the bias that would not fit."""
    steps = abs(bias) / (s_x * s_w) if s_x * s_w else np.inf
    if steps <= _BIAS_HALF:
        return []
    wider = abs(bias) / _BIAS_HALF / s_x
    return [
        f"the unit's bias {bias:.9g} would be {steps:.4g} steps of s_x * s_w, more than half of int32: the converter",
        f"widens the weights' scale to |bias| / (2^30 - 1) / s_x = {wider:.9g}; the file has {found:.9g}",
    ]
