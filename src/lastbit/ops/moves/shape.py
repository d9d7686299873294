"""SHAPE: the shape of an array as an array; and FILL: an array of a given shape with one value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.errors import InputError
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..elements.unary import pick_rule
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import COPY_RULES, same_quantization

__all__ = ["ENTRIES", "RULES", "prepare_fill", "prepare_shape"]

RULES = COPY_RULES


def prepare_shape(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare SHAPE of any type, giving int32 or int64.

    Returns:
        Steps: `output`, `[rank]`: the shape that the input has, whatever the file says.

    Raises:
        UnsupportedError: the output is of another type.
    """
    pick_rule(op, rule, RULES)
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    if output.dtype.name not in ("int32", "int64"):
        raise refuse(op, f"the output ({output.label}) is {output.dtype.name}; wanted int32 or int64")

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        given = values[0] if values else x.data
        assert given is not None
        return {"output": np.asarray(given.shape, output.dtype.numpy)}

    return PreparedOperator(operator=op, rule=rule, inputs=() if x.data is not None else (x.index,), evaluate=evaluate)


def prepare_fill(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare FILL of any type; shape and value may be computed.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: value and output differ in type or quantization, or the shape is not of integers.
    """
    pick_rule(op, rule, RULES)
    dims, value = required_operand(model, op, 0, "shape"), required_operand(model, op, 1, "value")
    same_quantization(op, [value, model.tensors[op.outputs[0]]])
    if dims.dtype.name not in ("int32", "int64") or value.shape not in ((), (1,)):
        raise refuse(op, f"the shape is {dims.dtype.name} and the value {list(value.shape)}; wanted integers and one")
    tensors = (dims, value)

    if dims.data is not None:
        check_growth(op, [int(size) for size in dims.data.reshape(-1)], ())

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        fed = iter(values)
        shape, one = (tensor.data if tensor.data is not None else np.asarray(next(fed)) for tensor in tensors)
        if shape.ndim > 1 or (shape < 0).any():
            raise InputError(f"{op.label}: {shape.tolist()} is not a shape")
        check_growth(op, [int(size) for size in shape.reshape(-1)], ())
        return {"output": np.full(tuple(shape.reshape(-1)), one.reshape(-1)[0], one.dtype)}

    return PreparedOperator(
        operator=op, rule=rule, inputs=tuple(t.index for t in tensors if t.data is None), evaluate=evaluate
    )


ENTRIES = {
    "SHAPE": OperatorEntry(prepare_shape, RULES, OperatorGroup.MOVES, reads_scales=False),
    "FILL": OperatorEntry(
        prepare_fill, RULES, OperatorGroup.MOVES, inputs=(2, 2), roles=("output shape", "input"), reads_scales=False
    ),
}
