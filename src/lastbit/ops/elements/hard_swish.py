"""HARD_SWISH: x relu6(x + 3) / 6."""

from __future__ import annotations

import numpy as np

from ...arith.fixedpoint import quantize_multiplier, rounding_divide_by_pot
from ...arith.floats import fma32
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import flush_subnormal, operands, per_tensor, pick_rule, prepared, split_vector

__all__ = ["RULES", "prepare_hard_swish"]

RULES: dict[str, str] = {
    "fixed_point_int16": (
        "16-bit fixed point: h = (x - zx) << 7; r = relu6-like factor of h in Q15; y = clamp(zy + round_half_away("
        "trunc(r * SRDHM16(h, q) / 2^15) / 2^R))"
    ),
    "float32_division": "y = (x * r) / 6 in float32, r = min(max(x + 3, 0), 6)",
    "float32_vector4": "whole groups of 4: y = (x * c) * r, the rest: y = (x * r) * c in float32, c = float32(1/6)",
    "float32_fused_flush": "y = x * min(max(fma(x, c, 1/2), 0), 1) in float32; subnormals become zero",
}


def prepare_hard_swish(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare HARD_SWISH of int8, uint8 or float32.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `scaled_input`, `factor`, `acc_scaled`, `output`; of float32: `factor`, `output`.

    Raises:
        UnsupportedError: types or scales outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/activations.cc (HardSwishPrepare), tflite/kernels/internal/reference/
    hard_swish.h.
    """
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    if rule.startswith("float32"):
        return _float32(op, rule, source, output)
    given, to = per_tensor(op, source), per_tensor(op, output)
    if source.dtype.name != output.dtype.name or source.dtype.name not in ("int8", "uint8"):
        raise refuse(op, f"{source.dtype.name} to {output.dtype.name} is not covered; covered: int8, uint8")
    fine = np.float32(1 / 128) * given.scale
    output_multiplier, output_shift = _int16_multiplier(fine / to.scale)
    multiplier, shift = _int16_multiplier(fine / np.float32(np.float32(3) / np.float32(32768)))
    if output_shift > 0:
        raise refuse(op, "s_x/s_y is 128 or more; LiteRT aborts on it")

    def steps(x: Array) -> dict[str, Array]:
        h = (x.astype(np.int64) - given.zero_point) << 7
        r = h
        if shift > 0:
            r = _saturate(r << (shift - 1))
        r = _high_mul(r, multiplier)
        if shift > 0:
            r = _saturate(r << 1)
        elif shift < 0:
            r = rounding_divide_by_pot(r, -shift)
        factor = (r + (1 << 15)) >> 1
        scaled = _high_mul(h, output_multiplier)
        product = factor * scaled
        preshift = np.sign(product) * (np.abs(product) >> 15)  # a division that truncates
        acc_scaled = rounding_divide_by_pot(preshift, -output_shift)
        return {
            "scaled_input": scaled,
            "factor": factor,
            "acc_scaled": acc_scaled,
            "output": np.clip(acc_scaled + to.zero_point, to.qmin, to.qmax),
        }

    return prepared(op, rule, source, output, steps)


def _int16_multiplier(factor: np.float32) -> tuple[int, int]:
    multiplier, shift = (int(part) for part in quantize_multiplier(float(factor)))
    return min((multiplier + (1 << 15)) >> 16, 2**15 - 1), shift


def _saturate(value: Array) -> Array:
    return np.clip(value, -(2**15), 2**15 - 1)


def _high_mul(a: Array, b: int) -> Array:
    """The high half of 2ab of 16-bit values, rounded half up."""
    high: Array = np.minimum((a * b + (1 << 14)) >> 15, 2**15 - 1)
    return high


def _float32(op: Operator, rule: str, source: Tensor, output: Tensor) -> PreparedOperator:
    if not source.dtype.name == output.dtype.name == "float32":
        raise refuse(op, f"the rule {rule} is for float32, not {source.dtype.name} to {output.dtype.name}")
    zero, half, one, three, six = (np.float32(value) for value in (0, 0.5, 1, 3, 6))
    sixth = one / six

    def steps(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            if rule == "float32_fused_flush":
                x = flush_subnormal(x)
                factor = np.minimum(np.maximum(fma32(x, sixth, half), zero), one)
                return {"factor": factor, "output": flush_subnormal(x * factor)}
            factor = np.minimum(np.maximum(x + three, zero), six)
            if rule == "float32_division":
                return {"factor": factor, "output": x * factor / six}
            vector = split_vector(x, source, 4)
            return {"factor": factor, "output": np.where(vector, (x * sixth) * factor, (x * factor) * sixth)}

    return prepared(op, rule, source, output, steps)
