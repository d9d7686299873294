"""MAXIMUM and MINIMUM, element by element."""

from __future__ import annotations

import numpy as np

from ..model import Model, Operator
from ._binary import operands_of_two, prepared_binary
from ._copies import same_quantization
from ._unary import pick_rule
from .base import PreparedOperator, refuse

__all__ = ["RULES", "prepare_maximum"]

RULES: dict[str, str] = {"compare": "the larger (MAXIMUM) or smaller (MINIMUM) integer; nothing is rescaled"}


def prepare_maximum(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MAXIMUM or MINIMUM of integers, with broadcasting, where all three have one quantization.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: floats, or types or quantization that differ.
    """
    pick_rule(op, rule, RULES)
    tensors, output = operands_of_two(model, op)
    same_quantization(op, [*tensors, output])
    if output.dtype.qmin is None:
        raise refuse(op, f"{output.dtype.name} is not covered; covered: integers")
    function = np.maximum if op.name == "MAXIMUM" else np.minimum
    return prepared_binary(op, rule, tensors, output, lambda a, b: {"output": function(a, b)})
