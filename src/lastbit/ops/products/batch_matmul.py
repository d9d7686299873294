"""BATCH_MATMUL of quantized matrices: both sides may be computed, and have a zero point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.errors import InputError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...rules.requantize.fold import prepare_requantize
from ...rules.requantize.table import AROUND_DENSE
from ...rules.requantize.vector import requantize
from ...rules.requantize.words import equation
from ..base import PreparedOperator, refuse, required_operand
from ..elements.unary import per_tensor, pick_rule
from ..validity import check_factor

__all__ = ["RULES", "prepare_batch_matmul"]

RULES: dict[str, str] = {name: equation(rule) for name, rule in AROUND_DENSE.items()}


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
    tensors = tuple(required_operand(model, op, i, f"input {i + 1}") for i in (0, 1))
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
        fed = iter(values)
        sides = []
        for tensor, scale, adjoint in zip(tensors, (one, two), turned, strict=True):
            x = np.asarray(tensor.data if tensor.data is not None else next(fed)).astype(np.float64)
            sides.append((x.swapaxes(-1, -2) if adjoint else x) - scale.zero_point)
        try:
            # float64 holds sums of up to 2^21 products of 16-bit numbers exactly.
            acc = np.matmul(*sides).astype(np.int64)
        except ValueError:
            shapes = " and ".join(str(list(side.shape)) for side in sides)
            raise InputError(f"{op.label}: matrices of shape {shapes} do not fit") from None
        acc = low_bits(acc, 32).astype(np.int32) if narrow else acc
        return {"acc": acc, **requantize(acc, params)}

    try:
        shapes = [
            (*t.shape[:-2], *(t.shape[-2:][::-1] if adj else t.shape[-2:]))
            for t, adj in zip(tensors, turned, strict=True)
        ]
        found = (*np.broadcast_shapes(*(s[:-2] for s in shapes)), shapes[0][-2], shapes[1][-1])
    except (ValueError, IndexError):
        found = ()
    if min(len(t.shape) for t in tensors) < 2 or shapes[0][-1] != shapes[1][-2] or found != output.shape:
        raise refuse(op, f"{list(tensors[0].shape)} and {list(tensors[1].shape)} do not give {list(output.shape)}")
    return PreparedOperator(
        operator=op, rule=rule, inputs=tuple(t.index for t in tensors if t.data is None), evaluate=evaluate
    )
