"""What the operators share that move values without calculating: operands, constants, quantization, outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, constant_operand, refuse
from ..elements.unary import pick_rule

__all__ = ["COPY_RULES", "check_axis", "integers", "per_call", "prepared_copy", "same_quantization"]

COPY_RULES: dict[str, str] = {"copy": "the same values, moved; nothing is rescaled"}


def integers(model: Model, op: Operator, position: int, what: str) -> npt.NDArray[np.int64]:
    """A constant int32 or int64 operand as a flat array.

    Raises:
        UnsupportedError: it is absent, computed at run time or of another type.
    """
    tensor = constant_operand(model, op, position, what)
    if tensor.dtype.name not in ("int32", "int64") or tensor.data is None:
        raise refuse(op, f"{what} ({tensor.label}) is {tensor.dtype.name}; wanted int32 or int64")
    return tensor.data.reshape(-1).astype(np.int64)


def check_axis(op: Operator, axis: int, rank: int) -> int:
    """An axis counted from 0; negative ones count from the end.

    Raises:
        UnsupportedError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise refuse(op, f"there is no axis {axis} in {rank} dimensions")
    return axis % rank


def same_quantization(op: Operator, tensors: Sequence[Tensor]) -> None:
    """Refuse tensors of different types or quantization, which an operator that only moves values does not rescale.

    Raises:
        UnsupportedError: they differ.
    """
    first = tensors[0]
    for other in tensors[1:]:
        if other.dtype.name != first.dtype.name:
            raise refuse(op, f"{first.label} is {first.dtype.name}, {other.label} is {other.dtype.name}; wanted one")
        if first.dtype.name not in ("int8", "uint8", "int16"):
            continue
        params = [
            None if t.quant is None else (t.quant.scale.tolist(), t.quant.zero_point.tolist()) for t in (first, other)
        ]
        if params[0] != params[1]:
            raise refuse(op, f"{first.label} and {other.label} have different quantization; LastBit covers one here")


def per_call(move: Callable[[Array], Array], x: Array, tensor: Tensor) -> Array:
    """What an operator that mixes samples makes of a batch: of every call's part by itself, one behind the other.

    Args:
        move: from an array of the file's shape to the output of one call.
        x: an array with a multiple of the file's first dimension.
        tensor: the input as the file has it.
    """
    first = max(tensor.shape[0], 1)
    if x.shape[0] % first:
        raise ValueError(f"{x.shape[0]} is not a multiple of {first}")
    return np.concatenate([move(part) for part in np.split(x, max(x.shape[0] // first, 1))])


def prepared_copy(
    op: Operator,
    rule: str,
    rules: dict[str, str],
    tensors: Sequence[Tensor],
    outputs: Sequence[Tensor],
    move: Callable[[Sequence[Array]], Sequence[Array]],
) -> PreparedOperator:
    """A prepared operator from a function of its data inputs, of which some may be constants of the file.

    Args:
        op: the operator.
        rule: the name of its rule.
        rules: the operator's rules.
        tensors: its data inputs, in order.
        outputs: its outputs.
        move: from their values to the outputs' values. A ValueError it raises becomes an InputError.

    Returns:
        Steps: `output_1`, `output_2` and so on where there are further outputs, then `output`.
    """
    pick_rule(op, rule, rules)
    same_quantization(op, [*tensors, *outputs])

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        fed = iter(values)
        given = [tensor.data if tensor.data is not None else np.asarray(next(fed)) for tensor in tensors]
        try:
            moved = move(given)
        except ValueError as error:
            shapes = ", ".join(str(list(x.shape)) for x in given)
            raise InputError(f"{op.label}: inputs of shape {shapes} do not fit: {error}") from None
        steps = {f"output_{i}": value for i, value in enumerate(moved) if i}
        return {**steps, "output": moved[0]}

    return PreparedOperator(
        operator=op,
        rule=rule,
        inputs=tuple(tensor.index for tensor in tensors if tensor.data is None),
        evaluate=evaluate,
    )
