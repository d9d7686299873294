"""A rule with its constants folded for one layer: the effective scale, multiplier and shift, the clamp bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import quantize_multiplier, reduce_multiplier, round_half_away
from ...model.types import DType, Int64Array, IntegerType, fused_bounds, integer_type
from ..base import Bounds, IntegerRule, ScaleProduct, Scales
from .forms import Bias, Float, OneRounding, TwoRoundings

__all__ = [
    "RequantParams",
    "activation_bounds",
    "bias_in_steps",
    "effective_scale",
    "has_multiplier",
    "multiplier_q15",
    "prepare_requantize",
    "taken_scales",
    "with_float_bias",
]


@dataclass(frozen=True, eq=False)
class RequantParams:
    """A rule with its constants folded for one layer. Per-channel arrays are `[out]`, per-tensor ones `[1]`.

    Attributes:
        rule: the rule.
        effective_scale: the real factor, float64 (`ff` rules: float32).
        multiplier: Q0.31 integers, for the forms that have a multiplier (0 elsewhere).
        shift: power of two, positive = left, in the same way.
        output_zero_point: zy, quantized steps.
        activation_min: lower clamp bound, quantized domain.
        activation_max: upper clamp bound, quantized domain.
        dtype: the output's element type.
        bias: the layer's bias, int64 `[out]`, for the forms that add it themselves in float32; else None.
        float_bias: the same as they add it, exact in float64, `[out]`; else None.
    """

    rule: IntegerRule
    effective_scale: npt.NDArray[np.float64 | np.float32]
    multiplier: Int64Array
    shift: Int64Array
    output_zero_point: int
    activation_min: int
    activation_max: int
    dtype: IntegerType
    bias: Int64Array | None = None
    float_bias: npt.NDArray[np.float64] | None = None


def has_multiplier(rule: IntegerRule) -> bool:
    """Whether the rule writes its factor as an integer multiplier and a shift."""
    match rule.requantize:
        case Float():
            return False
        case TwoRoundings() | OneRounding():
            return True
        case never:
            assert_never(never)


def multiplier_q15(params: RequantParams) -> Int64Array | None:
    """The multiplier as 15 bits, for the forms that multiply with that; else None."""
    form = params.rule.requantize
    if isinstance(form, OneRounding) and form.multiplier_bits == 15:
        return reduce_multiplier(params.multiplier)
    return None


def taken_scales(scales: Scales, weights_scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a kernel takes for the weights' scales `[1]` or `[out]`: `[1]` or `[out]`.

    >>> taken_scales(Scales("dd", "first"), np.float32([0.5, 2])).tolist()
    [0.5]
    """
    if weights_scale.size == 1:
        return weights_scale
    match scales.weights_scale:
        case "own":
            return weights_scale
        case "first":
            return weights_scale[:1]
        case "zero":
            return np.zeros_like(weights_scale)
        case "one":
            return np.ones_like(weights_scale)
        case never:
            assert_never(never)


def effective_scale(
    input_scale: np.float32, weights_scale: npt.NDArray[np.float32], output_scale: np.float32, product: ScaleProduct
) -> npt.NDArray[np.float64 | np.float32]:
    """The real factor from accumulator steps to output steps, in the precision a runtime calculates it in.

    Args:
        input_scale: s_x.
        weights_scale: s_w, `[1]` or `[out]`.
        output_scale: s_y.
        product: see ScaleProduct.

    Returns:
        float64 `[1]` or `[out]`; float32 for `ff`.

    >>> s = np.float32(0.1), np.asarray([0.1], np.float32), np.float32(0.1)
    >>> [float(effective_scale(*s, product)[0]) for product in ("dd", "fd", "ff")]
    [0.10000000149011612, 0.10000000558793537, 0.10000000894069672]
    """
    with np.errstate(all="ignore"):  # of extreme scales: 0 or infinite, as in the kernels
        match product:
            case "dd" | "given":  # a given factor stands in the weights' place, exactly
                return np.float64(input_scale) * weights_scale.astype(np.float64) / np.float64(output_scale)
            case "fd":
                scales = np.float32(input_scale) * weights_scale.astype(np.float32)
                return scales.astype(np.float64) / np.float64(output_scale)
            case "ff":
                return np.float32(input_scale) * weights_scale.astype(np.float32) / np.float32(output_scale)
            case never:
                assert_never(never)


def activation_bounds(
    activation: str, scale: np.float32, zero_point: int, dtype: DType, rounding: Bounds
) -> tuple[int, int]:
    """The clamp bounds of a fused activation, in the quantized domain.

    Args:
        activation: `NONE`, `RELU`, `RELU6` or `RELU_N1_TO_1`.
        scale: the output's scale.
        zero_point: the output's zero point.
        dtype: the output's element type; its range limits the bounds.
        rounding: see `Bounds`.

    Returns:
        (activation_min, activation_max).

    >>> from lastbit.model.types import INT8
    >>> six_in_half_steps = np.float32(6 / 4.5)  # 6 is 4.5 steps: a tie
    >>> activation_bounds("RELU6", six_in_half_steps, 0, INT8, "half_away")
    (0, 5)
    >>> activation_bounds("RELU6", six_in_half_steps, 0, INT8, "half_even")
    (0, 4)

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/kernel_util.cc (CalculateActivationRangeQuantized) for
    half_away; google/XNNPACK, src/subgraph/fully-connected.c for half_even. Both shown on the running interpreters.
    """
    whole, bounds = integer_type(dtype), []
    for real, limit in zip(fused_bounds(activation), (whole.qmin, whole.qmax), strict=True):
        if np.isinf(real):
            bounds.append(limit)
            continue
        with np.errstate(over="ignore"):
            steps = np.float32(real) / np.float32(scale)
        match rounding:
            case "half_away":
                value = zero_point + float(round_half_away(steps))
            case "half_even_then_zero_point":
                value = zero_point + float(np.rint(steps))
            case "half_even":
                value = float(np.rint(np.clip(steps + np.float32(zero_point), np.float32(whole.qmin), whole.qmax)))
            case never:
                assert_never(never)
        bounds.append(int(min(max(value, whole.qmin), whole.qmax)))
    return bounds[0], bounds[1]


def prepare_requantize(
    rule: IntegerRule,
    *,
    input_scale: np.float32,
    weights_scale: npt.NDArray[np.float32],
    output_scale: np.float32,
    output_zero_point: int,
    activation: str,
    dtype: DType,
) -> RequantParams:
    """Fold a layer's scales, zero point and fused activation for one rule."""
    factor = effective_scale(input_scale, taken_scales(rule.scales, weights_scale), output_scale, rule.scales.product)
    if has_multiplier(rule):
        multiplier, shift = quantize_multiplier(factor)
    else:
        multiplier = shift = np.zeros(factor.shape, np.int64)
    low, high = activation_bounds(activation, output_scale, output_zero_point, dtype, rule.bounds)
    return RequantParams(rule, factor, multiplier, shift, output_zero_point, low, high, integer_type(dtype))


def bias_in_steps(
    bias: Int64Array, input_scale: np.float32, weights_scale: npt.NDArray[np.float32], way: Bias
) -> npt.NDArray[np.float64]:
    """An int32 bias as fbgemm adds it to an accumulator: as a real value, divided by s_x*s_w again.

    Args:
        bias: the bias of the .tflite layer, `[out]`. The bias that PyTorch is given is float32(bias) * (s_x*s_w).
        input_scale: s_x.
        weights_scale: s_w, `[1]` or `[out]`.
        way: `division`: divided in float32 (per-channel kernels). `fused`: times float32(1 / (s_x*s_w)) (per-tensor
            ones), not rounded, since the sum with the accumulator is fused with it. `reciprocal`: the same, rounded to
            float32. `in_acc`: nothing is added.

    Returns:
        float64 `[out]`, in accumulator steps; seldom exactly the bias.

    >>> scale = np.asarray([0.007], np.float32)
    >>> for way in ("division", "reciprocal", "fused"):
    ...     print(float(bias_in_steps(np.asarray([9]), np.float32(0.1), scale, way)[0]))
    9.0
    9.000000953674316
    9.000000567075176
    """
    with np.errstate(all="ignore"):  # of extreme scales: infinities and NaN, as the library has them
        scales = np.float32(input_scale) * weights_scale.astype(np.float32)
        real = bias.astype(np.float32) * scales
        match way:
            case "in_acc":
                return np.zeros(real.shape)
            case "division":
                return np.asarray(real / scales, np.float64)
            case "reciprocal":
                # Divided in float64 and then rounded, which is the same as in float32.
                return np.asarray(real * (np.float32(1) / scales), np.float64)
            case "fused":
                return np.asarray(real.astype(np.float64) * (np.float32(1) / scales).astype(np.float64))
            case never:
                assert_never(never)


def with_float_bias(
    params: RequantParams, bias: Int64Array, input_scale: np.float32, weights_scale: npt.NDArray[np.float32]
) -> RequantParams:
    """Fold a layer's bias for the forms that add it themselves; other forms stay as they are."""
    form = params.rule.requantize
    if not isinstance(form, Float) or form.bias == "in_acc":
        return params
    return replace(params, bias=bias, float_bias=bias_in_steps(bias, input_scale, weights_scale, form.bias))
