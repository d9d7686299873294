"""The slow twins of the forms in `requantize_cpu.py`: one accumulator at a time, in Python integers and fractions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .exact_steps import ExactStep, make_step, multiplier_steps, number_text, round_fraction, round_to_float, wrap_int32
from .requantize_types import RequantRule

__all__ = ["FORMS", "cpu_steps"]

FORMS = (
    "float64_saturate",
    "float32_saturate",
    "q31_floor_up_wrap",
    "q31_floor_up_saturate",
    "q31_up_away_saturate",
)
"""The forms stated here."""


def cpu_steps(
    rule: RequantRule, acc: int, scale: Fraction, *, output_zero_point: int, bounds: tuple[int, int]
) -> list[ExactStep]:
    """The steps after the effective scale, from one accumulator to one output.

    Args:
        rule: the rule; its form is one of `FORMS`.
        acc: an int32 value, or an int64 value where the rule's accumulator has 64 bits.
        scale: the effective scale as the rule calculates it.
        output_zero_point: zy.
        bounds: the clamp bounds, (low, high).
    """
    steps = list(_scaled(rule, acc, scale))
    scaled = int(steps[-1].value)
    exact = scaled + output_zero_point
    # Lanes of 16 bits, and results that cannot come near the end of int32, do not wrap.
    wraps = rule.form not in ("float32_saturate", "q31_floor_up_saturate")
    total = wrap_int32(exact) if wraps else exact
    if rule.form == "float32_saturate":
        total = _saturate(exact, 16)
    effect = "wrap32" if wraps else ""
    numbers = f"{scaled} + ({output_zero_point})"
    steps.append(make_step("with_zero_point", "acc_scaled + zy", numbers, total, exact, effect))
    low, high = bounds
    output = max(low, min(high, total))
    clamp = f"clamp({total}, {low}, {high})"
    return [*steps, make_step("output", "clamp(with_zero_point, lo, hi)", clamp, output, total, "clamp")]


def _scaled(rule: RequantRule, acc: int, scale: Fraction) -> Iterator[ExactStep]:
    """Up to `acc_scaled`."""
    if rule.form == "float64_saturate":
        converted = round_to_float(Fraction(acc), 53)
        if rule.acc_bits > 53:
            yield make_step("acc_float", "float64(acc)", str(acc), converted, acc, "float64")
        product = round_to_float(converted * scale, 53)
        yield make_step(
            "product",
            "acc * m",
            f"{number_text(converted)} * {number_text(scale)}",
            product,
            converted * scale,
            "float64",
        )
        kept = _saturate(round_fraction(product, "half_away"), 32)
        yield make_step(
            "acc_scaled", "round_half_away(product)", f"round({number_text(product)})", kept, product, "half_away"
        )
        return
    if rule.form == "float32_saturate":
        converted = round_to_float(Fraction(acc), 24)
        yield make_step("acc_float", "float32(acc)", str(acc), converted, acc, "float32")
        exact = converted * scale
        product = round_to_float(exact, 24)
        yield make_step(
            "product", "acc_float * m", f"{number_text(converted)} * {number_text(scale)}", product, exact, "float32"
        )
        kept = _saturate(round_fraction(product, "half_even"), 16)
        formula = "saturate16(round_half_even(product))"
        yield make_step("acc_scaled", formula, f"rint({number_text(product)})", kept, product, "half_even")
        return
    first, second = multiplier_steps(scale)
    yield from (first, second)
    q, shift = int(first.value), int(second.value)
    right = max(-shift, 0 if rule.form == "q31_up_away_saturate" else 1)
    left = min(shift + right, 32)
    exact_left = acc * 2**left
    word, keep = (
        ("wrap32", wrap_int32) if rule.form == "q31_floor_up_wrap" else ("saturate32", lambda v: _saturate(v, 32))
    )
    shifted = keep(exact_left)
    formula = f"{word}(acc << {left})"
    yield make_step(
        "acc_shifted", formula, f"{acc} << {left}", shifted, exact_left, "wrap32" if word == "wrap32" else "clamp"
    )
    exact_high = Fraction(shifted * q, 2**31)
    if rule.form == "q31_up_away_saturate":
        high, effect, tie = round_fraction(exact_high, "half_up"), "half_up", "half_away"
        formula = "(acc_shifted * q + 2^30) >> 31"
    else:
        high, effect, tie = exact_high.numerator // exact_high.denominator, "floor", "half_up"
        formula = "acc_shifted * q >> 31"
    yield make_step("high_mul", formula, f"{shifted} * {q} / 2^31", high, exact_high, effect)
    exact_scaled = Fraction(high, 2**right)
    rounded = round_fraction(exact_scaled, tie)
    yield make_step("acc_scaled", f"round_{tie}(high_mul / 2^R)", f"{high} / 2^{right}", rounded, exact_scaled, tie)


def _saturate(value: int, bits: int) -> int:
    limit = 1 << (bits - 1)
    return max(-limit, min(limit - 1, value))
