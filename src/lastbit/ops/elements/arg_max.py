"""ARG_MAX and ARG_MIN: the position of the largest or smallest element along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.errors import InputError
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..moves.copies import check_axis, integers
from .unary import pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_arg_max"]

RULES: dict[str, str] = {"first_position": "the first position of the largest (ARG_MIN: smallest) element"}


def prepare_arg_max(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare ARG_MAX or ARG_MIN along a constant axis; quantized integers are compared as they are.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `output`, int32 or int64, the input's shape without the axis. The evaluation raises InputError for NaN,
        of which kernels take what their vector instructions happen to compare.

    Raises:
        UnsupportedError: an axis that is not one constant, or an output that is no int32 or int64.

    Source: google-ai-edge/LiteRT, tflite/kernels/arg_min_max.cc and tflite/kernels/internal/reference/arg_min_max.h.
    """
    pick_rule(op, rule, RULES)
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    axes = integers(model, op, 1, "axis")
    if axes.size != 1:
        raise refuse(op, f"has {axes.size} axes; wanted one")
    axis = check_axis(op, int(axes[0]), len(x.shape))
    if output.dtype.name not in ("int32", "int64") or x.data is not None:
        raise refuse(op, f"gives {output.dtype.name} from {x.label}; covered: int32 or int64 from computed input")
    rank, position = len(x.shape), np.argmax if op.name == "ARG_MAX" else np.argmin

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if values[0].ndim != rank or not values[0].shape[axis]:
            raise InputError(f"{op.label}: found an input of shape {list(values[0].shape)}, wanted {list(x.shape)}")
        if values[0].dtype.kind == "f" and np.isnan(values[0]).any():
            raise InputError(f"{op.label}: the input has NaN, whose place among numbers is not defined")
        return {"output": position(values[0], axis=axis).astype(output.dtype.numpy)}

    return PreparedOperator(operator=op, rule=rule, inputs=(x.index,), evaluate=evaluate)


ENTRIES = {
    "ARG_MAX": OperatorEntry(prepare_arg_max, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
    "ARG_MIN": OperatorEntry(prepare_arg_max, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
}
