"""From the sums of products of a hybrid dense layer to its outputs: what each family of kernels rounds, and when.

Every function takes (layer, quantized rows, dot products, whether any input is not 0) and gives the steps from `acc` to
`output`, `[rows, out]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arith.dynamic_range import QuantizedRows
from ..arith.fixedpoint import wrap32
from ..arith.floats import (
    clamp_bound_first,
    clamp_maximum,
    clamp_value_first,
    convert_int32,
    flush_subnormals,
    fma32,
    multiply32,
)
from ..arith.int4_nibbles import NIBBLE_ZERO_POINT
from ..arith.neon import NeonLoop, nibble_row_sums
from ..types import Array

if TYPE_CHECKING:
    from .dense_hybrid import PreparedHybrid

__all__ = [
    "finish_fma",
    "finish_fma_bound_first",
    "finish_fma_neon",
    "finish_kleidiai",
    "finish_neon",
    "finish_neon_nibbles",
    "finish_nibbles",
    "finish_unfused",
]


def _acc(prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The dot products less the zero point's part, in 32 bits that wrap: `[rows, out]`."""
    return wrap32(dot - quantized.zero_point[:, None] * prepared.weights_sum)


def finish_fma(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, Array]:
    """XNNPACK: the row's scale first, then one fused multiply-add; subnormals are read and written as zero."""
    # The kernel for int4 has the operands of its maximum the other way round.
    if prepared.layer.weights.dtype.name == "int4":
        return finish_fma_bound_first(prepared, quantized, dot, any_input)
    steps = _fused_steps(prepared, quantized, dot)
    return {**steps, "output": clamp_value_first(steps["with_bias"], prepared.layer.activation)}


def finish_fma_bound_first(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """The same on AVX2, where a NaN (of an infinite scale) comes out of the clamp as its lower bound."""
    steps = _fused_steps(prepared, quantized, dot)
    return {**steps, "output": clamp_bound_first(steps["with_bias"], prepared.layer.activation, always=True)}


def finish_fma_neon(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """The same on ARM64 without dot products, where a result below 2^-126 becomes zero before it is rounded."""
    steps = _fused_steps(prepared, quantized, dot, arm=True)
    return {**steps, "output": clamp_maximum(steps["with_bias"], prepared.layer.activation)}


def _fused_steps(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], arm: bool = False
) -> dict[str, Array]:
    """XNNPACK's steps before the clamp."""
    acc = _acc(prepared, quantized, dot)
    if prepared.layer.weights.dtype.name == "int4":
        # The kernel sums 16 times the products and shifts right: 28 bits are left.
        acc = wrap32(acc << 4) >> 4
    bias = np.float32(0) if prepared.bias is None else flush_subnormals(prepared.bias)
    scaled = multiply32(convert_int32(acc), quantized.scale[:, None], True, arm)
    with_bias = fma32(scaled, prepared.weights_scale, bias, True, arm)
    return {"acc": acc.astype(np.int32), "scaled": scaled, "with_bias": with_bias}


def finish_unfused(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, Array]:
    """LiteRT's own kernels: the two scales first, then product and sum, each rounded."""
    layer = prepared.layer
    bias = np.zeros(layer.units, np.float32) if prepared.bias is None else prepared.bias
    acc = _acc(prepared, quantized, dot)
    scaled = multiply32(convert_int32(acc), multiply32(prepared.weights_scale, quantized.scale[:, None]))
    with np.errstate(all="ignore"):
        with_bias = bias + scaled
    if not any_input:
        # An input of nothing but zeros is not multiplied at all: the bias stays as it is, -0.0 included.
        with_bias = np.broadcast_to(bias, scaled.shape).copy()
    output = clamp_bound_first(with_bias, layer.activation)
    return {"acc": acc.astype(np.int32), "scaled": scaled, "with_bias": with_bias, "output": output}


def finish_nibbles(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """LiteRT's 4-bit kernel: the nibbles' zero point is taken off in float32, together with the bias."""
    layer = prepared.layer
    sums = wrap32(-NIBBLE_ZERO_POINT * quantized.quantized.sum(axis=1))
    scale, w_scale = quantized.scale[:, None], np.broadcast_to(prepared.weights_scale, (layer.units,))
    correction = multiply32(multiply32(convert_int32(sums)[:, None], scale), w_scale)
    scaled = multiply32(multiply32(convert_int32(dot), scale), w_scale)
    with np.errstate(all="ignore"):
        start = correction if prepared.bias is None else correction + prepared.bias
        with_bias = start + scaled
    return {
        "acc": (dot + sums[:, None]).astype(np.int32),
        "correction": correction,
        "scaled": scaled,
        "with_bias": with_bias,
        "output": clamp_bound_first(with_bias, layer.activation),
    }


def finish_neon(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, Array]:
    """LiteRT's own kernels on ARM64: a fused multiply-add, but in the loop that takes four rows at once."""
    layer = prepared.layer
    if prepared.loop(len(dot)) is NeonLoop.FOUR_ROWS or not any_input:
        return finish_unfused(prepared, quantized, dot, any_input)
    bias = np.zeros(layer.units, np.float32) if prepared.bias is None else prepared.bias
    acc = _acc(prepared, quantized, dot)
    factor = multiply32(prepared.weights_scale, quantized.scale[:, None])
    with_bias = fma32(convert_int32(acc), factor, bias)
    output = clamp_bound_first(with_bias, layer.activation)
    return {"acc": acc.astype(np.int32), "with_bias": with_bias, "output": output}


def finish_neon_nibbles(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """LiteRT's 4-bit kernel on ARM64: as `finish_nibbles`, the correction and the bias in a fused multiply-add.

    So is the last sum, where there is one row; of more, in the last `units % 4` units only.
    """
    layer = prepared.layer
    sums = wrap32(-NIBBLE_ZERO_POINT * nibble_row_sums(quantized))
    scale, w_scale = quantized.scale[:, None], np.broadcast_to(prepared.weights_scale, (layer.units,))
    start = multiply32(convert_int32(sums)[:, None], scale)
    correction = multiply32(start, w_scale) if prepared.bias is None else fma32(start, w_scale, prepared.bias)
    part = multiply32(convert_int32(dot), scale)
    scaled = multiply32(part, w_scale)
    with np.errstate(all="ignore"):
        with_bias = correction + scaled
    whole = 0 if (prepared.rows_at_once or len(dot)) == 1 else layer.units - layer.units % 4
    with_bias[:, whole:] = fma32(part, w_scale, correction)[:, whole:]
    return {
        "acc": wrap32(dot + sums[:, None]).astype(np.int32),
        "correction": correction,
        "scaled": scaled,
        "with_bias": with_bias,
        "output": clamp_bound_first(with_bias, layer.activation),
    }


def finish_kleidiai(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """XNNPACK on ARM64 (KleidiAI): the two scales first, then product and sum, each rounded; subnormals are zero."""
    acc = _acc(prepared, quantized, dot)
    weights_scale, units = prepared.weights_scale, acc
    if prepared.layer.weights.dtype.name == "int4":
        # The kernel sums 16 times the products, in 32 bits that wrap, and has a sixteenth of the weights' scale.
        units = wrap32(acc << 4)
        acc = units >> 4
        weights_scale = multiply32(weights_scale, np.float32(0.0625))
    bias = np.float32(0) if prepared.bias is None else flush_subnormals(prepared.bias)
    factor = multiply32(flush_subnormals(weights_scale), quantized.scale[:, None], True, True)
    scaled = multiply32(convert_int32(units), factor, True, True)
    with np.errstate(all="ignore"):
        with_bias = flush_subnormals(scaled + bias)
    output = clamp_maximum(with_bias, prepared.layer.activation)
    return {"acc": acc.astype(np.int32), "scaled": scaled, "with_bias": with_bias, "output": output}
