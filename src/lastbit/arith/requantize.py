"""From accumulator to output: every requantization rule as data, and one table from a rule to its function.

A rule is never one "rounding mode" flag. It is the precision of the scale product, the form of the multiplier, the
rounding steps with their tie rules, and the place of the clamp. The functions here are the fast, vectorised form;
`exact.py` states the same rules independently in Python integers and fractions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..types import Array, DType, IntArray, fused_bounds
from .fixedpoint import (
    INT32_MIN,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
    wrap32,
)
from .requantize_cpu import (
    float32_saturate,
    float64_saturate,
    q31_floor_up_saturate,
    q31_floor_up_wrap,
    q31_up_away_saturate,
)
from .requantize_int16 import q15
from .requantize_more import float32_bias, float32_clip, q15_wrap, q31_single_wrap
from .requantize_types import Bounds, Form, RequantParams, RequantRule, ScaleProduct

__all__ = [
    "RULES",
    "RequantParams",
    "RequantRule",
    "activation_bounds",
    "effective_scale",
    "prepare_requantize",
    "requantize",
]

_PRODUCTS: tuple[tuple[ScaleProduct, str], ...] = (("dd", "float64"), ("fd", "float32 then float64"))
_Q31_EQUATIONS: tuple[tuple[Form, str, str], ...] = (
    (
        "q31_up_up",
        "q31-half_up-half_up",
        "v = (wrap32(acc << L) * q + 2^30) >> 31;  y = clamp(zy + ((v + 2^(R-1)) >> R))",
    ),
    (
        "q31_up_away",
        "q31-half_up-half_away",
        "v = (wrap32(acc << L) * q + 2^30) >> 31;  y = clamp(zy + round_half_away(v / 2^R))",
    ),
    (
        "q31_single",
        "q31-single-half_up",
        "y = clamp(zy + ((acc * q + 2^(30-shift)) >> (31-shift)))",
    ),
)

RULES: dict[str, RequantRule] = {
    rule.name: rule
    for rule in (
        RequantRule(
            "float64-half_away",
            "dd",
            "float64",
            "half_away",
            "y = clamp(zy + round_half_away(float64(acc) * m)),  m = s_x*s_w/s_y in float64",
        ),
        *(
            RequantRule(
                f"{name}/{product}",
                product,
                form,
                "half_away",
                f"{equation},  q and shift from s_x*s_w/s_y in {precision}",
            )
            for form, name, equation in _Q31_EQUATIONS
            for product, precision in _PRODUCTS
        ),
        RequantRule(
            "float32-half_even",
            "ff",
            "float32",
            "half_even",
            "y = max(lo, saturate(zy + round_half_even(min(float32(acc) * m, hi - zy)))),  m = s_x*s_w/s_y in float32",
        ),
    )
}


def effective_scale(
    input_scale: np.float32, weights_scale: npt.NDArray[np.float32], output_scale: np.float32, product: ScaleProduct
) -> npt.NDArray[np.float64 | np.float32]:
    """The real factor from accumulator steps to output steps, in the precision a runtime calculates it in.

    Args:
        input_scale: s_x.
        weights_scale: s_w, `[1]` or `[out]`.
        output_scale: s_y.
        product: `dd`, `fd` or `ff` (see RequantRule).

    Returns:
        float64 `[1]` or `[out]`; float32 for `ff`.

    >>> s = np.float32(0.1), np.asarray([0.1], np.float32), np.float32(0.1)
    >>> [float(effective_scale(*s, product)[0]) for product in ("dd", "fd", "ff")]
    [0.10000000149011612, 0.10000000558793537, 0.10000000894069672]
    """
    with np.errstate(all="ignore"):  # of extreme scales: 0 or infinite, as in the kernels
        if product == "dd":
            return np.float64(input_scale) * weights_scale.astype(np.float64) / np.float64(output_scale)
        scales = np.float32(input_scale) * weights_scale.astype(np.float32)
        if product == "fd":
            return scales.astype(np.float64) / np.float64(output_scale)
        return scales / np.float32(output_scale)


def activation_bounds(
    activation: str, scale: np.float32, zero_point: int, dtype: DType, rounding: Bounds
) -> tuple[int, int]:
    """The clamp bounds of a fused activation, in the quantized domain.

    Args:
        activation: `NONE`, `RELU`, `RELU6` or `RELU_N1_TO_1`.
        scale: the output's scale.
        zero_point: the output's zero point.
        dtype: the output's element type; its range limits the bounds.
        rounding: see `RequantRule.bounds`.

    Returns:
        (activation_min, activation_max).

    >>> from lastbit.types import DTYPES
    >>> six_in_half_steps = np.float32(6 / 4.5)  # 6 is 4.5 steps: a tie
    >>> activation_bounds("RELU6", six_in_half_steps, 0, DTYPES[9], "half_away")
    (0, 5)
    >>> activation_bounds("RELU6", six_in_half_steps, 0, DTYPES[9], "half_even")
    (0, 4)

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/kernel_util.cc (CalculateActivationRangeQuantized) for
    half_away; google/XNNPACK, src/subgraph/fully-connected.c for half_even. Both shown on the running interpreters.
    """
    assert dtype.qmin is not None
    assert dtype.qmax is not None
    bounds = []
    for real, limit in zip(fused_bounds(activation), (dtype.qmin, dtype.qmax), strict=True):
        if np.isinf(real):
            bounds.append(limit)
            continue
        with np.errstate(over="ignore"):
            steps = np.float32(real) / np.float32(scale)
        if rounding == "half_away":
            value = zero_point + float(round_half_away(steps))
        elif rounding == "half_even_then_zero_point":
            value = zero_point + float(np.rint(steps))
        else:
            value = float(np.rint(np.clip(steps + np.float32(zero_point), np.float32(dtype.qmin), dtype.qmax)))
        bounds.append(int(min(max(value, dtype.qmin), dtype.qmax)))
    return bounds[0], bounds[1]


def prepare_requantize(
    rule: RequantRule,
    *,
    input_scale: np.float32,
    weights_scale: npt.NDArray[np.float32],
    output_scale: np.float32,
    output_zero_point: int,
    activation: str,
    dtype: DType,
) -> RequantParams:
    """Fold a layer's scales, zero point and fused activation for one rule."""
    factor = effective_scale(input_scale, weights_scale, output_scale, rule.scale_product)
    if rule.form.startswith("q"):
        multiplier, shift = quantize_multiplier(factor)
    else:
        multiplier = shift = np.zeros(factor.shape, np.int64)
    low, high = activation_bounds(activation, output_scale, output_zero_point, dtype, rule.bounds)
    return RequantParams(rule, factor, multiplier, shift, output_zero_point, low, high, dtype)


def requantize(acc: IntArray, params: RequantParams) -> dict[str, Array]:
    """Take accumulators to outputs.

    Args:
        acc: `[..., out]`, any integer dtype; wrapped to the rule's accumulator.
        params: the folded constants; per-channel arrays run along acc's last axis.

    Returns:
        Every named step in order; the last is `output`, in the output's dtype.

    >>> from lastbit.types import DTYPES
    >>> import numpy as np
    >>> half = dict(input_scale=np.float32(1), weights_scale=np.asarray([0.5], np.float32), output_scale=np.float32(1),
    ...             output_zero_point=0, activation="NONE", dtype=DTYPES[9])
    >>> acc = np.asarray([[-3, -1, 1, 3]])  # -1.5, -0.5, 0.5, 1.5: ties
    >>> for name in ("float64-half_away", "q31-half_up-half_up/dd", "q31-half_up-half_away/dd", "float32-half_even"):
    ...     print(name, requantize(acc, prepare_requantize(RULES[name], **half))["output"].tolist())
    float64-half_away [[-2, -1, 1, 2]]
    q31-half_up-half_up/dd [[-1, 0, 1, 2]]
    q31-half_up-half_away/dd [[-1, 0, 1, 2]]
    float32-half_even [[-2, 0, 0, 2]]
    """
    wide = np.asarray(acc, np.int64)
    with np.errstate(all="ignore"):  # extreme scales make infinities, as in the kernels
        steps = _FORMS[params.rule.form](wrap32(wide) if params.rule.acc_bits == 32 else wide, params)
    steps["output"] = steps["output"].astype(params.dtype.numpy)
    return steps


def _finish(acc_scaled: npt.NDArray[np.int64], params: RequantParams, steps: dict[str, Array]) -> dict[str, Array]:
    """Add the zero point in an int32 register (it wraps) and clamp."""
    steps["acc_scaled"] = acc_scaled
    steps["with_zero_point"] = wrap32(acc_scaled + params.output_zero_point)
    steps["output"] = np.clip(steps["with_zero_point"], params.activation_min, params.activation_max)
    return steps


def _float64(acc: npt.NDArray[np.int64], params: RequantParams) -> dict[str, Array]:
    product = acc.astype(np.float64) * params.effective_scale
    rounded = round_half_away(product)
    # x86 converts a float64 that does not fit into INT32_MIN, whatever its sign.
    fits = np.abs(rounded) < 2.0**31
    acc_scaled = np.where(fits, rounded, INT32_MIN).astype(np.int64)
    return _finish(acc_scaled, params, {"product": product})


def _q31_two_steps(
    right_shift: Callable[[IntArray, IntArray], npt.NDArray[np.int64]],
) -> Callable[[npt.NDArray[np.int64], RequantParams], dict[str, Array]]:
    def form(acc: npt.NDArray[np.int64], params: RequantParams) -> dict[str, Array]:
        shifted = wrap32(acc << np.clip(params.shift, 0, 31))
        high = saturating_rounding_doubling_high_mul(shifted, params.multiplier)
        acc_scaled = right_shift(high, np.maximum(-params.shift, 0))
        return _finish(acc_scaled, params, {"acc_shifted": shifted, "high_mul": high})

    return form


def _q31_single(acc: npt.NDArray[np.int64], params: RequantParams) -> dict[str, Array]:
    product = acc * params.multiplier  # 31 + 31 bits: fits
    return _finish(
        rounding_shift_right_half_up(product, np.maximum(31 - params.shift, 0)), params, {"product": product}
    )


def _float32(acc: npt.NDArray[np.int64], params: RequantParams) -> dict[str, Array]:
    product = acc.astype(np.float32) * params.effective_scale.astype(np.float32)
    limited = np.minimum(product, np.float32(params.activation_max - params.output_zero_point))
    # x86 converts a float32 below int32's range into INT32_MIN; the upper side is limited already.
    acc_scaled = np.maximum(np.rint(limited.astype(np.float64)), INT32_MIN).astype(np.int64)
    steps = _finish(acc_scaled, params, {"product": product, "limited": limited})
    # The upper bound was applied before the zero point; afterwards only the type saturates. INT32_MIN plus a
    # negative zero point wraps to a large positive number and comes out as the type's maximum, above the bound.
    assert params.dtype.qmax is not None
    saturated = np.minimum(steps["with_zero_point"], params.dtype.qmax)
    steps["output"] = np.maximum(saturated, params.activation_min)
    return steps


_FORMS: dict[Form, Callable[[npt.NDArray[np.int64], RequantParams], dict[str, Array]]] = {
    "float64": _float64,
    "q31_up_up": _q31_two_steps(rounding_shift_right_half_up),
    "q31_up_away": _q31_two_steps(rounding_divide_by_pot),
    "q31_single": _q31_single,
    "float32": _float32,
    "q15": q15,
    "q31_single_wrap": q31_single_wrap,
    "q15_wrap": q15_wrap,
    "float32_clip": float32_clip,
    "float32_bias_fused": float32_bias,
    "float32_bias_reciprocal": float32_bias,
    "float32_bias_division": float32_bias,
    "float64_saturate": float64_saturate,
    "float32_saturate": float32_saturate,
    "q31_floor_up_wrap": q31_floor_up_wrap,
    "q31_floor_up_saturate": q31_floor_up_saturate,
    "q31_up_away_saturate": q31_up_away_saturate,
}
