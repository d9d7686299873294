"""LEAKY_RELU: the negative half of an array scaled by alpha."""

from __future__ import annotations

import numpy as np

from ...arith.fixed_functions import multiply_by_quantized_multiplier
from ...arith.fixedpoint import low_bits, quantize_multiplier
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import flush_subnormal, operands, per_tensor, pick_rule, prepared

__all__ = ["RULES", "prepare_leaky_relu"]

_Q31 = (
    "y = clamp(zy + round_half_away(SRDHM((x - zx) << L, q) / 2^R)), q from s_x/s_y; below zx from |alpha| s_x/s_y, "
    "and the rounded product negated where alpha is negative; in "
)

RULES: dict[str, str] = {
    "q31_half_up_half_away/float32": _Q31 + "float32",
    "q31_half_up_half_away/float64": _Q31 + "float64",
    "q31_half_up_half_away/float32_signed": _Q31 + "float32; q has the sign of alpha",
    "q8_half_up": "y = clamp(zy + (((x - zx) m + 2^7) >> 8)), m = round_half_even(256 s_x/s_y), or of alpha s_x/s_y",
    "float32": "y = x above 0, else x * alpha in float32",
    "float32_by_sign_flush": "y = x, or x * alpha in float32 where the sign bit is set; subnormals of that become zero",
    "float32_below_zero_flush": "the same where x < 0 and x is not subnormal",
}


def prepare_leaky_relu(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare LEAKY_RELU of int8, uint8, int16 or float32.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `centered`, `acc_scaled`, `with_zero_point`, `output`; of float32: `output`.

    Raises:
        UnsupportedError: types that differ, or scales outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/activations.cc (LeakyReluPrepare), tflite/kernels/internal/reference/
    leaky_relu.h; google/XNNPACK, src/qs8-vlrelu; src/f32-vlrelu/sse.c.in and
    src/f32-vlrelu/avx512f.c.in @641e2bd133d1, whose comparison takes subnormals for zero.
    """
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    if rule.startswith("float32"):
        return _float32(op, rule, source, output)
    given, to = per_tensor(op, source), per_tensor(op, output)
    if source.dtype.name != output.dtype.name or source.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{source.dtype.name} to {output.dtype.name} is not covered; covered: int8, uint8, int16")
    alpha = np.float32(op.options.get("alpha", 0.0))  # type: ignore[arg-type]
    if not np.isfinite(alpha):
        raise refuse(op, f"alpha is {float(alpha)!r}")
    with np.errstate(over="ignore", under="ignore"):
        if rule.endswith("float64"):
            factors = [float(given.scale) / float(to.scale), float(given.scale) * float(alpha) / float(to.scale)]
        elif rule == "q8_half_up":
            ratio = given.scale / to.scale
            factors = [float(ratio), float(ratio * alpha)]
        else:
            factors = [float(given.scale / to.scale), float(given.scale * alpha / to.scale)]
    if not all(abs(factor) < 2.0**14 for factor in factors):
        raise refuse(op, f"s_x/s_y is {factors[0]!r}; covered: below 2^14, where no int32 overflows")

    def scaled(centered: Array, factor: float) -> Array:
        if rule == "q8_half_up":
            multiplier = int(np.rint(np.float32(256) * np.float32(factor)))
            return (centered * multiplier + 0x80) >> 8
        multiplier, shift = (int(part) for part in quantize_multiplier(abs(factor)))
        if factor >= 0 or rule.endswith("signed"):
            return multiply_by_quantized_multiplier(centered, multiplier if factor >= 0 else -multiplier, shift)
        return -multiply_by_quantized_multiplier(centered, multiplier, shift)

    def steps(x: Array) -> dict[str, Array]:
        centered = x.astype(np.int64) - given.zero_point
        acc_scaled = np.where(centered >= 0, scaled(centered, factors[0]), scaled(centered, factors[1]))
        moved = low_bits(acc_scaled + to.zero_point, 32)
        return {
            "centered": centered,
            "acc_scaled": acc_scaled,
            "with_zero_point": moved,
            "output": np.clip(moved, to.qmin, to.qmax),
        }

    return prepared(op, rule, source, output, steps)


def _float32(op: Operator, rule: str, source: Tensor, output: Tensor) -> PreparedOperator:
    if not source.dtype.name == output.dtype.name == "float32":
        raise refuse(op, f"the rule {rule} is for float32, not {source.dtype.name} to {output.dtype.name}")
    alpha = np.float32(op.options.get("alpha", 0.0))  # type: ignore[arg-type]

    def plain(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            return {"output": np.where(x > 0, x, x * alpha)}

    def by_sign(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            return {"output": np.where(np.signbit(x), flush_subnormal(flush_subnormal(x) * alpha), x)}

    def below_zero(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            return {"output": np.where(flush_subnormal(x) < 0, flush_subnormal(x * alpha), x)}

    steps = {"float32": plain, "float32_by_sign_flush": by_sign, "float32_below_zero_flush": below_zero}
    return prepared(op, rule, source, output, steps[rule])
