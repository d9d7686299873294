"""RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1 as operators of their own (not fused into another one)."""

from __future__ import annotations

import numpy as np

from ...arith.fixedpoint import round_half_away
from ...arith.floats import flush_subnormals
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...rules.operators.floats import RELUS, FloatClamp, float_equations
from ...rules.operators.fold import Constants, Scale, factor_value, leaves, rescalings
from ...rules.operators.rule import Output, StagedRule
from ...rules.operators.table import RELU
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .floats import clamp
from .staged import prepared_unary
from .unary import operands, per_tensor, pick_rule, prepared, split_vector

__all__ = ["ENTRIES", "RULES", "prepare_relu"]

RULES: dict[str, str] = {**equations(RELU), **float_equations(RELUS)}

_BOUNDS: dict[str, tuple[float, float]] = {
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}


def prepare_relu(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare RELU, RELU6, RELU_N1_TO_1 or RELU_0_TO_1.

    A quantized input is taken to the output's scale and then clamped; bounds are the output's zero point plus
    the real bound in output steps, half away.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps of quantized input: `centered`, `acc_scaled`, `with_zero_point`, `output`; of float32: `output`.

    Raises:
        UnsupportedError: more than one scale, element types that differ, int16 with a zero point that is not
            0, or a rule that is not for this element type.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/activations.cc (ReluPrepare, QuantizedReluX; copy
    in google-ai-edge/LiteRT, tflite/kernels/activations.cc, commit 049cdbcf); tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/activations_common.cc, commit 0ad70939.
    """
    chosen = pick_rule(op, rule, {**RELU, **RELUS})
    source, output = operands(model, op)
    if source.dtype.name != output.dtype.name:
        raise refuse(op, f"takes {source.dtype.name} and gives {output.dtype.name}; every runtime wants one type")
    if isinstance(chosen, FloatClamp) != (source.dtype.name == "float32"):
        raise refuse(op, f"the rule {rule} is not for {source.dtype.name}")
    if isinstance(chosen, FloatClamp):
        return _float32(op, chosen, source, output)
    given = per_tensor(op, source)
    if any(isinstance(leaf.output, Output) and leaf.output.domain == "input" for leaf in leaves(chosen)):
        return _clamp(op, chosen, source, output, given)
    return _rescale(op, chosen, source, output, given, per_tensor(op, output))


def _float32(op: Operator, rule: FloatClamp, source: Tensor, output: Tensor) -> PreparedOperator:
    low, high = (np.float32(bound) for bound in _BOUNDS[op.name])

    def steps(x: Array) -> dict[str, Array]:
        given = flush_subnormals(x) if rule.flush else x
        kept, ordered = clamp(given, low, high, "kept"), clamp(given, low, high, rule.zeros)
        return {"output": np.where(split_vector(x, source, rule.group), ordered, kept)}

    return prepared(op, rule.name, source, output, steps)


def _steps(op: Operator, bound: float, to: Scale) -> int:
    """A real bound in quantized steps, half away, limited to the element type."""
    if np.isinf(bound):
        return to.qmax
    with np.errstate(over="ignore"):
        steps = float(round_half_away(np.float32(bound) / to.scale))
    if abs(steps) >= 2.0**30:
        raise refuse(op, f"the bound {bound} is {steps:g} steps of {float(to.scale)!r}: it does not fit an int32")
    return int(min(max(to.zero_point + steps, to.qmin), to.qmax))


def _clamp(op: Operator, rule: StagedRule, source: Tensor, output: Tensor, given: Scale) -> PreparedOperator:
    if op.name != "RELU6":
        raise refuse(op, f"the rule {rule.name} is for RELU6 only")
    six = _steps(op, 6.0, given)
    notes = []
    to = per_tensor(op, output)
    if to.scale != given.scale or to.zero_point != given.zero_point:
        notes.append("this kernel does not rescale: input and output quantization differ, so the real values change")
    return prepared_unary(op, rule, Constants((given,), to, given.zero_point, six), (source, output), notes=notes)


def _rescale(
    op: Operator, rule: StagedRule, source: Tensor, output: Tensor, given: Scale, to: Scale
) -> PreparedOperator:
    if source.dtype.name == "int16" and (given.zero_point or to.zero_point):
        raise refuse(op, "int16 wants both zero points 0; the runtimes refuse anything else")
    if source.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"the runtimes take int8, uint8 and int16 here, not {source.dtype.name}")
    constants = Constants((given,), to)
    factor = max(float(factor_value(stage.factor, constants)) for stage in rescalings(rule))
    if not factor < 2.0**30:
        raise refuse(op, f"s_x/s_y is {factor!r}; a factor of 2^30 and more shifts an int32 out of itself")
    low, high = (_steps(op, bound, to) for bound in _BOUNDS[op.name])
    return prepared_unary(op, rule, Constants((given,), to, low, high), (source, output))


ENTRIES = {
    "RELU": OperatorEntry(prepare_relu, RULES, OperatorGroup.ACTIVATIONS),
    "RELU6": OperatorEntry(prepare_relu, RULES, OperatorGroup.ACTIVATIONS),
    "RELU_N1_TO_1": OperatorEntry(prepare_relu, RULES, OperatorGroup.ACTIVATIONS),
}
