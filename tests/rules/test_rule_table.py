"""The table of rules: names and fields, their equations, and three forms spelled out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lastbit.model.types import INT8
from lastbit.rules.base import NEIGHBOURS, IntegerRule, Scales, Sums, requantization_alone
from lastbit.rules.requantize import table
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.table import CHOICES, RULES, line_of
from lastbit.rules.requantize.vector import requantize
from lastbit.rules.requantize.words import choice_equation, equation


def test_names_are_unique_and_no_two_lines_have_equal_fields():
    rules = [*RULES.values(), *CHOICES.values()]
    assert len(rules) == 41
    assert len({rule.name for rule in rules}) == len(rules)
    assert len(set(rules)) == len(rules)  # a name is no part of a rule
    assert all(key == rule.name for key, rule in {**RULES, **CHOICES}.items())


def test_every_line_has_an_equation_of_its_own():
    texts = [*map(equation, RULES.values()), *map(choice_equation, CHOICES.values())]
    assert len(set(texts)) == 41
    assert equation(RULES["q31-half_up-half_away/dd"]) == (
        "v = (wrap32(acc << L) * q + 2^30) >> 31;  y = clamp(zy + round_half_away(v / 2^R)),  "
        "q and shift from s_x*s_w/s_y in float64"
    )


def test_a_rule_is_found_by_its_fields_and_named_by_them_where_it_has_no_line():
    paired = IntegerRule("?", Sums(32, NEIGHBOURS), *_rest("float32-clip-half_even"))
    assert line_of(paired).name == "float32-clip-half_even/pairs"
    new = IntegerRule("?", Sums(28), *_rest("float64-half_away"))
    assert line_of(new).name == "float64-half_away-in_acc-none-int32_min-wrap32-bounds/dd/own/half_away/acc28"
    assert line_of(new) == new
    assert requantization_alone(new) == RULES["float64-half_away"]


def _rest(name):
    rule = RULES[name]
    return rule.scales, rule.requantize, rule.bounds


def test_groups_are_parts_of_the_table():
    groups = table.COMMON, table.COMMON_INT16, table.AROUND_DENSE, table.EIGHT_BIT, table.INT16
    assert [len(group) for group in groups] == [8, 11, 17, 21, 16]
    assert all(RULES[name] is rule for group in groups for name, rule in group.items())
    assert all(rule.scales.weights_scale == Scales("dd").weights_scale for rule in table.EIGHT_BIT.values())


# Three forms once more, by hand: what a wrong field would hide from both arithmetics.


def _wrap32(value):
    return (value + 2**31) % 2**32 - 2**31


def _float32_half_even(acc, m, q, shift, zy, low, high):
    """XNNPACK with AVX512."""
    product = float(np.float32(acc) * np.float32(m))
    rounded = max(round(min(product, high - zy)), -(2**31))  # Python rounds half even
    return max(low, min(127, _wrap32(rounded + zy)))


def _q31_half_up_half_away(acc, m, q, shift, zy, low, high):
    """TensorFlow Lite Micro."""
    v = (_wrap32(acc << max(shift, 0)) * q + 2**30) >> 31
    right = max(-shift, 0)
    away = math.floor(abs(Fraction(v, 2**right)) + Fraction(1, 2)) * (1 if v > 0 else -1)
    return max(low, min(high, _wrap32(away + zy)))


def _q31_floor_half_up(acc, m, q, shift, zy, low, high):
    """Ruy on ARM64."""
    right = max(-shift, 1)
    v = _wrap32(acc << (shift + right)) * q >> 31
    return max(low, min(high, _wrap32(((v + (1 << (right - 1))) >> right) + zy)))


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("float32-half_even", _float32_half_even),
        ("q31-half_up-half_away/dd", _q31_half_up_half_away),
        ("q31-floor-half_up/dd", _q31_floor_half_up),
    ],
)
def test_three_forms_by_hand(name, by_hand):
    rng = np.random.default_rng(1)
    scales = np.concatenate([np.ldexp(1.0, rng.integers(-9, 3, 6)), rng.uniform(0.001, 3, 6)]).astype(np.float32)
    params = prepare_requantize(
        RULES[name],
        input_scale=np.float32(0.5),
        weights_scale=scales,
        output_scale=np.float32(0.5),
        output_zero_point=-7,
        activation="RELU6",
        dtype=INT8,
    )
    accs = np.concatenate([rng.integers(-600, 600, (300, 12)), rng.integers(-(2**31), 2**31, (100, 12))])
    found = requantize(accs, params)["output"]
    for unit in range(12):
        m, q, shift = (getattr(params, n)[unit].item() for n in ("effective_scale", "multiplier", "shift"))
        rest = m, q, shift, -7, params.activation_min, params.activation_max
        assert [by_hand(acc, *rest) for acc in accs[:, unit].tolist()] == found[:, unit].tolist()
