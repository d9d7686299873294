"""Float32 convolutions of few and many units, one pixel or several, shallow and deep: kernels sum them up differently.

Of each size there is one whose sums are zeros of either sign, as no random one has. Depthwise windows with other taps
than a kernel has are filled up with zero weights for inputs that lie beside: the signs of these count, and infinities.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["operator_cases", "window_options"]

UNITS = (1, 3, 7, 8, 9, 14, 15, 17)
DEPTHS = (1, 2, 4, 5, 7, 8, 13, 17)
# Images, height and width of the output, height and width of the window, stride, groups.
SHAPES = (
    (1, (1, 1), (1, 1), 1, 1),
    (2, (1, 1), (1, 1), 1, 1),
    (1, (2, 3), (1, 1), 1, 1),
    (1, (2, 2), (1, 1), 2, 1),
    (1, (2, 2), (1, 1), 1, 2),
    (2, (1, 1), (2, 2), 1, 1),
    (1, (1, 1), (2, 2), 1, 2),
    (1, (2, 2), (2, 2), 1, 1),
    (1, (2, 2), (2, 1), 1, 2),
)
WINDOWS = ((1, 1), (2, 3), (3, 3), (2, 5), (5, 2), (5, 3), (5, 5), (2, 13))
# Channels and filters of each.
CHANNELS = ((1, 1), (8, 1), (9, 1), (1, 8), (1, 9), (2, 3))


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """About 200 at scale 1, of either kind of values."""
    rng = np.random.default_rng([seed, 117])
    sizes = [(units, depth, shape) for units in UNITS for depth in DEPTHS for shape in SHAPES]
    for number in rng.permutation(len(sizes))[: count(150)]:
        units, depth, shape = sizes[number]
        for signs in (False, True)[: 1 if units == depth == 1 else 2]:
            yield _convolution(rng, units, depth, shape, signs)
    places = [(window, channels) for window in WINDOWS for channels in CHANNELS]
    for number in rng.permutation(len(places))[: count(16)]:
        for signs in (False, True):
            yield _depthwise(rng, *places[number], signs)


def _values(rng: np.random.Generator, shape: tuple[int, ...], signs: bool) -> Array:
    if signs:
        return rng.choice(np.asarray([0.0, -0.0, 1.0, -1.0], np.float32), shape, p=[0.3, 0.4, 0.15, 0.15])
    return rng.normal(0, 1, shape).astype(np.float32)


def window_options(rng: np.random.Generator, stride: int) -> dict[str, object]:
    """Options of windows without padding, with some activation."""
    return {
        "padding": "VALID",
        "stride_h": stride,
        "stride_w": stride,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": str(rng.choice(["NONE", "NONE", "RELU", "RELU6"])),
    }


def _convolution(
    rng: np.random.Generator,
    units: int,
    depth: int,
    shape: tuple[int, tuple[int, int], tuple[int, int], int, int],
    signs: bool,
) -> Case:
    images, made, window, stride, groups = shape
    height, width = ((n - 1) * stride + size for n, size in zip(made, window, strict=True))
    x = _values(rng, (images, height, width, depth * groups), signs)
    weights = _values(rng, (units * groups, *window, depth), signs)
    bias = _values(rng, (units * groups,), signs)
    inputs = [Operand(x.shape, "float32"), *(Operand(a.shape, "float32", data=a) for a in (weights, bias))]
    output = Operand((images, *made, units * groups), "float32")
    return Case("CONV_2D", inputs, [output], [x], window_options(rng, stride), 1)


def _depthwise(rng: np.random.Generator, window: tuple[int, int], channels: tuple[int, int], signs: bool) -> Case:
    seen, filters = channels
    height, width, made = window[0] + 1, window[1] + 1, seen * filters
    x = _values(rng, (1, height, width, seen), signs)
    if signs and rng.random() < 0.25:
        x[0, -1, -1] = np.inf
    weights, bias = _values(rng, (1, *window, made), signs), _values(rng, (made,), signs)
    inputs = [Operand(x.shape, "float32"), *(Operand(a.shape, "float32", data=a) for a in (weights, bias))]
    options = {**window_options(rng, 1), "depth_multiplier": filters}
    return Case("DEPTHWISE_CONV_2D", inputs, [Operand((1, 2, 2, made), "float32")], [x], options, 1)
