"""The two statements of every rule against each other, on random, adversarial and boundary values."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.arith.exact import round_fraction, round_to_float
from lastbit.arith.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from lastbit.layers.differences import ends_of
from lastbit.model.types import INT8
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.rules.requantize.fold import activation_bounds, prepare_requantize
from lastbit.rules.requantize.table import COMMON as RULES
from lastbit.rules.requantize.vector import requantize

SINGLE = [RULES["q31-single-half_up/dd"], RULES["q31-single-half_up/fd"]]

power_of_two_scales = st.integers(-20, 6).map(lambda k: np.float32(2.0**k))
dyadic_scales = st.builds(lambda n, k: np.float32(n * 2.0**-k), st.integers(1, 200), st.integers(0, 24))
plain_scales = st.floats(2.0**-20, 64, width=32).map(np.float32)
scales = st.one_of(power_of_two_scales, dyadic_scales, plain_scales)
accumulators = st.one_of(
    st.integers(-70000, 70000),
    st.integers(INT32_MIN, INT32_MAX),
    st.sampled_from([INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX - 1, INT32_MAX]),
    st.builds(lambda k, d: max(INT32_MIN, min(INT32_MAX, (1 << k) + d)), st.integers(0, 31), st.integers(-2, 2)),
    st.builds(lambda k, d: max(INT32_MIN, -(1 << k) + d), st.integers(0, 31), st.integers(-2, 2)),
)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@settings(max_examples=300, deadline=None)
@given(
    sx=scales,
    sw=scales,
    sy=scales,
    zy=st.integers(-128, 127),
    activation=st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
    accs=st.lists(accumulators, min_size=1, max_size=40),
)
def test_vectorised_rule_equals_its_exact_twin_step_by_step(rule, sx, sw, sy, zy, activation, accs):
    params = prepare_requantize(
        rule,
        input_scale=sx,
        weights_scale=np.asarray([sw]),
        output_scale=sy,
        output_zero_point=zy,
        activation=activation,
        dtype=INT8,
    )
    if rule in SINGLE and params.shift[0] > 30:
        return  # a factor of a thousand million: only a left shift would be left, and no kernel is claimed there
    got = requantize(np.asarray(accs), params)
    for i, acc in enumerate(accs):
        twin = exact_requantize(
            rule,
            acc,
            input_scale=Fraction(float(sx)),
            weights_scale=Fraction(float(sw)),
            output_scale=Fraction(float(sy)),
            ends=ends_of(params),
        )
        for step in twin:
            if step.name in got:
                assert Fraction(got[step.name][i].item()) == step.value, (acc, step)
            elif step.name in ("effective_scale", "multiplier", "shift"):
                assert Fraction(getattr(params, step.name)[0].item()) == step.value, step


@given(st.floats(0, 2.0**20))
def test_multiplier_and_shift_give_the_factor_back_to_31_bits(real):
    multiplier, shift = (int(v) for v in quantize_multiplier(real))
    if multiplier == 0:
        assert real < 2.0**-32 * (1 + 2.0**-30)
    else:
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) / Fraction(real) - 1) <= Fraction(1, 2**31)


@pytest.mark.parametrize(
    ("real", "multiplier", "shift"),
    [
        (1.0, 2**30, 1),
        (np.nextafter(1.0, 0), 2**30, 1),  # the fraction rounds up to 1 and carries
        (1 - 2.0**-32, 2**30, 1),  # exactly half: away
        (1 - 2.0**-31, 2**31 - 1, 0),
        (0.5, 2**30, 0),
        (2.0**-32, 2**30, -31),
        (2.0**-33, 0, 0),
        (0.0, 0, 0),
    ],
)
def test_multiplier_at_the_ends_of_its_range(real, multiplier, shift):
    assert tuple(int(v) for v in quantize_multiplier(real)) == (multiplier, shift)


@given(st.integers(INT32_MIN, INT32_MAX), st.integers(INT32_MIN, INT32_MAX))
def test_high_mul_is_half_up_and_saturates_only_at_its_one_corner(a, b):
    expected = min(round_fraction(Fraction(a * b, 2**31), "half_up"), INT32_MAX)
    assert int(saturating_rounding_doubling_high_mul(a, b)) == expected


@given(st.integers(INT32_MIN, INT32_MAX), st.integers(0, 31))
def test_divide_by_pot_is_half_away(value, exponent):
    expected = round_fraction(Fraction(value, 2**exponent), "half_away")
    assert int(rounding_divide_by_pot(value, exponent)) == expected


@given(st.fractions(), st.sampled_from([24, 53]))
def test_round_to_float_agrees_with_the_hardware(value, bits):
    if abs(value) > 2**60:
        return
    hardware = float(value) if bits == 53 else float(np.float32(np.longdouble(value.numerator) / value.denominator))
    if bits == 24 and Fraction(float(value)) != value:
        return  # float32 of an inexact intermediate would round twice
    assert round_to_float(value, bits) == Fraction(hardware)


def test_the_accumulator_people_argue_about():
    """acc = 585 with these scales is an exact tie in float32: XNNPACK prints -120, the other three -119."""
    outputs = {}
    for rule in RULES.values():
        params = prepare_requantize(
            rule,
            input_scale=np.float32(0.05296124517917633),
            weights_scale=np.asarray([0.024093778803944588], np.float32),
            output_scale=np.float32(0.11484327912330627),
            output_zero_point=-126,
            activation="NONE",
            dtype=INT8,
        )
        outputs[rule.name] = int(requantize(np.asarray([585]), params)["output"][0])
    assert outputs.pop("float32-half_even") == -120
    assert set(outputs.values()) == {-119}


def test_relu6_at_a_tie_has_two_bounds():
    scale = np.float32(6 / 4.5)
    assert activation_bounds("RELU6", scale, 0, INT8, "half_away") == (0, 5)
    assert activation_bounds("RELU6", scale, 0, INT8, "half_even") == (0, 4)
