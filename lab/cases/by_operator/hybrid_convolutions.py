"""Cases of hybrid CONV_2D and DEPTHWISE_CONV_2D: float32 in and out, int8 weights.

Images have values half way between two of their own steps, of one sign, tiny, huge and infinite. Weights have one
scale, a scale for each channel, or the same scale for each, and -128 among them; windows of one tap and deep ones are
there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lab.cases.operators import Array, Case, Count, Operand

__all__ = ["hybrid_convolutions", "operator_cases"]

_KINDS = ("CONV_2D", "CONV_2D", "CONV_2D grouped", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """All of them."""
    yield from hybrid_convolutions(np.random.default_rng([seed, 111]), count(2000))


def hybrid_convolutions(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """So many cases, every fourth one depthwise, every fourth one with groups."""
    for number in range(count):
        yield _convolution(rng, _KINDS[number % 4], number)


def _convolution(rng: np.random.Generator, kind: str, number: int) -> Case:
    operator, _, grouped = kind.partition(" ")
    kernel = tuple(int(k) for k in ((1, 1) if number % 8 == 1 else rng.choice([1, 2, 3], 2)))
    dilations = (1, 1) if rng.random() < 0.7 else (2, 2)
    strides = (1, 1) if max(dilations) > 1 else tuple(int(s) for s in rng.choice([1, 1, 2], 2))
    groups = int(rng.choice([2, 3])) if grouped else 1
    depth, units = groups * int(rng.choice([1, 1, 3, 8, 17])), groups * int(rng.choice([1, 3, 4, 6, 8, 13]))
    deep = number % 40 == 0
    if deep:  # sums of weights that do not fit 16 bits
        kernel, depth, units, strides, dilations = (3, 3), 256, 4, (1, 1), (1, 1)
    padding = str(rng.choice(["SAME", "VALID"]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [r + int(rng.integers(0, 4)) for r in reach]
    outputs = [
        -(-length // s) if padding == "SAME" else (length - r) // s + 1
        for length, s, r in zip(size, strides, reach, strict=True)
    ]
    batch = int(rng.choice([1, 1, 3]))
    options: dict[str, object] = {
        "padding": padding,
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h_factor": dilations[0],
        "dilation_w_factor": dilations[1],
        "fused_activation_function": str(rng.choice(_ACTIVATIONS)),
    }
    shape: tuple[int, ...] = (units, *kernel, depth // groups)
    if operator == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = multiplier = int(rng.choice([1, 1, 2]))
        units = depth * multiplier
        shape = (1, *kernel, units)
    weights = rng.integers(100 if deep else -127, 128, shape)
    if rng.random() < 0.3:
        weights = np.where(rng.random(shape) < 0.1, -128, weights)
    values = np.stack([_image(rng, (*size, depth)) for _ in range(batch)])
    one = operator == "CONV_2D" and rng.random() < (0.1 if grouped else 0.35)
    scales = np.exp(rng.uniform(-9, 0, 1 if one else units)).astype(np.float32)
    if rng.random() < 0.15:
        scales[:] = scales[0]
    largest = min(np.abs(values[np.isfinite(values)]).max(initial=0), 1e37)
    bias = (rng.normal(size=units) * largest).astype(np.float32)
    return Case(
        operator,
        [
            Operand(values.shape, "float32"),
            Operand(shape, "int8", scales, 0, weights, 0 if operator == "CONV_2D" else 3),
            None if rng.random() < 0.02 else Operand((units,), "float32", data=bias),
        ],
        [Operand((batch, *outputs, units), "float32")],
        [values],
        options,
        5 if operator == "CONV_2D" else 6,
    )


def _image(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """One image; of ten kinds."""
    normal = rng.normal(size=shape)
    match int(rng.integers(0, 14)):
        case 0:
            image = _on_ties(rng, shape, -127)
        case 1 | 2:
            image = _on_ties(rng, shape, int(rng.integers(-255, 1)))
        case 3:
            image = np.abs(normal) * rng.choice([-1.0, 1.0])
        case 4:
            image = np.zeros(shape)
        case 5:
            image = normal * 2.0 ** int(rng.choice([-140, -126, -122]))
        case 6:
            image = np.clip(normal, -3, 3) * 1e38
        case 7:
            image = normal
            image.flat[int(rng.integers(image.size))] = rng.choice([-np.inf, np.inf])
        case 8:
            image = rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-30, 30, shape)
        case _:
            image = normal * 2.0 ** int(rng.choice([-20, -3, 0, 0, 0, 2, 10]))
    return image.astype(np.float32)


def _on_ties(rng: np.random.Generator, shape: tuple[int, ...], low: int) -> Array:
    """Values half way between two steps of the image's grid, which reaches from `low` on, and one float32 beside."""
    high = 127 if low == -127 else 255 + low
    values = rng.integers(low, high, shape) + 0.5
    beside = np.nextafter(values.astype(np.float32), np.float32(0)).astype(np.float64)
    values = np.where(rng.random(shape) < 0.3, beside, values)
    if values.size > 1:
        values.flat[0], values.flat[-1] = low, high
    return values * 2.0 ** int(rng.integers(-8, 3))
