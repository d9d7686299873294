"""AVERAGE_POOL_2D and MAX_POOL_2D: no rescaling, input and output have one quantization, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...arith.windows import WindowAxis, taps
from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.requantize.fold import activation_bounds
from ..base import PreparedOperator, refuse
from ..validity import check_windows
from .floats import float_bounds
from .unary import operands, per_tensor, pick_rule

__all__ = ["AVERAGE_RULES", "MAX_RULES", "prepare_pool_2d"]

Steps = Callable[[Array], dict[str, Array]]

AVERAGE_RULES: dict[str, str] = {
    "mean_half_away": "y = clamp(round_half_away(sum / count)); count without padding; bounds half away",
    "float32_in_order": "y = clamp(sum / count), added row by row from left to right in float32; finite bounds",
}

MAX_RULES: dict[str, str] = {
    "maximum/half_away": "y = clamp(max); bounds zy + round_half_away(bound / s_y)",
    "maximum/half_even": "y = clamp(max); bounds round_half_even(bound / s_y + zy)",
    "float32_first": "y = clamp(max) in float32; of two zeros the first; finite bounds",
}


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
    tflite/kernels/pooling.cc; google/XNNPACK, src/subgraph/max-pooling-2d.c.
    """
    pick_rule(op, rule, AVERAGE_RULES if op.name == "AVERAGE_POOL_2D" else MAX_RULES)
    x, y = operands(model, op)
    if len(x.shape) != 4 or 0 in x.shape or x.data is not None:
        raise refuse(op, f"the input {list(x.shape)} must be computed and have four dimensions")
    rows, columns = (
        WindowAxis(
            int(op.options.get(f"filter_{long}", 0)),  # type: ignore[arg-type]
            int(op.options.get(f"stride_{short}", 0)),  # type: ignore[arg-type]
            1,
            op.options.get("padding", "SAME") == "SAME",
        )
        for long, short in (("height", "h"), ("width", "w"))
    )
    if min(rows.size, columns.size, rows.stride, columns.stride) < 1:
        raise refuse(op, "filter and strides must be 1 or more")
    if not rows.outputs(x.shape[1]) or not columns.outputs(x.shape[2]):
        raise refuse(op, f"the window does not fit into the input {list(x.shape)}")
    check_windows(op, x.shape, rows, columns)
    if rule.startswith("float32"):
        steps = _float_steps(op, x, y, rows, columns)
    else:
        steps = _steps(op, rule, x, y, rows, columns)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if values[0].ndim != 4 or values[0].shape[1:] != x.shape[1:]:
            raise InputError(f"{op.label}: found an input of shape {list(values[0].shape)}, wanted {list(x.shape)}")
        named = steps(values[0])
        return {**named, "output": named["output"].astype(y.dtype.numpy)}

    return PreparedOperator(operator=op, rule=rule, inputs=(x.index,), evaluate=evaluate)


def _steps(op: Operator, rule: str, x: Tensor, y: Tensor, rows: WindowAxis, columns: WindowAxis) -> Steps:
    """Quantized integers."""
    given, to = per_tensor(op, x), per_tensor(op, y)
    if (x.dtype.name, given) != (y.dtype.name, to):
        raise refuse(op, "input and output must have one type, one scale and one zero point")
    activation = str(op.options.get("fused_activation_function", "NONE"))
    if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise refuse(op, f"fused activation {activation} is not covered")
    low, high = activation_bounds(
        activation, to.scale, to.zero_point, y.dtype, "half_even" if rule.endswith("half_even") else "half_away"
    )

    def maximum(values: Array) -> dict[str, Array]:
        best = None
        for _, _, seen in taps(values.astype(np.int32), rows, columns, to.qmin):
            best = seen if best is None else np.maximum(best, seen)
        assert best is not None
        return {"maximum": best, "output": np.minimum(np.maximum(best, low), high)}

    def average(values: Array) -> dict[str, Array]:
        ones = np.ones((1, *values.shape[1:3], 1), np.int32)
        total = sum(seen for _, _, seen in taps(values.astype(np.int32), rows, columns, 0))
        count = sum(seen for _, _, seen in taps(ones, rows, columns, 0))
        total, count = np.asarray(total), np.asarray(count)
        mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
        return {
            "sum": total,
            "count": np.broadcast_to(count, total.shape),
            "mean": mean,
            "output": np.minimum(np.maximum(mean, low), high),
        }

    return average if op.name == "AVERAGE_POOL_2D" else maximum


def _float_steps(op: Operator, x: Tensor, y: Tensor, rows: WindowAxis, columns: WindowAxis) -> Steps:
    """float32."""
    if not x.dtype.name == y.dtype.name == "float32":
        raise refuse(op, f"the rule is for float32, not {x.dtype.name} to {y.dtype.name}")
    low, high = float_bounds(op, finite=True)

    def clamp(value: Array) -> Array:
        return np.where(value < low, low, np.where(value > high, high, value))

    def maximum(values: Array) -> dict[str, Array]:
        best: Array = np.float32(-np.inf)  # type: ignore[assignment]
        for _, _, seen in taps(values, rows, columns, -np.inf):
            best = np.where(seen > best, seen, best)
        return {"maximum": best, "output": clamp(best)}

    def average(values: Array) -> dict[str, Array]:
        ones = np.ones((1, *values.shape[1:3], 1), np.float32)
        total: Array = np.float32(0)  # type: ignore[assignment]
        with np.errstate(all="ignore"):
            for _, _, seen in taps(values, rows, columns, 0):
                total = total + seen  # an addend 0 of the padding changes nothing but the sign of a zero
        count = np.asarray(sum(seen for _, _, seen in taps(ones, rows, columns, 0)))
        return {"sum": total, "count": np.broadcast_to(count, total.shape), "output": clamp(total / count)}

    return average if op.name == "AVERAGE_POOL_2D" else maximum
