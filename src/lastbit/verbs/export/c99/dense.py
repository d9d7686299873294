"""Dense layers as C: one kernel for each pair of element types and rule, shared by its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np

from ....ops.dense.eight_bit import PreparedDense
from ....rules.base import WHOLE, Pairs, Whole
from ....rules.sums.pairs16 import kernel_shifts
from ..program import Piece, elements
from .accumulators import (
    Accumulator,
    IntegerLayer,
    accumulator,
    constants_of,
    finish,
    multiply_add,
    probed,
    reach_of,
    requantization,
    start_of,
    types_of,
)
from .library import Library
from .requantize import Requantizer, requantizer

__all__ = ["dense"]


def dense(entry: PreparedDense, prefix: str, library: Library) -> Piece:
    """FULLY_CONNECTED with integer inputs.

    Raises:
        Unsupported: a value of a field that C does not have.
    """
    layer = entry.layer
    offset = -layer.input_zero_point
    bias = layer.bias_values
    reach = reach_of(layer.weights_values, layer.weights_zero_point, bias, layer.input, offset)
    params = entry.requant
    # Some rules add the bias themselves, behind the sum.
    begun = bias if params.bias is None else np.zeros_like(bias)
    common = IntegerLayer(
        prefix, (layer.input, layer.output), layer.weights_values, begun, (offset, -layer.weights_zero_point), reach
    )
    made = requantizer(params, library)
    # Sums in 16 bits change an accumulator by more than its reach, so it wraps as the kernel's does.
    pairs = _pair_lines(entry, library)
    acc = accumulator(replace(params.rule.sums, products=WHOLE), 1 << 40 if pairs else reach, library)
    rows = elements(layer.input) // layer.depth
    types = types_of(common, acc)
    library.function("dense_shape", "typedef struct {\n  int32_t rows, depth, units;\n} @;")
    kernel = library.function(f"dense_{acc.name}", _dense_kernel(types, acc, made, pairs))
    shape = library.constant(
        f"{prefix}_shape",
        f"static const dense_shape @ = {{{rows} /* rows */, {layer.depth} /* depth */, {layer.units} /* units */}};",
    )
    structure = requantization(prefix, common.offsets, params, made, library)
    leading = (f"&{shape}", f"&{structure}", *constants_of(common, acc, library))
    probes = probed(params, made, (0, layer.units), structure)
    return Piece(entry, kernel, leading, rows * layer.depth * layer.units, probes)


def _pair_lines(entry: PreparedDense, library: Library) -> list[str]:
    """What 16 bits do to sums of two products, where a kernel adds them there and some do not fit."""
    match entry.products:
        case Whole():
            return []
        case Pairs(partner, overflow, last_group):
            input_up, weights_up = kernel_shifts(entry.layer.input.dtype.name, entry.layer.weights.dtype.name)
        case never:
            assert_never(never)
    group = 2 * partner
    end = "s->depth" if last_group == "paired" else f"s->depth / {group} * {group}"
    first, second = (f"(in[{k}] + {input_up}) * (weights[{k}] + ({weights_up}))" for k in ("k", f"k + {partner}"))
    match overflow:
        case "saturate16":
            library.helper("clamp")
            kept = "clamp(pair, -32768, 32767)"
        case "wrap16":
            library.helper("wrap16")
            kept = "wrap16(pair)"
        case never_overflow:
            assert_never(never_overflow)
    return [
        f"for (int32_t k = 0; k + {partner} < {end}; k++) {{ /* pairs of products are added in 16 bits */",
        f"  if (k % {group} < {partner}) {{",
        f"    const int32_t pair = {first} +",
        f"        {second};",
        f"    acc += (uint32_t)({kept} - pair);",
        "  }",
        "}",
    ]


def _dense_kernel(types: Sequence[str], acc: Accumulator, made: Requantizer, pairs: Sequence[str]) -> str:
    x, w, b, y = types
    more = "".join(f"\n      {line}" for line in pairs)
    place, call = finish(acc, made, "unit")
    return f"""\
/* output[row][unit] = requantize(bias[unit] + sum of (input + input_offset) * (filter + filter_offset)) */
static void @(const dense_shape *s, const {made.structure} *q, const {w} *filter, const {b} *bias,
    const {x} *input, {y} *output) {{
  for (int32_t row = 0; row < s->rows; row++) {{
    for (int32_t unit = 0; unit < s->units; unit++) {{
      const {x} *in = input + row * s->depth;
      const {w} *weights = filter + unit * s->depth;
      {start_of(acc, "bias[unit]")}
      for (int32_t k = 0; k < s->depth; k++) {{
        {multiply_add(acc, "in[k]", "weights[k]")}
      }}{more}
      {place}
      output[row * s->units + unit] = ({y}){call}
    }}
  }}
}}"""
