"""QUANTIZE: real values to integers, and integers to integers of another scale."""

from __future__ import annotations

import numpy as np

from ...arith.fixedpoint import (
    quantize_multiplier,
)
from ...model.graph import Model, Operator, Tensor
from ...rules.operators.fold import Constants, Scale, rescalings
from ...rules.operators.forms import FixedBits
from ...rules.operators.rule import StagedRule
from ...rules.operators.table import QUANTIZE
from ...rules.operators.words import equations
from ..base import PreparedOperator, refuse
from ..entry import OperatorEntry, OperatorGroup
from .staged import prepared_unary, reads_reals
from .unary import operands, per_tensor, pick_rule

__all__ = ["ENTRIES", "RULES", "prepare_quantize", "q8_out_of_range"]

RULES: dict[str, str] = equations(QUANTIZE)

# XNNPACK's 8 fraction bits hold factors in this range; its delegate leaves others to the builtin kernel.
_Q8_LOWEST, _Q8_HIGHEST = np.float32(2.0**-8), np.float32(2.0**7)


def prepare_quantize(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare QUANTIZE.

    From float32: int8, uint8 or int16 out. From integers: the input has a scale too (requantizing).

    What special values become, with zero point 0 and int8 (shown on the interpreters): infinities, NaN and
    quotients outside int32 become INT32_MIN before the zero point is added, hence -128, even for +inf, except
    in `float32_inverse_half_even_saturate`, where NaN and +inf give 127 and only -inf gives -128. A negative
    zero point makes INT32_MIN wrap, and the same inputs give 127.

    Args:
        model: the model.
        op: the operator.
        rule: a key of `RULES`.

    Returns:
        Steps of float input: `scaled`, `acc_scaled`, `with_zero_point`, `output`; of integer input:
        `centered`,
        `acc_scaled`, `with_zero_point`, `output`.

    Raises:
        UnsupportedError: more than one scale, an unusable scale, a pair of element types that does not go
            with the rule, or int16 to int16 with a zero point that is not 0 (LiteRT refuses it).

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/reference/quantize.h (the form that casts
    to int32) and reference/requantize.h; google/XNNPACK, src/f32-qs8-vcvt/avx512skx.c.in and
    src/microparams-init.c (xnn_init_qs8_cvt_scalar_params). The builtin rules were found by probing
    ai-edge-litert 2.3.0 on x86-64.
    """
    chosen = pick_rule(op, rule, QUANTIZE)
    source, output = operands(model, op)
    to = per_tensor(op, output)
    if source.dtype.name == "float32":
        if not reads_reals(chosen):
            raise refuse(op, f"the rule {rule} requantizes integers, but {source.label} is float32")
        if chosen.types and output.dtype.name not in chosen.types:
            raise refuse(op, f"XNNPACK quantizes to 8 bits only, not to {output.dtype.name}")
        return prepared_unary(op, chosen, Constants((), to, to.qmin, to.qmax), (source, output))
    if reads_reals(chosen):
        raise refuse(op, f"the rule {rule} quantizes float32, but {source.label} is {source.dtype.name}")
    constants = Constants((per_tensor(op, source),), to, to.qmin, to.qmax)
    _check_integers(op, chosen, source, output, constants)
    return prepared_unary(op, chosen, constants, (source, output))


def _check_integers(op: Operator, rule: StagedRule, source: Tensor, output: Tensor, constants: Constants) -> None:
    """What no kernel of this rule requantizes."""
    (given,), to = constants.inputs, constants.output
    assert to is not None
    if source.dtype.name == output.dtype.name == "int16" and (given.zero_point or to.zero_point):
        raise refuse(op, "int16 to int16 is covered with both zero points 0; LiteRT refuses others")
    if rule.types and (source.dtype.bits, output.dtype.bits) != (8, 8):
        raise refuse(op, f"the rule {rule.name} is for 8 bits, not {source.dtype.name} to {output.dtype.name}")
    for stage in rescalings(rule):
        beyond = q8_out_of_range(given, to) if isinstance(stage.form, FixedBits) else None
        if beyond is not None:
            raise refuse(op, beyond)
        factor = np.float64(given.scale) / np.float64(to.scale)
        if int(quantize_multiplier(factor)[1]) > 30:
            raise refuse(op, f"s_x/s_y is {float(factor)!r}; a factor of 2^30 and more shifts an int32 out of itself")


def q8_out_of_range(given: Scale, to: Scale) -> str | None:
    """Why XNNPACK does not requantize between two scales; None where it does.

    It takes s_x/s_y from 2^-8 to 2^7 (both ends; the values next to them were tried on the interpreter).
    """
    ratio = _ratio(given, to)
    if _Q8_LOWEST <= ratio <= _Q8_HIGHEST:
        return None
    return f"XNNPACK declines to requantize by {float(ratio)!r}; it takes factors from 2^-8 to 2^7"


def _ratio(given: Scale, to: Scale) -> np.float32:
    with np.errstate(over="ignore", under="ignore"):
        return np.float32(given.scale / to.scale)


ENTRIES = {
    "QUANTIZE": OperatorEntry(prepare_quantize, RULES, OperatorGroup.TYPES),
}
