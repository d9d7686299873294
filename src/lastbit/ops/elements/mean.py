"""MEAN and SUM over axes, of quantized and float32 arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...model.errors import InputError, Refusal
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.base import ChannelGroups
from ...rules.operators.floats import REDUCTIONS, FloatInOrder, float_equations
from ...rules.operators.fold import Constants, leaves
from ...rules.operators.rule import Condition, HeightAndWidth, StagedRule
from ...rules.operators.table import MEAN, SUM
from ...rules.operators.vector import Calculator, Given
from ...rules.operators.words import equations
from ..base import PreparedOperator, StagedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..moves.copies import check_axis, integers
from .unary import per_tensor, pick_rule

__all__ = ["ENTRIES", "MEAN_RULES", "SUM_RULES", "prepare_mean"]

MEAN_RULES = {**equations(MEAN), **float_equations(REDUCTIONS)}
SUM_RULES = {**equations(SUM), **float_equations(REDUCTIONS)}


def prepare_mean(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare MEAN or SUM of int8, uint8, int16 or float32 over constant axes.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `MEAN_RULES` or `SUM_RULES`.

    Returns:
        Steps: `sum` (of the centered input), `count`, in some rules `raw_sum`, `product` and `moved`, then `acc_scaled`
        (not with a bias), `with_zero_point`, `output`; of float32: `sum`, `output`.

    Raises:
        UnsupportedError: axes that are not constant, types or quantization outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/reduce.cc @59dec9b021d3, tflite/kernels/internal/optimized/
    integer_ops/mean.h @7d88950ea445, tflite/kernels/internal/reference/reduce.h; google/XNNPACK, src/qs8-rsum,
    src/qs8-rdsum.
    """
    rules = MEAN if op.name == "MEAN" else SUM
    chosen = pick_rule(op, rule, {**rules, **REDUCTIONS})
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    if isinstance(chosen, FloatInOrder):
        if not (x.dtype.name == output.dtype.name == "float32" and x.data is None):
            raise refuse(op, f"the rule {rule} is for computed float32, not {x.dtype.name} to {output.dtype.name}")
        return _float32(model, op, chosen)
    given, to = per_tensor(op, x), per_tensor(op, output)
    if x.dtype.name != output.dtype.name or x.dtype.name not in ("int8", "uint8", "int16") or x.data is not None:
        raise refuse(op, f"{x.dtype.name} to {output.dtype.name} is not covered; covered: computed int8, uint8, int16")
    axes, keep = _axes(model, op), bool(op.options.get("keep_dims", False))
    constants = Constants((given,), to, to.qmin, to.qmax, count=math.prod(x.shape[axis] for axis in axes))
    _check_reach(op, chosen, constants)
    staged = _staged(op, Calculator(chosen, constants), x, axes, keep, _counted_from_end(model, op))
    return PreparedOperator(
        operator=op,
        rule=rule,
        inputs=(x.index,),
        evaluate=lambda values: staged.steps(values, output.dtype),
        staged=staged,
    )


def _check_reach(op: Operator, rule: StagedRule, constants: Constants) -> None:
    (given,), to = constants.inputs, constants.output
    assert to is not None
    ratio = float(given.scale) / float(to.scale)
    if any(leaf.fits_int32 for leaf in leaves(rule)) and 256.0 * constants.count * ratio >= 2.0**31:
        raise refuse(op, f"not exact: with s_x/s_y = {ratio!r} an int32 overflows", Refusal.NOT_EXACT)


def _counted_from_end(model: Model, op: Operator) -> bool:
    return any(axis < 0 for axis in integers(model, op, 1, "axes"))


def _staged(
    op: Operator, calculator: Calculator, x: Tensor, axes: tuple[int, ...], keep: bool, counted_from_end: bool
) -> StagedOperator:
    rank, count = len(x.shape), np.asarray(calculator.constants.count)
    rest = [axis for axis in range(rank) if axis not in axes]

    def given(values: Sequence[Array]) -> Given:
        if values[0].ndim != rank or any(values[0].shape[axis] != x.shape[axis] for axis in axes):
            raise InputError(f"{op.label}: found an input of shape {list(values[0].shape)}, wanted {list(x.shape)}")
        return {"total": np.asarray(values[0].astype(np.int64).sum(axis=axes, keepdims=keep)), "count": count}

    def holds(when: Condition) -> bool | npt.NDArray[np.bool_]:
        match when:
            case HeightAndWidth(from_end):
                return rank == 4 and axes == (1, 2) and keep and (from_end or not counted_from_end)
            case ChannelGroups(channels):
                return np.arange(x.shape[-1]) < x.shape[-1] - x.shape[-1] % channels
            case _:
                raise TypeError(f"a reduction has no {when}")

    def members(values: Sequence[Array], index: tuple[int, ...]) -> Array:
        places = index if keep else [index[rest.index(axis)] if axis in rest else 0 for axis in range(rank)]
        return values[0][tuple(slice(None) if axis in axes else places[axis] for axis in range(rank))].reshape(-1)

    return StagedOperator(calculator, given, lambda values: holds, members)


def _axes(model: Model, op: Operator) -> tuple[int, ...]:
    rank = len(required_operand(model, op, 0, "input").shape)
    axes = tuple(sorted({check_axis(op, int(axis), rank) for axis in integers(model, op, 1, "axes")}))
    if not axes:
        raise refuse(op, "reduces no axis; LastBit covers one or more")
    return axes


def _float32(model: Model, op: Operator, rule: FloatInOrder) -> PreparedOperator:
    """Sums in the order in which the elements lie."""
    x, axes, keep = required_operand(model, op, 0, "input"), _axes(model, op), bool(op.options.get("keep_dims", False))
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    count = np.float32(math.prod(x.shape[axis] for axis in axes))

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        given = values[0]
        if given.ndim != len(x.shape) or any(given.shape[axis] != x.shape[axis] for axis in axes):
            raise InputError(f"{op.label}: found an input of shape {list(given.shape)}, wanted {list(x.shape)}")
        rows = given.transpose(*rest, *axes).reshape([given.shape[axis] for axis in rest] + [-1])
        total: Array = np.zeros(rows.shape[:-1], np.float32)
        with np.errstate(all="ignore"):
            for k in range(rows.shape[-1]):
                total = total + rows[..., k]
            mean = total if op.name == "SUM" else total / count
        shape = [1 if axis in axes else given.shape[axis] for axis in range(given.ndim)] if keep else mean.shape
        return {"sum": total.reshape(shape), "output": mean.reshape(shape)}

    return PreparedOperator(operator=op, rule=rule.name, inputs=(x.index,), evaluate=evaluate)


ENTRIES = {
    "MEAN": OperatorEntry(prepare_mean, MEAN_RULES, OperatorGroup.PRODUCTS, inputs=(2, 2)),
    "SUM": OperatorEntry(prepare_mean, SUM_RULES, OperatorGroup.PRODUCTS, inputs=(2, 2)),
}
