"""SOFTMAX of quantized values once more, slowly: one element in Python integers and fractions.

Written apart from the functions of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import assert_never

from ...arith.exact import ExactStep, low_bits, make_step, number_text, round_fraction, round_multiplier, round_to_float
from .exact_functions import (
    LARGEST_32,
    divided_half_away,
    exact_exp,
    exp_below_zero,
    expf,
    high_half,
    shifted_left,
    two_over_one_plus,
)
from .fold import Constants
from .recipes import IntegerTableSoftmax, InterpolatedSoftmax, PolynomialSoftmax, SoftmaxRecipe, TableSoftmax

__all__ = ["exact_softmax"]


def exact_softmax(
    rule: SoftmaxRecipe, constants: Constants, beta: Fraction, row: Sequence[int], place: int
) -> list[ExactStep]:
    """Every step of one element of SOFTMAX; the last is `output`.

    Args:
        rule: the recipe.
        constants: the quantization.
        beta: the operator's option, a float32.
        row: the quantized numbers that are normalized together.
        place: which of them.
    """
    match rule:
        case PolynomialSoftmax():
            return list(_polynomial_softmax(rule, constants, beta, row, place))
        case TableSoftmax():
            return list(_table_softmax(rule, constants, beta, row, place))
        case IntegerTableSoftmax():
            return list(_integer_table_softmax(constants, beta, row, place))
        case InterpolatedSoftmax():
            return list(_interpolated_softmax(rule, constants, beta, row, place))
        case never:
            assert_never(never)


def _difference(row: Sequence[int], place: int) -> ExactStep:
    top = max(row)
    return make_step("diff", "x - max(x)", f"{row[place]} - ({top})", row[place] - top, row[place] - top)


def _polynomial_softmax(
    rule: PolynomialSoftmax, constants: Constants, beta: Fraction, row: Sequence[int], place: int
) -> Iterator[ExactStep]:
    to = constants.output
    assert to is not None
    scale = Fraction(float(constants.inputs[0].scale))
    factor = min(round_to_float(beta * scale, 53) * 2 ** (31 - rule.diff_bits), Fraction(LARGEST_32))
    q, shift = round_multiplier(factor)
    radius = (((1 << rule.diff_bits) - 1) << (31 - rule.diff_bits)) >> shift
    yield _difference(row, place)

    def exponential(value: int) -> int:
        diff = value - max(row)
        return exp_below_zero(high_half(diff << shift, q), rule.diff_bits) if diff >= -radius else 0

    own = exponential(row[place])
    ideal = exact_exp((row[place] - max(row)) * scale * beta) * 2**31
    yield make_step(
        "exp", "exp(diff * s_x * beta) in Q0.31", f"multiplier {q}, shift {shift}", own, ideal, "polynomial"
    )
    total = sum(divided_half_away(exponential(value), rule.sum_bits) for value in row)
    numbers = f"{len(row)} exponentials, each by 2^{rule.sum_bits}, half away"
    yield make_step("sum_of_exps", f"sum in Q{rule.sum_bits}.{31 - rule.sum_bits}", numbers, total, total)
    zeros = 32 - total.bit_length()
    scaled = shifted_left(two_over_one_plus((total << zeros) - 2**31), 1)
    ideal = Fraction(2**31) * 2**31 / (total << zeros)
    yield make_step(
        "reciprocal", "1 / sum in Q0.31, by Newton's method", f"{total} << {zeros}", scaled, ideal, "polynomial"
    )
    bits = rule.sum_bits - zeros + 31 - to.bits
    product = high_half(scaled, own)
    rounded = divided_half_away(product, bits)
    counted = row[place] - max(row) >= -radius
    output = max(to.qmin, min(to.qmax, rounded + to.qmin)) if counted else to.qmin
    exact = Fraction(scaled * own, 2 ** (31 + bits)) + to.qmin
    yield make_step(
        "output",
        f"clamp(round_half_away(reciprocal * exp / 2^(31+{bits})) + qmin)",
        f"{scaled} * {own}",
        output,
        exact,
        "half_up, half_away, clamp",
    )


def _table_softmax(
    rule: TableSoftmax, constants: Constants, beta: Fraction, row: Sequence[int], place: int
) -> Iterator[ExactStep]:
    to = constants.output
    assert to is not None
    scale = Fraction(float(constants.inputs[0].scale))
    step = round_to_float(-scale * beta, 24)
    yield _difference(row, place)

    def exponential(value: int) -> Fraction:
        return expf(round_to_float(step * (max(row) - value), 24))

    own = exponential(row[place])
    ideal = exact_exp((row[place] - max(row)) * scale * beta)
    yield make_step(
        "exp", "the table: expf(diff * s_x * beta)", f"entry {max(row) - row[place]}", own, ideal, "float32"
    )
    total, exact = Fraction(0), Fraction(0)
    for n, value in enumerate(row):
        total, exact = (
            round_to_float(total + exponential(value), 24) if n else exponential(value),
            exact + exponential(value),
        )
    yield make_step("sum_of_exps", "from left to right in float32", f"{len(row)} entries", total, exact, "float32")
    output_scale = Fraction(float(to.scale))
    inverse = round_to_float(1 / round_to_float(total * output_scale, 24), 24)
    scaled = round_to_float(own * inverse, 24)
    yield make_step(
        "scaled",
        "exp * (1 / (sum * s_y))",
        f"{number_text(own)} * {number_text(inverse)}",
        scaled,
        own / total / output_scale,
        "float32",
    )
    match rule.unsigned:
        case "half_added_zero_point_ignored":
            if (to.qmin, to.qmax) == (0, 255):
                rounded, formula = math.floor(round_to_float(scaled + Fraction(1, 2), 24)), "clamp(trunc(scaled + 0.5))"
            else:
                rounded = round_fraction(scaled, "half_away") + to.zero_point
                formula = "clamp(round_half_away(scaled) + zy)"
        case never:
            assert_never(never)
    output = max(to.qmin, min(to.qmax, rounded))
    moved = scaled + (0 if (to.qmin, to.qmax) == (0, 255) else to.zero_point)
    yield make_step(
        "output", formula, f"{number_text(scaled)}, zy = {to.zero_point}", output, moved, "half_away, clamp"
    )


def _integer_table_softmax(constants: Constants, beta: Fraction, row: Sequence[int], place: int) -> Iterator[ExactStep]:
    to = constants.output
    assert to is not None
    scale = Fraction(float(constants.inputs[0].scale))
    step = round_to_float(scale * beta, 24)
    yield _difference(row, place)

    def exponential(value: int) -> int:
        real = round_to_float(65535 * expf(round_to_float(step * (value - max(row)), 24)), 24)
        return min(math.floor(real + Fraction(1, 2)), 65535)

    own = exponential(row[place])
    ideal = 65535 * exact_exp((row[place] - max(row)) * scale * beta)
    yield make_step("exp", "trunc(65535 * expf(diff * s_x * beta) + 1/2)", f"entry {max(row) - row[place]}", own, ideal)
    total = sum(exponential(value) for value in row)
    yield make_step("sum_of_exps", "sum", f"{len(row)} entries", total, total)
    summed = round_to_float(round_to_float(Fraction(total), 24) * Fraction(float(to.scale)), 24)
    inverse = round_to_float(1 / summed, 24)
    q, shift = round_multiplier(inverse)
    left, right = max(shift, 0), max(-shift, 0)
    scaled = divided_half_away(high_half(low_bits(own << left, 32), q), right)
    exact = own / (total * Fraction(float(to.scale)))
    yield make_step(
        "acc_scaled", "exp * (1 / (sum * s_y))", f"multiplier {q}, shift {shift}", scaled, exact, "half_up, half_away"
    )
    output = max(to.qmin, min(to.qmax, scaled + to.zero_point))
    numbers = f"{scaled} + ({to.zero_point})"
    yield make_step("output", "clamp(acc_scaled + zy)", numbers, output, scaled + to.zero_point, "clamp")


@cache
def _samples(name: str, low: float, high: float, bits: int) -> tuple[int, ...]:
    """513 samples of exp or 1 / (1 + x), each moved by half the error of a straight line in the middle of its step."""

    def real(value: Fraction) -> Fraction:
        return round_to_float(value, bits)

    def function(value: Fraction) -> Fraction:
        exact = exact_exp(value) if name == "exp" else 1 / round_to_float(1 + value, 53)
        return real(round_to_float(exact, 53))

    first, last = Fraction(low), Fraction(high)
    step = real((last - first) / 512)
    half = real(step / 2)
    entries = []
    for i in range(512):
        start = real(first + real(i * step))
        value = round_fraction(real(function(start) * 2**15), "half_away")
        following = real(function(real(first + real((i + 1) * step))) * 2**15)
        straight = round_fraction(real(real(following + value) / 2), "half_away")
        middle = round_fraction(real(function(real(start + half)) * 2**15), "half_away")
        entries.append(value - round_fraction(Fraction(straight - middle, 2), "half_away"))
    entries.append(round_fraction(real(function(last) * 2**15), "half_away"))
    return tuple(max(-(2**15), min(2**15 - 1, entry)) for entry in entries)


def _look_up(x: int, table: Sequence[int]) -> int:
    index, rest = divmod(x, 128)
    base, slope = table[256 + index], low_bits(table[257 + index] - table[256 + index], 16)
    return low_bits(base + round_fraction(Fraction(slope * rest, 128), "half_up"), 16)


def _interpolated_softmax(
    rule: InterpolatedSoftmax, constants: Constants, beta: Fraction, row: Sequence[int], place: int
) -> Iterator[ExactStep]:
    scale, bits = Fraction(float(constants.inputs[0].scale)), 24 if rule.table_bits == 32 else 53
    low, high = rule.exp_range
    exps = _samples("exp", low, high, bits)
    product = round_to_float(scale * beta, 24 if rule.factor_bits == 32 else 53)
    q, shift = round_multiplier(round_to_float(product / Fraction(10.0 / 65535.0), 53))
    yield _difference(row, place)

    def exponential(value: int) -> int:
        shifted = low_bits((value - max(row)) << max(shift, 0), 32)
        scaled = divided_half_away(high_half(shifted, q), max(-shift, 0))
        return _look_up(max(-(2**15), min(2**15 - 1, scaled + 2**15 - 1)), exps)

    own = exponential(row[place])
    ideal = exact_exp((row[place] - max(row)) * scale * beta) * 2**15
    yield make_step("exp", "the table of exp, interpolated", f"multiplier {q}, shift {shift}", own, ideal, "table")
    total = sum(map(exponential, row))
    yield make_step("sum_of_exps", "sum", f"{len(row)} entries", total, total)
    zeros = 32 - total.bit_length()
    shifted = ((total << (zeros - 1)) + 2**13) >> 14
    centered = max(-(2**15), min(2**15 - 1, shifted - 2**15 - 2**16))
    reciprocal = _look_up(centered, _samples("reciprocal", *rule.reciprocal_range, bits))
    ideal = Fraction(2**15) * Fraction(2) ** (31 - zeros) / total if total else Fraction(0)
    yield make_step(
        "reciprocal", "the table of 1 / (1 + x), interpolated", f"{total} << {zeros}", reciprocal, ideal, "table"
    )
    exact = Fraction(own * reciprocal) / Fraction(2) ** (31 - zeros)
    output = max(0, min(2**15 - 1, round_fraction(exact, "half_up")))
    yield make_step(
        "output",
        f"clamp((exp * reciprocal) >> {31 - zeros}, half up)",
        f"{own} * {reciprocal}",
        output,
        exact,
        "half_up, clamp",
    )
