"""DEQUANTIZE: integers to real values."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import operands, per_tensor, pick_rule, prepared, split_vector

__all__ = ["RULES", "prepare_dequantize"]

RULES: dict[str, str] = {
    "float32_difference_times_scale": "y = float32(x - zx) * s_x in float32; int16 only with zero point 0",
    "float32_difference_times_scale/any_zero_point": "the same, int16 with any zero point",
    "float32_vector8_product_plus_offset": (
        "whole groups of 8 elements: y = float32(x) * s_x + (-zx * s_x), three float32 roundings; "
        "the rest: float32(x - zx) * s_x"
    ),
    "float16_widen": "y = float32(x); exact",
}


def prepare_dequantize(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare DEQUANTIZE: int8, uint8 or int16 to float32, or float16 to float32.

    The product in float32 is the same as the kernels' product in double precision rounded once: 24 and 17
    bits.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `centered` (where it is formed), `output`.

    Raises:
        UnsupportedError: more than one scale, an unusable scale, or other element types.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/reference/integer_ops/dequantize.h; the
    rule with groups of 8 was found by probing ai-edge-litert 2.3.0 on x86-64 (fused multiply-add excluded).
    """
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    if output.dtype.name != "float32":
        raise refuse(op, f"gives {output.dtype.name}; the runtimes give float32")
    if rule == "float16_widen":
        if source.dtype.name != "float16":
            raise refuse(op, f"the rule {rule} is for float16, but {source.label} is {source.dtype.name}")
        return prepared(op, rule, source, output, lambda x: {"output": x.astype(np.float32)})
    if source.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"LastBit dequantizes int8, uint8, int16 and float16, not {source.dtype.name}")
    given = per_tensor(op, source)
    if source.dtype.name == "int16" and given.zero_point and not rule.endswith("any_zero_point"):
        raise refuse(op, f"has the int16 zero point {given.zero_point}; LiteRT wants 0")

    def difference(x: Array) -> dict[str, Array]:
        centered = x.astype(np.int64) - given.zero_point
        with np.errstate(over="ignore"):
            return {"centered": centered, "output": centered.astype(np.float32) * given.scale}

    def vector8(x: Array) -> dict[str, Array]:
        steps = difference(x)
        with np.errstate(over="ignore", invalid="ignore"):
            offset = np.float32(-given.zero_point) * given.scale
            affine = x.astype(np.float32) * given.scale + offset
        steps["output"] = np.where(split_vector(x, source, 8), affine, steps["output"])
        return steps

    return prepared(op, rule, source, output, vector8 if rule == "float32_vector8_product_plus_offset" else difference)
