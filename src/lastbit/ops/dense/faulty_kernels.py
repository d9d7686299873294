"""Dense layers in kernels that ignore a part of the weights' quantization, whatever the file says: faults of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import numpy as np

from ...model.graph import Model, Operator
from ...rules.base import IntegerRule
from ...rules.requantize.fold import taken_scales
from ..base import PreparedOperator, constant_operand

__all__ = ["ignores_quantization", "prepare_ignoring"]


def ignores_quantization(rule: IntegerRule) -> bool:
    """Whether kernels of this rule take the weights to have another zero point or other scales than the file says."""
    return rule.sums.weights_zero_point != "read" or rule.scales.weights_scale != "own"


def prepare_ignoring(
    prepare: Callable[[Model, Operator, IntegerRule], PreparedOperator], model: Model, op: Operator, rule: IntegerRule
) -> PreparedOperator:
    """Fold a dense layer's constants as if its weights had zero point 0, or other scales.

    Args:
        prepare: the layer's family.
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a rule that ignores what the file says.

    Returns:
        The layer with a note that warns of it. Its `layer` has the quantization that the kernel takes.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    weights = constant_operand(model, op, 1, "weights")
    assert weights.quant is not None
    stored = weights.quant
    scale, zero_point = taken_scales(rule.scales, stored.scale), stored.zero_point
    given, notes = stored.given, []
    if rule.sums.weights_zero_point == "ignored":
        notes.append(f"this version's XNNPACK delegate ignores the weights' zero point {int(zero_point[0])}")
        zero_point = np.zeros_like(zero_point)
    match rule.scales.weights_scale:
        case "own":
            pass
        case "first":
            zero_point = zero_point[:1]
            what = f"weights scale, {float(stored.scale[0])!r},"
            if given is not None:
                given, what = given.first, "multiplier and shift"
            notes.append(f"this version takes the first unit's {what} for every unit")
        case "zero" | "one":
            notes.append(f"this version takes the weights' scales to be {rule.scales.weights_scale}")
        case never:
            assert_never(never)
    graph = model.subgraphs[0]
    quant = replace(stored, scale=scale, zero_point=zero_point, given=given)
    tensors = tuple(replace(t, quant=quant) if t.index == weights.index else t for t in graph.tensors)
    changed = replace(model, subgraphs=(replace(graph, tensors=tensors), *model.subgraphs[1:]))
    prepared = prepare(changed, op, rule)
    return replace(prepared, notes=(*prepared.notes, *(f"{note}: its results are wrong" for note in notes)))
