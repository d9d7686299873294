"""Cases of TRANSPOSE_CONV: strides, both paddings, outputs that are cut or grown, ties, both ends of the range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lab.cases.convolutions import ACTIVATIONS, BIASES_16, bias_on_ties, random_factors, random_values
from lab.cases.operators import Case, Count, Operand, scale, zero_point

__all__ = ["far_transpose_convolutions", "operator_cases", "transpose_convolutions"]


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """Those of every type."""
    for dtype in ("int8", "int16"):
        yield from transpose_convolutions(np.random.default_rng([seed, 102, len(dtype)]), count(150), dtype)
    yield from far_transpose_convolutions(np.random.default_rng([seed, 103]), count(200))
    yield from transpose_convolutions(np.random.default_rng([seed, 105]), count(150), "uint8")
    yield from far_transpose_convolutions(np.random.default_rng([seed, 106]), count(50), "uint8")


def transpose_convolutions(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """`count` cases with a bias, and of int16 each bias type; every fourth also without a bias."""
    for number in range(count):
        case = _case(rng, dtype)
        yield case
        if number % 4 == 0:
            yield replace(case, inputs=case.inputs[:3], version=case.version if dtype == "int16" else 1)


def far_transpose_convolutions(rng: np.random.Generator, count: int, dtype: str = "int8") -> Iterator[Case]:
    """8-bit cases with a scale of 200 and biases up to 2^30: accumulators that are far outside of int32 when scaled."""
    for _ in range(count):
        case = _case(rng, dtype)
        shape, weights, x, bias = case.inputs
        assert shape is not None
        assert weights is not None
        assert x is not None
        assert bias is not None
        factor = 200 * float(case.outputs[0].scale) / float(x.scale)  # type: ignore[arg-type]
        scales = np.full(np.size(weights.scale), factor, np.float32)
        ends = rng.choice([-(2**30), 2**30, -(2**25), 2**25, -11_000_000, -10_737_418, -3, 0], bias.shape)
        far = replace(weights, scale=scales), replace(bias, scale=np.float32(x.scale) * scales, data=ends)
        yield replace(case, inputs=[shape, far[0], x, far[1]])


def _case(rng: np.random.Generator, dtype: str) -> Case:
    kh, kw = (int(k) for k in rng.choice([1, 2, 3, 4, 5], 2))
    stride_h, stride_w = (int(s) for s in rng.choice([1, 1, 2, 2, 3], 2))
    height, width = (int(n) for n in rng.integers(1, 6, 2))
    depth, units = int(rng.choice([1, 2, 3, 8, 16, 17])), int(rng.choice([1, 3, 8, 9, 16, 19]))
    padding = str(rng.choice(["SAME", "VALID"]))
    sizes = []
    for length, k, stride in ((height, kh, stride_h), (width, kw, stride_w)):
        least, most = (
            ((length - 1) * stride + 1, length * stride)
            if padding == "SAME"
            else ((length - 1) * stride + k, length * stride + k - 1)
        )
        sizes.append(int(rng.choice([most if padding == "SAME" else least, rng.integers(least, most + 1)])))
    batch = int(rng.choice([1, 1, 1, 3]))
    shape, output = (units, kh, kw, depth), (batch, *sizes, units)
    channels = units if dtype != "uint8" and rng.random() < 0.7 else 1
    zx, zy, sx, sy = zero_point(rng, dtype), zero_point(rng, dtype), scale(rng), scale(rng)
    taps = kh * kw * depth
    found = np.minimum(random_factors(rng, channels), 3000 / taps**0.5 / 40)
    weights_scale = (found * sy / sx).astype(np.float32)
    weights_type = "uint8" if dtype == "uint8" else "int8"
    weights_zero = 0 if dtype != "uint8" else zero_point(rng, dtype)
    weights = random_values(rng, shape, weights_type)
    if rng.random() < 0.3:  # sparse, so that many sums stay near the bias
        weights = np.where(rng.random(shape) < 0.8, weights_zero, weights)
    bias = bias_on_ties(rng, np.resize(found, units), 100 * taps**0.5 * 50, dtype)
    values = random_values(rng, (batch, height, width, depth), dtype)
    values = np.where(rng.random(values.shape) < rng.choice([0.0, 0.6, 0.95]), values.dtype.type(zx), values)
    options = {
        "padding": padding,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "fused_activation_function": str(rng.choice(ACTIVATIONS)) if rng.random() < 0.5 else "NONE",
    }
    bias_type, told = "int32", None
    if dtype == "int16":
        bias_type, told = BIASES_16[int(rng.integers(len(BIASES_16)))]
        if told is not None:
            options["quantized_bias_type"] = told
    if bias_type == "int32":
        bias = np.clip(bias, -(2**30), 2**30)
    return Case(
        "TRANSPOSE_CONV",
        [
            Operand((4,), "int32", data=np.array(output)),
            Operand(shape, weights_type, weights_scale, weights_zero, weights),
            Operand(values.shape, dtype, sx, zx),
            Operand((units,), bias_type, np.float32(sx) * weights_scale, 0, bias),
        ],
        [Operand(output, dtype, sy, zy)],
        [values],
        options,
        5 if "quantized_bias_type" in options else 4 if options["fused_activation_function"] != "NONE" else 3,
    )
