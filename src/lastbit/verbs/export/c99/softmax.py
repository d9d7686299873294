"""SOFTMAX of quantized values as C: gemmlowp's polynomials, a table of exponentials, and interpolated tables."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from ....arith.fixed_functions import input_radius
from ....arith.fixedpoint import quantize_multiplier
from ....arith.lookup import expf, interpolation_table
from ....model.graph import Tensor
from ....ops.base import PreparedOperator
from ....rules.base import Unsupported
from ....rules.operators.fold import Scale
from ....rules.operators.recipes import IntegerTableSoftmax, InterpolatedSoftmax, PolynomialSoftmax, TableSoftmax
from ..program import Piece, elements
from .library import Library
from .requantize import READER
from .text import C_TYPES, decimal

__all__ = ["softmax"]

# The sum of so many exponentials, each 2^19 at most, fits 31 bits.
_LONGEST_ROW = 4095


def softmax(entry: PreparedOperator, source: Tensor, output: Tensor, prefix: str, library: Library) -> Piece:
    """SOFTMAX along the last axis.

    Raises:
        Unsupported: a recipe that C does not have, or rows so long that real kernels abort on some.
    """
    made = entry.recipe
    assert made is not None
    assert made.beta is not None
    assert made.constants.output is not None
    given, to, beta = made.constants.inputs[0], made.constants.output, made.beta
    match made.recipe:
        case PolynomialSoftmax():
            row = _polynomial(made.recipe, given, to, float(beta), output.dtype.bits, library)
        case TableSoftmax():
            row = _table(given, to, beta, output, prefix, library)
        case IntegerTableSoftmax():
            row = _integer_table(given, to, beta, prefix, library)
        case InterpolatedSoftmax():
            row = _interpolated(made.recipe, given, beta, prefix, library)
        case other:
            raise Unsupported(READER, "recipe", type(other).__name__)
    depth = source.shape[-1]
    if depth > _LONGEST_ROW:
        raise Unsupported(READER, "depth", f"{depth}, more than {_LONGEST_ROW}")
    rows = elements(source) // max(depth, 1)
    x, y = C_TYPES[source.dtype.name], C_TYPES[output.dtype.name]
    lines = [
        f"static void @(const {x} *input, {y} *output) {{",
        f"  for (int32_t row = 0; row < {rows}; row++, input += {depth}, output += {depth}) {{",
        "    int32_t largest = input[0];",
        f"    for (int32_t k = 1; k < {depth}; k++) {{",
        "      largest = largest > input[k] ? largest : input[k];",
        "    }",
        *(f"    {line}".replace("DEPTH", str(depth)).replace("OUT", y) for line in row),
        "  }",
        "}",
    ]
    return Piece(entry, library.function(prefix, "\n".join(lines)))


def _polynomial(
    rule: PolynomialSoftmax, given: Scale, to: Scale, beta: float, bits: int, library: Library
) -> list[str]:
    library.helper("high_product", "exp_on_negative_values", "round_half_away", "one_over_one_plus", "clamp")
    library.helper("bit_length")
    factor = min(beta * float(given.scale) * 2.0 ** (31 - rule.diff_bits), 2.0**31 - 1.0)
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    lowest = -input_radius(rule.diff_bits, shift)
    scaled = f"high_product((int32_t)((int64_t)(input[k] - largest) * {1 << shift}), {multiplier} /* multiplier */)"
    return [
        "int64_t sum_of_exps = 0;",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  if (input[k] - largest >= {lowest}) {{",
        f"    const int64_t e = exp_on_negative_values({scaled}, {rule.diff_bits});",
        f"    sum_of_exps += round_half_away(e, {rule.sum_bits});",
        "  }",
        "}",
        "const int32_t zeros = 32 - bit_length((uint64_t)sum_of_exps);",
        "const int32_t one_over_sum = one_over_one_plus((int32_t)(sum_of_exps * ((int64_t)1 << zeros) - "
        "INT64_C(0x80000000)));",
        f"const int32_t right = {rule.sum_bits + 31 - bits} - zeros;",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  int64_t y = {to.qmin};",
        f"  if (input[k] - largest >= {lowest}) {{",
        f"    const int32_t e = exp_on_negative_values({scaled}, {rule.diff_bits});",
        f"    y = clamp(round_half_away(high_product(one_over_sum, e), right) + ({to.qmin}), {to.qmin}, {to.qmax});",
        "  }",
        "  output[k] = (OUT)y;",
        "}",
    ]


def _table(given: Scale, to: Scale, beta: np.float32, output: Tensor, prefix: str, library: Library) -> list[str]:
    library.floats = True
    library.helper("clamp")
    with np.errstate(over="ignore"):
        table = expf(-given.scale * beta * np.arange(256, dtype=np.float32))
    name = library.table(f"{prefix}_exp", np.dtype(np.float32), table)
    if output.dtype.name == "uint8":
        # One half is added in float32, the fraction dropped, and the zero point left out.
        last = [
            "  volatile float moved = scaled + 0.5f;",
            f"  output[k] = (OUT)clamp((int64_t)moved, {to.qmin}, {to.qmax});",
        ]
    else:
        library.helper("round_float")
        last = [f"  output[k] = (OUT)clamp(round_float(scaled, 1) + ({to.zero_point}), {to.qmin}, {to.qmax});"]
    return [
        f"volatile float sum_of_exps = {name}[largest - input[0]];",
        "for (int32_t k = 1; k < DEPTH; k++) {",
        f"  sum_of_exps = sum_of_exps + {name}[largest - input[k]];",
        "}",
        f"volatile float product = sum_of_exps * {decimal(to.scale)};",
        "volatile float one_over_sum = 1.0f / product;",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  volatile float scaled = {name}[largest - input[k]] * one_over_sum;",
        *last,
        "}",
    ]


def _integer_table(given: Scale, to: Scale, beta: np.float32, prefix: str, library: Library) -> list[str]:
    if not 2.0**-24 <= float(to.scale) <= 4.0:
        raise Unsupported(READER, "output scale", f"{float(to.scale)!r}, outside of 2^-24 to 4")
    library.floats = True
    library.helper("multiply", "keep_bits", "clamp")
    with np.errstate(over="ignore"):
        exact = expf(-(given.scale * beta) * np.arange(256, dtype=np.float32)) * np.float32(65535)
    table = np.minimum(np.trunc(exact.astype(np.float64) + 0.5), 65535).astype(np.int32)
    name = library.table(f"{prefix}_exp", np.dtype(np.int32), table)
    return [
        "int64_t sum_of_exps = 0;",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  sum_of_exps += {name}[largest - input[k]];",
        "}",
        "int32_t exponent = 0;",
        "const uint64_t first_bits = keep_bits((uint64_t)sum_of_exps, 24, &exponent);",
        f"volatile float product = (float)(first_bits << exponent) * {decimal(to.scale)};",
        "volatile float fraction = 1.0f / product; /* becomes 1/2 to 1, times 2^shift */",
        "int32_t shift = 0;",
        "for (; fraction >= 1.0f; shift++) {",
        "  fraction = fraction * 0.5f;",
        "}",
        "for (; fraction < 0.5f; shift--) {",
        "  fraction = fraction * 2.0f;",
        "}",
        "const int32_t multiplier = (int32_t)(fraction * 2147483648.0f); /* exact */",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  const int64_t scaled = multiply({name}[largest - input[k]], multiplier, shift);",
        f"  output[k] = (OUT)clamp(scaled + ({to.zero_point}), {to.qmin}, {to.qmax});",
        "}",
    ]


def _interpolated(
    rule: InterpolatedSoftmax, given: Scale, beta: np.float32, prefix: str, library: Library
) -> list[str]:
    library.helper("multiply", "interpolate", "clamp", "round_half_up", "bit_length", "shift_right")
    precision = np.float64 if rule.table_bits == 64 else np.float32
    match rule.factor_bits:
        case 32:
            factor = np.float64(given.scale * beta) / (10.0 / 65535.0)
        case 64:
            factor = np.float64(given.scale) * np.float64(beta) / (10.0 / 65535.0)
        case never:
            assert_never(never)
    multiplier, shift = (int(part) for part in quantize_multiplier(factor))
    kind = np.dtype(np.int16)
    exp = library.table(f"{prefix}_exp", kind, interpolation_table(math.exp, *rule.exp_range, precision))
    inverse = library.table(
        f"{prefix}_reciprocal",
        kind,
        interpolation_table(lambda v: 1.0 / (1.0 + v), *rule.reciprocal_range, precision),
    )
    scaled = f"multiply(input[k] - largest, {multiplier} /* multiplier */, {shift} /* shift */)"
    value = f"interpolate({exp}, (int32_t)clamp({scaled} + 32767, -32768, 32767))"
    return [
        "int64_t sum_of_exps = 0;",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  sum_of_exps += {value};",
        "}",
        "const int32_t zeros = 32 - bit_length((uint64_t)sum_of_exps);",
        "const int64_t first_bits = shift_right(sum_of_exps * ((int64_t)1 << (zeros - 1)) + 8192, 14) - 98304;",
        f"const int32_t one_over_sum = interpolate({inverse}, (int32_t)clamp(first_bits, -32768, 32767));",
        "for (int32_t k = 0; k < DEPTH; k++) {",
        f"  const int64_t product = (int64_t){value} * one_over_sum;",
        "  output[k] = (OUT)clamp(round_half_up(product, 31 - zeros), 0, 32767);",
        "}",
    ]
