"""Inputs of single operators that bring differences out: ends, zero points, flat images, and exact ties."""

from __future__ import annotations

import math

import numpy as np

from ...layers.separating_inputs import critical_accumulators, one_channel, outputs_of_rules, solve_sum
from ...layers.window_products import met_inputs
from ...model.graph import Tensor
from ...model.types import Array, IntegerType
from ...ops.products.convolution import Convolution, PreparedConvolution

__all__ = ["KINDS", "drawn", "tie_images"]

# Accumulators of one channel at which two rules are asked.
_CRITICAL = 512


Shape = tuple[int, ...]
"""Samples, then the tensor's own dimensions."""

Ends = tuple[int, int, int]
"""The type's smallest and largest value, and the zero point."""


def drawn(tensor: Tensor, count: int, kind: int, scale: float, rng: np.random.Generator) -> Array:
    """Samples of a tensor, one behind the other along its first dimension.

    Args:
        tensor: an input of the operator.
        count: how many; 1 for a tensor without dimensions.
        kind: 0 to `KINDS` - 1, in turn: even over the whole type, ends, zero point, flat, flat with steps of one, ...
        scale: the output's scale, for real values; 1 where it has none.
        rng: random source.
    """
    values = _samples(tensor, (count, *tensor.shape), kind, scale, rng)
    return values.reshape(count * tensor.shape[0], *tensor.shape[1:]) if tensor.shape else values[0]


def _samples(tensor: Tensor, shape: Shape, kind: int, scale: float, rng: np.random.Generator) -> Array:
    dtype = tensor.dtype
    if isinstance(dtype, IntegerType):
        zero = 0 if tensor.quant is None else int(tensor.quant.zero_point.flat[0])
        values = _WHOLE[kind % len(_WHOLE)](shape, (dtype.qmin, dtype.qmax, zero), rng)
        return np.clip(values, dtype.qmin, dtype.qmax).astype(dtype.numpy)
    if dtype.name == "float32":
        return _REAL[kind % len(_REAL)](shape, scale, rng).astype(np.float32)
    if dtype.numpy is not None and np.dtype(dtype.numpy).kind in "iu":
        return rng.integers(-(2**15), 2**15, shape).astype(dtype.numpy)
    return rng.integers(0, 2, shape).astype(dtype.numpy)


def _even(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return rng.integers(ends[0], ends[1] + 1, shape)


def _only_ends(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return rng.choice(np.asarray(ends[:2]), shape)


def _near_zero(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return ends[2] + rng.integers(-3, 4, shape)


def _mixed(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    special = rng.choice(np.asarray(ends), shape)
    return np.where(rng.random(shape) < 0.5, special, _even(shape, ends, rng))


def _flat(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return np.broadcast_to(rng.integers(ends[0], ends[1] + 1, _one_each(shape)), shape)


def _nearly_flat(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return _flat(shape, ends, rng) + rng.integers(-1, 2, shape)


def _in_order(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    """Every value of the type, in an order of its own each time: two tensors meet in all pairs."""
    count = ends[1] - ends[0] + 1
    step, start = rng.integers(1, count, (shape[0], 1)) | 1, rng.integers(0, count, (shape[0], 1))
    places = np.arange(math.prod(shape[1:]), dtype=np.int64)
    return (ends[0] + (places * step + start) % count).reshape(shape)


def _one_end(shape: Shape, ends: Ends, rng: np.random.Generator) -> Array:
    return np.broadcast_to(rng.choice(np.asarray(ends), _one_each(shape)), shape)


def _one_each(shape: Shape) -> Shape:
    """The shape of one value for each sample."""
    return (shape[0], *(1 for _ in shape[1:]))


_WHOLE = (_even, _only_ends, _near_zero, _mixed, _flat, _nearly_flat, _in_order, _one_end)


def _normal(shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    return rng.normal(size=shape)


def _wide(shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-30, 30, shape)


def _ties(shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    """Real values half-way between two of the output's steps, and one float beside."""
    values = ((rng.integers(-256, 256, shape) + 0.5) * scale).astype(np.float32)
    toward = np.where(rng.integers(0, 2, shape), np.float32(np.inf), np.float32(-np.inf))
    return np.where(rng.integers(0, 3, shape) > 0, values, np.nextafter(values, toward))


def _zeros(shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    return np.where(rng.integers(0, 2, shape), 0.0, -0.0)


def _range(shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    return rng.uniform(-300, 300, shape) * scale


_REAL = (_normal, _range, _ties, _wide, _zeros)

KINDS = len(_WHOLE) * len(_REAL)
"""How many kinds of inputs there are; every one of each type comes once in so many."""


def tie_images(
    pair: tuple[PreparedConvolution, PreparedConvolution], count: int, rng: np.random.Generator
) -> Array | None:
    """Images in which one window's sum is an accumulator that two rules print differently, or else a tie.

    Args:
        pair: the same convolution in two runtimes.
        count: how many images.
        rng: random source.

    Returns:
        `[n, h, w, c]` of the input's type with n <= count, or None where no window was found.
    """
    layer = pair[0].convolution
    dtype = layer.input.dtype
    if not isinstance(dtype, IntegerType):
        return None
    zero = layer.input_zero_point
    images = []
    channels = rng.integers(0, layer.channels, count)
    for channel in np.unique(channels):
        taps, places = _window(layer, int(channel))
        if not taps.size:
            continue
        wanted = _targets(pair, int(channel), taps, (dtype.qmin - zero, dtype.qmax - zero), rng)
        for target in wanted[: int((channels == channel).sum())]:
            values = solve_sum(taps, int(target), (dtype.qmin - zero, dtype.qmax - zero), rng)
            if values is not None:
                image = rng.integers(dtype.qmin, dtype.qmax + 1, layer.input.shape[1:]).astype(dtype.numpy)
                image[places] = (values + zero).astype(dtype.numpy)
                images.append(image)
    return np.stack(images) if images else None


def _window(layer: Convolution, channel: int) -> tuple[Array, tuple[Array, ...]]:
    """The weights, less their zero point, and the places in the image that they meet at an output in the middle."""
    middle = (layer.output.shape[1] // 2, layer.output.shape[2] // 2, channel)
    met = met_inputs(layer, middle)
    taps = np.asarray([weight for _, weight in met], np.int64) - layer.weights_zero_point
    return taps, tuple(np.asarray([at[axis] for at, _ in met], np.intp) for axis in range(3))


def _targets(
    pair: tuple[PreparedConvolution, PreparedConvolution],
    channel: int,
    taps: Array,
    limits: tuple[int, int],
    rng: np.random.Generator,
) -> Array:
    """Sums of products at which the two rules differ, or where they differ nowhere, sums at the steps' edges."""
    layer = pair[0].convolution
    bias = int(layer.bias_values[channel])
    low = int(np.where(taps > 0, taps * limits[0], taps * limits[1]).sum()) + bias
    high = int(np.where(taps > 0, taps * limits[1], taps * limits[0]).sum()) + bias
    params = {}
    for name, entry in zip(("first", "second"), pair, strict=True):
        part = next(part for part in entry.parts if part.first <= channel < part.end)
        params[name] = one_channel(part.params, channel - part.first)
    found = critical_accumulators(params, 0, _CRITICAL, rng, (max(low, -(2**31)), min(high, 2**31 - 1)))
    if not found.size:
        return found
    outputs = outputs_of_rules(params, found, 0)
    disputed = found[outputs[0] != outputs[1]]
    chosen = disputed if disputed.size else found
    return rng.permutation(chosen) - bias
