"""What the operators with two inputs and one output share: operands, constants, broadcasting, the output's clamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.requantize.fold import activation_bounds
from ..base import PreparedOperator, refuse, required_operand
from .unary import Scale, per_tensor

__all__ = ["Binary", "PreparedBinary", "binary", "clamp_output", "operands_of_two", "prepared_binary"]


@dataclass(frozen=True, eq=False)
class Binary:
    """Two inputs and an output, as the file has them.

    Attributes:
        operator: the operator.
        tensors: input 1, input 2.
        output: the output.
        given: the inputs' quantization.
        to: the output's quantization.
        low: the output's lower bound with the fused activation.
        high: its upper bound.
    """

    operator: Operator
    tensors: tuple[Tensor, Tensor]
    output: Tensor
    given: tuple[Scale, Scale]
    to: Scale
    low: int
    high: int


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedBinary(PreparedOperator):
    """An operator of two arrays, element by element.

    Attributes:
        tensors: input 1, input 2; one may be a constant.
    """

    tensors: tuple[Tensor, Tensor]


def operands_of_two(model: Model, op: Operator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The two inputs and the output, of shapes that broadcast.

    Raises:
        UnsupportedError: their number, types or shapes do not fit.
    """
    first, second = (required_operand(model, op, i, f"input {i + 1}") for i in (0, 1))
    output = model.tensors[op.outputs[0]]
    names = {tensor.dtype.name for tensor in (first, second, output)}
    if len(op.inputs) != 2 or len(op.outputs) != 1:
        raise refuse(op, f"has {len(op.inputs)} inputs and {len(op.outputs)} outputs; every runtime wants 2 and 1")
    if len(names) != 1:
        raise refuse(op, f"input and output types are {', '.join(sorted(names))}; every runtime wants one")
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise refuse(op, f"the shapes {list(first.shape)} and {list(second.shape)} do not broadcast") from None
    if shape != output.shape:
        raise refuse(op, f"the inputs give the shape {list(shape)}, the output has {list(output.shape)}")
    if first.data is not None and second.data is not None:
        raise refuse(op, "both inputs are constants; LastBit covers one at most")
    return (first, second), output


def binary(model: Model, op: Operator, bounds: str) -> Binary:
    """Read an operator with two quantized inputs and check it.

    Args:
        model: the model.
        op: the operator.
        bounds: the tie rule of the fused activation's bounds, `half_away` or `half_even`.

    Raises:
        UnsupportedError: operands, types or options outside of what is covered.
    """
    tensors, output = operands_of_two(model, op)
    first, second, to = (per_tensor(op, tensor) for tensor in (*tensors, output))
    activation = str(op.options.get("fused_activation_function", "NONE"))
    if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise refuse(op, f"fused activation {activation} is not covered")
    low, high = activation_bounds(
        activation, to.scale, to.zero_point, output.dtype, "half_even" if bounds == "half_even" else "half_away"
    )
    return Binary(op, tensors, output, (first, second), to, low, high)


def clamp_output(node: Binary, steps: dict[str, Array]) -> dict[str, Array]:
    """Add the output's zero point to `acc_scaled` in an int32, unless that is done, and clamp."""
    if "with_zero_point" not in steps:
        steps["with_zero_point"] = low_bits(steps["acc_scaled"] + node.to.zero_point, 32)
    steps["output"] = np.minimum(np.maximum(steps["with_zero_point"], node.low), node.high)
    return steps


def prepared_binary(
    op: Operator,
    rule: str,
    tensors: tuple[Tensor, Tensor],
    output: Tensor,
    steps: Callable[[Array, Array], dict[str, Array]],
    *,
    notes: Sequence[str] = (),
) -> PreparedOperator:
    """A prepared operator from a function of two arrays of one shape, already broadcast.

    The output of steps is cast to the output's type. One input may be a constant of the file.
    """
    computed = tuple(tensor for tensor in tensors if tensor.data is None)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        fed = iter(values)
        both = [tensor.data if tensor.data is not None else np.asarray(next(fed)) for tensor in tensors]
        try:
            first, second = np.broadcast_arrays(*both)
        except ValueError:
            shapes = " and ".join(str(list(x.shape)) for x in both)
            raise InputError(f"{op.label}: inputs of shape {shapes} do not broadcast") from None
        named = steps(first, second)
        return {**named, "output": named["output"].astype(output.dtype.numpy)}

    return PreparedBinary(
        operator=op,
        rule=rule,
        inputs=tuple(tensor.index for tensor in computed),
        evaluate=evaluate,
        notes=tuple(notes),
        tensors=tensors,
    )
