"""The requantization rules on 64-bit accumulators: by hand, and what `explain` makes of where they differ."""

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.arith.fixedpoint import reduce_multiplier, shift_right_half_up_64
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.table import COMMON_INT16 as RULES_INT16
from lastbit.rules.requantize.vector import requantize
from lastbit.verbs.explain.deciding_step import STEPS, RequantSide, find_cause, five_steps

INT16 = DTYPE_BY_NAME["int16"]
RULES_64 = {name: rule for name, rule in RULES_INT16.items() if rule.sums.bits == 64}


def params_of(rule, sx, sw, sy, zy=0, activation="NONE"):
    return prepare_requantize(
        rule,
        input_scale=np.float32(sx),
        weights_scale=np.asarray([sw], np.float32),
        output_scale=np.float32(sy),
        output_zero_point=zy,
        activation=activation,
        dtype=INT16,
    )


scale = st.one_of(
    st.integers(-20, 6).map(lambda k: float(2.0**k)),
    st.builds(lambda n, k: float(np.float32(n * 2.0**-k)), st.integers(1, 200), st.integers(0, 24)),
    st.floats(2.0**-20, 64, width=32),
)
near_power = st.builds(lambda k, d, s: s * (2**k) + d, st.integers(0, 62), st.integers(-2, 2), st.sampled_from([-1, 1]))
accumulator = st.one_of(
    st.integers(-70000, 70000),
    st.integers(-(2**47), 2**47),
    st.integers(-(2**63), 2**63 - 1),
    near_power,
    st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1, -(2**53) - 1, 2**31, -(2**31) - 1]),
)


@given(st.integers(0, 2**31 - 1))
def test_a_multiplier_is_reduced_half_up_and_never_reaches_two_to_the_15(q):
    assert int(reduce_multiplier(q)) == min((q + 2**15) // 2**16, 0x7FFF)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 63))
def test_the_64_bit_shift_is_half_up_and_wraps(value, exponent):
    expected = ((value + 2 ** (exponent - 1) + 2**63) % 2**64 - 2**63) >> exponent
    assert int(shift_right_half_up_64(value, exponent)) == expected


def test_a_requantization_by_hand():
    # float32(0.3) = 0.6 * 2^-1: q = 1288490240, q15 = 19661; -7 * 19661 = -137627; / 2^16 = -2.1000..., so -2.
    params = params_of(RULES_64["q15-half_up/dd"], 0.3, 1.0, 1.0)
    assert (params.multiplier.tolist(), params.shift.tolist()) == ([1288490240], [-1])
    assert reduce_multiplier(params.multiplier).tolist() == [19661]
    steps = requantize(np.asarray([-7]), params)
    assert [int(steps[name][0]) for name in ("product", "acc_scaled", "output")] == [-137627, -2, -2]
    # A negative tie goes up: -3 * 0.5.
    assert requantize(np.asarray([-3, 3]), params_of(RULES_64["q15-half_up/dd"], 0.5, 1.0, 1.0))["output"].tolist() == [
        -1,
        2,
    ]
    # Fifteen bits are not many: a third is 21845 / 2^16, and 95000 of it are half a step too few.
    thirds = {
        name: int(requantize(np.asarray([95000]), params_of(rule, 1.0, 1.0, 3.0))["output"][0])
        for name, rule in RULES_64.items()
    }
    assert thirds == {"float64-half_away/acc64": 31667, "q15-half_up/dd": 31666, "q15-half_up/fd": 31666}


def test_rules_on_32_bits_wrap_what_they_are_given():
    narrow = requantize(np.asarray([2**32 + 5]), params_of(RULES_INT16["float64-half_away"], 1.0, 1.0, 1.0))
    wide = requantize(np.asarray([2**32 + 5]), params_of(RULES_64["float64-half_away/acc64"], 1.0, 1.0, 2.0**20))
    assert (narrow["output"].tolist(), wide["output"].tolist()) == ([5], [4096])


@settings(max_examples=60, deadline=None)
@given(scale, scale, scale, st.integers(-100, 100), st.data())
def test_five_steps_are_every_rule_and_the_cause_decides(sx, sw, sy, zy, data):
    near = [
        int(Fraction(2 * n + 1, 2) * Fraction(sy) / (Fraction(sx) * Fraction(sw))) for n in (-9000, -3, 0, 7, 20000)
    ]
    acc = data.draw(st.one_of(st.integers(-70000, 70000), st.sampled_from(near), accumulator))
    sides, found = {}, {}
    for name, rule in RULES_INT16.items():
        if rule.sums.bits == 32 and not -(2**31) <= acc < 2**31:
            continue  # such an accumulator is another one there
        params = params_of(rule, sx, sw, sy, zy)
        if params.shift[0] > 30 or (name.startswith("q31-single") and abs(float(acc) * sx * sw / sy) >= 2**31):
            continue  # no kernel is claimed there
        sides[name] = RequantSide.of(params)
        found[name] = int(requantize(np.asarray([acc], np.int64), params)["output"][0])
        assert five_steps(acc, (sx, sw, sy), (sides[name],) * 5)[-1] == found[name], name
    for here, there in itertools.combinations(found, 2):
        if found[here] != found[there]:
            cause = find_cause(acc, (sx, sw, sy), sides[here], sides[there])
            assert cause.step in STEPS
            assert (cause.here[-1], cause.there[-1]) == (found[here], found[there])
