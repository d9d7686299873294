"""MUL of quantized and float32 arrays."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ...rules.operators.floats import ARITHMETIC, FloatArithmetic, float_equations
from ...rules.operators.fold import Constants, bounds_of, factor_value, leaves
from ...rules.operators.forms import FloatScaled, Rescaled
from ...rules.operators.table import MUL
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .binary import binary, staged_binary
from .floats import prepare_float_binary
from .staged import check_types
from .unary import pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_mul"]

RULES: dict[str, str] = {**equations(MUL), **float_equations(ARITHMETIC)}


def prepare_mul(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MUL of int8, uint8, int16 or float32, with broadcasting.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `centered_1`, `centered_2`, `product`, `acc_scaled`, `with_zero_point`, `output`; of float32: `result`,
        `output`.

    Raises:
        UnsupportedError: operands or options outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/mul.cc, tflite/kernels/internal/reference/integer_ops/mul.h
    @34ec5badbbbf; google/XNNPACK, src/microparams-init.c (xnn_init_qs8_mul_minmax_scalar_params), src/qs8-vmul.
    """
    chosen = pick_rule(op, rule, {**MUL, **ARITHMETIC})
    if isinstance(chosen, FloatArithmetic):
        return prepare_float_binary(model, op, chosen, np.multiply)
    node = binary(model, op, bounds_of(chosen))
    if node.output.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{node.output.dtype.name} is not covered; covered: int8, uint8, int16")
    (one, two), to = node.given, node.to
    if node.output.dtype.name == "int16" and (one.zero_point or two.zero_point or to.zero_point):
        raise refuse(op, "int16 with a zero point that is not 0 is not covered")
    check_types(op, chosen, node.output.dtype.name)
    constants = Constants(node.given, node.to)
    scaling = (stage for leaf in leaves(chosen) for stage in leaf.stages if isinstance(stage, Rescaled | FloatScaled))
    factor = float(factor_value(next(scaling).factor, constants))
    if not 0 < factor < 2.0**14:
        raise refuse(op, f"s_1*s_2/s_y is {factor!r}; covered: above 0 and below 2^14, where no int32 overflows")
    return staged_binary(node, chosen)


ENTRIES = {
    "MUL": OperatorEntry(prepare_mul, RULES, OperatorGroup.ELEMENTS, inputs=(2, 2)),
}
