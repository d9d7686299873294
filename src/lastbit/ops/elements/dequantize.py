"""DEQUANTIZE: integers to real values."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ...rules.operators.fold import Constants, leaves
from ...rules.operators.table import DEQUANTIZE
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .staged import prepared_unary
from .unary import operands, per_tensor, pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_dequantize"]

RULES: dict[str, str] = equations(DEQUANTIZE)


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
    chosen = pick_rule(op, rule, DEQUANTIZE)
    source, output = operands(model, op)
    if output.dtype.name != "float32":
        raise refuse(op, f"gives {output.dtype.name}; the runtimes give float32")
    types = chosen.types or ("int8", "uint8", "int16")
    if source.dtype.name not in types:
        if "float16" in types:
            raise refuse(op, f"the rule {rule} is for float16, but {source.label} is {source.dtype.name}")
        raise refuse(op, f"LastBit dequantizes int8, uint8, int16 and float16, not {source.dtype.name}")
    if source.dtype.name == "float16":
        return prepared_unary(op, chosen, Constants((), None), (source, output))
    given = per_tensor(op, source)
    symmetric = any(leaf.symmetric_int16 for leaf in leaves(chosen))
    if source.dtype.name == "int16" and given.zero_point and symmetric:
        raise refuse(op, f"has the int16 zero point {given.zero_point}; LiteRT wants 0")
    return prepared_unary(op, chosen, Constants((given,), None), (source, output))


ENTRIES = {
    "DEQUANTIZE": OperatorEntry(prepare_dequantize, RULES, OperatorGroup.TYPES),
}
