"""The requantization forms of CMSIS-NN (single rounding), ONNX Runtime and PyTorch's fbgemm.

`requantize` calls them by a rule's form; the rules themselves stand in `other_rules.py`, their slow twins in
`exact_more.py`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..types import Array
from .fixedpoint import INT32_MIN, reduce_multiplier, wrap32
from .floats import sum32
from .requantize_types import RequantParams

__all__ = ["float32_bias", "float32_clip", "float_bias_steps", "q15_wrap", "q31_single_wrap", "with_float_bias"]

Int64Array = npt.NDArray[np.int64]


def q31_single_wrap(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """CMSIS-NN built with CMSIS_NN_USE_SINGLE_ROUNDING: half up, but one bit too much is kept in an int32 register.

    The product is cut to twice the result, which wraps where it leaves an int32; then one is added and the last bit
    dropped. So it is `q31_single` as long as the result is within 2^30.

    Source: ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h (arm_nn_requantize) @bfc54edb61e8.
    """
    product = acc * params.multiplier  # 31 + 31 bits: fits
    doubled = wrap32(product >> (30 - params.shift))
    acc_scaled = wrap32(doubled + 1) >> 1
    with_zero_point = wrap32(acc_scaled + params.output_zero_point)
    return {
        "product": product,
        "doubled": doubled,
        "acc_scaled": acc_scaled,
        "with_zero_point": with_zero_point,
        "output": np.clip(with_zero_point, params.activation_min, params.activation_max),
    }


def q15_wrap(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """CMSIS-NN with int16 activations: a 64-bit product, cut to twice the result in an int32, which wraps; half up.

    Source: ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h (arm_nn_requantize_s64) and
    Source/NNSupportFunctions/arm_nn_vec_mat_mult_t_s16.c @46fee474cf96.
    """
    product = acc * reduce_multiplier(params.multiplier)  # int64 arrays wrap
    # From a shift of 15 on the kernel's count is negative: such layers are refused.
    doubled = wrap32(product >> np.maximum(14 - params.shift, 0))
    acc_scaled = wrap32(doubled + 1) >> 1
    with_zero_point = wrap32(acc_scaled + params.output_zero_point)
    return {
        "product": product,
        "doubled": doubled,
        "acc_scaled": acc_scaled,
        "with_zero_point": with_zero_point,
        "output": np.clip(with_zero_point, params.activation_min, params.activation_max),
    }


def float32_clip(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """ONNX Runtime's QLinearMatMul and QGemm: both ends of the type's range are applied before rounding half even.

    A fused activation is a Clip after it, on the output's integers.

    Source: microsoft/onnxruntime onnxruntime/core/mlas/lib/quantize.cpp (MlasRequantizeOutputVector);
    onnxruntime/contrib_ops/cpu/quantization/quant_gemm.cc @0353d5f6d604.
    """
    assert params.dtype.qmin is not None
    assert params.dtype.qmax is not None
    zy = params.output_zero_point
    with np.errstate(over="ignore"):  # an infinite product is limited as any other
        product = acc.astype(np.float32) * params.effective_scale.astype(np.float32)
    limited = np.minimum(np.maximum(product, np.float32(params.dtype.qmin - zy)), np.float32(params.dtype.qmax - zy))
    acc_scaled = np.rint(limited).astype(np.int64)
    with_zero_point = acc_scaled + zy
    return {
        "product": product,
        "limited": limited,
        "acc_scaled": acc_scaled,
        "with_zero_point": with_zero_point,
        "output": np.clip(with_zero_point, params.activation_min, params.activation_max),
    }


def float_bias_steps(
    bias: Int64Array, input_scale: np.float32, weights_scale: npt.NDArray[np.float32], form: str
) -> npt.NDArray[np.float64]:
    """An int32 bias as fbgemm adds it to an accumulator: as a real value, divided by s_x*s_w again.

    Args:
        bias: the bias of the .tflite layer, `[out]`. The bias that PyTorch is given is float32(bias) * (s_x*s_w).
        input_scale: s_x.
        weights_scale: s_w, `[1]` or `[out]`.
        form: `float32_bias_division`: divided in float32 (per-channel kernels). `float32_bias_fused`: times
            float32(1 / (s_x*s_w)) (per-tensor ones), not rounded, since the sum with the accumulator is fused with it.
            `float32_bias_reciprocal`: the same, rounded to float32.

    Returns:
        float64 `[out]`, in accumulator steps; seldom exactly the bias.

    >>> scale = np.asarray([0.007], np.float32)
    >>> for form in ("float32_bias_division", "float32_bias_reciprocal", "float32_bias_fused"):
    ...     print(float(float_bias_steps(np.asarray([9]), np.float32(0.1), scale, form)[0]))
    9.0
    9.000000953674316
    9.000000567075176
    """
    with np.errstate(all="ignore"):  # of extreme scales: infinities and NaN, as the library has them
        scales = np.float32(input_scale) * weights_scale.astype(np.float32)
        real = bias.astype(np.float32) * scales
        if form == "float32_bias_division":
            return np.asarray(real / scales, np.float64)
        # Divided in float64 and then rounded, which is the same as in float32.
        reciprocal = np.float32(1) / scales
        if form == "float32_bias_reciprocal":
            return np.asarray(real * reciprocal, np.float64)
        return np.asarray(real.astype(np.float64) * reciprocal.astype(np.float64))


def with_float_bias(
    params: RequantParams, bias: Int64Array, input_scale: np.float32, weights_scale: npt.NDArray[np.float32]
) -> RequantParams:
    """Fold a layer's bias for the forms that add it themselves; other forms stay as they are."""
    if not params.rule.form.startswith("float32_bias"):
        return params
    steps = float_bias_steps(bias, input_scale, weights_scale, params.rule.form)
    return replace(params, bias=bias, float_bias=steps)


def float32_bias(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """PyTorch's quantized linear on fbgemm: the bias is added in float32, after the accumulator was converted.

    In the per-tensor kernel the source multiplies and adds; the compiler makes one fused multiply-add of it.
    The result is rounded half even to an int32, where 2^31 and more give INT32_MIN and so the lowest output.

    Source: pytorch/FBGEMM src/QuantUtilsAvx2.cc (requantizeOutputProcessingAvx2) @5d2ade5deb71.
    """
    zy = params.output_zero_point
    bias = np.int64(0) if params.bias is None else params.bias
    dot = wrap32(acc - bias)
    acc_float = dot.astype(np.float32)
    if params.float_bias is not None:
        acc_float = sum32(acc_float, params.float_bias)
    with np.errstate(over="ignore"):
        product = acc_float * params.effective_scale.astype(np.float32)
    fits = np.abs(product) < np.float32(2.0**31)
    acc_scaled = np.where(fits, np.rint(product), np.float32(INT32_MIN)).astype(np.int64)
    with_zero_point = acc_scaled + zy
    return {
        "acc_without_bias": dot,
        "acc_float": acc_float,
        "product": product,
        "acc_scaled": acc_scaled,
        "with_zero_point": with_zero_point,
        "output": np.clip(with_zero_point, params.activation_min, params.activation_max),
    }
