"""The same rules once more, slowly: one accumulator at a time, in Python integers and fractions.

Written from the formulas, not from `requantize.py`, so that the two can disagree; tests hold one against the
other, and explanations print the steps recorded here, each with what it cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .exact_cpu import cpu_steps
from .exact_int16 import q15_steps
from .exact_more import more_steps
from .exact_steps import (
    ExactStep,
    make_step,
    multiplier_steps,
    number_text,
    round_fraction,
    round_multiplier,
    round_to_float,
    split_fraction,
    wrap_int32,
)
from .requantize_types import RequantRule

__all__ = [
    "ExactStep",
    "exact_requantize",
    "make_step",
    "multiplier_steps",
    "number_text",
    "round_fraction",
    "round_multiplier",
    "round_to_float",
    "split_fraction",
    "wrap_int32",
]


def exact_requantize(
    rule: RequantRule,
    acc: int,
    *,
    input_scale: Fraction,
    weights_scale: Fraction,
    output_scale: Fraction,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    type_max: int = 127,
    bias: int = 0,
) -> list[ExactStep]:
    """Every step from one accumulator to one output.

    Args:
        rule: the rule.
        acc: an int32 value, or an int64 value where the rule's accumulator has 64 bits.
        input_scale: s_x, the stored float32's exact value.
        weights_scale: s_w of this unit, likewise.
        output_scale: s_y, likewise.
        output_zero_point: zy.
        activation_min: lower clamp bound.
        activation_max: upper clamp bound.
        type_max: the largest integer of the output's type.
        bias: the unit's bias, for the forms that add it themselves; `acc` has it in it.

    Returns:
        The steps in order; the first is `effective_scale`, the last `output`.

    >>> from .requantize import RULES
    >>> one, half = Fraction(1), Fraction(1, 2)
    >>> for name in ("float64-half_away", "q31-half_up-half_up/dd", "float32-half_even"):
    ...     steps = exact_requantize(RULES[name], -5, input_scale=one, weights_scale=half, output_scale=one,
    ...                              output_zero_point=3, activation_min=-128, activation_max=127)
    ...     print(name, int(steps[-1].value))  # -2.5, then + 3
    float64-half_away 0
    q31-half_up-half_up/dd 1
    float32-half_even 1
    """
    zy, low, high = output_zero_point, activation_min, activation_max
    scale_step = _effective_scale(rule, input_scale, weights_scale, output_scale)
    scale = scale_step.value
    steps = [scale_step]
    if rule.form in (
        *("q31_single_wrap", "q15_wrap"),
        *("float32_clip", "float32_bias_fused", "float32_bias_reciprocal", "float32_bias_division"),
    ):
        type_min = type_max - 255  # the forms that take it are for 8-bit outputs
        return [
            scale_step,
            *more_steps(
                rule,
                acc,
                scale,
                scales=(input_scale, weights_scale),
                output_zero_point=zy,
                bounds=(low, high),
                type_bounds=(type_min, type_max),
                bias=bias,
            ),
        ]
    if rule.form.endswith(("_saturate", "_floor_up_wrap")):
        return [scale_step, *cpu_steps(rule, acc, scale, output_zero_point=zy, bounds=(low, high))]
    if rule.form == "float64":
        converted = round_to_float(Fraction(acc), 53)
        if rule.acc_bits > 53:
            steps.append(make_step("acc_float", "float64(acc)", str(acc), converted, Fraction(acc), "float64"))
        product = round_to_float(converted * scale, 53)
        numbers = f"{number_text(converted)} * {number_text(scale)}"
        steps.append(make_step("product", "acc * m", numbers, product, converted * scale, "float64"))
        rounded = round_fraction(product, "half_away")
        kept = rounded if -(2**31) < rounded < 2**31 else -(2**31)
        effect = "half_away" if kept == rounded else "half_away, then int32 overflow gives INT32_MIN"
        steps.append(
            make_step("acc_scaled", "round_half_away(product)", f"round({number_text(product)})", kept, product, effect)
        )
    elif rule.form == "float32":
        converted = round_to_float(Fraction(acc), 24)
        product = round_to_float(converted * scale, 24)
        steps.append(make_step("acc_float", "float32(acc)", str(acc), converted, Fraction(acc), "float32"))
        steps.append(
            make_step(
                "product",
                "acc_float * m",
                f"{number_text(converted)} * {number_text(scale)}",
                product,
                converted * scale,
                "float32",
            )
        )
        limited = min(product, Fraction(high - zy))
        steps.append(
            make_step(
                "limited",
                "min(product, hi - zy)",
                f"min({number_text(product)}, {high - zy})",
                limited,
                product,
                "clamp",
            )
        )
        rounded = max(round_fraction(limited, "half_even"), -(2**31))
        steps.append(
            make_step(
                "acc_scaled",
                "round_half_even(limited)",
                f"rint({number_text(limited)})",
                rounded,
                limited,
                "half_even",
            )
        )
    elif rule.form == "q15":
        steps.extend(q15_steps(acc, scale))
    else:
        steps.extend(_q31(rule, acc, scale))
    scaled = int(steps[-1].value)
    total = wrap_int32(scaled + zy)
    steps.append(make_step("with_zero_point", "acc_scaled + zy", f"{scaled} + ({zy})", total, scaled + zy, "wrap32"))
    # The float32 form has applied the upper bound already, before it rounded; here only the type saturates.
    upper = type_max if rule.form == "float32" else high
    output = max(low, min(upper, total))
    formula = "clamp(with_zero_point, lo, hi)"
    if rule.form == "float32":
        formula = "max(lo, saturate(with_zero_point))"
    steps.append(make_step("output", formula, f"clamp({total}, {low}, {upper})", output, total, "clamp"))
    return steps


def _q31(rule: RequantRule, acc: int, scale: Fraction) -> Iterator[ExactStep]:
    """The steps of the fixed-point forms: the multiplier and the shift, then one or two roundings."""
    first, second = multiplier_steps(scale)
    yield from (first, second)
    q, shift = int(first.value), int(second.value)
    if rule.form == "q31_single":
        product = acc * q
        bits = 31 - shift
        exact = Fraction(product, 2**bits) if bits >= 0 else Fraction(product * 2**-bits)
        yield make_step("product", "acc * q", f"{acc} * {q}", product, product)
        yield make_step(
            "acc_scaled",
            "(product + 2^(30-shift)) >> (31-shift)",
            f"{product} / 2^{bits}",
            round_fraction(exact, "half_up"),
            exact,
            "half_up",
        )
        return
    left, right = min(max(shift, 0), 31), max(-shift, 0)  # beyond 31 nothing is left of an int32
    shifted = wrap_int32(acc * 2**left)
    yield make_step("acc_shifted", "wrap32(acc << L)", f"{acc} << {left}", shifted, acc * 2**left, "wrap32")
    exact_high = Fraction(shifted * q, 2**31)
    high = round_fraction(exact_high, "half_up")
    yield make_step(
        "high_mul", "(acc_shifted * q + 2^30) >> 31", f"{shifted} * {q} / 2^31", high, exact_high, "half_up"
    )
    tie = "half_up" if rule.form == "q31_up_up" else "half_away"
    exact_scaled = Fraction(high, 2**right)
    yield make_step(
        "acc_scaled",
        f"round_{tie}(high_mul / 2^R)",
        f"{high} / 2^{right}",
        round_fraction(exact_scaled, tie),
        exact_scaled,
        tie,
    )


def _effective_scale(rule: RequantRule, sx: Fraction, sw: Fraction, sy: Fraction) -> ExactStep:
    """s_x * s_w / s_y with the roundings of the rule's precision."""
    product_bits = {"dd": 53, "fd": 24, "ff": 24}[rule.scale_product]
    quotient_bits = {"dd": 53, "fd": 53, "ff": 24}[rule.scale_product]
    value = round_to_float(round_to_float(sx * sw, product_bits) / sy, quotient_bits)
    formula = {
        "dd": "m = float64(s_x) * float64(s_w) / float64(s_y)",
        "fd": "m = float64(float32(s_x * s_w)) / float64(s_y)",
        "ff": "m = float32(float32(s_x * s_w) / s_y)",
    }[rule.scale_product]
    precision = {"dd": "float64", "fd": "float32, then float64", "ff": "float32"}[rule.scale_product]
    return make_step(
        "effective_scale",
        formula,
        f"{number_text(sx)} * {number_text(sw)} / {number_text(sy)}",
        value,
        sx * sw / sy,
        precision,
    )
