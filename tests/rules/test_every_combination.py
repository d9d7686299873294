"""Rules that no runtime follows: every combination of the fields' values means the same to every reader.

What a combination means to one reader only, or what means nothing and is not refused, is found here.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lastbit.layers.differences import given_of
from lastbit.rules.base import text_of_fields
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.rules.requantize.five_steps import Ends
from lastbit.rules.requantize.fold import RequantParams
from lastbit.rules.requantize.forms import Float, OneRounding, TwoRoundings
from lastbit.rules.requantize.names import canonical_name
from lastbit.rules.requantize.step_tables import step_tables
from lastbit.rules.requantize.table import RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.rules.requantize.words import equation
from tests.support.every_form import (
    SX,
    SY,
    UNITS,
    accumulators,
    every_form,
    layer,
    legal_units,
    one_unit,
    rules_of,
    weights_scales,
)

FORMS, REFUSED = every_form()
EXACT_OF_EACH = 8


def ends_of(params: RequantParams) -> Ends:
    bounds = params.activation_min, params.activation_max
    return Ends(*bounds, params.dtype.qmin, params.dtype.qmax, params.output_zero_point)


def test_what_means_nothing_is_refused_with_a_reason():
    # Each reason stands behind the combination, and the product of all values is either made or refused.
    assert all(": " in reason and len(reason.partition(": ")[2]) > 30 for reason in REFUSED)
    assert len(FORMS) + len(REFUSED) == 2 * 3 * 4 * 3 * 4 * 3 * 2 + 2 * 2 * 3 * 2 * 2 + 2 * 2 * 2 * 2 * 2
    assert {type(form) for form in FORMS} == {Float, TwoRoundings, OneRounding}
    assert len({(type(form), text_of_fields(form)) for form in FORMS}) == len(FORMS)


def test_most_combinations_are_followed_by_no_runtime():
    known = {rule.requantize for rule in RULES.values()}
    assert known <= set(FORMS)
    assert len(known) == 19
    assert len(FORMS) > 300


def exact_differences(params: RequantParams, accs: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> None:
    """The slow twin, step by step, at some accumulators."""
    # Ties and overflow are in the first rows.
    accs = accs[rng.integers(0, 290, EXACT_OF_EACH)]
    steps = requantize(accs, params)
    scales = weights_scales(params.rule.requantize)
    for row, unit in enumerate(rng.choice(units, EXACT_OF_EACH).tolist()):
        sx, sw, sy = (Fraction(float(scale)) for scale in (SX, scales[unit], SY))
        given = given_of(params, unit)
        if given is not None:
            sx, sw, sy = Fraction(1), Fraction(given[0]) * Fraction(2) ** (given[1] - 31), Fraction(1)
        found = exact_requantize(
            params.rule,
            int(accs[row, unit]),
            input_scale=sx,
            weights_scale=sw,
            output_scale=sy,
            ends=ends_of(params),
            bias=0 if params.bias is None else int(params.bias[unit]),
            given=given,
        )
        named = {step.name: step.value for step in found}
        for name, values in steps.items():
            assert Fraction(values[row, unit].item()) == named[name], (params.rule, name, int(accs[row, unit]), unit)


def test_exact_steps_of_every_combination_are_the_vector_ones():
    rng = np.random.default_rng(3)
    count = 0
    for number, form in enumerate(FORMS):
        for seed, rule in enumerate(rules_of(form)):
            params = layer(rule, number + seed)
            accs = accumulators(params, rng)
            assert accs.size >= 10_000
            exact_differences(params, accs, legal_units(params), rng)
            count += 1
    assert count > 5000


@pytest.mark.parametrize("part", range(4))
def test_step_tables_of_every_form_give_the_outputs(part):
    rng = np.random.default_rng(part)
    for number, form in enumerate(FORMS):
        if number % 4 != part:
            continue
        rules = list(rules_of(form))
        params = layer(rules[number % len(rules)], number)
        accs = accumulators(params, rng)
        outputs = requantize(accs, params)["output"]
        # Of each register that can overflow some unit overflows it; the widest units have more runs than are made.
        for unit in rng.permutation(legal_units(params))[:6].tolist():
            low, high = int(accs[:, unit].min()), int(accs[:, unit].max())
            if params.dtype.bits == 16:
                low, high = max(low, -(2**40)), min(high, 2**40)
            (table,) = step_tables(one_unit(params, unit), low, high, max_runs=1 << 17)
            if table is not None:
                inside = (accs[:, unit] >= low) & (accs[:, unit] <= high)
                assert np.array_equal(table.at(accs[inside, unit]), outputs[inside, unit]), (params.rule, unit)


def test_rules_with_one_equation_are_one_function():
    rng = np.random.default_rng(7)
    seen: dict[str, list] = {}
    for form in FORMS:
        for rule in rules_of(form):
            if rule.bounds == "half_away":
                seen.setdefault(equation(rule), []).append(rule)
    several = [rules for rules in seen.values() if len(rules) > 1]
    assert several  # a right shift of one keeps every sum from wrapping
    for rules in several:
        first = layer(rules[0], 1)
        accs = accumulators(first, rng)[:, legal_units(first)]
        wanted = None
        for rule in rules:
            params = layer(rule, 1)
            got = requantize(accumulators(params, np.random.default_rng(1)), params)["output"]
            wanted = got if wanted is None else wanted
            assert np.array_equal(got, wanted), (rules[0], rule)
        assert accs.size


def test_names_from_fields_are_unique():
    names = [canonical_name(rule) for form in FORMS for rule in rules_of(form)]
    assert len(set(names)) == len(names)
    assert not set(names) & set(RULES)


def test_all_units_of_the_layers_are_different():
    assert len(set(weights_scales(FORMS[0]).tolist())) == UNITS
