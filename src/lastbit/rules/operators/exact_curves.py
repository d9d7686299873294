"""LOGISTIC and TANH of quantized values once more, slowly: one element in Python integers and fractions.

Written apart from the functions of the operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import assert_never

from ...arith.exact import ExactStep, low_bits, make_step, number_text, round_fraction, round_multiplier, round_to_float
from ...arith.lookup import SIGMOID_TABLE
from .exact_functions import (
    LARGEST_32,
    divided_half_away,
    exact_exp,
    exact_tanh,
    exp_below_zero,
    expf,
    high_half,
    shifted_left,
    two_over_one_plus,
)
from .fold import Constants
from .recipes import (
    Curve,
    CurveRecipe,
    InterpolatedCurve,
    Tabulated,
)

__all__ = ["exact_curve"]


def exact_curve(rule: CurveRecipe, constants: Constants, x: int) -> list[ExactStep]:
    """Every step of LOGISTIC or TANH of one quantized number; the last is `output`."""
    match rule:
        case Tabulated():
            return list(_tabulated(rule, constants, x))
        case Curve():
            return list(_polynomial(rule, constants, x))
        case InterpolatedCurve():
            return list(_interpolated(rule, constants, x))
        case never:
            assert_never(never)


def _tabulated(rule: Tabulated, constants: Constants, x: int) -> Iterator[ExactStep]:
    given, to = constants.inputs[0], constants.output
    assert to is not None
    scale = Fraction(float(given.scale))
    real = (x - given.zero_point) * scale
    value = round_to_float(real, 24)
    numbers = f"({x} - ({given.zero_point})) * {number_text(scale)}"
    yield make_step("real", "(x - zx) * s_x", numbers, value, real, "float32")
    match rule.function:
        case "sigmoid_expf":
            below = round_to_float(1 + expf(-value), 24)
            curve, formula = round_to_float(1 / below, 24), "1 / (1 + expf(-real))"
            exact = 1 / (1 + exact_exp(-value))
        case "sigmoid_exp":
            e = round_to_float(exact_exp(value), 53) if abs(value) <= 100 else Fraction(0)
            curve = round_to_float(round_to_float(e / round_to_float(1 + e, 53), 53), 24)
            curve = Fraction(1) if value > 100 else curve
            exact, formula = 1 / (1 + exact_exp(-value)), "e / (1 + e), e = exp(real)"
        case "tanhf":
            exact, formula = exact_tanh(value), "tanhf(real)"
            curve = round_to_float(exact, 24)
        case never:
            assert_never(never)
    yield make_step("curve", formula, number_text(value), curve, exact, "float32")
    inverse = round_to_float(1 / Fraction(float(to.scale)), 24)
    scaled = round_to_float(curve * inverse, 24)
    yield make_step(
        "scaled",
        "curve * (1/s_y)",
        f"{number_text(curve)} * {number_text(inverse)}",
        scaled,
        curve * inverse,
        "float32",
    )
    zero = to.zero_point
    match rule.finish:
        case "rounded_then_moved":
            rounded = round_fraction(scaled, "half_away")
            yield make_step("acc_scaled", "round_half_away(scaled)", number_text(scaled), rounded, scaled, "half_away")
            output = max(to.qmin, min(to.qmax, rounded + zero))
            yield make_step(
                "output", "clamp(acc_scaled + zy)", f"{rounded} + ({zero})", output, rounded + zero, "clamp"
            )
        case "moved_then_rounded":
            moved = round_to_float(scaled + zero, 24)
            numbers = f"{number_text(scaled)} + ({zero})"
            yield make_step("with_zero_point", "scaled + zy", numbers, moved, scaled + zero, "float32")
            limited = max(Fraction(to.qmin), min(Fraction(to.qmax), moved))
            output = round_fraction(limited, "half_even")
            yield make_step(
                "output", "round_half_even(clamp(y))", number_text(moved), output, moved, "half_even, clamp"
            )
        case never_finish:
            assert_never(never_finish)


def _polynomial(rule: Curve, constants: Constants, x: int) -> Iterator[ExactStep]:
    given = constants.inputs[0]
    centered = x - given.zero_point
    yield make_step("centered", "x - zx", f"{x} - ({given.zero_point})", centered, centered)
    q, shift = round_multiplier(Fraction(float(given.scale)) * 2 ** (31 - rule.integer_bits))
    largest = ((1 << rule.integer_bits) - 1) << (31 - rule.integer_bits)
    radius = largest >> shift
    yield make_step("radius", "inputs from here on saturate", f"{radius}", radius, radius)
    if abs(centered) >= radius:
        end = -128 if centered <= -radius else 127
        yield make_step("output", "beyond the radius", f"|{centered}| >= {radius}", end, end)
        return
    value = high_half(low_bits(centered << shift, 32), q)
    exact = Fraction((centered << shift) * q, 2**31)
    yield make_step(
        "input_q4",
        "(x - zx) * s_x with 27 bits after the point",
        f"{centered} << {shift}, times {q}",
        value,
        exact,
        "half_up",
    )
    if rule.function == "logistic":
        half = shifted_left(two_over_one_plus(exp_below_zero(-abs(value), rule.integer_bits)), 1)
        curve = 2**30 if value == 0 else half if value > 0 else LARGEST_32 - half
    else:
        half = shifted_left(two_over_one_plus(exp_below_zero(-abs(value), rule.integer_bits + 1)) - 2**29, 2)
        curve = 0 if value == 0 else half if value > 0 else -half
    real = Fraction(value, 1 << (31 - rule.integer_bits))
    ideal = 1 / (1 + exact_exp(-real)) if rule.function == "logistic" else exact_tanh(real)
    yield make_step(
        f"{rule.function}_q0", f"{rule.function} in Q0.31", number_text(real), curve, ideal * 2**31, "polynomial"
    )
    rounded = divided_half_away(curve, rule.output_bits)
    moved = rounded + rule.zero_point
    exact = Fraction(curve, 1 << rule.output_bits) + rule.zero_point
    yield make_step(
        "output",
        f"clamp(round_half_away(curve / 2^{rule.output_bits}) + ({rule.zero_point}))",
        f"{curve}",
        max(-128, min(127, moved)),
        exact,
        "half_away, clamp",
    )


def _interpolated(rule: InterpolatedCurve, constants: Constants, x: int) -> Iterator[ExactStep]:
    scale = float(constants.inputs[0].scale)
    exponent = math.log2(scale)
    power = 12 + round(exponent)
    if abs(exponent - round(exponent)) < 0.001 and power in rule.powers_of_two:
        multiplier, shift = 3 << power, 0
    else:
        factor, shift = Fraction(scale) * 3 * 4096, 0
        while factor <= Fraction(32767, 2) and shift <= 30:
            factor, shift = 2 * factor, shift + 1
        multiplier = math.floor(factor)
    yield make_step(
        "multiplier", "3 * 4096 * s_x * 2^shift, rounded down", f"{multiplier}, shift {shift}", multiplier, multiplier
    )
    exact = Fraction(x * multiplier, 1 << shift)
    value = round_fraction(exact, "half_up") if shift else x * multiplier
    yield make_step(
        "input_scaled",
        "(x * multiplier + 2^(shift-1)) >> shift",
        f"{x} * {multiplier} / 2^{shift}",
        value,
        exact,
        "half_up",
    )
    step, extra = rule.step_bits, rule.extra_bits
    index, rest = divmod(abs(value), 1 << step)
    at_end = index >= 255
    if at_end:
        line = 0x7FFF << 10 if rule.function == "logistic" else 0xFFFF << 8
        text = "the table's end"
    else:
        first, second = int(SIGMOID_TABLE[index]), int(SIGMOID_TABLE[index + 1])
        line, text = (first << step) + rest * (second - first), f"between {first} and {second}, {rest}/{1 << step}"
    yield make_step("line", "the table's entries, and a straight line between", text, line, line)
    if rule.function == "logistic":
        signed = line if value >= 0 else (1 << 25) - line
    else:
        signed = line - (1 << 23) if value >= 0 else (1 << 23) - line
    half = 1 << (extra - 1)
    output = (signed + half - (value < 0)) >> extra
    exact = Fraction(signed, 1 << extra)
    yield make_step(
        "output",
        f"round(line / 2^{extra})",
        f"{signed} / 2^{extra}",
        output,
        exact,
        "half_up" if value >= 0 else "half_down",
    )
