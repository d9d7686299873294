"""The table of rules, and that its lines are the rules that stood in strings."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lastbit.arith import requantize as strings
from lastbit.arith.exact import exact_requantize as exact_of_string
from lastbit.arith.other_rules import EVERY_RULE, EVERY_RULE_INT16
from lastbit.arith.requantize_more import with_float_bias as bias_of_string
from lastbit.ops import dense_8bit, dense_by_rows, dense_ignoring
from lastbit.rules.requantize.exact import Ends, exact_requantize
from lastbit.rules.requantize.fold import prepare_requantize, with_float_bias
from lastbit.rules.requantize.forms import Float
from lastbit.rules.requantize.table import CHOICES, RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.rules.requantize.words import choice_equation, equation
from lastbit.types import DTYPES

OLD = {**EVERY_RULE, **EVERY_RULE_INT16}


def test_names_are_unique_and_no_two_lines_have_equal_fields():
    rules = [*RULES.values(), *CHOICES.values()]
    assert len(rules) == 39
    assert len({rule.name for rule in rules}) == len(rules)
    assert len(set(rules)) == len(rules)  # a name is no part of a rule
    assert all(key == rule.name for key, rule in {**RULES, **CHOICES}.items())


def test_every_string_has_a_line_with_its_equation():
    texts = {name: rule.equation for name, rule in OLD.items()} | dense_8bit.RULES | dense_ignoring.RULES
    assert {name: equation(rule) for name, rule in RULES.items()} == texts
    assert {name: choice_equation(rule) for name, rule in CHOICES.items()} == dense_by_rows.RULES


@pytest.mark.parametrize("name", OLD)
def test_a_line_gives_what_its_string_gives(name):
    rng = np.random.default_rng(len(name))
    old, new = OLD[name], RULES[name]
    for seed in range(24):
        dtype = DTYPES[7] if old.acc_bits == 64 else DTYPES[(9, 3)[seed % 2]]
        s_x, s_y = (np.float32(2.0 ** rng.uniform(-12, 4)) for _ in range(2))
        s_w = (2.0 ** rng.uniform(-12, 6 + 20 * (seed % 5 == 4), 5)).astype(np.float32)
        if seed % 3 == 0:
            s_x, s_y, s_w = np.float32(0.25), np.float32(1), (2.0 ** rng.integers(-8, 4, 5)).astype(np.float32)
        given = {
            "input_scale": s_x,
            "weights_scale": s_w,
            "output_scale": s_y,
            "output_zero_point": int(rng.integers(dtype.qmin, dtype.qmax + 1)),
            "activation": ("NONE", "RELU", "RELU6")[seed % 3],
            "dtype": dtype,
        }
        bias = rng.integers(-(2**20), 2**20, 5)
        one = bias_of_string(strings.prepare_requantize(old, **given), bias, s_x, s_w)
        two = with_float_bias(prepare_requantize(new, **given), bias, s_x, s_w)
        if not isinstance(new.requantize, Float) and any(int(s) not in new.requantize.shifts for s in two.shift):
            continue
        top = 62 if old.acc_bits == 64 else 31
        accs = [rng.integers(-(2**top), 2**top, (30, 5)), rng.integers(-3000, 3000, (30, 5))]
        accs.append(np.broadcast_to(np.asarray([-(2**31), 2**31 - 1, 0, 1, -1])[:, None], (5, 5)))
        acc = np.concatenate(accs)
        with np.errstate(all="ignore"):
            wanted, found = strings.requantize(acc, one), requantize(acc, two)
        assert list(wanted) == list(found)
        for step in wanted:
            assert wanted[step].dtype == found[step].dtype
            assert np.array_equal(wanted[step], found[step]), step
        bounds = one.activation_min, one.activation_max
        for row, unit in zip(rng.integers(0, 65, 4).tolist(), rng.integers(0, 5, 4).tolist(), strict=True):
            scales = dict(
                zip(
                    ("input_scale", "weights_scale", "output_scale"),
                    (Fraction(float(s)) for s in (s_x, s_w[unit], s_y)),
                    strict=True,
                )
            )
            unit_bias = 0 if one.bias is None else int(bias[unit])
            kept = dict(zip(("activation_min", "activation_max"), bounds, strict=True))
            steps = exact_of_string(
                old, int(acc[row, unit]), output_zero_point=one.output_zero_point, type_max=dtype.qmax, bias=unit_bias,
                **scales, **kept,
            )  # fmt: skip
            ends = Ends(*bounds, dtype.qmin, dtype.qmax, one.output_zero_point)
            ours = exact_requantize(new, int(acc[row, unit]), bias=unit_bias, ends=ends, **scales)
            assert [(s.name, s.value, s.exact) for s in steps] == [(s.name, s.value, s.exact) for s in ours]
