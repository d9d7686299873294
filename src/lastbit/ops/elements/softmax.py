"""SOFTMAX of quantized values, along the last axis."""

from __future__ import annotations

import functools
import math
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixed_functions import (
    exp_on_negative_values,
    input_radius,
    multiply_by_quantized_multiplier,
    reciprocal,
)
from ...arith.fixedpoint import (
    INT32_MAX,
    low_bits,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    rounding_shift_right_half_up,
    saturating_rounding_doubling_high_mul,
)
from ...arith.lookup import expf, interpolate, interpolation_table, sum_in_order
from ...model.errors import InputError, Refusal
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.fold import Constants
from ...rules.operators.recipes import (
    SOFTMAX,
    IntegerTableSoftmax,
    InterpolatedSoftmax,
    PolynomialSoftmax,
    TableSoftmax,
    recipe_equations,
)
from ..base import PreparedOperator, RecipeOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .unary import Scale, operands, per_tensor, pick_rule, prepared

__all__ = ["ENTRIES", "RULES", "interpolated_reciprocals", "prepare_softmax"]

RULES: dict[str, str] = recipe_equations(SOFTMAX)


def prepare_softmax(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SOFTMAX along the last axis.

    int8 to int8 wants the output scale 1/256 (within 0.1 %) and zero point -128, int16 to int16 1/32768 and
    0: the runtimes refuse anything else. The fixed-point and the int16 kernels ignore the output's
    quantization beyond that, and the float32 kernel ignores a uint8 output's zero point.

    Args:
        model: the model.
        op: the operator; its option `beta` is 0 where the file says none.
        rule: a key of `RULES`.

    Returns:
        Steps of `gemmlowp_fixed_point`: `diff`, `exp`, `sum_of_exps`, `reciprocal`, `output`; of
        `lut_float32_sum`: `exp`, `sum_of_exps`, `scaled`, `output`; of `lut_uint16_sum`: `exp`, `sum_of_exps`,
        `acc_scaled`, `output`; of the int16 rules: `exp`, `sum_of_exps`, `reciprocal`, `output`.
        The evaluation raises InputError for a row on which the real kernel aborts the process.

    Raises:
        UnsupportedError: element types or quantization that do not go with the rule.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/reference/softmax.h (copy in
    google-ai-edge/LiteRT, tflite/kernels/internal/reference/softmax.h, commit a53d4467),
    .../optimized/optimized_ops.h (Softmax, SoftmaxInt8LUT, PopulateSoftmaxLookupTable), .../quantization_util.cc
    (PreprocessSoftmaxScaling); tensorflow/tflite-micro, tensorflow/lite/micro/kernels/softmax_common.cc,
    commit 0982c6f4.
    """
    chosen = pick_rule(op, rule, SOFTMAX)
    source, output = operands(model, op)
    pair = source.dtype.name, output.dtype.name
    if pair not in chosen.types:
        raise refuse(op, f"the rule {rule} is not for {pair[0]} to {pair[1]}")
    if len(source.shape) < 1:
        raise refuse(op, "wants at least one axis")
    given, to = per_tensor(op, source), per_tensor(op, output)
    _check_output(op, pair, to, strict=isinstance(chosen, PolynomialSoftmax) and chosen.exact_output_scale)
    option = op.options.get("beta", 0.0)
    beta = np.float32(option if isinstance(option, int | float) else 0.0)
    if not (np.isfinite(beta) and beta >= 0):
        raise refuse(op, f"beta is {float(beta)!r}; LastBit covers finite values from 0")
    made = RecipeOperator(chosen, Constants((given,), to, to.qmin, to.qmax), beta)
    match chosen:
        case PolynomialSoftmax():
            return _fixed_point(op, chosen, source, output, made)
        case TableSoftmax():
            return _lut(op, chosen, source, output, made)
        case IntegerTableSoftmax():
            return _integer_lut(op, chosen, source, output, made)
        case InterpolatedSoftmax():
            return _interpolated(op, chosen, source, output, made)
        case never:
            assert_never(never)


def _check_output(op: Operator, pair: tuple[str, str], to: Scale, strict: bool) -> None:
    wanted = {("int8", "int8"): (1 / 256, -128), ("int16", "int16"): (1 / 32768, 0)}
    if strict:
        wanted["int8", "int16"] = (1 / 65536, -32768)
    if pair not in wanted:
        return
    scale, zero_point = wanted[pair]
    tolerance = 0.0 if strict and pair == ("int8", "int8") else 0.001 * scale
    if to.zero_point != zero_point or abs(float(to.scale) - scale) > tolerance:
        raise refuse(
            op,
            f"has the output scale {float(to.scale)!r} and zero point {to.zero_point}; the runtimes want "
            f"{scale!r} and {zero_point}",
        )


def _numbers(made: RecipeOperator) -> tuple[Scale, Scale, np.float32]:
    """The quantization of input and output, and beta."""
    assert made.constants.output is not None
    assert made.beta is not None
    return made.constants.inputs[0], made.constants.output, made.beta


def _fixed_point(
    op: Operator, rule: PolynomialSoftmax, source: Tensor, output: Tensor, made: RecipeOperator
) -> PreparedOperator:
    given, to, beta = _numbers(made)
    factor = min(float(beta) * float(given.scale) * 2.0 ** (31 - rule.diff_bits), 2.0**31 - 1.0)
    if factor <= 1.0:
        raise refuse(op, f"beta * scale is {float(beta) * float(given.scale)!r}; at 2^-26 and below the kernel aborts")
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    diff_min = -input_radius(rule.diff_bits, shift)
    bits = output.dtype.bits

    def calculate(x: Array) -> dict[str, Array]:
        value = x.astype(np.int64)
        diff = value - value.max(axis=-1, keepdims=True)
        counted = diff >= diff_min
        scaled = saturating_rounding_doubling_high_mul(np.where(counted, diff, 0) << shift, multiplier)
        exp = np.where(counted, exp_on_negative_values(scaled, rule.diff_bits), 0)
        total = rounding_divide_by_pot(exp, rule.sum_bits).sum(axis=-1, keepdims=True)
        scale, bits_over_unit = reciprocal(np.minimum(total, INT32_MAX), rule.sum_bits)
        exponent = bits_over_unit + 31 - bits
        if np.any(exponent > 31) or np.any(total > INT32_MAX):
            raise InputError(
                f"{op.label}: in one row the exponentials sum to {int(total.max()) / 2**19:g}; the kernel "
                f"aborts the process from {2 ** (bits + 1)} on. Use a shorter row."
            )
        rounded = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(scale, exp), exponent)
        result = np.where(counted, np.clip(rounded + to.qmin, to.qmin, to.qmax), to.qmin)
        return {"diff": diff, "exp": exp, "sum_of_exps": total, "reciprocal": scale, "output": result}

    return prepared(op, rule.name, source, output, calculate, recipe=made)


def _lut(op: Operator, rule: TableSoftmax, source: Tensor, output: Tensor, made: RecipeOperator) -> PreparedOperator:
    given, to, beta = _numbers(made)
    with np.errstate(over="ignore"):
        step = -given.scale * beta
        # Entry k is exp of k steps below the row's maximum.
        table = expf(step * np.arange(256, dtype=np.float32))

    def calculate(x: Array) -> dict[str, Array]:
        value = x.astype(np.int64)
        exp = table[value.max(axis=-1, keepdims=True) - value]
        total = sum_in_order(exp)
        scaled = exp * (np.float32(1) / (total * to.scale))
        if output.dtype.name == "uint8":
            # Half up, by adding one half in float32; the zero point is not added at all.
            rounded = np.trunc(scaled + np.float32(0.5)).astype(np.int64)
        else:
            rounded = round_half_away(scaled).astype(np.int64) + to.zero_point
        return {
            "exp": exp,
            "sum_of_exps": total,
            "scaled": scaled,
            "output": np.clip(rounded, to.qmin, to.qmax),
        }

    notes = []
    if output.dtype.name == "uint8" and to.zero_point:
        notes.append(f"this kernel ignores the output's zero point {to.zero_point}")
    return prepared(op, rule.name, source, output, calculate, notes=notes, recipe=made)


def _integer_lut(
    op: Operator, rule: IntegerTableSoftmax, source: Tensor, output: Tensor, made: RecipeOperator
) -> PreparedOperator:
    given, to, beta = _numbers(made)
    with np.errstate(over="ignore"):
        exact = expf(-(given.scale * beta) * np.arange(256, dtype=np.float32)) * np.float32(65535)
    table = np.minimum(np.trunc(exact.astype(np.float64) + 0.5).astype(np.int64), 65535)

    def calculate(x: Array) -> dict[str, Array]:
        value = x.astype(np.int64)
        exp = table[value.max(axis=-1, keepdims=True) - value]
        total = exp.sum(axis=-1, keepdims=True)
        inverse = np.float32(1) / (total.astype(np.float32) * to.scale)
        multiplier, shift = quantize_multiplier(inverse.astype(np.float64))
        high = saturating_rounding_doubling_high_mul(low_bits(exp << np.maximum(shift, 0), 32), multiplier)
        scaled = rounding_divide_by_pot(high, np.maximum(-shift, 0))
        result = np.clip(scaled + to.zero_point, to.qmin, to.qmax)
        return {"exp": exp, "sum_of_exps": total, "acc_scaled": scaled, "output": result}

    return prepared(op, rule.name, source, output, calculate, recipe=made)


def _precision(rule: InterpolatedSoftmax) -> type[np.floating]:
    return np.float64 if rule.table_bits == 64 else np.float32


def _reciprocal_table(rule: InterpolatedSoftmax) -> npt.NDArray[np.int64]:
    return interpolation_table(lambda v: 1.0 / (1.0 + v), *rule.reciprocal_range, _precision(rule))


@functools.cache
def interpolated_reciprocals(rule: InterpolatedSoftmax) -> npt.NDArray[np.int64]:
    """1 / (1 + x) as an int16 rule interpolates it, for every int16 from the smallest on: int64 `[65536]`."""
    return interpolate(np.arange(-32768, 32768), _reciprocal_table(rule))


def _interpolated(
    op: Operator, rule: InterpolatedSoftmax, source: Tensor, output: Tensor, made: RecipeOperator
) -> PreparedOperator:
    given, _, beta = _numbers(made)
    if given.zero_point:
        raise refuse(op, f"has the int16 input zero point {given.zero_point}; the runtimes want 0")
    exp_table = interpolation_table(math.exp, *rule.exp_range, _precision(rule))
    reciprocal_table = _reciprocal_table(rule)
    if rule.factor_bits == 32:
        factor = np.float64(given.scale * beta) / (10.0 / 65535.0)
    else:
        factor = np.float64(given.scale) * np.float64(beta) / (10.0 / 65535.0)
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    if shift > 14:
        raise refuse(
            op,
            f"not exact: with beta * scale = {float(beta) * float(given.scale)!r} a step overflows",
            Refusal.NOT_EXACT,
        )

    def calculate(x: Array) -> dict[str, Array]:
        value = x.astype(np.int64)
        diff = value - value.max(axis=-1, keepdims=True)
        scaled = multiply_by_quantized_multiplier(diff, multiplier, shift)
        exp = interpolate(np.clip(scaled + 32767, -32768, 32767), exp_table)
        total = exp.sum(axis=-1, keepdims=True)
        leading_zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        shifted = ((total << (leading_zeros - 1)) + (1 << 13)) >> 14
        centered = np.clip(shifted - (1 << 15) - (1 << 16), -32768, 32767)
        scale = interpolate(centered, reciprocal_table)
        result = np.clip(rounding_shift_right_half_up(exp * scale, 31 - leading_zeros), 0, 32767)
        return {"exp": exp, "sum_of_exps": total, "reciprocal": scale, "output": result}

    return prepared(op, rule.name, source, output, calculate, recipe=made)


ENTRIES = {
    "SOFTMAX": OperatorEntry(prepare_softmax, RULES, OperatorGroup.ACTIVATIONS),
}
