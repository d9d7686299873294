"""How much an operator calculates, from its declared roles."""

from __future__ import annotations

import math

from ..model.graph import Model, Operator
from . import OPERATORS

__all__ = ["products_of", "products_of_sample"]


def products_of(model: Model, op: Operator) -> int:
    """How many products an operator with constant weights adds up: every weight meets every place; else 0.

    The places are those of the output, and of an operator that is told its output's shape (TRANSPOSE_CONV) those of
    the input.
    """
    entry = OPERATORS.get(op.name)
    if entry is None or "weights" not in entry.roles or not op.outputs:
        return 0
    weights = model.operand(op, entry.roles.index("weights"))
    met = model.tensors[op.outputs[0]]
    if "output shape" in entry.roles:
        met = model.operand(op, entry.roles.index("input")) or met
    return 0 if weights is None or weights.data is None else weights.data.size * math.prod(met.shape[:-1])


def products_of_sample(model: Model) -> int:
    """How many products one sample adds up in all operators."""
    first = model.inputs[0].shape if model.inputs else ()
    batch = first[0] if len(first) > 1 else 1
    return sum(products_of(model, op) for op in model.operators) // max(batch, 1)
