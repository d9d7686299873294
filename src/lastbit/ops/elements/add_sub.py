"""ADD and SUB of quantized and float32 arrays."""

from __future__ import annotations

import math

import numpy as np

from ...arith.elementwise import InnerLoop, inner_loop, prepare_fixed_point_sum, prepare_q20_sum
from ...arith.fixedpoint import rounding_divide_by_pot
from ...model.errors import Refusal
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .binary import Binary, binary, clamp_output, prepared_binary
from .floats import FLOAT_RULES, prepare_float_binary
from .unary import pick_rule

__all__ = ["RULES", "prepare_add_sub"]

_OUTPUT = "; their sum to s_y, rounded half up, then half away"

RULES: dict[str, str] = {
    "fixed_point": (
        "both inputs to the scale 2 max(s_1, s_2): SRDHM((x - zx) << 20, q) / 2^R (int16: << 15), rounded half up, "
        "then half away" + _OUTPUT
    ),
    "fixed_point_vector": (
        "both inputs to the scale 2 max(s_1, s_2): in whole groups of an inner loop SRDHM((x - zx) << (20 - R), q), "
        "rounded half up (int8 and int16, groups of 16), or SRDHM((x - zx) << 20, q) >> R, rounded down (uint8, or one "
        "input a single element; groups of 8); as `fixed_point` in the rest" + _OUTPUT
    ),
    "q20_half_up": "y = clamp(zy + ((m_1 (x_1 - z_1) + m_2 (x_2 - z_2) + 2^(R-1)) >> R)), m of 21 bits",
    **{
        f"{name}/power_of_two": "the same, int16 only; with scales that are powers of two and `pot_scale_int16`: "
        "y = clamp(saturate(x_1 / 2^(e_y - e_1)) + saturate(x_2 / 2^(e_y - e_2))), each rounded half away"
        for name in ("fixed_point", "fixed_point_vector")
    },
    **FLOAT_RULES,
}


def prepare_add_sub(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare ADD or SUB of int8, uint8, int16 or float32, with broadcasting.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `scaled_1`, `scaled_2` (not with `q20_half_up`), `sum`, `acc_scaled`, `with_zero_point`, `output`.

    Raises:
        UnsupportedError: operands or options outside of what is covered, or scales that the real kernel aborts on.

    Source: google-ai-edge/LiteRT, tflite/kernels/add.cc @15ed5faee080, tflite/kernels/sub.cc,
    tflite/kernels/internal/optimized/integer_ops/add.h; google/XNNPACK, src/microparams-init.c, src/qs8-vadd.
    """
    pick_rule(op, rule, RULES)
    if rule in FLOAT_RULES:
        return prepare_float_binary(model, op, rule, np.subtract if op.name == "SUB" else np.add)
    q20 = rule == "q20_half_up"
    node = binary(model, op, "half_even" if q20 else "half_away")
    wide = node.output.dtype.name == "int16"
    if node.output.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{node.output.dtype.name} is not covered; covered: int8, uint8, int16")
    if wide:
        _check_int16(node)
    sums, _, branches = rule.partition("/")
    if branches:
        if not wide:
            raise refuse(op, f"the rule {rule} is for int16, not {node.output.dtype.name}")
        shifts = _power_of_two_shifts(node)
        if shifts is not None:
            return _power_of_two(node, rule, shifts)
    (one, two), to = node.given, node.to
    subtract = op.name == "SUB"
    if q20:
        constants = prepare_q20_sum(one.scale, two.scale, to.scale, subtract=subtract)
        return prepared_binary(
            op,
            rule,
            node.tensors,
            node.output,
            lambda a, b: clamp_output(
                node, {**constants.steps(a.astype(np.int64) - one.zero_point, b.astype(np.int64) - two.zero_point)}
            ),
        )
    folded = prepare_fixed_point_sum(one.scale, two.scale, to.scale, left_shift=15 if wide else 20, subtract=subtract)
    if folded is None:
        raise refuse(op, "an input scale is 2^19 output scales or more, and the real kernel aborts the process")
    loop = InnerLoop(0)
    if sums == "fixed_point_vector":
        loop = inner_loop(*(tensor.shape for tensor in node.tensors))
        if wide and (loop.scalar or loop.length != math.prod(node.output.shape)):
            loop = InnerLoop(0)  # the int16 kernel has no fast broadcasting
    merged = node.output.dtype.name != "uint8" and not loop.scalar

    def steps(a: Array, b: Array) -> dict[str, Array]:
        vector = loop.in_vector(a.size, 16 if merged else 8).reshape(a.shape)
        a, b = a.astype(np.int64) - one.zero_point, b.astype(np.int64) - two.zero_point
        return clamp_output(node, {**folded.steps(a, b, to.zero_point, vector, merged_shift=merged, narrow=not wide)})

    return prepared_binary(op, rule, node.tensors, node.output, steps)


def _check_int16(node: Binary) -> None:
    """Refuse zero points, which no runtime takes."""
    if any(side.zero_point for side in (*node.given, node.to)):
        raise refuse(node.operator, "int16 wants zero points of 0; the runtimes refuse anything else")


def _power_of_two_shifts(node: Binary) -> tuple[int, int] | None:
    """By how many bits the inputs are shifted right where LiteRT's kernel for powers of two runs, else None.

    Raises:
        UnsupportedError: that kernel refuses the scales, or they lie where it begins.
    """
    op = node.operator
    logarithms = [math.log2(float(side.scale)) for side in (*node.given, node.to)]
    distance = max(abs(x - round(x)) for x in logarithms)
    if not op.options.get("pot_scale_int16", True) or distance > 0.0011:
        return None
    if distance > 0.0009:
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
    return to - one, to - two


def _power_of_two(node: Binary, rule: str, shifts: tuple[int, int]) -> PreparedOperator:
    sign = -1 if node.operator.name == "SUB" else 1

    def steps(a: Array, b: Array) -> dict[str, Array]:
        scaled = [rounding_divide_by_pot(x.astype(np.int64), shift) for x, shift in zip((a, b), shifts, strict=True)]
        total = np.clip(scaled[0] + sign * scaled[1], -(2**15), 2**15 - 1)
        return clamp_output(node, {"scaled_1": scaled[0], "scaled_2": scaled[1], "acc_scaled": total})

    return prepared_binary(node.operator, rule, node.tensors, node.output, steps)
