"""Dense layers in kernels that take the weights' zero point to be 0, whatever the file says: a fault of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..arith.other_rules import EVERY_RULE
from ..model import Model, Operator
from ..types import QuantParams
from .base import PreparedOperator, constant_operand

__all__ = ["RULES", "SUFFIX", "prepare_ignoring"]

SUFFIX = "/weights_zero_point_ignored"
"""At the end of a rule's name: the rest of the name is the rule that the kernel follows otherwise."""

RULES: dict[str, str] = {
    f"{name}{SUFFIX}": f"acc = sum (x - zx) * w + bias, as if zw were 0;  {EVERY_RULE[name].equation}"
    for name in ("float32-half_even", "float32-half_even-saturate")
}


def prepare_ignoring(
    prepare: Callable[[Model, Operator, str], PreparedOperator], model: Model, op: Operator, rule: str
) -> PreparedOperator:
    """Fold a dense layer's constants as if its weights had zero point 0.

    Args:
        prepare: the layer's family.
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a name in `RULES`.

    Returns:
        The layer with a note that warns of it.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    weights = constant_operand(model, op, 1, "weights")
    assert weights.quant is not None
    stored = weights.quant.zero_point
    quant = QuantParams(weights.quant.scale, np.zeros_like(stored), weights.quant.axis)
    graph = model.subgraphs[0]
    tensors = tuple(replace(t, quant=quant) if t.index == weights.index else t for t in graph.tensors)
    changed = replace(model, subgraphs=(replace(graph, tensors=tensors), *model.subgraphs[1:]))
    prepared = prepare(changed, op, rule.removesuffix(SUFFIX))
    note = f"this version's XNNPACK delegate ignores the weights' zero point {int(stored[0])}: its results are wrong"
    return replace(prepared, rule=rule, notes=(*prepared.notes, note))
