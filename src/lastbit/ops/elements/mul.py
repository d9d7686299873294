"""MUL of quantized and float32 arrays."""

from __future__ import annotations

import numpy as np

from ...arith.elementwise import InnerLoop, inner_loop
from ...arith.fixed_functions import multiply_by_quantized_multiplier
from ...arith.fixedpoint import INT32_MIN, low_bits, quantize_multiplier
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .binary import binary, clamp_output, prepared_binary
from .floats import FLOAT_RULES, prepare_float_binary
from .unary import pick_rule

__all__ = ["RULES", "prepare_mul"]

_Q31 = "y = clamp(zy + round_half_away(SRDHM((x_1 - z_1)(x_2 - z_2) << L, q) / 2^R)), q and shift from s_1*s_2/s_y in "

RULES: dict[str, str] = {
    "q31_half_up_half_away/float32": _Q31 + "float32",
    "q31_half_up_half_away/float64": _Q31 + "float64",
    "q31_vector/float32": (
        "the same in float32; in whole groups of 16 (int8) or 8 (uint8) of an inner loop the product saturates to "
        "int16 and the zero point is added in 16 bits, which wrap (uint8 times a single element: wraps, too)"
    ),
    "float32_half_even": "y = clamp(zy + round_half_even(float32((x_1 - z_1)(x_2 - z_2)) * s_1*s_2/s_y)), all float32",
    **FLOAT_RULES,
}


def prepare_mul(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MUL of int8, uint8, int16 or float32, with broadcasting.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `product`, `acc_scaled`, `with_zero_point`, `output`; of float32: `result`, `output`.

    Raises:
        UnsupportedError: operands or options outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/mul.cc, tflite/kernels/internal/reference/integer_ops/mul.h
    @34ec5badbbbf; google/XNNPACK, src/microparams-init.c (xnn_init_qs8_mul_minmax_scalar_params), src/qs8-vmul.
    """
    pick_rule(op, rule, RULES)
    if rule in FLOAT_RULES:
        return prepare_float_binary(model, op, rule, np.multiply)
    node = binary(model, op, "half_even" if rule == "float32_half_even" else "half_away")
    if node.output.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{node.output.dtype.name} is not covered; covered: int8, uint8, int16")
    (one, two), to = node.given, node.to
    if node.output.dtype.name == "int16" and (one.zero_point or two.zero_point or to.zero_point):
        raise refuse(op, "int16 with a zero point that is not 0 is not covered")
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.float32(one.scale * two.scale) / to.scale
    factor = float(one.scale) * float(two.scale) / float(to.scale) if rule.endswith("float64") else float(ratio)
    if not 0 < factor < 2.0**14:
        raise refuse(op, f"s_1*s_2/s_y is {factor!r}; covered: above 0 and below 2^14, where no int32 overflows")
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))

    loop = InnerLoop(0)
    if rule == "q31_vector/float32":
        loop = inner_loop(*(tensor.shape for tensor in node.tensors))
    wide = node.output.dtype.name == "int8"

    def steps(a: Array, b: Array) -> dict[str, Array]:
        product = (a.astype(np.int64) - one.zero_point) * (b.astype(np.int64) - two.zero_point)
        if rule == "float32_half_even":
            scaled = np.rint((product.astype(np.float32) * ratio).astype(np.float64))
            acc_scaled = np.maximum(scaled, INT32_MIN).astype(np.int64)
        else:
            acc_scaled = multiply_by_quantized_multiplier(product, multiplier, shift)
        named: dict[str, Array] = {"product": product, "acc_scaled": acc_scaled}
        if loop.length:
            saturated = acc_scaled if loop.scalar and not wide else np.clip(acc_scaled, -(2**15), 2**15 - 1)
            wrapped = low_bits(saturated + to.zero_point, 16)
            vector = loop.in_vector(a.size, 16 if wide else 8).reshape(a.shape)
            named["with_zero_point"] = np.where(vector, wrapped, acc_scaled + to.zero_point)
        return clamp_output(node, named)

    return prepared_binary(op, rule, node.tensors, node.output, steps)
