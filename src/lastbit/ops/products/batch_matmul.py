"""BATCH_MATMUL of quantized matrices: both sides may be computed, and have a zero point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arith.fixedpoint import low_bits
from ...arith.matmul import integer_product
from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.fold import Scale
from ...rules.requantize.fold import RequantParams, prepare_requantize
from ...rules.requantize.table import AROUND_DENSE
from ...rules.requantize.vector import requantize
from ...rules.requantize.words import equation
from ..base import PreparedOperator, refuse, required_operand
from ..elements.unary import per_tensor, pick_rule
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_factor

__all__ = ["ENTRIES", "RULES", "PreparedProduct", "prepare_batch_matmul"]

RULES: dict[str, str] = {name: equation(rule) for name, rule in AROUND_DENSE.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedProduct(PreparedOperator):
    """A product of two matrices with its constants folded for one runtime.

    Attributes:
        tensors: both sides.
        output_tensor: the output.
        turned: whether each side is stored transposed.
        scales: the quantization of both sides and the output.
        requant: the requantization's folded constants.
    """

    tensors: tuple[Tensor, Tensor]
    output_tensor: Tensor
    turned: tuple[bool, bool]
    scales: tuple[Scale, Scale, Scale]
    requant: RequantParams

    def sides(self, values: Sequence[Array]) -> list[Array]:
        """Both matrices as they are multiplied, with their zero points: `[..., rows, k]` and `[..., k, columns]`."""
        fed = iter(values)
        given = (np.asarray(tensor.data if tensor.data is not None else next(fed)) for tensor in self.tensors)
        return [x.swapaxes(-1, -2) if turned else x for x, turned in zip(given, self.turned, strict=True)]

    def vectors(self, values: Sequence[Array], index: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """The row and the column that one output element is made of, without their zero points."""
        one, two = self.sides(values)
        leading = np.broadcast_shapes(one.shape[:-2], two.shape[:-2])
        row = np.broadcast_to(one, (*leading, *one.shape[-2:]))[index[:-1]]
        column = np.broadcast_to(two, (*leading, *two.shape[-2:]))[index[:-2]][:, index[-1]]
        zeros = (side.zero_point for side in self.scales[:2])
        first, second = ([int(x) - zero for x in part] for part, zero in zip((row, column), zeros, strict=True))
        return first, second


def _check_shapes(op: Operator, tensors: tuple[Tensor, Tensor], output: Tensor, turned: tuple[bool, bool]) -> None:
    """Refuse matrices that do not fit each other or the output."""
    sides = [
        (*t.shape[:-2], *(t.shape[-2:][::-1] if adj else t.shape[-2:])) for t, adj in zip(tensors, turned, strict=True)
    ]
    try:
        found = (*np.broadcast_shapes(*(side[:-2] for side in sides)), sides[0][-2], sides[1][-1])
    except (ValueError, IndexError):
        found = ()
    if min(len(t.shape) for t in tensors) < 2 or sides[0][-1] != sides[1][-2] or found != output.shape:
        raise refuse(op, f"{list(tensors[0].shape)} and {list(tensors[1].shape)} do not give {list(output.shape)}")


def prepare_batch_matmul(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare BATCH_MATMUL of int8 or int16; leading dimensions broadcast.

    acc[..., i, j] = sum over k of (x_1[..., i, k] - z_1)(x_2[..., k, j] - z_2), in an int32 that wraps, or in 64 bits
    where the rule says so. `adj_x` and `adj_y` say that a side is stored transposed. In a rule's equation s_w is the
    second side's scale.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `acc`, those of the requantization, `output`, all `[..., rows, columns]`.

    Raises:
        UnsupportedError: types, shapes or quantization outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/batch_matmul.cc and tflite/kernels/internal/reference/batch_matmul.h.
    """
    pick_rule(op, rule, RULES)
    tensors = required_operand(model, op, 0, "input 1"), required_operand(model, op, 1, "input 2")
    output = model.tensors[op.outputs[0]]
    one, to = per_tensor(op, tensors[0]), per_tensor(op, output)
    two = per_tensor(op, tensors[1], zero=True)
    names = {tensor.dtype.name for tensor in (*tensors, output)}
    if len(names) != 1 or not names <= {"int8", "int16"}:
        raise refuse(op, f"input and output types are {', '.join(sorted(names))}; covered: int8 or int16 throughout")
    if "int16" in names and (one.zero_point or two.zero_point or to.zero_point):
        raise refuse(op, "int16 wants zero points of 0; the runtimes refuse anything else")
    if all(tensor.data is not None for tensor in tensors):
        raise refuse(op, "both inputs are constants; LastBit covers one at most")
    turned = bool(op.options.get("adj_x", False)), bool(op.options.get("adj_y", False))
    params = prepare_requantize(
        AROUND_DENSE[rule],
        input_scale=one.scale,
        weights_scale=np.asarray([two.scale], np.float32),
        output_scale=to.scale,
        output_zero_point=to.zero_point,
        activation="NONE",
        dtype=output.dtype,
    )
    check_factor(op, params)
    narrow = params.rule.sums.bits == 32

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        sides = [
            side.astype(np.float64) - scale.zero_point
            for side, scale in zip(made.sides(values), (one, two), strict=True)
        ]
        try:
            # float64 holds sums of up to 2^21 products of 16-bit numbers exactly.
            acc = integer_product(*sides).astype(np.int64)
        except ValueError:
            shapes = " and ".join(str(list(side.shape)) for side in sides)
            raise InputError(f"{op.label}: matrices of shape {shapes} do not fit") from None
        acc = low_bits(acc, 32).astype(np.int32) if narrow else acc
        return {"acc": acc, **requantize(acc, params)}

    _check_shapes(op, tensors, output, turned)
    made = PreparedProduct(
        operator=op,
        rule=rule,
        inputs=tuple(t.index for t in tensors if t.data is None),
        evaluate=evaluate,
        tensors=tensors,
        output_tensor=output,
        turned=turned,
        scales=(one, two, to),
        requant=params,
    )
    return made


ENTRIES = {
    "BATCH_MATMUL": OperatorEntry(
        prepare_batch_matmul, RULES, OperatorGroup.PRODUCTS, inputs=(2, 2), roles=("input", "weights")
    ),
}
