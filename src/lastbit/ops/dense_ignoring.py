"""Dense layers in kernels that ignore a part of the weights' quantization, whatever the file says: faults of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..arith.other_rules import EVERY_RULE, EVERY_RULE_INT16
from ..model import Model, Operator
from ..types import QuantParams
from .base import PreparedOperator, constant_operand

__all__ = ["FIRST_SCALE", "RULES", "SUFFIX", "prepare_ignoring"]

# At the end of a rule's name: the rest of the name is the rule that the kernel follows otherwise.
SUFFIX = "/weights_zero_point_ignored"
FIRST_SCALE = "/first_weights_scale"

RULES: dict[str, str] = {
    **{
        f"{name}{SUFFIX}": f"acc = sum (x - zx) * w + bias, as if zw were 0;  {EVERY_RULE[name].equation}"
        for name in ("float32-half_even", "float32-half_even-saturate")
    },
    **{
        f"{name}{FIRST_SCALE}": f"s_w = the first unit's, for all units;  {rule.equation}"
        for name, rule in {**EVERY_RULE, **EVERY_RULE_INT16}.items()
        if name.startswith(("q31-half_up-half_away/", "q15-half_up/"))
    },
}


def prepare_ignoring(
    prepare: Callable[[Model, Operator, str], PreparedOperator], model: Model, op: Operator, rule: str
) -> PreparedOperator:
    """Fold a dense layer's constants as if its weights had zero point 0, or one scale.

    Args:
        prepare: the layer's family.
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a name in `RULES`.

    Returns:
        The layer with a note that warns of it. Its `layer` has the quantization that the kernel takes.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    weights = constant_operand(model, op, 1, "weights")
    assert weights.quant is not None
    stored = weights.quant
    if rule.endswith(SUFFIX):
        quant = QuantParams(stored.scale, np.zeros_like(stored.zero_point), stored.axis)
        what = f"this version's XNNPACK delegate ignores the weights' zero point {int(stored.zero_point[0])}"
    else:
        quant = QuantParams(stored.scale[:1], stored.zero_point[:1], stored.axis)
        what = f"this version takes the first unit's weights scale, {float(stored.scale[0])!r}, for every unit"
    graph = model.subgraphs[0]
    tensors = tuple(replace(t, quant=quant) if t.index == weights.index else t for t in graph.tensors)
    changed = replace(model, subgraphs=(replace(graph, tensors=tensors), *model.subgraphs[1:]))
    prepared = prepare(changed, op, rule.removesuffix(SUFFIX).removesuffix(FIRST_SCALE))
    return replace(prepared, rule=rule, notes=(*prepared.notes, f"{what}: its results are wrong"))
