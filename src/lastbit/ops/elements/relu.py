"""RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1 as operators of their own (not fused into another one)."""

from __future__ import annotations

import numpy as np

from ...arith.fixed_functions import multiply_by_quantized_multiplier
from ...arith.fixedpoint import low_bits, quantize_multiplier, round_half_away
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import Scale, flush_subnormal, operands, per_tensor, pick_rule, prepared

__all__ = ["RULES", "prepare_relu"]

RULES: dict[str, str] = {
    "q31_half_up_half_away/float32_ratio": (
        "y = clamp(zy + round_half_away(SRDHM((x - zx) << L, q) / 2^R)), q and shift from s_x/s_y in float32"
    ),
    "q31_half_up_half_away/float64_ratio": "the same, q and shift from s_x/s_y in float64",
    "clamp_without_rescale": "y = x clamped to [zx, zx + round_half_away(6 / s_x)]; s_y and zy are ignored",
    "float32_clamp": "y = min(max(x, low), high); NaN and -0.0 stay",
    "float32_clamp_flush": "the same; subnormals become zero first",
}

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
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    if source.dtype.name != output.dtype.name:
        raise refuse(op, f"takes {source.dtype.name} and gives {output.dtype.name}; every runtime wants one type")
    if rule.startswith("float32") != (source.dtype.name == "float32"):
        raise refuse(op, f"the rule {rule} is not for {source.dtype.name}")
    if source.dtype.name == "float32":
        return _float32(op, rule, source, output)
    given = per_tensor(op, source)
    if rule == "clamp_without_rescale":
        return _clamp(op, rule, source, output, given)
    return _rescale(op, rule, source, output, given, per_tensor(op, output))


def _float32(op: Operator, rule: str, source: Tensor, output: Tensor) -> PreparedOperator:
    low, high = (np.float32(bound) for bound in _BOUNDS[op.name])
    flush = rule == "float32_clamp_flush"

    def clamp(x: Array) -> dict[str, Array]:
        value = flush_subnormal(x) if flush else x
        # Comparisons, not NumPy's maximum: that one may turn -0.0 into 0.0.
        return {"output": np.where(value < low, low, np.where(value > high, high, value))}

    return prepared(op, rule, source, output, clamp)


def _steps(op: Operator, bound: float, to: Scale) -> int:
    """A real bound in quantized steps, half away, limited to the element type."""
    if np.isinf(bound):
        return to.qmax
    with np.errstate(over="ignore"):
        steps = float(round_half_away(np.float32(bound) / to.scale))
    if abs(steps) >= 2.0**30:
        raise refuse(op, f"the bound {bound} is {steps:g} steps of {float(to.scale)!r}: it does not fit an int32")
    return int(min(max(to.zero_point + steps, to.qmin), to.qmax))


def _clamp(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale) -> PreparedOperator:
    if op.name != "RELU6":
        raise refuse(op, f"the rule {rule} is for RELU6 only")
    six = _steps(op, 6.0, given)
    notes = []
    to = per_tensor(op, output)
    if to.scale != given.scale or to.zero_point != given.zero_point:
        notes.append("this kernel does not rescale: input and output quantization differ, so the real values change")
    return prepared(
        op,
        rule,
        source,
        output,
        lambda x: {"output": np.clip(x.astype(np.int64), given.zero_point, six)},
        notes=notes,
    )


def _rescale(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    if source.dtype.name == "int16" and (given.zero_point or to.zero_point):
        raise refuse(op, "int16 wants both zero points 0; the runtimes refuse anything else")
    if source.dtype.name not in ("int8", "uint8", "int16"):
        raise refuse(op, f"the runtimes take int8, uint8 and int16 here, not {source.dtype.name}")
    if rule.endswith("float32_ratio"):
        with np.errstate(over="ignore", under="ignore"):
            factor = np.float64(given.scale / to.scale)
    else:
        factor = np.float64(given.scale) / np.float64(to.scale)
    if not factor < 2.0**30:
        raise refuse(op, f"s_x/s_y is {float(factor)!r}; a factor of 2^30 and more shifts an int32 out of itself")
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    low, high = (_steps(op, bound, to) for bound in _BOUNDS[op.name])

    def rescale(x: Array) -> dict[str, Array]:
        centered = x.astype(np.int64) - given.zero_point
        acc_scaled = multiply_by_quantized_multiplier(centered, multiplier, shift)
        with_zero_point = low_bits(acc_scaled + to.zero_point, 32)
        return {
            "centered": centered,
            "acc_scaled": acc_scaled,
            "with_zero_point": with_zero_point,
            "output": np.minimum(np.maximum(with_zero_point, low), high),
        }

    return prepared(op, rule, source, output, rescale)
