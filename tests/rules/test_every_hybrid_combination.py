"""Hybrid and float32 rules that no runtime follows: every combination of values means the same to every reader."""

from __future__ import annotations

import numpy as np
import pytest

from lastbit.layers.differences import same_bits
from lastbit.model.types import fused_bounds
from lastbit.rules.floats.exact import exact_float
from lastbit.rules.floats.table import FLOAT_RULES
from lastbit.rules.floats.vector import limit, sums
from lastbit.rules.floats.words import equation as float_equation
from lastbit.rules.hybrid.exact import ExactRow, LayerUnit, exact_finish, exact_nibbles, exact_row
from lastbit.rules.hybrid.finish import LayerConstants, finish_nibbles, finish_sums
from lastbit.rules.hybrid.forms import Finish, HybridRule
from lastbit.rules.hybrid.rows import quantize_rows
from lastbit.rules.hybrid.rows_x86 import QuantizedRows
from lastbit.rules.hybrid.table import HYBRID_RULES, QD8, SSE_ASYMMETRIC, SSE_SYMMETRIC, line_of
from lastbit.rules.hybrid.words import equation
from tests.support.every_hybrid import every_finish, every_float, every_nibbles, every_rows, hard_rows

ROWS, REFUSED = every_rows()
HARD = {depth: hard_rows(depth) for depth in (1, 3, 5, 8, 13, 19, 45)}
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def bounds_of(activation):
    return None if activation == "NONE" else tuple(float(bound) for bound in fused_bounds(activation))


def same(a, b):
    return same_bits(np.float32(a), np.float32(b)).all() or (np.isnan(a) and np.isnan(b))


def test_what_means_nothing_is_refused_with_a_reason():
    assert all(": " in reason and len(reason.partition(": ")[2]) > 30 for reason in REFUSED)
    known = {r for rule in HYBRID_RULES.values() for r in (rule.symmetric, rule.asymmetric)}
    ranges = {(r.range, r.inverse, r.nan_takes, r.zero_inverse) for r in ROWS}
    assert ranges >= {(r.range, r.inverse, r.nan_takes, r.zero_inverse) for r in known}
    assert len(ranges) == 10
    assert len(ROWS) > 2500
    assert not any(isinstance(finish, str) for finish in every_finish())
    assert len(every_finish()) == 3 * 2 * 2 * 3 * 2 * 3 * 4 * 4 * 2


@pytest.mark.parametrize("part", range(4))
def test_rows_of_every_combination_are_the_exact_ones(part):
    rng, compared = np.random.default_rng(part), 0
    for number, rows in enumerate(ROWS):
        if number % 4 != part:
            continue
        x = HARD[(1, 5, 8, 19)[number // 4 % 4]]
        x = x[rng.integers(len(x), size=1 + number % 2)]
        with np.errstate(all="ignore"):
            found = quantize_rows(rows, x)
        for i, row in enumerate(x.tolist()):
            wanted = exact_row(rows, row)
            where = rows, row
            for name in ("low", "high", "scale", "inverse"):
                assert same(getattr(found, name)[i], getattr(wanted, name)), (*where, name)
            assert found.zero_point[i] == wanted.zero_point, where
            assert all(map(same, found.scaled[i], wanted.scaled)), where
            assert found.quantized[i].tolist() == wanted.quantized, where
            compared += len(row)
    assert compared >= 5_000


UNITS = 5
SCALES = np.float32([0.37, 2.0**-126, 1e-40, 3e38, 1.0])
BIAS = np.float32([1.0, -0.0, 1e-40, -3e38, 2.0**-126])


def layer(number, int4):
    bias = None if number % 5 == 4 else BIAS[np.arange(UNITS) - number % UNITS]
    sums_of_weights = np.array([3, -2, 2**20, 0, -(2**31)])
    return LayerConstants(int4, ACTIVATIONS[number % 4], sums_of_weights, SCALES, bias)


def units_of(constants):
    bias = [None] * UNITS if constants.bias is None else [float(b) for b in constants.bias]
    scales = [float(s) for s in np.broadcast_to(constants.weights_scale, UNITS)]
    bounds = bounds_of(constants.activation)
    return [
        LayerUnit(int(total), scale, b, constants.int4, bounds)
        for total, scale, b in zip(constants.weights_sum, scales, bias, strict=True)
    ]


def one_row(rows: QuantizedRows, i: int) -> ExactRow:
    values = [float(getattr(rows, name)[i]) for name in ("low", "high", "scale", "inverse")]
    return ExactRow(*values, int(rows.zero_point[i]), rows.scaled[i].tolist(), rows.quantized[i].tolist())


def quantized(rng, rows, depth, count):
    x = HARD[depth]
    with np.errstate(all="ignore"):
        return quantize_rows(rows, x[rng.permutation(len(x))[:count]])


@pytest.mark.parametrize("part", range(2))
def test_finishes_of_every_combination_are_the_exact_ones(part):
    rng, compared = np.random.default_rng(part), 0
    for number, finish in enumerate(every_finish()[part::2]):
        constants = layer(number, int4=bool(rng.random() < 0.5))
        rows = quantized(rng, QD8 if number % 3 else SSE_SYMMETRIC, 3, 1)
        dot = rng.choice([0, 1, -7, 2**24 + 1, -(2**27) - 3, 2**31 - 1], (1, UNITS))
        any_input, four_rows = bool(rng.random() < 0.7), bool(rng.random() < 0.5)
        found = finish_sums(finish, constants, rows, dot, any_input=any_input, four_rows=four_rows)
        row = one_row(rows, 0)
        for place, unit in enumerate(units_of(constants)):
            wanted = exact_finish(finish, unit, row, int(dot[0, place]), any_input=any_input, four_rows=four_rows)
            assert set(wanted) == set(found)
            for name, value in wanted.items():
                assert same(found[name][0, place], value), (finish, unit, row, dot[0, place], name)
            compared += 1
    assert compared >= 5_000


def test_4_bit_kernels_of_every_combination_are_the_exact_ones():
    rng, compared = np.random.default_rng(4), 0
    for number, nibbles in enumerate(every_nibbles() * 5):
        constants = layer(number, int4=True)
        rows = quantized(rng, nibbles.rows, 45, 2)
        dot = rng.integers(-(2**20), 2**20, (2, UNITS))
        alone = bool(rng.random() < 0.3)
        found = finish_nibbles(nibbles, constants, rows, dot, one_row=alone)
        for i in range(2):
            for place, unit in enumerate(units_of(constants)):
                last = alone or place >= UNITS - UNITS % 4
                wanted = exact_nibbles(nibbles, unit, one_row(rows, i), int(dot[i, place]), last_is_fused=last)
                for name, value in wanted.items():
                    assert same(found[name][i, place], value), (nibbles, unit, name)
                compared += 1
    assert compared >= 1_500


def test_float32_rules_of_every_combination_are_the_exact_ones():
    rng, compared = np.random.default_rng(6), 0
    made, refused = every_float()
    assert set(FLOAT_RULES.values()) <= set(made)
    assert len(made) + len(refused) == 2 * 3 * 2 * 2 * 2 * 3
    assert all("four sums" in reason for reason in refused)
    for rule in made:
        for depth in (1, 3, 8, 13):
            x = HARD[depth]
            x = x[rng.permutation(len(x))[:4]]
            weights = HARD[depth]
            weights = weights[rng.permutation(len(weights))[:3]]
            bias = rng.choice(BIAS, 3)
            with np.errstate(all="ignore"):
                with_bias = sums(rule, x, weights, bias)
            activation = ACTIVATIONS[int(rng.integers(4))]
            output = limit(rule, with_bias, activation)
            for i, j in np.ndindex(with_bias.shape):
                wanted = exact_float(rule, x[i].tolist(), weights[j].tolist(), float(bias[j]), bounds_of(activation))
                assert same(with_bias[i, j], wanted[0]), (rule, x[i], weights[j], bias[j])
                assert same(output[i, j], wanted[1]), (rule, with_bias[i, j], activation)
                compared += 1
    assert compared >= 2_000


def test_rules_without_a_line_have_names_of_their_own_and_words():
    names, equations = set(), set()
    made = [HybridRule("?", rows, rows, every_finish()[0]) for rows in ROWS[::7]]
    made += [HybridRule("?", SSE_SYMMETRIC, SSE_ASYMMETRIC, finish) for finish in every_finish()]
    made += [HybridRule("?", SSE_SYMMETRIC, SSE_ASYMMETRIC, every_finish()[0], nibbles) for nibbles in every_nibbles()]
    for rule in made:
        named = line_of(rule)
        assert named == rule
        names.add(named.name)
        text = equation(rule)
        assert "y = " in text
        equations.add(text)
    assert len(names) == len(set(made))
    assert len(equations) > 20
    assert all(float_equation(rule).endswith((")", "zero", "bound")) for rule in every_float()[0])
    assert line_of(HYBRID_RULES["hybrid-qd8-fma"]) is HYBRID_RULES["hybrid-qd8-fma"]
    assert isinstance(every_finish()[0], Finish)
