"""A name for an integer rule that the table has no line of."""

from __future__ import annotations

from typing import assert_never

from ..base import IntegerRule, Pairs, Whole
from .forms import Float, OneRounding, TwoRoundings

__all__ = ["canonical_name"]


def canonical_name(rule: IntegerRule) -> str:
    """A name for a rule that the table has no line of: its fields, one behind the other.

    >>> from lastbit.rules.requantize.table import RULES
    >>> canonical_name(RULES["float64-half_away"])
    'float64-half_away-in_acc-none-int32_min-wrap32-bounds/dd/own/half_away/acc32'
    """
    form = rule.requantize
    match form:
        case Float():
            values = [f"float{form.bits}", form.tie, form.bias, form.limit, form.out_of_range]
            values += [form.add, form.clamp_order]
        case TwoRoundings():
            values = ["q31_twice", form.left, form.high, form.tie, f"right{form.least_right}", form.add]
        case OneRounding():
            kept = "kept_bit" if form.kept_bit else "whole"
            values = [f"q{form.multiplier_bits}_once", kept, form.counts, form.result, form.add]
        case never:
            assert_never(never)
    sums = [f"acc{rule.sums.bits}"]
    match rule.sums.products:
        case Whole():
            pass
        case Pairs(partner, overflow, last_group):
            sums.append(f"pairs{partner}_{overflow}{'' if last_group == 'paired' else f'_{last_group}'}")
        case never_products:
            assert_never(never_products)
    if rule.sums.weights_zero_point != "read":
        sums.append(f"weights_zero_point_{rule.sums.weights_zero_point}")
    return "/".join(["-".join(values), rule.scales.product, rule.scales.weights_scale, rule.bounds, *sums])
