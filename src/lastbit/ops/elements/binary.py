"""What the operators with two inputs and one output share: operands, constants, broadcasting, the output's clamp."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...arith.elementwise import InnerLoop, inner_loop
from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.base import Bounds
from ...rules.operators.fold import Constants, Scale
from ...rules.operators.rule import Condition, InnerGroups, StagedRule
from ...rules.operators.vector import Calculator, Given, Holds
from ...rules.requantize.fold import activation_bounds
from ..base import PreparedOperator, StagedOperator, refuse, required_operand
from .unary import per_tensor

__all__ = ["Binary", "PreparedBinary", "binary", "operands_of_two", "prepared_binary", "staged_binary"]


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


def binary(model: Model, op: Operator, bounds: Bounds) -> Binary:
    """Read an operator with two quantized inputs and check it.

    Args:
        model: the model.
        op: the operator.
        bounds: the tie rule of the fused activation's bounds.

    Raises:
        UnsupportedError: operands, types or options outside of what is covered.
    """
    tensors, output = operands_of_two(model, op)
    first, second, to = (per_tensor(op, tensor) for tensor in (*tensors, output))
    activation = str(op.options.get("fused_activation_function", "NONE"))
    if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise refuse(op, f"fused activation {activation} is not covered")
    low, high = activation_bounds(activation, to.scale, to.zero_point, output.dtype, bounds)
    return Binary(op, tensors, output, (first, second), to, low, high)


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

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        named = steps(*_both(op, tensors, values))
        return {**named, "output": named["output"].astype(output.dtype.numpy)}

    return PreparedBinary(
        operator=op,
        rule=rule,
        inputs=_computed(tensors),
        evaluate=evaluate,
        notes=tuple(notes),
        tensors=tensors,
    )


def staged_binary(node: Binary, rule: StagedRule) -> PreparedOperator:
    """A prepared operator of two quantized arrays whose rule is made of stages."""
    op, output = node.operator, node.output
    constants = Constants(node.given, node.to, node.low, node.high, subtract=op.name == "SUB")
    loop = inner_loop(*(tensor.shape for tensor in node.tensors))

    def given(values: Sequence[Array]) -> Given:
        first, second = _both(op, node.tensors, values)
        return {"input_1": first, "input_2": second}

    def holds(values: Sequence[Array]) -> Holds:
        return lambda when: _groups(when, loop, output, _both(op, node.tensors, values)[0].shape)

    staged = StagedOperator(Calculator(rule, constants), given, holds)
    return PreparedBinary(
        operator=op,
        rule=rule.name,
        inputs=_computed(node.tensors),
        evaluate=lambda values: staged.steps(values, output.dtype),
        staged=staged,
        tensors=node.tensors,
    )


def _groups(when: Condition, loop: InnerLoop, output: Tensor, shape: tuple[int, ...]) -> bool | npt.NDArray[np.bool_]:
    """Where a vector loop over the innermost dimensions runs."""
    if not isinstance(when, InnerGroups):
        raise TypeError(f"an operator of two inputs has no {when}")
    sides = when.one_element == "either" or (when.one_element == "yes") == loop.scalar
    broadcast = loop.scalar or loop.length != math.prod(output.shape)
    if not loop.length or not sides or output.dtype.name not in when.types or (broadcast and not when.broadcast):
        return False
    return loop.in_vector(math.prod(shape), when.elements).reshape(shape)


def _both(op: Operator, tensors: tuple[Tensor, Tensor], values: Sequence[Array]) -> tuple[Array, Array]:
    """Both inputs, one of which may be a constant of the file, broadcast to one shape."""
    fed = iter(values)
    both = [tensor.data if tensor.data is not None else np.asarray(next(fed)) for tensor in tensors]
    try:
        first, second = np.broadcast_arrays(*both)
    except ValueError:
        shapes = " and ".join(str(list(x.shape)) for x in both)
        raise InputError(f"{op.label}: inputs of shape {shapes} do not broadcast") from None
    return first, second


def _computed(tensors: tuple[Tensor, Tensor]) -> tuple[int, ...]:
    return tuple(tensor.index for tensor in tensors if tensor.data is None)
