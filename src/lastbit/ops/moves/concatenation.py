"""CONCATENATION: arrays put one after the other along an axis."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, refuse, required_operand
from .copies import COPY_RULES, check_axis, prepared_copy

__all__ = ["RULES", "prepare_concatenation"]

RULES = COPY_RULES


def prepare_concatenation(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare CONCATENATION of any type, where all inputs and the output have one quantization.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: types or quantization differ, a fused activation, or an axis that does not exist.
    """
    tensors = [required_operand(model, op, i, f"input {i}") for i in range(len(op.inputs))]
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        raise refuse(op, "a fused activation is not covered; every runtime refuses or ignores it")
    axis = check_axis(op, int(op.options.get("axis", 0)), len(tensors[0].shape))  # type: ignore[arg-type]
    return prepared_copy(
        op, rule, RULES, tensors, [model.tensors[op.outputs[0]]], lambda given: [np.concatenate(given, axis=axis)]
    )
