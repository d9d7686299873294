"""The older quantizer's arithmetic: all of it in float32.

Source: google-ai-edge/LiteRT tflite/tools/optimize/quantization_utils.cc (12160967b9f4).
"""

from __future__ import annotations

import numpy as np

from ...model.types import Array
from .numbers import F32, Parameters, along, round_away, round_in_eights, to_int

__all__ = [
    "activation",
    "bias_integers",
    "int16_constant",
    "requantized",
    "weights_from_range",
    "widened",
]


def activation(low: np.float32, high: np.float32, dtype: str) -> Parameters:
    """Scale and zero point of a calibrated range, all of it in float32."""
    low, high = np.minimum(low, F32(0)), np.maximum(high, F32(0))
    with np.errstate(all="ignore"):
        if dtype == "int16":
            scale = np.maximum(np.abs(high), np.abs(low)) / F32(32767)
            return Parameters("int16", (float(scale),), (0,), -1, -32768, 32767)
        scale = (high - low) / F32(255)
        zero = -128
        if scale != 0:
            at = F32(-128) - low / scale
            zero = -128 if at < -128 else 127 if at > 127 else int(round_away(np.array(at)))
    return Parameters("int8", (float(scale),), (zero,), -1, -128, 127)


def weights_from_range(data: Array, low: Array, high: Array, axis: int) -> tuple[Parameters, Array]:
    """Weights from -127 to 127: value times 127 / m, m the range's greatest magnitude."""
    top = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(all="ignore"):
        scale = top / F32(127)
        factor = np.where(top == 0, F32(0), F32(127) / top)
        product = data * along(data, factor, axis)
        whole = round_in_eights(product) if axis < 0 else to_int(round_away(product), "int32")
    if axis < 0:
        scale = np.where(top == 0, F32(1), scale)
    # Per channel the converter clamps what is left in 8 bits.
    integers = np.clip(whole if axis < 0 else whole.astype(np.int8), -127, 127).astype(np.int8)
    params = Parameters("int8", tuple(scale.astype(float).tolist()), (0,) * scale.size, axis, -127, 127)
    return params, integers


def int16_constant(data: Array) -> tuple[Parameters, Array]:
    """A constant operand of int16 activations: scale m / 32767, value times the float32 inverse of the scale."""
    top = np.maximum(np.abs(data.min()), np.abs(data.max()))
    scale = top / F32(32767)
    params = Parameters("int16", (float(scale),), (0,), -1, -32767, 32767)
    return params, _int16(data, np.array(scale))


def times_inverse(data: Array, scale: Array, axis: int) -> Array:
    """round(value * float32(1 / scale)), ties away from zero, float32."""
    with np.errstate(all="ignore"):
        factor = np.where(scale == 0, F32(0), F32(1) / scale.astype(F32))
        return round_away(data * along(data, factor, axis))


def _int16(data: Array, scale: Array) -> Array:
    """Integers of -32767 to 32767; what is beyond int32 is the least of them, as C's conversion makes it."""
    return np.clip(to_int(times_inverse(data, scale, -1), "int32"), -32767, 32767).astype(np.int16)


def widened(low: Array, high: Array, bias: Array, input_scale: np.float32) -> tuple[Array, Array]:
    """Weights' ranges that leave room for a bias: from half of what int32 holds on they grow with it."""
    top = 2**31 - 1
    scales = np.maximum(np.abs(low), np.abs(high)) / F32(127)
    if low.size > 1:
        size = np.abs(bias.reshape(-1)).astype(np.float64)
        wide = size >= 0.5 * float(input_scale) * scales.astype(np.float64) * top
        with np.errstate(all="ignore"):
            wider = (2.0 * size / top * float(F32(127) / input_scale)).astype(F32)
        return np.where(wide, -wider, low), np.where(wide, wider, high)
    half = np.maximum(np.abs(bias.min()), np.abs(bias.max()))
    if float(half / F32(top)) >= 0.5 * float(input_scale) * float(scales[0]):
        with np.errstate(all="ignore"):
            one = F32(2.0 * float(half) / top * float(F32(127) / input_scale))
        return np.array([-one]), np.array([one])
    return low, high


def requantized(data: Array, old: Parameters, new: Parameters) -> Array:
    """A quantized constant at another scale, by way of float32."""
    scale, zero = (along(data, np.array(part), old.axis) for part in (old.scale, old.zero_point))
    real = scale.astype(F32) * (data.astype(np.int64) - zero).astype(F32)
    if new.dtype == "int16":
        return _int16(real, np.array(new.scale))
    rounded = times_inverse(real, np.array(new.scale), -1).reshape(-1)
    point = new.zero_point[0]
    # Beyond int32 the compiled loop gives the least integer in groups of four, and saturates in the rest.
    end = rounded.size - rounded.size % 4
    rest = np.nan_to_num(rounded[end:].astype(np.float64) + point)
    whole = np.concatenate([to_int(rounded[:end], "int64") + point, np.clip(rest, -(2**31), 2**31).astype(np.int64)])
    integers: Array = np.clip(whole, -128, 127).astype(np.int8).reshape(data.shape)
    return integers


def bias_integers(data: Array, given: Parameters, weights: Parameters, dtype: str) -> tuple[Parameters, Array]:
    """A bias of scale input scale times weights' scale in float32."""
    with np.errstate(all="ignore"):
        scale = F32(given.scale[0]) * np.array(weights.scale).astype(F32)
    top = int(np.iinfo(dtype).max)
    axis = 0 if scale.size > 1 else -1
    params = Parameters(dtype, tuple(scale.astype(float).tolist()), (0,) * scale.size, axis, -top - 1, top)
    rounded = times_inverse(data, scale, axis).astype(np.float64)
    inside = np.abs(rounded) < float(top)
    whole = np.where(inside, rounded, 0).astype(np.int64)
    limit = np.where(np.isnan(rounded), 0, np.where(rounded < 0, -top, top))
    return params, np.where(inside, whole, limit).astype(dtype)
