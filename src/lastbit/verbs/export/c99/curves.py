"""LOGISTIC and TANH of int16 as C: straight lines between 256 entries. Those of 8 bits are tables."""

from __future__ import annotations

import numpy as np

from ....arith.lookup import SIGMOID_TABLE
from ....model.graph import Tensor
from ....ops.base import PreparedOperator
from ....ops.elements.unary import int16_numbers
from ....rules.base import Unsupported
from ....rules.operators.recipes import InterpolatedCurve
from ..program import Piece, elements
from .library import Library
from .requantize import READER
from .text import C_TYPES

__all__ = ["curve"]


def curve(entry: PreparedOperator, source: Tensor, output: Tensor, prefix: str, library: Library) -> Piece:
    """LOGISTIC or TANH of int16.

    Raises:
        Unsupported: a recipe of other element types.
    """
    made = entry.recipe
    assert made is not None
    rule = made.recipe
    if not isinstance(rule, InterpolatedCurve):
        raise Unsupported(READER, "recipe", type(rule).__name__)
    assert made.constants.output is not None
    multiplier, shift = int16_numbers(
        entry.operator, made.constants.inputs[0], made.constants.output, rule.powers_of_two, rule.other_kernel
    )
    library.helper("shift_right")
    table = library.table("sigmoid_table", np.dtype(np.int32), SIGMOID_TABLE)
    step, extra = rule.step_bits, rule.extra_bits
    nudge = 1 << (shift - 1) if shift else 0
    half = 1 << (extra - 1)
    if rule.function == "logistic":
        last, positive, negative = 0x7FFF << 10, "line", f"{1 << 25} - line"
    else:
        last, positive, negative = 0xFFFF << 8, f"line - {1 << 23}", f"{1 << 23} - line"
    x, y = C_TYPES[source.dtype.name], C_TYPES[output.dtype.name]
    text = f"""\
static void @(const {x} *input, {y} *output) {{
  for (int32_t i = 0; i < {elements(source)}; i++) {{
    const int64_t product = (int64_t)input[i] * {multiplier}; /* multiplier */
    const int64_t scaled = shift_right(product + {nudge}, {shift}); /* shift */
    const int64_t magnitude = scaled < 0 ? -scaled : scaled;
    const int64_t index = magnitude >> {step};
    int64_t line = {last};
    if (index < 255) {{
      const int64_t base = {table}[index];
      line = base * {1 << step} + (magnitude & {(1 << step) - 1}) * ({table}[index + 1] - base);
    }}
    output[i] = ({y})shift_right(scaled >= 0 ? {positive} + {half} : {negative} + {half - 1}, {extra});
  }}
}}"""
    return Piece(entry, library.function(prefix, text))
