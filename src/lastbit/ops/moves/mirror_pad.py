"""MIRROR_PAD: an array with its own elements, mirrored, around it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import COPY_RULES, integers, per_call, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_mirror_pad"]

RULES = COPY_RULES

# The option's words; REFLECT leaves out the element at the edge, so one less can be mirrored.
_MODES: dict[str, tuple[Literal["reflect", "symmetric"], int]] = {
    "REFLECT": ("reflect", 1),
    "SYMMETRIC": ("symmetric", 0),
}


def prepare_mirror_pad(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MIRROR_PAD of any type, with constant paddings.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the paddings are not constant, do not fit, or are wider than what can be mirrored once.

    Source: google-ai-edge/LiteRT, tflite/kernels/mirror_pad.cc @01d971c556e3.
    """
    x = required_operand(model, op, 0, "input")
    flat = integers(model, op, 1, "paddings")
    mode = str(op.options.get("mode", "REFLECT"))
    if mode not in _MODES:
        raise refuse(op, f"the mode is {mode}; covered: {', '.join(_MODES)}")
    kind, edge = _MODES[mode]
    if flat.size != 2 * len(x.shape) or flat.min(initial=0) < 0:
        raise refuse(op, f"the paddings {flat.tolist()} do not fit {len(x.shape)} axes")
    widths = flat.reshape(-1, 2)
    if any(around.any() and around.max() > size - edge for size, around in zip(x.shape, widths, strict=True)):
        raise refuse(op, f"the paddings {widths.tolist()} of {list(x.shape)} are wider than {mode} mirrors once")
    check_growth(op, [size + int(sum(around)) for size, around in zip(x.shape, widths, strict=True)], x.shape)

    def move(given: Array) -> Array:
        return np.pad(given, widths, mode=kind)

    def moved(given: Array) -> Array:
        return per_call(move, given, x) if widths[:1].any() else move(given)

    return prepared_copy(op, rule, RULES, [x], [model.tensors[op.outputs[0]]], lambda given: [moved(given[0])])


ENTRIES = {
    "MIRROR_PAD": OperatorEntry(prepare_mirror_pad, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
}
