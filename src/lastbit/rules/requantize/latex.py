r"""A rule's steps from the accumulator to a whole output step, in LaTeX, with the numbers put in."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import assert_never

from ...arith.exact import ExactStep, decimal_text
from ..base import IntegerRule, ScaleProduct
from .five_steps import Ends
from .forms import Add, Float, OneRounding, Tie, TwoRoundings

__all__ = ["bracketed", "latex_number", "register", "rounding_lines", "scale_formula"]

_TIES: dict[Tie, str] = {"half_up": "half up", "half_away": "half away", "half_even": "half even"}
Steps = Mapping[str, ExactStep]


def scale_formula(product: ScaleProduct) -> str:
    """The effective scale."""
    match product:
        case "dd":
            return r"\operatorname{f64}(s_x s_w / s_y)"
        case "fd":
            return r"\operatorname{f64}(\operatorname{f32}(s_x s_w) / s_y)"
        case "ff":
            return r"\operatorname{f32}(\operatorname{f32}(s_x s_w) / s_y)"
        case "given":
            return r"q \cdot 2^{s-31}"
        case never:
            assert_never(never)


def rounding_lines(rule: IntegerRule, steps: Steps, ends: Ends) -> list[str]:
    """One line of `align*` for each step, from `acc` to `acc_scaled`.

    Args:
        rule: the rule.
        steps: what `exact_requantize` recorded, by name.
        ends: what the output is limited to.
    """
    form = rule.requantize
    match form:
        case Float():
            return _float_lines(form, steps, ends)
        case TwoRoundings():
            return _two_lines(form, steps)
        case OneRounding():
            return _one_lines(form, steps)
        case never:
            assert_never(never)


def _float_lines(form: Float, steps: Steps, ends: Ends) -> list[str]:
    scaled, product = int(steps["acc_scaled"].value), steps["product"].value
    kind, tie = rf"\operatorname{{f{form.bits}}}", _TIES[form.tie]
    lines, start = [], "a" if form.bits == 64 else rf"{kind}(a)"
    if form.bias != "in_acc":
        bias, alone = steps["bias_float"].value, int(steps["acc_without_bias"].value)
        lines.append(rf"b' &= {latex_number(bias)}, \quad a_0 = {alone}")
    if form.bias != "in_acc" or (form.limit == "type" and "acc_float" in steps):
        summed = rf"{kind}(a_0) + b'" if form.bias != "in_acc" else rf"{kind}(a)"
        lines.append(rf"a_f &= {kind}({summed}) = {latex_number(steps['acc_float'].value)}")
        start = "a_f"
    lines.append(rf"p &= {kind}({start} \cdot m) = {latex_number(product)}")
    rounded = r"\operatorname{round}(p)"
    match form.limit:
        case "none":
            if form.bias != "in_acc":
                rounded = rf"\operatorname{{round}}({latex_number(steps['acc_scaled'].exact)})"
        case "upper_bound":
            highest = ends.activation_max - ends.zero_point
            limited = latex_number(steps["limited"].value)
            lines.append(rf"r &= \operatorname{{round}}(\min(p, {highest})) = \operatorname{{round}}({limited})")
            if form.out_of_range == "int32_min":
                return [*lines, rf"&= {scaled} \quad \text{{({tie})}}"]
            rounded = rf"\operatorname{{round}}({limited})"
        case "type":
            rounded = rf"\operatorname{{round}}({latex_number(steps['acc_scaled'].exact)})"
        case never:
            assert_never(never)
    match form.out_of_range:
        case "int32_min" | "never":
            pass
        case "saturate32" | "saturate16":
            rounded = rf"\operatorname{{saturate}}_{{{form.out_of_range[-2:]}}}({rounded})"
        case never_range:
            assert_never(never_range)
    return [*lines, rf"r &= {rounded} = {scaled} \quad \text{{({tie})}}"]


def _two_lines(form: TwoRoundings, steps: Steps) -> list[str]:
    high, shifted, scaled = steps["high_mul"], int(steps["acc_shifted"].value), steps["acc_scaled"]
    q, shift = int(steps["multiplier"].value), int(steps["shift"].value)
    right = max(-shift, form.least_right)
    left = shift + right
    lines = []
    if left > 0:
        register = {"wrap32": "wrap", "saturate32": "saturate"}[form.left]
        lines.append(rf"a' &= \operatorname{{{register}}}_{{32}}(a \cdot 2^{{{left}}}) = {shifted}")
    first, how = {"half_up": ("round", "half up"), "floor": ("floor", "down")}[form.high]
    return [
        *lines,
        rf"v &= \operatorname{{{first}}}({bracketed(shifted)} \cdot {q} / 2^{{31}})",
        rf"&= \operatorname{{{first}}}({latex_number(high.exact)}) = {int(high.value)} \quad \text{{({how})}}",
        rf"r &= \operatorname{{round}}(v / 2^{{{right}}}) = "
        rf"\operatorname{{round}}({latex_number(scaled.exact)}) = {int(scaled.value)} \quad "
        rf"\text{{({_TIES[form.tie]})}}",
    ]


def _one_lines(form: OneRounding, steps: Steps) -> list[str]:
    scaled, shift = steps["acc_scaled"], int(steps["shift"].value)
    bits = form.multiplier_bits - shift
    end = rf"&= \operatorname{{round}}({latex_number(scaled.exact)}) = {int(scaled.value)} \quad \text{{(half up)}}"
    if form.multiplier_bits == 31:
        return [rf"r &= \operatorname{{round}}(a \cdot q / 2^{{{bits}}})", end]
    product = int(steps["product"].value)
    return [
        rf"p &= a \cdot q_{{15}} = {product} \quad \text{{(64 bits)}}",
        rf"r &= \operatorname{{round}}(p / 2^{{{bits}}})",
        end,
    ]


def register(add: Add) -> str:
    """What a register makes of a sum that does not fit."""
    match add:
        case "wrap32":
            return r"\operatorname{wrap}_{32}"
        case "saturate16":
            return r"\operatorname{saturate}_{16}"
        case "wide":
            return ""
        case never:
            assert_never(never)


def bracketed(value: int) -> str:
    """An integer inside a formula: negative ones in brackets."""
    return f"({value})" if value < 0 else str(value)


def latex_number(value: Fraction, digits: int = 20) -> str:
    r"""A number for mathematics mode: `1.5 \cdot 10^{-7}`, with dots where digits were left out.

    >>> latex_number(Fraction(3, 2**23), 4)
    '3.576\\ldots \\cdot 10^{-7}'
    """
    text = decimal_text(value, digits)
    dots = r"\ldots" if text.endswith("...") else ""
    mantissa, _, exponent = text.removesuffix("...").partition("e")
    power = rf" \cdot 10^{{{exponent}}}" if exponent else ""
    return f"{mantissa}{dots}{power}"
