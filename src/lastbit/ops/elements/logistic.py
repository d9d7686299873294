"""LOGISTIC (sigmoid) of quantized values."""

from __future__ import annotations

from ...model.graph import Model, Operator
from ...rules.operators.recipes import LOGISTIC, recipe_equations
from ..base import PreparedOperator
from ..entry import OperatorEntry, OperatorGroup
from .curve import prepare_curve
from .unary import operands, pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_logistic"]

RULES: dict[str, str] = recipe_equations(LOGISTIC)


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
    chosen = pick_rule(op, rule, LOGISTIC)
    return prepare_curve(op, chosen, *operands(model, op))


ENTRIES = {
    "LOGISTIC": OperatorEntry(prepare_logistic, RULES, OperatorGroup.ACTIVATIONS),
}
