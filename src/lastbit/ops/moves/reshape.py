"""RESHAPE: the same values in another shape. The runtimes take that shape from different places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, constant_operand, refuse, required_operand
from ..elements.unary import pick_rule
from ..entry import OperatorEntry, OperatorGroup

__all__ = ["ENTRIES", "RULES", "prepare_reshape"]


@dataclass(frozen=True)
class ReshapeRule:
    """Where the new shape is taken from.

    Attributes:
        equation: the rule in one line of text.
        shape: from the operator's second input or its option, or that of the file's `output` tensor.
    """

    equation: str
    shape: Literal["operator", "output"]


_RULES = {
    "copy": ReshapeRule(
        "values in flat order; shape from the constant int32 input 1, else from the option new_shape", "operator"
    ),
    "copy_to_output_shape": ReshapeRule(
        "values in flat order; shape of the file's output tensor, not of the operator", "output"
    ),
}
RULES: dict[str, str] = {name: rule.equation for name, rule in _RULES.items()}


def prepare_reshape(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare RESHAPE, for any element type.

    One dimension may be -1. An array that holds N times the file's elements stands for N samples one after
    the other: the first dimension of the new shape is multiplied by N.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `output`. The evaluation raises InputError for an array that does not hold whole samples.

    Raises:
        UnsupportedError: element types differ, the shape is not constant int32, or it does not hold the
            elements.

    Source: google-ai-edge/LiteRT, tflite/kernels/reshape.cc and tflite/kernels/internal/reshape_utils.h;
    tensorflow/tflite-micro, tensorflow/lite/micro/kernels/reshape_common.cc.
    """
    chosen = pick_rule(op, rule, _RULES)
    source = required_operand(model, op, 0, "input")
    output = model.tensors[op.outputs[0]]
    if source.dtype.name != output.dtype.name:
        raise refuse(op, f"takes {source.dtype.name} and gives {output.dtype.name}; the runtimes copy one type")
    shape = output.shape if chosen.shape == "output" else _wanted_shape(model, op)
    shape = _resolve(op, shape, source)
    size = math.prod(source.shape)
    constant = source.data

    def evaluate(inputs: Sequence[Array]) -> dict[str, Array]:
        x = constant if constant is not None else inputs[0]
        if x.size == size:
            return {"output": x.reshape(shape)}
        if size == 0 or x.size % size or not shape:
            raise InputError(
                f"{op.label}: an array of shape {list(x.shape)} does not hold whole samples of "
                f"{list(source.shape)} to reshape to {list(shape)}"
            )
        return {"output": x.reshape((shape[0] * (x.size // size), *shape[1:]))}

    return PreparedOperator(
        operator=op,
        rule=rule,
        kernel="",
        inputs=() if constant is not None else (source.index,),
        evaluate=evaluate,
    )


def _wanted_shape(model: Model, op: Operator) -> tuple[int, ...]:
    """The shape as LiteRT reads it: from the second input, else from the option."""
    if model.operand(op, 1) is not None:
        tensor = constant_operand(model, op, 1, "shape")
        if tensor.dtype.name != "int32" or tensor.data is None:
            raise refuse(op, f"{tensor.label} (the shape) is {tensor.dtype.name}; LiteRT reads int32 only")
        return tuple(int(value) for value in tensor.data.reshape(-1))
    option = op.options.get("new_shape", ())
    shape = tuple(int(value) for value in option) if isinstance(option, Sequence) else ()
    # Old files write a scalar as [0].
    return () if shape == (0,) else shape


def _resolve(op: Operator, shape: tuple[int, ...], source: Tensor) -> tuple[int, ...]:
    """Work out a dimension of -1 from the file's own input shape, and check the number of elements."""
    size, known = math.prod(source.shape), math.prod(d for d in shape if d != -1)
    if shape.count(-1) == 1 and known > 0 and size % known == 0:
        shape = tuple(size // known if d == -1 else d for d in shape)
    if -1 in shape or math.prod(shape) != size:
        raise refuse(op, f"the shape {list(shape)} does not hold the {size} elements of {list(source.shape)}")
    return shape


ENTRIES = {
    "RESHAPE": OperatorEntry(prepare_reshape, RULES, OperatorGroup.MOVES, inputs=(1, 2), reads_scales=False),
}
