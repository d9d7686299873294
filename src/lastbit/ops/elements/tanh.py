"""TANH of quantized values."""

from __future__ import annotations

import numpy as np

from ...arith import fixed_functions as gemmlowp
from ...arith.fixedpoint import rounding_divide_by_pot
from ...arith.lookup import SIGMOID_TABLE, lut_half_away, lut_half_even, tanh_between
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ..base import PreparedOperator, refuse
from .unary import Scale, int16_input, libm_refusal, operands, per_tensor, pick_rule, prepared, q4_input

__all__ = ["RULES", "prepare_tanh"]

RULES: dict[str, str] = {
    "lut_tanhf_half_away": "y = clamp(round_half_away(tanhf((x - zx)*s_x) * (1/s_y)) + zy), all float32",
    "lut_tanhf_half_even": "y = round_half_even(clamp(tanhf((x - zx)*s_x) * (1/s_y) + zy)), all float32",
    "gemmlowp_fixed_point": "x to Q4.27, tanh in Q0.31, 7 bits half away; integers only",
    "interpolated_int16": "256-entry table of 65536*sigmoid(i/24) at 2x, interpolated; integers only",
    "interpolated_int16/not_power_of_two": (
        "the same; scales of 2^-12 and 2^-11 go to 16-bit fixed point, not covered"
    ),
}


def prepare_tanh(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare TANH for int8, uint8 or int16.

    The table rules call the machine's `tanhf`, which is not the same in all C libraries. Where a table entry
    lies so close to a rounding boundary that two units in the last place decide it, the operator is refused;
    `tanh(0)` and saturated entries are never in doubt.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps of the tables: `output`; of `gemmlowp_fixed_point`: `input_q4`, `tanh_q0`, `output`; of the
        int16
        rules: `input_scaled`, `output`.

    Raises:
        UnsupportedError: element types, or an output quantization, that the rule's runtime refuses; or a
            table entry in doubt.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/activations.cc (TanhPrepare; copy in
    google-ai-edge/LiteRT, tflite/kernels/activations.cc, commit 049cdbcf) and
    .../internal/reference/integer_ops/tanh.h; google/XNNPACK, src/reference/unary-elementwise.cc, commit
    08563ef0; tensorflow/tflite-micro, tensorflow/lite/micro/kernels/tanh.cc, commit 1178d742.
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
    tabulate = lut_half_away if rule == "lut_tanhf_half_away" else lut_half_even
    table = tabulate(tanh_between, given.scale, given.zero_point, to.scale, to.zero_point, to.qmin, to.qmax)
    if table.unsafe:
        raise libm_refusal(op, "tanhf", table.unsafe)
    return prepared(op, rule, source, output, lambda x: {"output": table(x)})


def _fixed_point(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    if source.dtype.name != "int8":
        raise refuse(op, f"the rule {rule} is for int8, not {source.dtype.name}")
    to_q4 = q4_input(op, given)
    notes = []
    if float(to.scale) != 1 / 128 or to.zero_point:
        notes.append(
            f"this kernel takes the output to have scale 1/128 and zero point 0; the file says "
            f"{float(to.scale)!r} and {to.zero_point}"
        )

    def calculate(x: Array) -> dict[str, Array]:
        low, high, value = to_q4(x)
        tanh = gemmlowp.tanh(value, 4)
        result = np.clip(rounding_divide_by_pot(tanh, 24), -128, 127)
        # The lower test comes first: with a radius of 0 the zero point itself saturates low.
        result = np.where(low, -128, np.where(high, 127, result))
        return {"input_q4": value, "tanh_q0": tanh, "output": result}

    return prepared(op, rule, source, output, calculate, notes=notes)


def _int16(op: Operator, rule: str, source: Tensor, output: Tensor, given: Scale, to: Scale) -> PreparedOperator:
    scaled = int16_input(op, given, to, power_of_two_shifts=(0, 1), refuse_power_of_two="/" in rule)

    def calculate(x: Array) -> dict[str, Array]:
        value = scaled(x)
        magnitude = np.abs(value)
        index = magnitude >> 8
        inside = np.minimum(index, 254)
        base = SIGMOID_TABLE[inside]
        line = (base << 8) + (magnitude & 0xFF) * (SIGMOID_TABLE[inside + 1] - base)
        positive = np.where(index >= 255, 0xFFFF << 8, line) - (1 << 23)
        result = np.where(value >= 0, positive + (1 << 7), -positive + (1 << 7) - 1) >> 8
        return {"input_scaled": value, "output": result}

    return prepared(op, rule, source, output, calculate)
