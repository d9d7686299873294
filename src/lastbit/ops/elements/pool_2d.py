"""AVERAGE_POOL_2D and MAX_POOL_2D: no rescaling, input and output have one quantization, or none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from ...arith.windows import WindowAxis, taps
from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.floats import POOL_LARGEST, POOL_MEAN, FloatInOrder, FloatLargest, float_equations
from ...rules.operators.fold import Constants, bounds_of, leaves
from ...rules.operators.forms import Largest
from ...rules.operators.rule import Condition, StagedRule
from ...rules.operators.table import AVERAGE_POOL, MAX_POOL
from ...rules.operators.vector import Calculator, Given
from ...rules.operators.words import equations
from ...rules.requantize.fold import activation_bounds
from ..base import PreparedOperator, StagedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_windows
from .floats import float_bounds
from .unary import operands, per_tensor, pick_rule

__all__ = ["AVERAGE_RULES", "ENTRIES", "MAX_RULES", "pool_windows", "prepare_pool_2d"]

Steps = Callable[[Array], dict[str, Array]]

AVERAGE_RULES: dict[str, str] = {**equations(AVERAGE_POOL), **float_equations(POOL_MEAN)}
MAX_RULES: dict[str, str] = {**equations(MAX_POOL), **float_equations(POOL_LARGEST)}


def prepare_pool_2d(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare AVERAGE_POOL_2D or MAX_POOL_2D of int8, uint8, int16 or float32.

    Elements of the padding take no part: neither in the sum nor in the count nor in the maximum.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `AVERAGE_RULES` or `MAX_RULES`.

    Returns:
        Steps of the average: `sum`, `count`, `mean`, `output`; of the maximum: `maximum`, `output`; all
        `[n, out_h, out_w, c]`.

    Raises:
        UnsupportedError: input and output quantization differ, or shapes, types or options outside of what is
            covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/reference/integer_ops/pooling.h @268878a7f508 and
    tflite/kernels/pooling.cc; google/XNNPACK, src/subgraph/max-pooling-2d.c. Eigen takes the maximum of a pixel's
    channels in vectors from the first 16-byte address on, and the rest one by one.
    """
    chosen = pick_rule(
        op, rule, {**AVERAGE_POOL, **POOL_MEAN} if op.name == "AVERAGE_POOL_2D" else {**MAX_POOL, **POOL_LARGEST}
    )
    x, y = operands(model, op)
    if len(x.shape) != 4 or 0 in x.shape or x.data is not None:
        raise refuse(op, f"the input {list(x.shape)} must be computed and have four dimensions")
    rows, columns = pool_windows(op)
    if min(rows.size, columns.size, rows.stride, columns.stride) < 1:
        raise refuse(op, "filter and strides must be 1 or more")
    if not rows.outputs(x.shape[1]) or not columns.outputs(x.shape[2]):
        raise refuse(op, f"the window does not fit into the input {list(x.shape)}")
    check_windows(op, x.shape, rows, columns)
    staged: StagedOperator | None = None
    if isinstance(chosen, FloatInOrder | FloatLargest):
        steps = _float_steps(op, chosen, x, y, rows, columns)
    else:
        whole = staged = _staged(op, chosen, x, y, rows, columns)

        def steps(values: Array) -> dict[str, Array]:
            return whole.steps([values], y.dtype)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if values[0].ndim != 4 or values[0].shape[1:] != x.shape[1:]:
            raise InputError(f"{op.label}: found an input of shape {list(values[0].shape)}, wanted {list(x.shape)}")
        named = steps(values[0])
        return {**named, "output": named["output"].astype(y.dtype.numpy)}

    return PreparedOperator(operator=op, rule=rule, inputs=(x.index,), evaluate=evaluate, staged=staged)


def pool_windows(op: Operator) -> tuple[WindowAxis, WindowAxis]:
    """The window along the height and along the width."""
    rows, columns = (
        WindowAxis(
            int(op.options.get(f"filter_{long}", 0)),  # type: ignore[arg-type]
            int(op.options.get(f"stride_{short}", 0)),  # type: ignore[arg-type]
            1,
            op.options.get("padding", "SAME") == "SAME",
        )
        for long, short in (("height", "h"), ("width", "w"))
    )
    return rows, columns


def _staged(
    op: Operator, rule: StagedRule, x: Tensor, y: Tensor, rows: WindowAxis, columns: WindowAxis
) -> StagedOperator:
    """Quantized integers."""
    given, to = per_tensor(op, x), per_tensor(op, y)
    if (x.dtype.name, given) != (y.dtype.name, to):
        raise refuse(op, "input and output must have one type, one scale and one zero point")
    activation = str(op.options.get("fused_activation_function", "NONE"))
    if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise refuse(op, f"fused activation {activation} is not covered")
    low, high = activation_bounds(activation, to.scale, to.zero_point, y.dtype, bounds_of(rule))
    largest = any(isinstance(stage, Largest) for leaf in leaves(rule) for stage in leaf.stages)

    def reduced(values: Sequence[Array]) -> Given:
        wide = values[0].astype(np.int32)
        if largest:
            seen = [part for _, _, part in taps(wide, rows, columns, to.qmin)]
            return {"largest": functools.reduce(np.maximum, seen)}
        ones = np.ones((1, *wide.shape[1:3], 1), np.int32)
        total = np.asarray(sum(seen for _, _, seen in taps(wide, rows, columns, 0)))
        return {"total": total, "count": np.asarray(sum(seen for _, _, seen in taps(ones, rows, columns, 0)))}

    def members(values: Sequence[Array], index: tuple[int, ...]) -> Array:
        """The window's elements that are not padding."""
        n, top, left, channel = index
        places = [
            start + np.arange(window.size) * window.dilation
            for window, length, place in zip((rows, columns), x.shape[1:3], (top, left), strict=True)
            for start in (place * window.stride - window.padding(length)[0],)
        ]
        inside = [spots[(spots >= 0) & (spots < length)] for spots, length in zip(places, x.shape[1:3], strict=True)]
        return np.asarray(values[0][n][np.ix_(*inside)][..., channel].reshape(-1))

    calculator = Calculator(rule, Constants((given,), to, low, high))
    return StagedOperator(calculator, reduced, lambda values: _no_condition, members)


def _no_condition(when: Condition) -> bool:
    raise TypeError(f"a pool has no {when}")


def _float_steps(
    op: Operator, rule: FloatInOrder | FloatLargest, x: Tensor, y: Tensor, rows: WindowAxis, columns: WindowAxis
) -> Steps:
    """float32."""
    if not x.dtype.name == y.dtype.name == "float32":
        raise refuse(op, f"the rule is for float32, not {x.dtype.name} to {y.dtype.name}")
    low, high = float_bounds(op, finite=True)

    def clamp(value: Array) -> Array:
        return np.where(value < low, low, np.where(value > high, high, value))

    def maximum(values: Array) -> dict[str, Array]:
        best: Array = np.float32(-np.inf)  # type: ignore[assignment]
        vector = _in_groups(y.shape, rule.group) if isinstance(rule, FloatLargest) and rule.group else np.False_
        for _, _, seen in taps(values, rows, columns, -np.inf):
            ordered = (seen == best) & ~np.signbit(seen) & np.resize(vector, seen.shape)
            best = np.where((seen > best) | ordered, seen, best)
        return {"maximum": best, "output": clamp(best)}

    def average(values: Array) -> dict[str, Array]:
        ones = np.ones((1, *values.shape[1:3], 1), np.float32)
        total: Array = np.float32(0)  # type: ignore[assignment]
        with np.errstate(all="ignore"):
            for _, _, seen in taps(values, rows, columns, 0):
                total = total + seen  # an addend 0 of the padding changes only the sign of a zero
        count = np.asarray(sum(seen for _, _, seen in taps(ones, rows, columns, 0)))
        return {"sum": total, "count": np.broadcast_to(count, total.shape), "output": clamp(total / count)}

    return average if isinstance(rule, FloatInOrder) else maximum


def _in_groups(shape: tuple[int, ...], group: int) -> Array:
    """Which outputs of an array lie in whole groups: `group` channels of a pixel from a multiple of `group` on."""
    pixels = np.arange(np.prod(shape)) // shape[-1]
    whole = pixels[: pixels.size // group * group].reshape(-1, group)
    found = np.zeros(pixels.size, np.bool_)
    found[: whole.size] = np.repeat(whole[:, 0] == whole[:, -1], group)
    return found


def _delegate_declines(model: Model, op: Operator) -> str | None:
    sides = (("height", "h"), ("width", "w"))
    strides = [(op.options.get(f"stride_{short}", 0), op.options.get(f"filter_{long}", 0)) for long, short in sides]
    longer = any(int(stride) > int(size) for stride, size in strides)  # type: ignore[arg-type]
    return "a stride is longer than the filter" if longer else None


ENTRIES = {
    "AVERAGE_POOL_2D": OperatorEntry(prepare_pool_2d, AVERAGE_RULES, OperatorGroup.PRODUCTS),
    "MAX_POOL_2D": OperatorEntry(
        prepare_pool_2d, MAX_RULES, OperatorGroup.PRODUCTS, delegate_declines=_delegate_declines
    ),
}
