"""PAD and PADV2: an array with constant values around it."""

from __future__ import annotations

import numpy as np

from ...model.graph import Model, Operator
from ..base import PreparedOperator, constant_operand, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import COPY_RULES, integers, prepared_copy, same_quantization

__all__ = ["ENTRIES", "RULES", "around_images", "prepare_pad"]

RULES = COPY_RULES


def prepare_pad(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare PAD or PADV2 of any type.

    PAD fills with the output's zero point, or 0 where there is none; PADV2 with its third input, which has the
    output's quantization.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the paddings or the value are not constant, do not fit, or quantization differs.
    """
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    flat = integers(model, op, 1, "paddings")
    if flat.size != 2 * len(x.shape) or flat.min(initial=0) < 0:
        raise refuse(op, f"the paddings {flat.tolist()} do not fit {len(x.shape)} axes")
    widths = flat.reshape(-1, 2)
    check_growth(op, [size + int(sum(around)) for size, around in zip(x.shape, widths, strict=True)], x.shape)
    fill = int(output.quant.zero_point[0]) if output.quant is not None and output.quant.zero_point.size else 0
    if op.name == "PADV2":
        value = constant_operand(model, op, 2, "value")
        same_quantization(op, [value, output])
        assert value.data is not None
        if value.data.size != 1:
            raise refuse(op, f"the value ({value.label}) has {value.data.size} elements; wanted one")
        fill = value.data.reshape(-1)[0]
    return prepared_copy(op, rule, RULES, [x], [output], lambda given: [np.pad(given[0], widths, constant_values=fill)])


ENTRIES = {
    "PAD": OperatorEntry(prepare_pad, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False),
    "PADV2": OperatorEntry(prepare_pad, RULES, OperatorGroup.MOVES, inputs=(3, 3), reads_scales=False),
}


def around_images(model: Model, op: Operator) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns that a PAD puts around images `[n, h, w, c]`: above and below, left and right; None: others."""
    paddings = model.tensors[op.inputs[1]].data
    if paddings is None or paddings.size != 8:
        return None
    batch, rows, columns, channels = (tuple(int(size) for size in pair) for pair in paddings.reshape(4, 2))
    if any((*batch, *channels)):
        return None
    return (rows[0], rows[1]), (columns[0], columns[1])
