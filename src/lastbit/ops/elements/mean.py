"""MEAN and SUM over axes, of quantized and float32 arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...arith.fixed_functions import multiply_by_quantized_multiplier
from ...arith.fixedpoint import (
    low_bits,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...model.errors import InputError, Refusal
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..moves.copies import check_axis, integers
from .unary import Scale, per_tensor, pick_rule

__all__ = ["MEAN_RULES", "SUM_RULES", "prepare_mean"]

_Q31 = "y = clamp(zy + round_half_away(SRDHM(sum(x - zx) << L, q) / 2^R)), q from s_x/s_y in float64"

_RULES: dict[str, str] = {
    "q31_folded_count": _Q31 + ", for MEAN times 2^k / count, rounded down, k bits the count's",
    "float32_bias_half_even": (
        "y = saturate(round_half_even(float32(sum(x)) * m + (zy - count * zx * m))), m = s_x/s_y (for MEAN times "
        "1/count), all float32"
    ),
    "float32_sum": "y = clamp(zy + round_half_away(sum(x) * m - zx * m * count)), m = s_x/s_y, float32",
    "q31_height_width": (
        "over height and width: y = clamp(bias + SRDHM(sum(x) << L, q) / 2^R), q from s_x/(count s_y) and bias = zy - "
        "round_half_away(zx s_x/s_y) in float32; else as q31_folded_count"
    ),
}


_FLOAT_RULES = {
    "float32_in_order": "y = sum (for MEAN by count), added in the order in which the elements lie, all float32",
}

MEAN_RULES = {name: text for name, text in _RULES.items() if name != "float32_sum"} | _FLOAT_RULES
SUM_RULES = {name: text for name, text in _RULES.items() if name != "q31_height_width"} | _FLOAT_RULES


def prepare_mean(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MEAN or SUM of int8, uint8, int16 or float32 over constant axes.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `MEAN_RULES` or `SUM_RULES`.

    Returns:
        Steps: `sum` (of the centered input), `acc_scaled` (with a bias: `product`), `with_zero_point`, `output`; of
        float32: `sum`, `output`.

    Raises:
        UnsupportedError: axes that are not constant, types or quantization outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/reduce.cc @59dec9b021d3, tflite/kernels/internal/optimized/
    integer_ops/mean.h @7d88950ea445, tflite/kernels/internal/reference/reduce.h; google/XNNPACK, src/qs8-rsum,
    src/qs8-rdsum.
    """
    pick_rule(op, rule, MEAN_RULES if op.name == "MEAN" else SUM_RULES)
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    floating = rule.startswith("float32_in_order")
    if floating and not (x.dtype.name == output.dtype.name == "float32" and x.data is None):
        raise refuse(op, f"the rule {rule} is for computed float32, not {x.dtype.name} to {output.dtype.name}")
    if floating:
        return _float32(model, op, rule)
    given, to = per_tensor(op, x), per_tensor(op, output)
    if x.dtype.name != output.dtype.name or x.dtype.name not in ("int8", "uint8", "int16") or x.data is not None:
        raise refuse(op, f"{x.dtype.name} to {output.dtype.name} is not covered; covered: computed int8, uint8, int16")
    axes = _axes(model, op)
    keep = bool(op.options.get("keep_dims", False))
    count = math.prod(x.shape[axis] for axis in axes)
    mean = op.name == "MEAN"
    if rule in ("float32_sum", "q31_height_width", "float32_bias_half_even"):
        reach = 256.0 * count * float(given.scale) / float(to.scale)
        if reach >= 2.0**31:
            raise refuse(
                op,
                f"not exact: with s_x/s_y = {float(given.scale) / float(to.scale)!r} an int32 overflows",
                Refusal.NOT_EXACT,
            )
    rank = len(x.shape)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if values[0].ndim != rank or any(values[0].shape[axis] != x.shape[axis] for axis in axes):
            raise InputError(f"{op.label}: found an input of shape {list(values[0].shape)}, wanted {list(x.shape)}")
        total = values[0].astype(np.int64).sum(axis=axes, keepdims=keep)
        steps: dict[str, Array] = {"sum": total - count * given.zero_point}
        if rule == "q31_height_width" and rank == 4 and axes == (1, 2) and keep:
            steps |= _height_width(total, given, to, count)
        elif rule == "float32_bias_half_even":
            factor = given.scale / to.scale
            factor = factor * (np.float32(1) / np.float32(count)) if mean else factor
            bias = np.float32(to.zero_point) - np.float32(count * given.zero_point) * factor
            steps["product"] = total.astype(np.float32) * factor
            steps["with_zero_point"] = np.rint((steps["product"] + bias).astype(np.float64)).astype(np.int64)
        elif rule == "float32_sum":
            factor = given.scale / to.scale
            bias = np.float32(-given.zero_point) * factor * np.float32(count)
            steps["acc_scaled"] = round_half_away(total.astype(np.float32) * factor + bias).astype(np.int64)
        else:
            steps["acc_scaled"] = _folded(steps["sum"], given, to, count if mean else 0)
        if "with_zero_point" not in steps:
            steps["with_zero_point"] = low_bits(steps["acc_scaled"] + to.zero_point, 32)
        steps["output"] = np.clip(steps["with_zero_point"], to.qmin, to.qmax).astype(output.dtype.numpy)
        return steps

    return PreparedOperator(operator=op, rule=rule, inputs=(x.index,), evaluate=evaluate)


def _axes(model: Model, op: Operator) -> tuple[int, ...]:
    rank = len(required_operand(model, op, 0, "input").shape)
    axes = tuple(sorted({check_axis(op, int(axis), rank) for axis in integers(model, op, 1, "axes")}))
    if not axes:
        raise refuse(op, "reduces no axis; LastBit covers one or more")
    return axes


def _float32(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Sums in the order in which the elements lie."""
    x, axes, keep = required_operand(model, op, 0, "input"), _axes(model, op), bool(op.options.get("keep_dims", False))
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    count = np.float32(math.prod(x.shape[axis] for axis in axes))

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        given = values[0]
        if given.ndim != len(x.shape) or any(given.shape[axis] != x.shape[axis] for axis in axes):
            raise InputError(f"{op.label}: found an input of shape {list(given.shape)}, wanted {list(x.shape)}")
        rows = given.transpose(*rest, *axes).reshape([given.shape[axis] for axis in rest] + [-1])
        total: Array = np.zeros(rows.shape[:-1], np.float32)
        with np.errstate(all="ignore"):
            for k in range(rows.shape[-1]):
                total = total + rows[..., k]
            mean = total if op.name == "SUM" else total / count
        shape = [1 if axis in axes else given.shape[axis] for axis in range(given.ndim)] if keep else mean.shape
        return {"sum": total.reshape(shape), "output": mean.reshape(shape)}

    return PreparedOperator(operator=op, rule=rule, inputs=(x.index,), evaluate=evaluate)


def _folded(total: Array, given: Scale, to: Scale, count: int) -> Array:
    """The scaled sum, or with a count the mean, which is put into the multiplier."""
    multiplier, shift = (int(part) for part in quantize_multiplier(float(given.scale) / float(to.scale)))
    if count:
        bits = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // count, shift - bits
    return multiply_by_quantized_multiplier(total, multiplier, shift)


def _height_width(total: Array, given: Scale, to: Scale, count: int) -> dict[str, Array]:
    """The mean over height and width as LiteRT's fast kernel takes it: the zero point is in a bias of its own."""
    offset = np.float32(given.zero_point) * given.scale / to.scale
    bias = to.zero_point - int(offset + np.float32(0.5 if offset > 0 else -0.5))
    factor = given.scale / (np.float32(count) * to.scale)
    multiplier, shift = (int(part) for part in quantize_multiplier(float(factor)))
    high = saturating_rounding_doubling_high_mul(low_bits(total << max(shift, 0), 32), multiplier)
    right = max(-shift, 0)
    vector = np.arange(total.shape[-1]) < total.shape[-1] - total.shape[-1] % 16
    acc = np.where(vector, rounding_shift_right_half_up(high, right), rounding_divide_by_pot(high, right))
    return {"acc_scaled": acc, "with_zero_point": acc + bias}
