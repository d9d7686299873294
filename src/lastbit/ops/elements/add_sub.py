"""ADD and SUB of quantized and float32 arrays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...model.errors import Refusal
from ...model.graph import Model, Operator
from ...rules.operators.floats import ARITHMETIC, FloatArithmetic, float_equations
from ...rules.operators.fold import Constants, bounds_of, factor_value, rescalings
from ...rules.operators.rule import Choice, PowersOfTwo
from ...rules.operators.table import ADD_SUB
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .binary import Binary, binary, staged_binary
from .floats import prepare_float_binary
from .staged import check_types
from .unary import pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_add_sub"]

RULES: dict[str, str] = {**equations(ADD_SUB), **float_equations(ARITHMETIC)}


def prepare_add_sub(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare ADD or SUB of int8, uint8, int16 or float32, with broadcasting.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `centered_1`, `centered_2`, `scaled_1`, `scaled_2` (not with `q20_half_up`), `sum`, `acc_scaled`,
        `with_zero_point`, `output`.

    Raises:
        UnsupportedError: operands or options outside of what is covered, or scales that the real kernel aborts on.

    Source: google-ai-edge/LiteRT, tflite/kernels/add.cc @15ed5faee080, tflite/kernels/sub.cc,
    tflite/kernels/internal/optimized/integer_ops/add.h; google/XNNPACK, src/microparams-init.c, src/qs8-vadd.
    """
    chosen = pick_rule(op, rule, {**ADD_SUB, **ARITHMETIC})
    if isinstance(chosen, FloatArithmetic):
        return prepare_float_binary(model, op, chosen, np.subtract if op.name == "SUB" else np.add)
    node = binary(model, op, bounds_of(chosen))
    if node.output.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{node.output.dtype.name} is not covered; covered: int8, uint8, int16")
    if node.output.dtype.name == "int16":
        _check_int16(node)
    check_types(op, chosen, node.output.dtype.name)
    if isinstance(chosen, Choice) and isinstance(chosen.when, PowersOfTwo):
        branch = chosen.then if _powers_of_two(node, chosen.when) else chosen.otherwise
        chosen = replace(branch, name=rule)
    constants = Constants(node.given, node.to)
    if any(factor_value(stage.factor, constants) >= 1 for stage in rescalings(chosen) if "headroom" in stage.factor.by):
        raise refuse(op, "an input scale is 2^19 output scales or more, and the real kernel aborts the process")
    return staged_binary(node, chosen)


def _check_int16(node: Binary) -> None:
    """Refuse zero points, which no runtime takes."""
    if any(side.zero_point for side in (*node.given, node.to)):
        raise refuse(node.operator, "int16 wants zero points of 0; the runtimes refuse anything else")


def _powers_of_two(node: Binary, when: PowersOfTwo) -> bool:
    """Whether LiteRT's kernel for scales that are powers of two runs.

    Raises:
        UnsupportedError: that kernel refuses the scales, or they lie where it begins.
    """
    op = node.operator
    logarithms = [math.log2(float(side.scale)) for side in (*node.given, node.to)]
    distance = max(abs(x - round(x)) for x in logarithms) * 1000
    if not op.options.get("pot_scale_int16", True) or distance > when.nearness + 0.1:
        return False
    if distance > when.nearness - 0.1:
        raise refuse(
            op, "not exact: a scale's logarithm is 0.001 from an integer, where the kernels branch", Refusal.NOT_EXACT
        )
    one, two, to = (round(x) for x in logarithms)
    if one > to or two > to or (one != to and two != to):
        raise refuse(
            op,
            "with scales that are powers of two LiteRT wants one input to have the output's scale and the other none "
            "above it; set pot_scale_int16 to false",
        )
    if to - min(one, two) > 14:
        raise refuse(
            op,
            f"not exact: an input is shifted by {to - min(one, two)} bits, which 16 bits do not have",
            Refusal.NOT_EXACT,
        )
    return True


ENTRIES = {
    "ADD": OperatorEntry(prepare_add_sub, RULES, OperatorGroup.ELEMENTS, inputs=(2, 2)),
    "SUB": OperatorEntry(prepare_add_sub, RULES, OperatorGroup.ELEMENTS, inputs=(2, 2)),
}
