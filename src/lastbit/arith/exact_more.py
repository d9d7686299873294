"""The slow twins of the forms in `requantize_more.py`: one accumulator at a time, in Python integers and fractions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .exact_int16 import q15_steps
from .exact_steps import (
    ExactStep,
    make_step,
    number_text,
    round_fraction,
    round_multiplier,
    round_to_float,
    split_fraction,
    wrap_int32,
)
from .requantize_types import RequantRule

__all__ = ["FORMS", "float_bias", "more_steps"]

FORMS = (
    "q31_single_wrap",
    "q15_wrap",
    "float32_clip",
    "float32_bias_fused",
    "float32_bias_reciprocal",
    "float32_bias_division",
)
"""The forms stated here."""


def more_steps(
    rule: RequantRule,
    acc: int,
    scale: Fraction,
    *,
    scales: tuple[Fraction, Fraction],
    output_zero_point: int,
    bounds: tuple[int, int],
    type_bounds: tuple[int, int],
    bias: int,
) -> list[ExactStep]:
    """The steps after the effective scale, from one accumulator to one output.

    Args:
        rule: the rule; its form is one of `FORMS`.
        acc: an int32 value, the bias in it.
        scale: the effective scale as the rule calculates it.
        scales: s_x and s_w.
        output_zero_point: zy.
        bounds: the clamp bounds, (low, high).
        type_bounds: the smallest and the largest integer of the output's type.
        bias: the unit's bias, which some forms add by themselves.
    """
    if rule.form == "q31_single_wrap":
        steps = list(_single_wrap(acc, scale))
    elif rule.form == "q15_wrap":
        steps = list(_q15_wrap(acc, scale))
    elif rule.form == "float32_clip":
        steps = list(_clip(acc, scale, type_bounds[0] - output_zero_point, type_bounds[1] - output_zero_point))
    else:
        steps = list(_bias(rule, acc, scale, scales, bias))
    scaled = int(steps[-1].value)
    exact = scaled + output_zero_point
    total = wrap_int32(exact) if rule.form.endswith("wrap") else exact
    wraps = "wrap32" if rule.form.endswith("wrap") else ""
    steps.append(
        make_step("with_zero_point", "acc_scaled + zy", f"{scaled} + ({output_zero_point})", total, exact, wraps)
    )
    low, high = bounds
    output = max(low, min(high, total))
    formula = "clamp(with_zero_point, lo, hi)"
    return [*steps, make_step("output", formula, f"clamp({total}, {low}, {high})", output, total, "clamp")]


def _single_wrap(acc: int, scale: Fraction) -> Iterator[ExactStep]:
    fraction, exponent = split_fraction(scale)
    exact_q = fraction * 2**31
    q, shift = round_multiplier(scale)
    if q == 2**30 and fraction > Fraction(1, 2):
        exact_q /= 2
    numbers = f"{number_text(scale)} = {number_text(fraction)} * 2^{exponent}; {number_text(fraction)} * 2^31"
    yield make_step("multiplier", "q = round_half_away(fraction * 2^31)", numbers, q, exact_q, "half_away")
    yield make_step("shift", "the power of two, positive = left", f"{shift}", shift, shift)
    product = acc * q
    yield make_step("product", "acc * q", f"{acc} * {q}", product, product)
    yield from _halved(product, 30 - shift, "30-shift")


def _q15_wrap(acc: int, scale: Fraction) -> Iterator[ExactStep]:
    multiplier, shift, reduced, product = list(q15_steps(acc, scale))[:4]
    yield from (multiplier, shift, reduced, product)
    yield from _halved(int(product.value), 14 - int(shift.value), "14-shift")


def _halved(product: int, bits: int, count: str) -> Iterator[ExactStep]:
    """Twice the result in an int32, then half of it."""
    twice = Fraction(product) / Fraction(2) ** bits
    floor = twice.numerator // twice.denominator
    yield make_step(
        "doubled",
        f"wrap32(product >> ({count}))",
        f"{product} / 2^{bits}",
        wrap_int32(floor),
        twice,
        "floor" if wrap_int32(floor) == floor else "floor, then wrap32",
    )
    more = wrap_int32(wrap_int32(floor) + 1)
    exact = Fraction(wrap_int32(floor), 2)
    effect = "half_up" if more == wrap_int32(floor) + 1 else "wrap32"
    yield make_step("acc_scaled", "(doubled + 1) >> 1", f"({wrap_int32(floor)} + 1) >> 1", more // 2, exact, effect)


def _clip(acc: int, scale: Fraction, lowest: int, highest: int) -> Iterator[ExactStep]:
    converted = round_to_float(Fraction(acc), 24)
    yield make_step("acc_float", "float32(acc)", str(acc), converted, acc, "float32")
    product = round_to_float(converted * scale, 24)
    yield make_step(
        "product",
        "acc_float * m",
        f"{number_text(converted)} * {number_text(scale)}",
        product,
        converted * scale,
        "float32",
    )
    limited = min(max(product, Fraction(lowest)), Fraction(highest))
    formula = "max(qmin - zy, min(product, qmax - zy))"
    yield make_step(
        "limited", formula, f"{number_text(product)} within {lowest} .. {highest}", limited, product, "clamp"
    )
    rounded = round_fraction(limited, "half_even")
    yield make_step(
        "acc_scaled", "round_half_even(limited)", f"rint({number_text(limited)})", rounded, limited, "half_even"
    )


def float_bias(rule: RequantRule, bias: int, input_scale: Fraction, weights_scale: Fraction) -> Fraction:
    """The bias in accumulator steps, as the rule's kernel gets it from the real value it is given."""
    both = round_to_float(input_scale * weights_scale, 24)
    real = round_to_float(round_to_float(Fraction(bias), 24) * both, 24)
    if rule.form == "float32_bias_division":
        return round_to_float(real / both, 24)
    product = real * round_to_float(1 / both, 24)
    return product if rule.form == "float32_bias_fused" else round_to_float(product, 24)


def _bias(
    rule: RequantRule, acc: int, scale: Fraction, scales: tuple[Fraction, Fraction], bias: int
) -> Iterator[ExactStep]:
    steps = float_bias(rule, bias, *scales) if bias else Fraction(0)
    way = "b / s" if rule.form == "float32_bias_division" else "b * (1/s)"
    operation = "float32, fused with the sum" if rule.form == "float32_bias_fused" else "float32"
    yield make_step("bias_float", f"{way}, b = bias * s, s = s_x*s_w", str(bias), steps, bias, operation)
    dot = wrap_int32(acc - bias)
    yield make_step("acc_without_bias", "acc - bias", f"{acc} - ({bias})", dot, acc - bias, "wrap32")
    exact = round_to_float(Fraction(dot), 24) + steps
    added = round_to_float(exact, 24)
    numbers = f"{number_text(round_to_float(Fraction(dot), 24))} + {number_text(steps)}"
    formula = "float32(float32(acc_without_bias) + bias_float)"
    yield make_step("acc_float", formula, numbers, added, dot + steps, "float32")
    product = round_to_float(added * scale, 24)
    yield make_step(
        "product", "acc_float * m", f"{number_text(added)} * {number_text(scale)}", product, added * scale, "float32"
    )
    rounded, effect = round_fraction(product, "half_even"), "half_even"
    if not -(2**31) <= product < 2**31:
        rounded, effect = -(2**31), "half_even, then int32 overflow gives INT32_MIN"
    yield make_step("acc_scaled", "round_half_even(product)", f"rint({number_text(product)})", rounded, product, effect)
