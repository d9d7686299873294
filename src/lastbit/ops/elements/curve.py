"""What LOGISTIC and TANH of quantized values share: tables, gemmlowp's polynomials, and interpolation."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...arith import fixed_functions as gemmlowp
from ...arith.fixedpoint import rounding_divide_by_pot
from ...arith.lookup import (
    SIGMOID_TABLE,
    lut_half_away,
    lut_half_even,
    sigmoid_between,
    sigmoid_expf,
    tanh_between,
)
from ...model.graph import Operator, Tensor
from ...model.types import Array
from ...rules.operators.fold import Constants
from ...rules.operators.recipes import Curve, CurveRecipe, InterpolatedCurve, Tabulated
from ..base import PreparedOperator, RecipeOperator, refuse
from .unary import Scale, int16_input, libm_refusal, per_tensor, prepared, q4_input

__all__ = ["prepare_curve"]

_FUNCTIONS = {"sigmoid_expf": sigmoid_expf, "sigmoid_exp": sigmoid_between, "tanhf": tanh_between}
_TABULATE = {"rounded_then_moved": lut_half_away, "moved_then_rounded": lut_half_even}


def prepare_curve(op: Operator, rule: CurveRecipe, source: Tensor, output: Tensor) -> PreparedOperator:
    """Prepare LOGISTIC or TANH.

    Args:
        op: the operator.
        rule: its rule.
        source: its input.
        output: its output.

    Returns:
        Steps of tables: `output`; of polynomials: `input_q4`, `logistic_q0` or `tanh_q0`, `output`; of int16:
        `input_scaled`, `output`.

    Raises:
        UnsupportedError: element types, or an output quantization, that the rule's runtime refuses; or a table entry
            that a C library's last bits decide.
    """
    if source.dtype.name != output.dtype.name:
        raise refuse(op, f"takes {source.dtype.name} and gives {output.dtype.name}; every runtime wants one type")
    wanted = ("int16",) if isinstance(rule, InterpolatedCurve) else ("int8", "uint8")
    if source.dtype.name not in wanted:
        raise refuse(op, f"the rule {rule.name} is not for {source.dtype.name}")
    given, to = per_tensor(op, source), per_tensor(op, output)
    match rule:
        case Tabulated():
            return _tabulated(op, rule, (source, output), given, to)
        case Curve():
            return _polynomial(op, rule, (source, output), given, to)
        case InterpolatedCurve():
            return _interpolated(op, rule, (source, output), given, to)
        case never:
            assert_never(never)


Tensors = tuple[Tensor, Tensor]


def _made(rule: CurveRecipe, given: Scale, to: Scale) -> RecipeOperator:
    return RecipeOperator(rule, Constants((given,), to, to.qmin, to.qmax))


def _tabulated(op: Operator, rule: Tabulated, tensors: Tensors, given: Scale, to: Scale) -> PreparedOperator:
    wanted = rule.output_scale
    if wanted is not None and float(to.scale) != 2.0**wanted:
        raise refuse(op, f"has the output scale {float(to.scale)!r}; the runtime wants exactly 1/{2**-wanted}")
    tabulate, function = _TABULATE[rule.finish], _FUNCTIONS[rule.function]
    table = tabulate(function, given.scale, given.zero_point, to.scale, to.zero_point, to.qmin, to.qmax)
    if table.unsafe:
        raise libm_refusal(op, "tanhf" if rule.function == "tanhf" else "exp", table.unsafe)
    return prepared(op, rule.name, *tensors, lambda x: {"output": table(x)}, recipe=_made(rule, given, to))


def _polynomial(op: Operator, rule: Curve, tensors: Tensors, given: Scale, to: Scale) -> PreparedOperator:
    if tensors[0].dtype.name != "int8":
        raise refuse(op, f"the rule {rule.name} is for int8, not {tensors[0].dtype.name}")
    if rule.wants_zero_point and to.zero_point != rule.zero_point:
        raise refuse(op, f"has the output zero point {to.zero_point}; the runtime wants {rule.zero_point}")
    to_q4 = q4_input(op, given)
    notes, scale = [], 2.0 ** (rule.output_bits - 31)
    if float(to.scale) != scale or to.zero_point != rule.zero_point:
        taken, found = f"the output scale to be 1/{round(1 / scale)}", repr(float(to.scale))
        if not rule.wants_zero_point:
            taken = f"the output to have scale 1/{round(1 / scale)} and zero point {rule.zero_point}"
            found += f" and {to.zero_point}"
        notes.append(f"this kernel takes {taken}; the file says {found}")
    function = gemmlowp.logistic if rule.function == "logistic" else gemmlowp.tanh

    def calculate(x: Array) -> dict[str, Array]:
        low, high, value = to_q4(x)
        curve = function(value, rule.integer_bits)
        result = np.clip(rounding_divide_by_pot(curve, rule.output_bits) + rule.zero_point, -128, 127)
        # The lower test comes first: with a radius of 0 the zero point itself saturates low.
        result = np.where(low, -128, np.where(high, 127, result))
        return {"input_q4": value, f"{rule.function}_q0": curve, "output": result}

    return prepared(op, rule.name, *tensors, calculate, notes=notes, recipe=_made(rule, given, to))


def _interpolated(op: Operator, rule: InterpolatedCurve, tensors: Tensors, given: Scale, to: Scale) -> PreparedOperator:
    scaled = int16_input(op, given, to, rule.powers_of_two, rule.other_kernel)
    step, extra = rule.step_bits, rule.extra_bits

    def calculate(x: Array) -> dict[str, Array]:
        value = scaled(x)
        magnitude = np.abs(value)
        index = magnitude >> step
        inside = np.minimum(index, 254)
        base = SIGMOID_TABLE[inside]
        line = (base << step) + (magnitude & ((1 << step) - 1)) * (SIGMOID_TABLE[inside + 1] - base)
        half = 1 << (extra - 1)
        if rule.function == "logistic":
            positive = np.where(index >= 255, 0x7FFF << 10, line)
            negative = (1 << 25) - positive
        else:
            positive = np.where(index >= 255, 0xFFFF << 8, line) - (1 << 23)
            negative = -positive
        result = np.where(value >= 0, positive + half, negative + half - 1) >> extra
        return {"input_scaled": value, "output": result}

    return prepared(op, rule.name, *tensors, calculate, recipe=_made(rule, given, to))
