"""LOGISTIC, TANH and SOFTMAX of quantized values: tables and polynomials that LastBit makes, with their recipe as data.

What follows a recipe is a function: the polynomials of gemmlowp (`arith.gemmlowp_nonlinear`) and of the C library's
expf (`arith.tables`) are fixed sequences of steps with constants of their own, which no kernel shares with another
operator; and a row's sum of exponentials is one number that every output of the row depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

__all__ = [
    "LOGISTIC",
    "SOFTMAX",
    "TANH",
    "Curve",
    "CurveRecipe",
    "IntegerTableSoftmax",
    "InterpolatedCurve",
    "InterpolatedSoftmax",
    "PolynomialSoftmax",
    "SoftmaxRecipe",
    "TableSoftmax",
    "Tabulated",
    "recipe_equations",
]


@dataclass(frozen=True)
class _Named:
    name: str = field(compare=False)
    equation: str = field(compare=False, repr=False)


@dataclass(frozen=True)
class Tabulated(_Named):
    """A table of 256 entries, one for each 8-bit input, made in float32 with the inverse of the output's scale.

    Attributes:
        function: what is tabulated: `sigmoid_expf` is 1 / (1 + expf(-x)) with every step in float32; `sigmoid_exp` is
            e / (1 + e) with e in float64, rounded to float32; `tanhf` is the C library's.
        finish: `rounded_then_moved`: rounded half away, then the zero point is added; `moved_then_rounded`: the zero
            point is added and the sum clamped, then rounded half even.
        output_scale: the output scale that the kernel wants, as a power of two; None where any will do.
    """

    function: Literal["sigmoid_expf", "sigmoid_exp", "tanhf"]
    finish: Literal["rounded_then_moved", "moved_then_rounded"]
    output_scale: int | None = None


@dataclass(frozen=True)
class Curve(_Named):
    """gemmlowp's polynomial in 32-bit fixed point, int8 only.

    Attributes:
        function: which.
        integer_bits: of the input, once it is scaled.
        output_bits: by how many bits the result, which has 31 after the point, is shifted right, half away.
        zero_point: the output's, which the kernel takes for granted; its scale is 2^(output_bits - 31).
        wants_zero_point: whether it refuses another one.
    """

    function: Literal["logistic", "tanh"]
    integer_bits: int
    output_bits: int
    zero_point: int
    wants_zero_point: bool


@dataclass(frozen=True)
class InterpolatedCurve(_Named):
    """256 entries of 65536 * sigmoid(i / 24), and straight lines between them; int16 only.

    Attributes:
        function: `tanh` looks up twice the input.
        step_bits: bits of the scaled input below the index.
        extra_bits: bits by which the output is shifted right at last.
        powers_of_two: k for which an input scale of 2^(k - 12) needs no multiplier but 3 * 2^k.
        other_kernel: whether such a scale goes to a kernel of 16 bits that is not covered.
    """

    function: Literal["logistic", "tanh"]
    step_bits: int
    extra_bits: int
    powers_of_two: tuple[int, ...]
    other_kernel: bool


CurveRecipe = Tabulated | Curve | InterpolatedCurve


@dataclass(frozen=True)
class PolynomialSoftmax(_Named):
    """gemmlowp's polynomials in 32-bit fixed point.

    Attributes:
        types: (input, output) element types.
        diff_bits: integer bits of the difference from a row's maximum, once it is scaled.
        sum_bits: integer bits of the sum of a row's exponentials.
        exact_output_scale: whether the kernel wants the output's scale exactly, or within 0.1 %.
    """

    types: frozenset[tuple[str, str]]
    diff_bits: int
    sum_bits: int
    exact_output_scale: bool


@dataclass(frozen=True)
class TableSoftmax(_Named):
    """A table of expf for each difference from a row's maximum, summed in float32 from left to right.

    Attributes:
        types: (input, output) element types.
        unsigned: what a uint8 output is: its fraction is dropped once one half was added in float32, and its zero point
            is left out. All others are rounded half away, and have it added.
    """

    types: frozenset[tuple[str, str]]
    unsigned: Literal["half_added_zero_point_ignored"]


@dataclass(frozen=True)
class IntegerTableSoftmax(_Named):
    """A table of expf in whole 65535ths for each difference from a row's maximum, summed as integers.

    The inverse of the sum times the output's scale is a float32; its multiplier and shift make the outputs.

    Attributes:
        types: (input, output) element types.
    """

    types: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class InterpolatedSoftmax(_Named):
    """exp and 1 / (1 + x) from tables of 513 int16 entries, and straight lines between them.

    Attributes:
        types: (input, output) element types.
        table_bits: of the floats that the tables are made in.
        factor_bits: of the float that s_x * beta is.
        exp_range: the tables' inputs: of exp.
        reciprocal_range: of 1 / (1 + x).
    """

    types: frozenset[tuple[str, str]]
    table_bits: Literal[32, 64]
    factor_bits: Literal[32, 64]
    exp_range: tuple[float, float] = (-10.0, 0.0)
    reciprocal_range: tuple[float, float] = (0.0, 1.0)


SoftmaxRecipe = PolynomialSoftmax | TableSoftmax | IntegerTableSoftmax | InterpolatedSoftmax
R = TypeVar("R", bound=_Named)


def _table(*rules: R) -> dict[str, R]:
    return {rule.name: rule for rule in rules}


def recipe_equations(rules: Mapping[str, R]) -> dict[str, str]:
    """Name -> rule in one line of text."""
    return {name: rule.equation for name, rule in rules.items()}


LOGISTIC: dict[str, CurveRecipe] = _table(
    Tabulated(
        "lut_expf_half_away",
        "y = clamp(round_half_away(1/(1 + expf(-(x-zx)*s_x)) * (1/s_y)) + zy), all float32",
        "sigmoid_expf",
        "rounded_then_moved",
        output_scale=-8,
    ),
    Tabulated(
        "lut_exp_half_even",
        "e = exp(float64((x - zx)*s_x));  y = round_half_even(clamp(float32(e / (1 + e)) * (1/s_y) + zy))",
        "sigmoid_exp",
        "moved_then_rounded",
    ),
    Curve(
        "gemmlowp_fixed_point",
        "x to Q4.27, 1/(1+exp(-x)) in Q0.31, 8 bits half away, minus 128; integers only",
        "logistic",
        integer_bits=4,
        output_bits=23,
        zero_point=-128,
        wants_zero_point=True,
    ),
    InterpolatedCurve(
        "interpolated_int16",
        "256-entry table of 65536*sigmoid(i/24), interpolated; integers only",
        "logistic",
        step_bits=9,
        extra_bits=10,
        powers_of_two=(0,),
        other_kernel=False,
    ),
    InterpolatedCurve(
        "interpolated_int16/not_power_of_two",
        "the same; s_x = 2^-12 goes to 16-bit fixed point, not covered",
        "logistic",
        step_bits=9,
        extra_bits=10,
        powers_of_two=(0,),
        other_kernel=True,
    ),
)

TANH: dict[str, CurveRecipe] = _table(
    Tabulated(
        "lut_tanhf_half_away",
        "y = clamp(round_half_away(tanhf((x - zx)*s_x) * (1/s_y)) + zy), all float32",
        "tanhf",
        "rounded_then_moved",
    ),
    Tabulated(
        "lut_tanhf_half_even",
        "y = round_half_even(clamp(tanhf((x - zx)*s_x) * (1/s_y) + zy)), all float32",
        "tanhf",
        "moved_then_rounded",
    ),
    Curve(
        "gemmlowp_fixed_point",
        "x to Q4.27, tanh in Q0.31, 7 bits half away; integers only",
        "tanh",
        integer_bits=4,
        output_bits=24,
        zero_point=0,
        wants_zero_point=False,
    ),
    InterpolatedCurve(
        "interpolated_int16",
        "256-entry table of 65536*sigmoid(i/24) at 2x, interpolated; integers only",
        "tanh",
        step_bits=8,
        extra_bits=8,
        powers_of_two=(0, 1),
        other_kernel=False,
    ),
    InterpolatedCurve(
        "interpolated_int16/not_power_of_two",
        "the same; scales of 2^-12 and 2^-11 go to 16-bit fixed point, not covered",
        "tanh",
        step_bits=8,
        extra_bits=8,
        powers_of_two=(0, 1),
        other_kernel=True,
    ),
)

_TO_8_OR_16 = frozenset({("int8", "int8"), ("uint8", "uint8"), ("int8", "int16"), ("uint8", "int16")})
_SAME_8 = frozenset({("int8", "int8"), ("uint8", "uint8")})
_OF_INT8 = frozenset({("int8", "int8"), ("int8", "int16")})
_INT16 = frozenset({("int16", "int16")})

SOFTMAX: dict[str, SoftmaxRecipe] = _table(
    PolynomialSoftmax(
        "gemmlowp_fixed_point",
        "exp in Q0.31, sum in Q12.19, reciprocal by Newton's method; integers only",
        _TO_8_OR_16,
        diff_bits=5,
        sum_bits=12,
        exact_output_scale=False,
    ),
    PolynomialSoftmax(
        "gemmlowp_fixed_point/exact_output_scale",
        "the same; int8 output only with scale 1/256 exactly, int16 only with 1/65536 and zero point -32768",
        _OF_INT8,
        diff_bits=5,
        sum_bits=12,
        exact_output_scale=True,
    ),
    TableSoftmax(
        "lut_float32_sum",
        "t = expf(-s_x*beta * (max - x)), float32; sum left to right in float32; "
        "y = clamp(zy + round_half_away(t * (1 / (sum * s_y))))",
        _TO_8_OR_16,
        "half_added_zero_point_ignored",
    ),
    IntegerTableSoftmax(
        "lut_uint16_sum",
        "t = trunc(65535 * expf(-s_x*beta * (max - x)) + 1/2); sum of integers; "
        "y = clamp(zy + t * q31(1 / (sum * s_y)))",
        _SAME_8,
    ),
    InterpolatedSoftmax(
        "interpolated_int16/float64_tables",
        "exp and 1/(1+x) from 513-entry int16 tables made in float64; q and shift from s_x*beta in float32",
        _INT16,
        table_bits=64,
        factor_bits=32,
    ),
    InterpolatedSoftmax(
        "interpolated_int16/float32_tables",
        "the same, tables made in float32; s_x*beta in float64",
        _INT16,
        table_bits=32,
        factor_bits=64,
    ),
)
