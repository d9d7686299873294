"""Hybrid convolutions as users write them: plain float32 NumPy, right or with mistakes.

Nothing of LastBit is imported here, so that what is injected is not made by the code that looks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import hybrid_by_hand as by_hand
import numpy as np

Floats = np.ndarray

_OF_DENSE = tuple(name for name in by_hand.MISTAKES if "nibble" not in name and "int4" not in name)
MISTAKES = (
    *("padding_zero", "padding_same_wrong_side", "padding_all_behind", "padding_all_in_front", "stride_origin"),
    *("padding_of_plain_kernel", "dilation_ignored", "dilation_ignored_in_taps", "depthwise_multiplier_order"),
    *("kernel_flipped", "kernel_transposed", "kernel_as_hwio", "kernel_as_oihw", "depthwise_layout"),
    *("image_read_as_nchw", "image_stored_as_nchw"),
    *(name for name in _OF_DENSE if name not in ("weights_as_in_out", "weights_reversed", "output_column_major")),
    "output_channels_first",
)
"""What can be wrong; the names are those that `lastbit diagnose` should give."""

PLACES = {
    **by_hand.PLACES,
    **dict.fromkeys(MISTAKES[:9], "windows"),
    **dict.fromkeys(MISTAKES[9:14], "weights"),
    **dict.fromkeys(MISTAKES[14:16], "image"),
    "output_channels_first": "layout",
}
"""Two mistakes of one place exclude each other."""


@dataclass(frozen=True)
class Shape:
    """What a convolution's options say: strides and dilations are alike in both directions."""

    kernel: tuple[int, int]
    units: int
    stride: int = 1
    dilation: int = 1
    same: bool = True
    depthwise: bool = False
    by_pixel: bool = False


def layer(
    x: Floats, shape: Shape, numbers: by_hand.Numbers, wrong: tuple[str, ...], rng: np.random.Generator
) -> Floats:
    """float32 `[n, out_h, out_w, out]`: the layer on float32 images, each quantized by itself; summed in some order."""
    images = _image(x, wrong)
    count, height, width, channels = images.shape
    together = images.reshape(-1, channels) if shape.by_pixel else images.reshape(count, -1)
    steps, scale = by_hand.rows_in_steps(together.astype(np.float32), numbers.both_ends, wrong)
    fill = _padding_value(together, numbers.both_ends and not shape.by_pixel, wrong)
    steps, kernel = steps.reshape(images.shape), _kernel(shape, channels, numbers, wrong).astype(np.float32)
    down, right = (
        _starts(length, size, shape, wrong) for length, size in zip((height, width), shape.kernel, strict=True)
    )
    apart = 1 if {"dilation_ignored", "dilation_ignored_in_taps"} & set(wrong) else shape.dilation
    total = np.zeros((count, len(down), len(right), shape.units), np.float32)
    taps = [(i, j, c) for i in range(shape.kernel[0]) for j in range(shape.kernel[1]) for c in range(kernel.shape[3])]
    for number in rng.permutation(by_hand.products_used(len(taps), wrong)):
        i, j, c = taps[number]
        values = _values(steps, down + i * apart, right + j * apart, fill)
        seen = values[..., _channels(shape, channels, wrong)] if shape.depthwise else values[..., c, None]
        total += (seen * kernel[:, i, j, c]).astype(np.float32)
    scale = scale.reshape(count, height, width, 1) if shape.by_pixel else scale.reshape(-1, 1, 1, 1)
    output = by_hand.finished(by_hand.scaled(total, numbers, scale, wrong), numbers.relu, wrong)
    return output.transpose(0, 3, 1, 2).reshape(output.shape) if "output_channels_first" in wrong else output


def outputs(length: int, size: int, shape: Shape) -> int:
    """How many windows there are along one side."""
    reach = (size - 1) * shape.dilation + 1
    return -(-length // shape.stride) if shape.same else (length - reach) // shape.stride + 1


def _starts(length: int, size: int, shape: Shape, wrong: tuple[str, ...]) -> Floats:
    """Where each window begins; in the padding that is less than 0."""
    count = outputs(length, size, shape)
    first = {name for name in wrong if PLACES[name] == "windows"}
    plain = first & {"dilation_ignored", "padding_of_plain_kernel"}
    reach = size if plain else (size - 1) * shape.dilation + 1
    total = max((count - 1) * shape.stride + reach - length, 0) if shape.same else 0
    front = total // 2
    if "padding_same_wrong_side" in first:
        front = total - total // 2
    if "padding_all_behind" in first:
        front = 0
    if "padding_all_in_front" in first:
        front = total
    if "stride_origin" in first:
        front = (reach - 1) // 2 if shape.same else 0
    return np.arange(count) * shape.stride - front


def _values(steps: Floats, down: Floats, right: Floats, fill: Floats) -> Floats:
    """One tap of every window, `[n, out_h, out_w, c]`; `fill` `[n]` outside of the image."""
    height, width = steps.shape[1:3]
    found = np.empty((len(steps), len(down), len(right), steps.shape[3]), np.float32)
    for a, y in enumerate(down):
        for b, x in enumerate(right):
            inside = 0 <= y < height and 0 <= x < width
            found[:, a, b] = steps[:, y, x] if inside else fill[:, None]
    return found


def _channels(shape: Shape, channels: int, wrong: tuple[str, ...]) -> list[int]:
    """The input channel of each output channel, where each has one."""
    each = shape.units // channels
    mixed = "depthwise_multiplier_order" in wrong
    return [o % channels if mixed else o // each for o in range(shape.units)]


def _image(x: Floats, wrong: tuple[str, ...]) -> Floats:
    count, height, width, channels = x.shape
    if "image_read_as_nchw" in wrong:
        return np.ascontiguousarray(x).reshape(count, channels, height, width).transpose(0, 2, 3, 1)
    if "image_stored_as_nchw" in wrong:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(x.shape)
    return x


def _padding_value(rows: Floats, both_ends: bool, wrong: tuple[str, ...]) -> Floats:
    """What the padding holds, less the zero point: the real 0, or the quantized 0 by mistake."""
    low = np.minimum(rows.min(axis=1), np.float32(0))
    high = np.maximum(rows.max(axis=1), np.float32(0))
    zero = np.rint(np.float32(-128) - low / ((high - low) / np.float32(255)))
    if not both_ends:
        return np.zeros(len(rows), np.float32)
    return (0 if "padding_zero" in wrong else zero) - zero * by_hand.zero_point_used(wrong)


def _kernel(shape: Shape, channels: int, numbers: by_hand.Numbers, wrong: tuple[str, ...]) -> Floats:
    """`[out, kh, kw, c]`, of depthwise layers `[out, kh, kw, 1]`, from the file's bytes."""
    (height, width), out = shape.kernel, shape.units
    data = numbers.weights.astype(np.int8).tobytes()
    flat = np.frombuffer(data, np.uint8 if "weights_as_uint8" in wrong else np.int8).astype(np.int64)
    if shape.depthwise and "depthwise_layout" in wrong:
        kernel = flat.reshape(out, height, width, 1)
    elif shape.depthwise:
        kernel = flat.reshape(height, width, out).transpose(2, 0, 1)[..., None]
    elif "kernel_as_hwio" in wrong:
        kernel = flat.reshape(height, width, channels, out).transpose(3, 0, 1, 2)
    elif "kernel_as_oihw" in wrong:
        kernel = flat.reshape(out, channels, height, width).transpose(0, 2, 3, 1)
    else:
        kernel = flat.reshape(out, height, width, channels)
    if "kernel_flipped" in wrong:
        kernel = kernel[:, ::-1, ::-1]
    if "kernel_transposed" in wrong:
        kernel = kernel.reshape(out, width, height, -1).transpose(0, 2, 1, 3)
    return kernel
