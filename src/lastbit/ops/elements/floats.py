"""What the operators on float32 share that round once: sums, differences, products, comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...arith.elementwise import InnerLoop, inner_loop
from ...arith.floats import flush_subnormals
from ...model.graph import Model, Operator
from ...model.types import Array, fused_bounds
from ...rules.operators.floats import FloatArithmetic, Zeros
from ..base import PreparedOperator, refuse
from .binary import operands_of_two, prepared_binary

__all__ = ["clamp", "float_bounds", "prepare_float_binary"]


def clamp(x: Array, low: np.float32, high: np.float32, zeros: Zeros) -> Array:
    """min(max(x, low), high) of float32; NaN stays.

    Args:
        x: float32.
        low: the lower bound.
        high: the upper bound.
        zeros: whether -0.0 is `kept` at a lower bound of 0.0.
    """
    # Comparisons, not NumPy's maximum, which says nothing of zeros.
    below = x < low if zeros == "kept" else x <= low
    return np.where(below, low, np.where(x > high, high, x))


def float_bounds(op: Operator, *, finite: bool) -> tuple[np.float32, np.float32]:
    """The real bounds of the fused activation.

    Args:
        op: the operator.
        finite: where there is no bound, the largest finite number is one.

    Raises:
        UnsupportedError: an activation that is no clamp.
    """
    activation = str(op.options.get("fused_activation_function", "NONE"))
    if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise refuse(op, f"fused activation {activation} is not covered")
    low, high = (np.float32(bound) for bound in fused_bounds(activation))
    largest = np.finfo(np.float32).max
    return (max(low, -largest), min(high, largest)) if finite else (low, high)


def prepare_float_binary(
    model: Model, op: Operator, rule: FloatArithmetic, function: Callable[[Array, Array], Array]
) -> PreparedOperator:
    """Prepare an operator of two float32 arrays that makes one rounding, with broadcasting.

    Args:
        model: the model.
        op: the operator.
        rule: its rule.
        function: the operation on two float32 arrays of one shape.

    Returns:
        Steps: `result`, `output` (with the fused activation's clamp).

    Raises:
        UnsupportedError: operands or options outside of what is covered.
    """
    tensors, output = operands_of_two(model, op)
    if output.dtype.name != "float32":
        raise refuse(op, f"the rule {rule.name} is for float32, not {output.dtype.name}")
    flush = rule.flush
    low, high = float_bounds(op, finite=rule.finite)
    one, other = (tensor.shape for tensor in tensors)
    loop = inner_loop(one, other) if rule.broadcast or one == other else InnerLoop(0)

    def steps(a: Array, b: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            result = function(flush_subnormals(a), flush_subnormals(b)) if flush else function(a, b)
            result = flush_subnormals(result) if flush else result
        kept, ordered = clamp(result, low, high, "kept"), clamp(result, low, high, rule.zeros)
        grouped = rule.group == 1 or loop.in_vector(result.size, rule.group).reshape(result.shape)
        return {"result": result, "output": np.where(grouped, ordered, kept)}

    return prepared_binary(op, rule.name, tensors, output, steps)
