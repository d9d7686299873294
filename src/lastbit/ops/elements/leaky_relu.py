"""LEAKY_RELU: the negative half of an array scaled by alpha."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ...arith.floats import flush_subnormals
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.floats import SLOPES, FloatSlope, float_equations
from ...rules.operators.fold import Constants, factor_value, rescalings
from ...rules.operators.table import LEAKY_RELU
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .staged import prepared_unary
from .unary import operands, per_tensor, pick_rule, prepared

__all__ = ["ENTRIES", "RULES", "prepare_leaky_relu"]

RULES: dict[str, str] = {**equations(LEAKY_RELU), **float_equations(SLOPES)}


def prepare_leaky_relu(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare LEAKY_RELU of int8, uint8, int16 or float32.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `centered`, `acc_scaled`, `with_zero_point`, `output`; of float32: `output`.

    Raises:
        UnsupportedError: types that differ, or scales outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/activations.cc (LeakyReluPrepare), tflite/kernels/internal/reference/
    leaky_relu.h; google/XNNPACK, src/qs8-vlrelu; src/f32-vlrelu/sse.c.in and
    src/f32-vlrelu/avx512f.c.in @641e2bd133d1, whose comparison takes subnormals for zero.
    """
    chosen = pick_rule(op, rule, {**LEAKY_RELU, **SLOPES})
    source, output = operands(model, op)
    if isinstance(chosen, FloatSlope):
        return _float32(op, chosen, source, output)
    given, to = per_tensor(op, source), per_tensor(op, output)
    if source.dtype.name != output.dtype.name or source.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"{source.dtype.name} to {output.dtype.name} is not covered; covered: int8, uint8, int16")
    alpha = np.float32(op.options.get("alpha", 0.0))  # type: ignore[arg-type]
    if not np.isfinite(alpha):
        raise refuse(op, f"alpha is {float(alpha)!r}")
    constants = Constants((given,), to, to.qmin, to.qmax, alpha=alpha)
    factors = [float(factor_value(stage.factor, constants)) for stage in rescalings(chosen)]
    if not all(abs(factor) < 2.0**14 for factor in factors):
        raise refuse(op, f"s_x/s_y is {factors[0]!r}; covered: below 2^14, where no int32 overflows")
    return prepared_unary(op, chosen, constants, (source, output))


def _float32(op: Operator, rule: FloatSlope, source: Tensor, output: Tensor) -> PreparedOperator:
    if not source.dtype.name == output.dtype.name == "float32":
        raise refuse(op, f"the rule {rule.name} is for float32, not {source.dtype.name} to {output.dtype.name}")
    alpha = np.float32(op.options.get("alpha", 0.0))  # type: ignore[arg-type]

    def steps(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            match rule.below:
                case "not_above_zero":
                    below, product = ~(x > 0), x * alpha
                case "sign_bit":
                    below, product = np.signbit(x), flush_subnormals(x) * alpha
                case "below_zero":
                    below, product = flush_subnormals(x) < 0, x * alpha
                case never:
                    assert_never(never)
            return {"output": np.where(below, flush_subnormals(product) if rule.flush else product, x)}

    return prepared(op, rule.name, source, output, steps)


ENTRIES = {
    "LEAKY_RELU": OperatorEntry(prepare_leaky_relu, RULES, OperatorGroup.ACTIVATIONS),
}
