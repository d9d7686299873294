"""MAXIMUM and MINIMUM, element by element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arith.floats import flush_subnormals
from ...model.errors import Refusal
from ...model.graph import Model, Operator
from ...model.types import Array, IntegerType
from ...rules.operators.floats import COMPARISONS, float_equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from ..moves.copies import same_quantization
from .binary import operands_of_two, prepared_binary
from .unary import pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_maximum"]

RULES: dict[str, str] = float_equations(COMPARISONS)


def prepare_maximum(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MAXIMUM or MINIMUM of integers or float32, with broadcasting; quantization is one for all three.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: types or quantization that differ.

    Source: google-ai-edge/LiteRT, tflite/kernels/maximum_minimum.cc; which of two zeros comes out was found by probing.
    """
    chosen = pick_rule(op, rule, COMPARISONS)
    flush, ordered = chosen.flush, chosen.zeros == "ordered"
    tensors, output = operands_of_two(model, op)
    same_quantization(op, [*tensors, output])
    if not isinstance(output.dtype, IntegerType) and output.dtype.name != "float32":
        raise refuse(op, f"{output.dtype.name} is not covered; covered: integers, float32")
    if flush and output.dtype.name != "float32":
        raise refuse(op, f"the rule {rule} is for float32, not {output.dtype.name}")
    for tensor in tensors:
        if ordered or not flush or tensor.data is None or tensor.data.size != 1:
            continue
        if not flush_subnormals(tensor.data).any():
            raise refuse(
                op,
                "not exact: which of 0.0 and -0.0 XNNPACK takes beside a single constant 0 is not known",
                Refusal.NOT_EXACT,
            )
    compare = np.greater if op.name == "MAXIMUM" else np.less
    swapped = flush and not ordered and _repeated_innermost(*(tensor.shape for tensor in tensors))

    def steps(a: Array, b: Array) -> dict[str, Array]:
        if swapped:
            a, b = b, a
        if flush:
            a, b = flush_subnormals(a), flush_subnormals(b)
        first = compare(a, b)
        if ordered:
            first = first | (a == b) & compare(np.signbit(b), np.signbit(a))
        return {"output": np.where(first, a, b)}

    return prepared_binary(op, rule, tensors, output, steps)


def _repeated_innermost(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether the first input has one element along the innermost axis that is not 1 in both; or there is no such."""
    rank = max(len(first), len(second))
    a, b = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (first, second))
    innermost = next((i for i in reversed(range(rank)) if (a[i], b[i]) != (1, 1)), None)
    return innermost is None or a[innermost] == 1


ENTRIES = {
    "MAXIMUM": OperatorEntry(prepare_maximum, RULES, OperatorGroup.ELEMENTS, inputs=(2, 2)),
    "MINIMUM": OperatorEntry(prepare_maximum, RULES, OperatorGroup.ELEMENTS, inputs=(2, 2)),
}
