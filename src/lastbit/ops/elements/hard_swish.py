"""HARD_SWISH: x relu6(x + 3) / 6."""

from __future__ import annotations

import numpy as np

from ...arith.floats import flush_subnormals, fma32
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.floats import SWISHES, FloatSwish, float_equations
from ...rules.operators.fold import Constants, leaves, numbers_of
from ...rules.operators.forms import ScaledBack
from ...rules.operators.table import HARD_SWISH
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .staged import prepared_unary
from .unary import operands, per_tensor, pick_rule, prepared, split_vector

__all__ = ["ENTRIES", "RULES", "prepare_hard_swish"]

RULES: dict[str, str] = {**equations(HARD_SWISH), **float_equations(SWISHES)}


def prepare_hard_swish(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare HARD_SWISH of int8, uint8 or float32.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps: `scaled_input`, `factor`, `acc_scaled`, `output`; of float32: `factor`, `output`.

    Raises:
        UnsupportedError: types or scales outside of what is covered.

    Source: google-ai-edge/LiteRT, tflite/kernels/activations.cc (HardSwishPrepare), tflite/kernels/internal/reference/
    hard_swish.h.
    """
    chosen = pick_rule(op, rule, {**HARD_SWISH, **SWISHES})
    source, output = operands(model, op)
    if isinstance(chosen, FloatSwish):
        return _float32(op, chosen, source, output)
    given, to = per_tensor(op, source), per_tensor(op, output)
    if source.dtype.name != output.dtype.name or source.dtype.name not in ("int8", "uint8"):
        raise refuse(op, f"{source.dtype.name} to {output.dtype.name} is not covered; covered: int8, uint8")
    constants = Constants((given,), to, to.qmin, to.qmax)
    stages = [stage for leaf in leaves(chosen) for stage in leaf.stages if isinstance(stage, ScaledBack)]
    if any(numbers_of(stage, constants)[1] > 0 for stage in stages):
        raise refuse(op, "s_x/s_y is 128 or more; LiteRT aborts on it")
    return prepared_unary(op, chosen, constants, (source, output))


def _float32(op: Operator, rule: FloatSwish, source: Tensor, output: Tensor) -> PreparedOperator:
    if not source.dtype.name == output.dtype.name == "float32":
        raise refuse(op, f"the rule {rule.name} is for float32, not {source.dtype.name} to {output.dtype.name}")
    zero, half, one, three, six = (np.float32(value) for value in (0, 0.5, 1, 3, 6))
    sixth = one / six

    def steps(x: Array) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            if rule.sixth == "fused":
                x = flush_subnormals(x)
                factor = np.minimum(np.maximum(fma32(x, sixth, half), zero), one)
                return {"factor": factor, "output": flush_subnormals(x * factor)}
            factor = np.minimum(np.maximum(x + three, zero), six)
            if rule.sixth == "divided":
                return {"factor": factor, "output": x * factor / six}
            vector = split_vector(x, source, rule.group) if rule.group else np.zeros(x.shape, np.bool_)
            return {"factor": factor, "output": np.where(vector, (x * sixth) * factor, (x * factor) * sixth)}

    return prepared(op, rule.name, source, output, steps)


ENTRIES = {
    "HARD_SWISH": OperatorEntry(prepare_hard_swish, RULES, OperatorGroup.ACTIVATIONS),
}
