"""The same once more, slowly: one accumulator at a time, in Python integers and fractions, from the equations.

Written apart from `vector.py`, so that the two can disagree; neither imports the other, and tests compare them.
Explanations print the steps that are recorded here, each with what it cut off. The numbers come from `five_steps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import assert_never

from ...arith.exact import (
    ExactStep,
    low_bits,
    make_step,
    multiplier_steps,
    number_text,
    round_fraction,
    round_to_float,
    times_power,
)
from ..base import IntegerRule
from .five_steps import (
    SIGNIFICAND,
    AppliedFactor,
    Ends,
    add_in,
    bounded,
    count_of,
    factor_of,
    float_product,
    high_half,
    keep,
    last_rounding,
    limits_of,
    multiplier_of,
    scale_of,
    unrounded,
    upper_of,
    wide_product,
)
from .forms import Float, OneRounding, TwoRoundings

__all__ = ["exact_requantize"]


def exact_requantize(
    rule: IntegerRule,
    acc: int,
    *,
    input_scale: Fraction,
    weights_scale: Fraction,
    output_scale: Fraction,
    ends: Ends,
    bias: int = 0,
    given: tuple[int, int] | None = None,
) -> list[ExactStep]:
    """Every step from one accumulator to one output.

    Args:
        rule: the rule.
        acc: the accumulator, as its register holds it.
        input_scale: s_x, the stored float32's exact value.
        weights_scale: s_w of this unit, in the same way.
        output_scale: s_y, in the same way.
        ends: the clamp bounds, the output's type, its zero point.
        bias: the unit's bias, for the forms that add it themselves; `acc` has it in it.
        given: multiplier and shift, for a layer that has these instead of scales; weights_scale is then the factor,
            and the other scales are 1.

    Returns:
        The steps in order; the first is `effective_scale`, the last `output`.

    >>> from lastbit.rules.requantize.table import RULES
    >>> one, half = Fraction(1), Fraction(1, 2)
    >>> for name in ("float64-half_away", "q31-half_up-half_up/dd", "float32-half_even"):
    ...     steps = exact_requantize(RULES[name], -5, input_scale=one, weights_scale=half, output_scale=one,
    ...                              ends=Ends(-128, 127, -128, 127, zero_point=3))
    ...     print(name, int(steps[-1].value))  # -2.5, then + 3
    float64-half_away 0
    q31-half_up-half_up/dd 1
    float32-half_even 1
    """
    scale = scale_of(rule, input_scale, weights_scale, output_scale)
    steps = [_scale_step(rule, input_scale, weights_scale, output_scale, scale)]
    form, factor = rule.requantize, factor_of(rule, scale, given)
    match form:
        case Float():
            in_steps = exact_bias(form, bias, input_scale, weights_scale)
            steps += _float_steps(rule, form, acc, factor.value, bias, in_steps, ends)
        case TwoRoundings():
            steps += [*_fixed_steps(scale, given), *_two_steps(form, acc, factor)]
        case OneRounding():
            fixed = _fixed_steps(scale, given)
            steps += [*fixed, *_one_step(rule, form, acc, factor, int(fixed[0].value))]
        case never:
            assert_never(never)
    scaled, zy = int(steps[-1].value), ends.zero_point
    total, upper = add_in(form.add, scaled + zy), upper_of(form, ends)
    wraps = "wrap32" if form.add == "wrap32" else ""
    steps.append(make_step("with_zero_point", "acc_scaled + zy", f"{scaled} + ({zy})", total, scaled + zy, wraps))
    formula = "clamp(with_zero_point, lo, hi)"
    if isinstance(form, Float) and form.clamp_order == "type_then_low":
        formula = "max(lo, saturate(with_zero_point))"
    numbers = f"clamp({total}, {ends.activation_min}, {upper})"
    steps.append(make_step("output", formula, numbers, bounded(form, total, ends), total, "clamp"))
    return steps


def _scale_step(rule: IntegerRule, sx: Fraction, sw: Fraction, sy: Fraction, scale: Fraction) -> ExactStep:
    match rule.scales.product:
        case "dd":
            formula, precision = "m = float64(s_x) * float64(s_w) / float64(s_y)", "float64"
        case "fd":
            formula, precision = "m = float64(float32(s_x * s_w)) / float64(s_y)", "float32, then float64"
        case "ff":
            formula, precision = "m = float32(float32(s_x * s_w) / s_y)", "float32"
        case "given":
            return make_step("effective_scale", "m = q * 2^(shift - 31)", number_text(scale), scale, scale)
        case never:
            assert_never(never)
    numbers = f"{number_text(sx)} * {number_text(sw)} / {number_text(sy)}"
    return make_step("effective_scale", formula, numbers, scale, sx * sw / sy, precision)


def _fixed_steps(scale: Fraction, given: tuple[int, int] | None) -> tuple[ExactStep, ExactStep]:
    """The two steps from an effective scale to its multiplier and shift; given ones are taken as they are."""
    if given is None:
        return multiplier_steps(scale)
    q, shift = given
    return (
        make_step("multiplier", "q, as given", str(q), q, q),
        make_step("shift", "as given, positive = left", str(shift), shift, shift),
    )


def exact_bias(form: Float, bias: int, input_scale: Fraction, weights_scale: Fraction) -> Fraction:
    """The bias in accumulator steps, as the kernel gets it from the real value it is given."""
    if form.bias == "in_acc" or not bias:
        return Fraction(0)
    both = round_to_float(input_scale * weights_scale, 24)
    real = round_to_float(round_to_float(Fraction(bias), 24) * both, 24)
    match form.bias:
        case "division":
            return round_to_float(real / both, 24)
        case "reciprocal":
            return round_to_float(real * round_to_float(1 / both, 24), 24)
        case "fused":
            return real * round_to_float(1 / both, 24)
        case never:
            assert_never(never)


def _float_steps(
    rule: IntegerRule, form: Float, acc: int, factor: Fraction, bias: int, bias_in_steps: Fraction, ends: Ends
) -> Iterator[ExactStep]:
    kind = f"float{form.bits}"
    start, converted, product = float_product(form, acc, factor, bias, bias_in_steps)
    name = "acc_float"
    if form.bias != "in_acc":
        way = "b / s" if form.bias == "division" else "b * (1/s)"
        operation = "float32, fused with the sum" if form.bias == "fused" else kind
        yield make_step("bias_float", f"{way}, b = bias * s, s = s_x*s_w", str(bias), bias_in_steps, bias, operation)
        yield make_step("acc_without_bias", "acc - bias", f"{acc} - ({bias})", start, acc - bias, "wrap32")
        alone = round_to_float(Fraction(start), SIGNIFICAND[form.bits])
        numbers = f"{number_text(alone)} + {number_text(bias_in_steps)}"
        formula = f"{kind}({kind}(acc_without_bias) + bias_float)"
        yield make_step(name, formula, numbers, converted, start + bias_in_steps, kind)
    elif rule.sums.bits > SIGNIFICAND[form.bits]:
        yield make_step(name, f"{kind}(acc)", str(acc), converted, acc, kind)
    else:
        name = "acc"
    numbers = f"{number_text(converted)} * {number_text(factor)}"
    # An accumulator that is the same in float64 is called by its own name, and so is its float64.
    formula = f"{name if form.bits == 32 else 'acc'} * m"
    yield make_step("product", formula, numbers, product, converted * factor, kind)
    value, what = product, "product"
    low, high = limits_of(form, ends)
    if high is not None:
        value, what = min(value, Fraction(high)), "limited"
        formula, numbers = "min(product, hi - zy)", f"min({number_text(product)}, {high})"
        if low is not None:
            value = max(value, Fraction(low))
            formula = "max(qmin - zy, min(product, qmax - zy))"
            numbers = f"{number_text(product)} within {low} .. {high}"
        yield make_step(what, formula, numbers, value, product, "clamp")
    rounded = round_fraction(value, form.tie)
    kept, effect = keep(form, rounded), form.tie
    formula = f"round_{form.tie}({what})"
    match form.out_of_range:
        case "int32_min":
            more = ", then int32 overflow gives INT32_MIN"
        case "saturate32":
            more = ", then saturate32"
        case "saturate16":
            more, formula = ", then saturate16", f"saturate16({formula})"
        case "never":
            more = ""
        case never:
            assert_never(never)
    function = {"half_even": "rint", "half_away": "round", "half_up": "round_half_up"}[form.tie]
    text = f"{function}({number_text(value)})"
    yield make_step("acc_scaled", formula, text, kept, value, effect + (more if kept != rounded else ""))


def _two_steps(form: TwoRoundings, acc: int, factor: AppliedFactor) -> Iterator[ExactStep]:
    q = int(factor.fraction * 2**31)
    right, left, shifted, exact_high, high = high_half(form, acc, factor)
    effect = "wrap32" if form.left == "wrap32" else "clamp"
    formula = f"{form.left}(acc << {'L' if form.least_right == 0 else left})"
    yield make_step("acc_shifted", formula, f"{acc} << {left}", shifted, acc * 2**left, effect)
    formula = "(acc_shifted * q + 2^30) >> 31" if form.high == "half_up" else "acc_shifted * q >> 31"
    yield make_step("high_mul", formula, f"{shifted} * {q} / 2^31", high, exact_high, form.high)
    exact = Fraction(high, 2**right)
    rounded = round_fraction(exact, form.tie)
    formula = f"round_{form.tie}(high_mul / 2^R)"
    yield make_step("acc_scaled", formula, f"{high} / 2^{right}", rounded, exact, form.tie)


def _one_step(rule: IntegerRule, form: OneRounding, acc: int, factor: AppliedFactor, q: int) -> Iterator[ExactStep]:
    multiplier, name, whole = multiplier_of(form, q), "q", form.multiplier_bits
    if whole == 15:
        name, exact_q15 = "q15", Fraction(q, 2**16)
        saturates = round_fraction(exact_q15, "half_up") != multiplier
        operation = "half_up, then at most 0x7fff" if saturates else "half_up"
        formula = "q15 = min(round_half_up(q / 2^16), 0x7fff)"
        yield make_step("multiplier_q15", formula, f"{q} / 2^16", multiplier, exact_q15, operation)
    bits, exact_product, product = wide_product(form, acc, factor)
    wraps = rule.sums.bits == 64
    formula = f"wrap64(acc * {name})" if wraps else f"acc * {name}"
    numbers = f"{acc} * {multiplier}"
    yield make_step("product", formula, numbers, product, exact_product, "wrap64" if wraps else "")
    if form.kept_bit:
        yield from _halved(form, product, bits)
        return
    exact = times_power(Fraction(product), -bits)
    result = last_rounding(rule, unrounded(form, product, bits))
    operation = "half_up"
    if bits < 1 and form.counts == "modulo_64":
        operation = "half_up, with shift counts modulo 64"
    elif result != round_fraction(exact, "half_up"):
        operation = "half_up, then wrap64 and wrap32"
    formula = f"(product + 2^({whole - 1}-shift)) >> ({whole}-shift)"
    yield make_step("acc_scaled", formula, f"{product} / 2^{bits}", result, exact, operation)


def _halved(form: OneRounding, product: int, bits: int) -> Iterator[ExactStep]:
    """Twice the result in an int32, then half of it."""
    twice = times_power(Fraction(product), 1 - bits)
    floor = product >> count_of(form, bits - 1)
    doubled = low_bits(floor, 32)
    formula = f"wrap32(product >> ({form.multiplier_bits - 1}-shift))"
    operation = "floor" if doubled == floor else "floor, then wrap32"
    yield make_step("doubled", formula, f"{product} / 2^{bits - 1}", doubled, twice, operation)
    more = low_bits(doubled + 1, 32)
    effect = "half_up" if more == doubled + 1 else "wrap32"
    numbers = f"({doubled} + 1) >> 1"
    yield make_step("acc_scaled", "(doubled + 1) >> 1", numbers, more // 2, Fraction(doubled, 2), effect)
