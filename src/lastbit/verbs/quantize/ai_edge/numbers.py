"""ai-edge-quantizer's arithmetic: NumPy's own, with float32 ranges.

Rounding is to nearest, ties to even; integers come from value / scale, not from value times an inverse. The shapes of
scales are kept, since the quantizer refuses what does not fit and compares them.

Source: google-ai-edge/ai-edge-quantizer (0.10.0) algorithms/uniform_quantize/uniform_quantize_tensor.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....model.types import Array

__all__ = ["RankError", "UseParameters", "bias_parameters", "fixed_parameters", "integers", "parameters", "value_range"]

# A narrower range counts as this wide.
_NARROWEST = 1e-9
Range = tuple[Array, Array]


class RankError(Exception):
    """A scale does not fit a constant's number of dimensions: the quantizer gives up."""


@dataclass(frozen=True, eq=False)
class UseParameters:
    """How one user of a tensor wants it quantized.

    Attributes:
        bits: 4, 8, 16, 32 or 64.
        scale: float32, or float64 behind a fixed scale; its dimensions are those of the values, or 0.
        zero_point: integers of the same shape.
        symmetric: whether the zero point is 0 by rule, and the integers are as many on both sides of it.
        axis: the axis of the channels, None for one scale.
        data: a constant's integers.
    """

    bits: int
    scale: Array
    zero_point: Array
    symmetric: bool
    axis: int | None = None
    data: Array | None = None

    def same(self, other: UseParameters | None) -> bool:
        """Whether the quantizer takes two for equal."""
        return other is not None and (
            self is other
            or (
                (self.bits, self.axis, self.symmetric) == (other.bits, other.axis, other.symmetric)
                and np.array_equal(self.scale, other.scale)
                and np.array_equal(self.zero_point, other.zero_point)
                and _same_data(self.data, other.data)
            )
        )

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest integer of the type."""
        return -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1

    @property
    def range(self) -> Range:
        """The range that one scale and zero point stand for, in float64.

        Raises:
            RankError: there are several scales.
        """
        if self.scale.size != 1:
            raise RankError
        scale, zero = float(self.scale.item()), int(self.zero_point.item())
        least, most = (np.array((end - zero) * scale) for end in self.limits)
        return (-most if self.symmetric else least), most


def _same_data(first: Array | None, second: Array | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def value_range(values: Array, axis: int | None) -> Range:
    """A constant's least and greatest value, along an axis or of all, with the constant's number of dimensions."""
    over = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    return np.min(values, axis=over, keepdims=True), np.max(values, axis=over, keepdims=True)


def parameters(limits: Range, bits: int, symmetric: bool, axis: int | None = None) -> UseParameters:
    """Scale and zero point of a range."""
    low, high = limits
    top = 2.0 ** (bits - 1) - 1
    bottom = -(2.0 ** (bits - 1))
    with np.errstate(all="ignore"):
        if symmetric:
            scale = np.maximum(np.maximum(np.abs(low), np.abs(high)), _NARROWEST) / top
            return UseParameters(bits, scale, np.zeros_like(scale, dtype=np.int64), True, axis)
        high, low = np.maximum(high, np.zeros_like(high)), np.minimum(low, np.zeros_like(low))
        scale = np.maximum(high - low, _NARROWEST) / (top - bottom)
        zero = np.rint(bottom - low / scale)
    return UseParameters(bits, scale, _wrapped(zero, bits), False, axis)


def _wrapped(zero: Array, bits: int) -> Array:
    """C's conversion of a float to int32, of which the lowest bits are kept."""
    fits = np.abs(zero) < 2.0**31
    whole = np.where(fits, np.where(fits, zero, 0), -(2.0**31)).astype(np.int32)
    return whole.astype(np.int16 if bits == 16 else np.int8).astype(np.int64)


def fixed_parameters(bits: int, scale: float, zero_point: int) -> UseParameters:
    """Those of an output that has always the same."""
    return UseParameters(bits, np.array(scale), np.array(zero_point, np.int64), bits == 16)


def integers(values: Array, params: UseParameters) -> Array:
    """A constant's integers: value / scale + zero point, ties to even, clamped.

    Raises:
        RankError: the scale's dimensions are not the constant's.
    """
    scale, zero = _fitted(values, params.scale), _fitted(values, params.zero_point)
    low, high = params.limits
    if params.symmetric and params.bits >= 8:
        low += 1
    with np.errstate(all="ignore"):
        scaled = np.asarray(np.divide(values, scale))
        real = np.rint(scaled + zero.astype(scaled.dtype))
    clamped = np.clip(real, scaled.dtype.type(low), scaled.dtype.type(high)).astype(np.float64)
    # The clamp is made in the values' own precision: 2^31 - 1 is 2^31 there, which C's conversion makes the least.
    most = 2.0 ** (params.bits - 1) - 1
    whole = np.where(np.isnan(clamped) | (clamped > most), -most - 1, clamped)
    return whole.astype({4: np.int8, 8: np.int8, 16: np.int16, 32: np.int32}[params.bits])


def _fitted(values: Array, part: Array) -> Array:
    if values.ndim == part.ndim:
        return part
    if values.ndim == 0:
        if part.size != 1:
            raise RankError
        # As a Python number on the way, so a scalar is divided in float64.
        return np.array(part.item())
    if part.ndim == 0:
        return part.reshape((1,) * values.ndim)
    raise RankError


def bias_parameters(values: Array, given: UseParameters, weights: UseParameters) -> UseParameters:
    """A bias: its scale is the input's times the weights'; int64 where the activations are int16."""
    with np.errstate(all="ignore"):
        scale = np.atleast_1d(np.squeeze(given.scale * weights.scale))
    params = UseParameters(32, scale, np.zeros(scale.shape, np.int64), True, None if scale.shape[0] == 1 else 0)
    data = integers(values, params)
    if given.bits == 16:
        return replace(params, bits=64, data=data.astype(np.int64))
    return replace(params, data=data)
