"""Mistakes in hybrid dense layers: float32 in and out, int8 or int4 weights, every row quantized at run time.

A layer is calculated in float64 here; what float32 loses on the way depends on the order of summation and is a bound,
`HybridCase.bound`, that an output may lie within. Function of each slot: see `HYBRID_SLOTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...arith.matmul import integer_product
from ...model.types import Float64Array
from .base import Mistake
from .threads import QUARK_30, TF_38781, TFLM_757

__all__ = ["HYBRID", "HYBRID_SLOTS", "HybridCase", "calculate"]

HYBRID_SLOTS = ("hybrid input", "weights", "product", "members", "bias", "activation", "layout")
"""In order of calculation. Each function takes a HybridCase and gives one: the slot's field is changed in it."""

_EPSILON = 2.0**-23


@dataclass(frozen=True, eq=False)
class HybridCase:
    """A hybrid layer on its way from the input to the output; arrays of float64 that hold the file's values exactly.

    Attributes:
        x: the input, `[rows, depth]`.
        q: the input as the products take it: whole steps, less their zero point; or real values.
        s_x: what a step of q is worth, `[rows]`; 1 for real values.
        w: the weights as they are stored, `[out, depth]`.
        s_w: the weights' scales, `[1]` or `[out]`.
        bias: `[out]`, zeros where there is none.
        low: the activation's lower bound.
        high: its upper bound.
        y: the output, `[rows, out]`, once it is calculated.
        bound: how far from y float32 may come, in any order of summation; the same shape.
    """

    x: Float64Array
    q: Float64Array
    s_x: Float64Array
    w: Float64Array
    s_w: Float64Array
    bias: Float64Array
    low: float = -np.inf
    high: float = np.inf
    y: Float64Array | None = None
    bound: Float64Array | None = None


def calculate(layer: HybridCase, chosen: Mapping[str, Mistake]) -> HybridCase:
    """The layer's output with mistakes, at most one for each slot."""
    made = layer
    for slot in HYBRID_SLOTS[:-2]:
        if slot in chosen:
            made = chosen[slot].function(made)
    total = integer_product(made.q, made.w.T)
    scale = made.s_x[:, None] * made.s_w
    y = total * scale + made.bias
    size = integer_product(np.abs(made.q), np.abs(made.w).T) * np.abs(scale)
    # Real values lose at most one rounding for each product and each sum, and dequantized ones one more.
    bound = _EPSILON * ((2 * made.q.shape[1] + 6) * size + 2 * np.abs(made.bias) + 1e-30)
    made = replace(made, y=y, bound=bound)
    if "activation" in chosen:
        made = chosen["activation"].function(made)
    assert made.y is not None
    made = replace(made, y=np.clip(made.y, made.low, made.high))
    return chosen["layout"].function(made) if "layout" in chosen else made


def _largest(x: Float64Array) -> Float64Array:
    largest = np.abs(x).max(axis=1).astype(np.float32)
    return np.where(largest > 0, largest, np.float32(1)).astype(np.float64)


def _quantized(layer: HybridCase, scale: Float64Array, steps: Float64Array, low: int = -127) -> HybridCase:
    return replace(layer, q=np.clip(steps, low, 127), s_x=scale)


def _scale_of(layer: HybridCase, steps: int) -> Float64Array:
    scale: Float64Array = (_largest(layer.x).astype(np.float32) / np.float32(steps)).astype(np.float64)
    return scale


def _truncated(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 127)
    return _quantized(layer, scale, np.trunc(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _whole_batch(layer: HybridCase) -> HybridCase:
    scale = np.full(len(layer.x), _scale_of(layer, 127).max())
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _over_128(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 128)
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)), -128)


def _both_ends(layer: HybridCase) -> HybridCase:
    low, high = np.minimum(layer.x.min(axis=1), 0), np.maximum(layer.x.max(axis=1), 0)
    scale = np.where(high > low, (high - low) / 255, 1.0)
    zero = np.rint(-128 - low / scale)
    steps = np.clip(np.rint(layer.x / scale[:, None]) + zero[:, None], -128, 127) - zero[:, None]
    return replace(layer, q=steps, s_x=scale)


def _symmetric(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 127)
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _nibbles(layer: HybridCase, kind: str) -> HybridCase:
    stored = layer.w.astype(np.int64) & 15
    match kind:
        case "unsigned":
            w = stored
        case "excess":
            w = stored - 8
        case _:
            w = np.where(stored & 8, -(stored & 7), stored)
    return replace(layer, w=w.astype(np.float64))


def _swapped(layer: HybridCase) -> HybridCase:
    flat = layer.w.ravel().copy()
    even = flat.size // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].ravel()
    return replace(layer, w=flat.reshape(layer.w.shape))


def _as_in_out(layer: HybridCase) -> HybridCase:
    return replace(layer, w=layer.w.reshape(layer.w.shape[::-1]).T)


def _products(layer: HybridCase, kept: slice) -> HybridCase:
    mask = np.zeros(layer.w.shape[1])
    mask[kept] = 1
    return replace(layer, w=layer.w * mask)


_ROWS = "s = max(abs(row)) / 127; q = np.clip(np.rint(row / s), -127, 127)  # for each row; some kernels: both ends"
_ROWS_C = "s = max_abs / 127.0f; q = (int8_t)lroundf(row[k] / s);  /* for each row */"
_SUM = "y = (q.astype(np.int32) @ w.astype(np.int32).T) * (s[:, None] * s_w) + bias"
_SUM_C = "y = (float)acc * (s * s_w[unit]) + bias[unit];"
_INT4 = "w = ((b & 15) ^ 8) - 8"
_INT4_C = "int8_t w = (int8_t)(byte << 4) >> 4;"

HYBRID: dict[str, Mistake] = {
    name: Mistake(name, slot, why, numpy, c, function, rarity=rarity, seen=seen)
    for name, slot, why, numpy, c, function, rarity, seen in (
        (
            "hybrid_input_not_quantized", "hybrid input",
            "the weights become real numbers and the input stays real; runtimes quantize each row of the input to int8",
            _ROWS, _ROWS_C, lambda v: replace(v, q=v.x, s_x=np.ones(len(v.x))), 1.0, (TFLM_757,),
        ),
        (
            "hybrid_scale_of_whole_batch", "hybrid input",
            "one input scale is made of all rows; each row has its own",
            _ROWS, _ROWS_C, _whole_batch, 1.5, (),
        ),
        (
            "hybrid_input_truncated", "hybrid input",
            "the quantized input is truncated towards zero (a cast to int8); it must be rounded",
            _ROWS, _ROWS_C, _truncated, 1.5, (TF_38781,),
        ),
        (
            "hybrid_scale_over_128", "hybrid input",
            "a row's largest magnitude is divided by 128; it is divided by 127",
            _ROWS, _ROWS_C, _over_128, 1.6, (),
        ),
        (
            "hybrid_input_with_zero_point", "hybrid input",
            "rows are quantized between their two ends with a zero point; this runtime does it in another way",
            _ROWS, _ROWS_C, _both_ends, 2.0, (),
        ),
        (
            "hybrid_input_symmetric", "hybrid input",
            "rows are quantized by their largest magnitude without a zero point; this runtime takes both ends",
            _ROWS, _ROWS_C, _symmetric, 2.0, (),
        ),
        ("weights_as_in_out", "weights", "the weights are read as [in, out]; a .tflite stores them [out, in]",
         "w = buffer.reshape(units, depth)", "w[unit * depth + k]", _as_in_out, 1.2, ()),
        ("weights_as_uint8", "weights", "the weights' bytes are read as uint8", "w = buffer.view(np.int8)",
         "const int8_t *w;", lambda v: replace(v, w=np.where(v.w < 0, v.w + 256, v.w)), 2.0, ()),
        ("weights_reversed", "weights", "each unit's weights are taken in reverse order", "x @ w.T",
         "w[unit * depth + k]", lambda v: replace(v, w=v.w[:, ::-1]), 2.5, ()),
        ("weights_nibbles_swapped", "weights",
         "the two int4 weights of a byte are taken in the wrong order; the low half comes first",
         "w = np.stack([b & 15, b >> 4], axis=-1).reshape(units, depth)", "w = (k & 1) ? byte >> 4 : byte & 15;",
         _swapped, 2.0, (QUARK_30,)),
        ("weights_int4_unsigned", "weights", "int4 weights are not sign-extended", _INT4, _INT4_C,
         lambda v: _nibbles(v, "unsigned"), 2.0, ()),
        ("weights_int4_excess_8", "weights", "int4 weights are read as a nibble minus 8; they are two's complement",
         _INT4, _INT4_C, lambda v: _nibbles(v, "excess"), 2.5, ()),
        ("weights_int4_sign_magnitude", "weights",
         "int4 weights are read as sign and magnitude; they are two's complement", _INT4, _INT4_C,
         lambda v: _nibbles(v, "sign"), 3.0, ()),
        ("last_product_left_out", "product", "the loop over the depth stops one early", _SUM, _SUM_C,
         lambda v: _products(v, slice(0, -1)), 2.0, ()),
        ("first_product_left_out", "product", "the loop over the depth starts at 1", _SUM, _SUM_C,
         lambda v: _products(v, slice(1, None)), 2.0, ()),
        ("remainder_of_4_left_out", "product",
         "blocks of 4 products are summed, and the remainder of the depth is left out", _SUM, _SUM_C,
         lambda v: _products(v, slice(0, v.w.shape[1] // 4 * 4)), 2.0, ()),
        ("remainder_of_8_left_out", "product",
         "blocks of 8 products are summed, and the remainder of the depth is left out", _SUM, _SUM_C,
         lambda v: _products(v, slice(0, v.w.shape[1] // 8 * 8)), 2.0, ()),
        ("weights_scale_missing", "members", "the sum is not multiplied by the weights' scale", _SUM, _SUM_C,
         lambda v: replace(v, s_w=np.ones(1)), 1.2, ()),
        ("input_scale_missing", "members", "the sum is not multiplied by the row's scale", _SUM, _SUM_C,
         lambda v: replace(v, s_x=np.ones(len(v.x))), 1.2, ()),
        ("scales_first_for_all", "members", "scales[0] is used for every unit of a per-channel layer", _SUM, _SUM_C,
         lambda v: replace(v, s_w=v.s_w[:1]), 1.2, ()),
        ("scales_next_unit", "members", "every unit has the scale of the next one", _SUM, _SUM_C,
         lambda v: replace(v, s_w=np.roll(v.s_w, -1)), 2.5, ()),
        ("bias_missing", "bias", "the bias is not added", _SUM, _SUM_C,
         lambda v: replace(v, bias=np.zeros_like(v.bias)), 1.0, ()),
        ("bias_twice", "bias", "the bias is added twice", _SUM, _SUM_C, lambda v: replace(v, bias=2 * v.bias), 2.0, ()),
        ("bias_subtracted", "bias", "the bias is subtracted", _SUM, _SUM_C,
         lambda v: replace(v, bias=-v.bias), 2.5, ()),
        ("bias_first_for_all", "bias", "bias[0] is added to every unit", _SUM, _SUM_C,
         lambda v: replace(v, bias=np.full_like(v.bias, v.bias[0])), 2.0, ()),
        ("activation_missing", "activation", "the fused activation is not applied", "y = np.clip(y, low, high)",
         "y = y < low ? low : y > high ? high : y;", lambda v: replace(v, low=-np.inf, high=np.inf), 1.2, ()),
        ("relu_that_is_not_there", "activation", "a ReLU is applied, and the layer has none",
         "no activation: the layer has NONE", "/* no activation */",
         lambda v: replace(v, low=max(v.low, 0.0)), 2.0, ()),
        ("units_reversed", "layout", "the output units are in reverse order", "y[:, unit]", "y[unit]",
         lambda v: replace(v, y=v.y[:, ::-1], bound=v.bound[:, ::-1]), 2.5, ()),
    )
}  # fmt: skip
"""Name -> mistake, in order of calculation. Names that integer layers have too mean the same there."""
