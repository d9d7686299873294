"""Parts of requantization by themselves, against their definitions, and requantizations worked by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastbit.arith.exact import round_fraction, round_to_float
from lastbit.arith.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from lastbit.model.types import INT8
from lastbit.rules.requantize.fold import activation_bounds, prepare_requantize
from lastbit.rules.requantize.table import COMMON as RULES
from lastbit.rules.requantize.vector import outputs_of, requantize


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


@pytest.mark.parametrize("shape", [(1, 7), (9001, 7), (9001, 1), (5, 20_000), (3, 3000, 7)])
def test_many_accumulators_have_the_outputs_that_each_alone_has(shape, rng):
    for rule in RULES.values():
        params = prepare_requantize(
            rule,
            input_scale=np.float32(0.05),
            weights_scale=rng.uniform(0.01, 0.1, 7 if shape[-1] < 8 else shape[-1]).astype(np.float32),
            output_scale=np.float32(0.11),
            output_zero_point=-3,
            activation="NONE",
            dtype=INT8,
        )
        acc = rng.integers(-4000, 4000, shape)
        np.testing.assert_array_equal(outputs_of(acc, params), requantize(acc, params)["output"], strict=True)


def test_relu6_at_a_tie_has_two_bounds():
    scale = np.float32(6 / 4.5)
    assert activation_bounds("RELU6", scale, 0, INT8, "half_away") == (0, 5)
    assert activation_bounds("RELU6", scale, 0, INT8, "half_even") == (0, 4)
