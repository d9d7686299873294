"""LOGISTIC (sigmoid) of quantized values."""

from __future__ import annotations

import numpy as np

from ...arith import fixed_functions as gemmlowp
from ...arith.fixedpoint import rounding_divide_by_pot
from ...arith.lookup import SIGMOID_TABLE, lut_half_away, lut_half_even, sigmoid_between, sigmoid_expf
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import Scale, int16_input, libm_refusal, operands, per_tensor, pick_rule, prepared, q4_input

__all__ = ["RULES", "prepare_logistic"]

RULES: dict[str, str] = {
    "lut_expf_half_away": "y = clamp(round_half_away(1/(1 + expf(-(x-zx)*s_x)) * (1/s_y)) + zy), all float32",
    "lut_exp_half_even": (
        "e = exp(float64((x - zx)*s_x));  y = round_half_even(clamp(float32(e / (1 + e)) * (1/s_y) + zy))"
    ),
    "gemmlowp_fixed_point": "x to Q4.27, 1/(1+exp(-x)) in Q0.31, 8 bits half away, minus 128; integers only",
    "interpolated_int16": "256-entry table of 65536*sigmoid(i/24), interpolated; integers only",
    "interpolated_int16/not_power_of_two": "the same; s_x = 2^-12 goes to 16-bit fixed point, not covered",
}


def prepare_logistic(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare LOGISTIC for int8, uint8 or int16.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps of the tables: `output`; of `gemmlowp_fixed_point`: `input_q4`, `logistic_q0`, `output`; of the
        int16
        rules: `input_scaled`, `output`.

    Raises:
        UnsupportedError: element types, or an output quantization, that the rule's runtime refuses.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/activations.cc (SigmoidPrepare; copy in
    google-ai-edge/LiteRT, tflite/kernels/activations.cc, commit 049cdbcf) and
    .../internal/reference/integer_ops/logistic.h, commit 12b1fb47; google/XNNPACK,
    src/reference/unary-elementwise.cc, commit 08563ef0; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/logistic_common.cc, commit 1a3dcaf6.
    """
    pick_rule(op, rule, RULES)
    source, output = operands(model, op)
    if source.dtype.name != output.dtype.name:
        raise refuse(op, f"takes {source.dtype.name} and gives {output.dtype.name}; every runtime wants one type")
    wide = rule.startswith("interpolated_int16")
    if source.dtype.name not in (("int16",) if wide else ("int8", "uint8")):
        raise refuse(op, f"the rule {rule} is not for {source.dtype.name}")
    given, to = per_tensor(op, source), per_tensor(op, output)
    if wide:
        return _int16(op, rule, source, output, given, to)
    if rule == "gemmlowp_fixed_point":
        return _fixed_point(op, rule, source, output, given, to)
    if rule == "lut_expf_half_away":
        if float(to.scale) != 1 / 256:
            raise refuse(op, f"has the output scale {float(to.scale)!r}; the runtime wants exactly 1/256")
        table = lut_half_away(sigmoid_expf, given.scale, given.zero_point, to.scale, to.zero_point, to.qmin, to.qmax)
    else:
        table = lut_half_even(sigmoid_between, given.scale, given.zero_point, to.scale, to.zero_point, to.qmin, to.qmax)
    if table.unsafe:
        raise libm_refusal(op, "exp", table.unsafe)
    return prepared(op, rule, source, output, lambda x: {"output": table(x)})


def _fixed_point(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    if source.dtype.name != "int8":
        raise refuse(op, f"the rule {rule} is for int8, not {source.dtype.name}")
    if to.zero_point != -128:
        raise refuse(op, f"has the output zero point {to.zero_point}; the runtime wants -128")
    to_q4 = q4_input(op, given)
    notes = []
    if float(to.scale) != 1 / 256:
        notes.append(f"this kernel takes the output scale to be 1/256; the file says {float(to.scale)!r}")

    def calculate(x: Array) -> dict[str, Array]:
        low, high, value = to_q4(x)
        logistic = gemmlowp.logistic(value, 4)
        result = np.clip(rounding_divide_by_pot(logistic, 23) - 128, -128, 127)
        # The lower test comes first: with a radius of 0 the zero point itself saturates low.
        result = np.where(low, -128, np.where(high, 127, result))
        return {"input_q4": value, "logistic_q0": logistic, "output": result}

    return prepared(op, rule, source, output, calculate, notes=notes)


def _int16(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    scaled = int16_input(op, given, to, power_of_two_shifts=(0,), refuse_power_of_two="/" in rule)

    def calculate(x: Array) -> dict[str, Array]:
        value = scaled(x)
        magnitude = np.abs(value)
        index = magnitude >> 9
        inside = np.minimum(index, 254)
        base = SIGMOID_TABLE[inside]
        line = (base << 9) + (magnitude & 0x1FF) * (SIGMOID_TABLE[inside + 1] - base)
        positive = np.where(index >= 255, 0x7FFF << 10, line)
        result = np.where(value >= 0, positive + (1 << 9), (1 << 25) - positive + (1 << 9) - 1) >> 10
        return {"input_scaled": value, "output": result}

    return prepared(op, rule, source, output, calculate)
