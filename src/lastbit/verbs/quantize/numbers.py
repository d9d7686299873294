"""From ranges and weights to scales, zero points and integers, as converters calculate them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...model.types import Array

__all__ = ["Parameters", "activation", "asymmetric_weights", "quantize_bias", "quantize_plain", "quantize_weights"]

F32 = np.float32
# From here on a range is too narrow for 8 bits, and the MLIR quantizer widens it.
NEAR_ZERO = 1.0e-6
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Parameters:
    """How a tensor is quantized.

    Attributes:
        dtype: `int8`, `uint8`, `int16`, `int32` or `int64`.
        scale: one scale, or one for each channel, as the converter holds them (float64; files hold float32).
        zero_point: as many zero points.
        axis: the tensor's axis of the channels, or -1 for one scale.
        low: the least integer.
        high: the greatest.
    """

    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    low: int
    high: int

    @property
    def bits(self) -> int:
        """The integer's width."""
        return int(np.dtype(self.dtype).itemsize * 8)


def round_away(value: Array) -> Array:
    """Round to nearest, ties away from zero, in the array's own precision (C's round)."""
    whole = np.trunc(value)
    # The fraction is exact: near a tie no addition of a half can round.
    with np.errstate(invalid="ignore"):
        rounded: Array = whole + np.copysign((np.abs(value - whole) >= 0.5).astype(value.dtype), value)
    return rounded


def activation(low: np.float32, high: np.float32, dtype: str = "int8") -> Parameters:
    """The MLIR quantizer's parameters of a calibrated range."""
    bits = np.dtype(dtype).itemsize * 8
    rmin, rmax = min(float(low), 0.0), max(float(high), 0.0)
    if bits == 16:
        rmax = max(abs(rmin), abs(rmax))
        rmin = -rmax
    if abs(rmax - rmin) < NEAR_ZERO:
        rmin, rmax = rmin - NEAR_ZERO, rmax + NEAR_ZERO
    return float32_parameters(rmin, rmax, dtype, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def float32_parameters(rmin: float, rmax: float, dtype: str, low: int, high: int) -> Parameters:
    """Scale in float32 and zero point of a range (the quantizer's legacy float scale)."""
    with np.errstate(all="ignore"):
        scale = (F32(rmax) - F32(rmin)) / F32(high - low)
        zero = 0
        if high != -low:
            at = F32(low - np.float64(rmin) / np.float64(scale))
            # A scale of 0 gives NaN, and C's conversion of NaN the least integer.
            zero = (
                low if at < low else high if at > high else -(2**63) if np.isnan(at) else int(round_away(np.array(at)))
            )
    return Parameters(dtype, (float(scale),), (zero,), -1, low, high)


def expand(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> tuple[Array, Array]:
    """Widen constants' ranges that are too narrow for 8 bits."""
    wide = high - low > NEAR_ZERO
    return np.where(wide, low, np.minimum(low, -NEAR_ZERO / 2)), np.where(wide, high, np.maximum(high, NEAR_ZERO / 2))


def weights_range(values: Array, axis: int) -> tuple[Array, Array]:
    """Least and greatest value of each channel (axis -1: of all), with zero between them, as float64."""
    moved = values.reshape(1, -1) if axis < 0 else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    with np.errstate(invalid="ignore"):
        low = np.fmin.reduce(moved, axis=1).astype(np.float64)
        high = np.fmax.reduce(moved, axis=1).astype(np.float64)
    return np.fmin(low, 0.0), np.fmax(high, 0.0)


def symmetric_weights(values: Array, axis: int) -> Parameters:
    """Scales of weights whose zero point is 0: -127 to 127."""
    low, high = weights_range(values, axis)
    top = np.maximum(np.abs(low), np.abs(high))
    rmin, rmax = expand(-top, top)
    scale = (rmax.astype(F32) - rmin.astype(F32)) / F32(254)
    return Parameters("int8", tuple(scale.astype(float).tolist()), (0,) * scale.size, axis, -127, 127)


def asymmetric_weights(values: Array) -> Parameters:
    """Scale and zero point of a constant that is no weight of a product: -128 to 127."""
    low, high = weights_range(values, -1)
    rmin, rmax = expand(low, high)
    return float32_parameters(float(rmin[0]), float(rmax[0]), "int8", -128, 127)


def inverse(scale: Array) -> Array:
    """The float32 next to 1/scale."""
    with np.errstate(divide="ignore", over="ignore"):
        return F32(1) / scale.astype(F32)


def along(values: Array, per_channel: Array, axis: int) -> Array:
    """One number for each channel, shaped to go with the values."""
    if axis < 0:
        return per_channel.reshape(())
    shape = [1] * values.ndim
    shape[axis] = -1
    return per_channel.reshape(shape)


def to_int(rounded: Array, dtype: str) -> Array:
    """C's conversion of rounded floats to int32 (what does not fit and NaN is the least int32)."""
    with np.errstate(invalid="ignore"):
        wide = rounded.astype(np.float64)
        fits = (wide >= -(2.0**31)) & (wide < 2.0**31)
        return np.where(fits, np.where(fits, wide, 0), -(2.0**31)).astype(dtype)


def round_in_eights(values: Array) -> Array:
    """Rounding of the kernels' vector code: in whole groups of eight, fl(x + 0.5) towards zero; the rest as `to_int`.

    So 0.49999997 becomes 1 in a group. What does not fit saturates there, and is the least int32 in the rest.
    """
    flat = values.reshape(-1)
    end = flat.size - flat.size % 8
    with np.errstate(invalid="ignore"):
        added = np.trunc(flat[:end] + np.copysign(F32(0.5), flat[:end])).astype(np.float64)
    saturated = np.clip(np.nan_to_num(added, nan=-(2.0**31)), -(2.0**31), 2.0**31 - 1).astype(np.int32)
    return np.concatenate([saturated, to_int(round_away(flat[end:]), "int32")]).reshape(values.shape)


def quantize_weights(values: Array, params: Parameters, vector_code: bool = False) -> Array:
    """Weights of -127 to 127, ties away from zero.

    Per channel: value times the float32 inverse of the scale. With one scale: value times 127 / m, m the greatest
    magnitude, unless the scale has been widened by more than 0.001.
    """
    one_scale = params.axis < 0
    if one_scale:
        top = np.max(np.abs(values), initial=F32(0))
        with np.errstate(all="ignore"):
            own, factor = (top / F32(127), F32(127) / top) if top else (F32(1), F32(0))
        if abs(float(own) - params.scale[0]) > 1e-3:
            return quantize_plain(values, params)
        factors: Array = np.array(factor)
    else:
        factors = along(values, inverse(np.array(params.scale)), params.axis)
    with np.errstate(all="ignore"):
        product = values * factors
    rounded = round_in_eights(product) if one_scale and vector_code else to_int(round_away(product), "int32")
    # Per channel the converter clamps what is left in 8 bits.
    integers: Array = np.clip(rounded if one_scale else rounded.astype(np.int8), -127, 127).astype(np.int8)
    return integers


def quantize_plain(values: Array, params: Parameters) -> Array:
    """Values of any other constant: value / scale + zero point in float64, ties away from zero, clamped."""
    scale, zero = (along(values, np.array(part, np.float64), params.axis) for part in (params.scale, params.zero_point))
    scaled = round_away(values.astype(np.float64) / scale + zero)
    return np.clip(scaled, params.low, params.high).astype(params.dtype)


def quantize_bias(values: Array, params: Parameters) -> Array:
    """A bias: value times the float32 inverse of the scale, ties away from zero, within +-INT32_MAX."""
    scale = np.array(params.scale).astype(F32)
    factor = np.where(scale == 0, F32(0), inverse(scale))
    with np.errstate(all="ignore"):
        product = round_away(values * factor)
    top = 2**31 - 1
    wide = np.nan_to_num(product.astype(np.float64), nan=0.0, posinf=top, neginf=-top)
    return np.clip(wide, -top, top).astype(np.int32)
