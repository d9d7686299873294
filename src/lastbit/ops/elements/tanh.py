"""TANH of quantized values."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ...rules.operators.recipes import TANH, recipe_equations
from ..base import PreparedOperator
from ..entry import OperatorEntry, OperatorGroup
from .curve import prepare_curve
from .unary import operands, pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_tanh"]

RULES: dict[str, str] = recipe_equations(TANH)


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
    chosen = pick_rule(op, rule, TANH)
    return prepare_curve(op, chosen, *operands(model, op))


ENTRIES = {
    "TANH": OperatorEntry(prepare_tanh, RULES, OperatorGroup.ACTIVATIONS),
}
