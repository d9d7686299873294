"""QUANTIZE: real values to integers, and integers to integers of another scale."""

from __future__ import annotations

import numpy as np

from ...arith.fixed_functions import multiply_by_quantized_multiplier
from ...arith.fixedpoint import (
    low_bits,
    quantize_multiplier,
    round_half_away,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...arith.lookup import float_to_int_x86
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import Scale, flush_subnormal, operands, per_tensor, pick_rule, prepared, split_vector

__all__ = ["RULES", "prepare_quantize", "q8_out_of_range"]

RULES: dict[str, str] = {
    "float32_divide_half_away": "y = clamp(wrap32(int32(round_half_away(x / s)) + zp)), x / s in float32",
    "vector8_inverse_half_even": (
        "whole groups of 8 elements: y = clamp(wrap32(int32(round_half_even(x * (1/s))) + zp)), float32; "
        "the rest: y = clamp(wrap32(int32(round_half_away(x / s)) + zp)), float64"
    ),
    "float32_inverse_half_even_saturate": (
        "y = clamp(round_half_even(min(x * (1/s), 32767)) + zp), float32; subnormals are 0, NaN is large"
    ),
    "q31_half_up_half_away": "d = x - zx;  y = clamp(wrap32(round_half_away(SRDHM(d << L, q) / 2^R) + zy))",
    "q31_vector16_half_up": (
        "as q31_half_up_half_away, but the second rounding is half up for whole groups of 16 elements"
    ),
    "q8_half_up": "y = clamp((((x - zx) * round_half_even(256 * s_x/s_y) + 128) >> 8) + zy)",
}

_FROM_FLOAT = ("float32_divide_half_away", "vector8_inverse_half_even", "float32_inverse_half_even_saturate")
# XNNPACK's 8 fraction bits hold factors in this range; its delegate leaves others to the builtin kernel.
_Q8_LOWEST, _Q8_HIGHEST = np.float32(2.0**-8), np.float32(2.0**7)


def prepare_quantize(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare QUANTIZE.

    From float32: int8, uint8 or int16 out. From integers: the input has a scale too (requantizing).

    What special values become, with zero point 0 and int8 (shown on the interpreters): infinities, NaN and
    quotients outside int32 become INT32_MIN before the zero point is added, hence -128, even for +inf, except
    in `float32_inverse_half_even_saturate`, where NaN and +inf give 127 and only -inf gives -128. A negative
    zero point makes INT32_MIN wrap, and the same inputs give 127.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps of float input: `scaled`, `acc_scaled`, `with_zero_point`, `output`; of integer input:
        `centered`,
        `acc_scaled`, `with_zero_point`, `output`.

    Raises:
        UnsupportedError: more than one scale, an unusable scale, a pair of element types that does not go
            with the rule, or int16 to int16 with a zero point that is not 0 (LiteRT refuses it).

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/reference/quantize.h (the form that casts
    to int32) and reference/requantize.h; google/XNNPACK, src/f32-qs8-vcvt/avx512skx.c.in and
    src/microparams-init.c (xnn_init_qs8_cvt_scalar_params). The builtin rules were found by probing
    ai-edge-litert 2.3.0 on x86-64.
    """
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    to = per_tensor(op, output)
    if source.dtype.name == "float32":
        if rule not in _FROM_FLOAT:
            raise refuse(op, f"the rule {rule} requantizes integers, but {source.label} is float32")
        return _from_float(op, rule, source, output, to)
    if rule in _FROM_FLOAT:
        raise refuse(op, f"the rule {rule} quantizes float32, but {source.label} is {source.dtype.name}")
    return _requantize(op, rule, source, output, per_tensor(op, source), to)


def q8_out_of_range(given: Scale, to: Scale) -> str | None:
    """Why XNNPACK does not requantize between two scales; None where it does.

    It takes s_x/s_y from 2^-8 to 2^7 (both ends; the values next to them were tried on the interpreter).
    """
    ratio = _ratio(given, to)
    if _Q8_LOWEST <= ratio <= _Q8_HIGHEST:
        return None
    return f"XNNPACK declines to requantize by {float(ratio)!r}; it takes factors from 2^-8 to 2^7"


def _ratio(given: Scale, to: Scale) -> np.float32:
    with np.errstate(over="ignore", under="ignore"):
        return given.scale / to.scale


def _finish(acc_scaled: Array, to: Scale, steps: dict[str, Array]) -> dict[str, Array]:
    steps["acc_scaled"] = acc_scaled
    steps["with_zero_point"] = low_bits(acc_scaled + to.zero_point, 32)
    steps["output"] = np.clip(steps["with_zero_point"], to.qmin, to.qmax)
    return steps


def _from_float(op: Operator, rule: str, source: Tensor, output: Tensor, to: Scale) -> PreparedOperator:
    with np.errstate(under="ignore"):
        inverse = np.float32(1) / to.scale

    def divide(x: Array) -> dict[str, Array]:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaled = x / to.scale
            return _finish(float_to_int_x86(round_half_away(scaled)), to, {"scaled": scaled})

    def vector8(x: Array) -> dict[str, Array]:
        inside = split_vector(x, source, 8)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaled = np.where(inside, (x * inverse).astype(np.float64), x.astype(np.float64) / to.scale)
            rounded = np.where(inside, np.rint(scaled), round_half_away(scaled))
            return _finish(float_to_int_x86(rounded), to, {"scaled": scaled})

    def saturate(x: Array) -> dict[str, Array]:
        limit = np.float32(32767)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaled = flush_subnormal(x) * flush_subnormal(np.asarray(inverse))
            # minps returns its second operand, the limit, where the first is NaN.
            limited = np.where(scaled < limit, scaled, limit)
        # The int32 is packed to int16 with saturation before the zero point is added.
        rounded = np.maximum(np.rint(limited), -32768).astype(np.int64)
        return _finish(rounded, to, {"scaled": scaled})

    if rule == "float32_inverse_half_even_saturate" and output.dtype.bits != 8:
        raise refuse(op, f"XNNPACK quantizes to 8 bits only, not to {output.dtype.name}")
    steps = dict(zip(_FROM_FLOAT, (divide, vector8, saturate), strict=True))[rule]
    return prepared(op, rule, source, output, steps)


def _requantize(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    if source.dtype.name == output.dtype.name == "int16" and (given.zero_point or to.zero_point):
        raise refuse(op, "int16 to int16 is covered with both zero points 0; LiteRT refuses others")
    if rule != "q31_half_up_half_away" and (source.dtype.bits, output.dtype.bits) != (8, 8):
        raise refuse(op, f"the rule {rule} is for 8 bits, not {source.dtype.name} to {output.dtype.name}")
    ratio = _ratio(given, to)
    beyond = q8_out_of_range(given, to) if rule == "q8_half_up" else None
    if beyond is not None:
        raise refuse(op, beyond)
    factor = np.float64(given.scale) / np.float64(to.scale)
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    q8 = int(np.rint(np.float32(256) * ratio)) if rule == "q8_half_up" else 0
    if shift > 30:
        raise refuse(op, f"s_x/s_y is {float(factor)!r}; a factor of 2^30 and more shifts an int32 out of itself")

    def half_away(x: Array) -> dict[str, Array]:
        centered = low_bits(x.astype(np.int64) - given.zero_point, 32)
        return _finish(multiply_by_quantized_multiplier(centered, multiplier, shift), to, {"centered": centered})

    def vector16(x: Array) -> dict[str, Array]:
        centered = x.astype(np.int64) - given.zero_point
        shifted = low_bits(centered << max(shift, 0), 32)
        high = saturating_rounding_doubling_high_mul(shifted, multiplier)
        half_up = rounding_shift_right_half_up(high, max(-shift, 0))
        rest = multiply_by_quantized_multiplier(centered, multiplier, shift)
        return _finish(np.where(split_vector(x, source, 16), half_up, rest), to, {"centered": centered})

    def q8_half_up(x: Array) -> dict[str, Array]:
        centered = x.astype(np.int64) - given.zero_point
        return _finish(rounding_shift_right_half_up(centered * q8, 8), to, {"centered": centered})

    steps = {"q31_half_up_half_away": half_away, "q31_vector16_half_up": vector16, "q8_half_up": q8_half_up}[rule]
    return prepared(op, rule, source, output, steps)
