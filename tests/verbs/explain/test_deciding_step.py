"""Why runtimes print different values: the step that explain names is the one that decides."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import explain
from lastbit.model.errors import UnsupportedError
from lastbit.model.types import INT8
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.table import COMMON as RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.verbs.explain.deciding_step import STEPS, RequantSide, find_cause, five_steps
from tests.support.explain_models import dense_model, flat, scaling

FOUR = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")


def causes(report):
    """Of the four runtimes whose differences are worked out by hand here."""
    return {other.name: other.cause for other in report.others if other.cause is not None and other.name in FOUR}


def test_a_tie_is_named_as_the_cause():
    # 2^-4: acc = 40 and -40 are 2.5 and -2.5 in every rule, exactly.
    model = scaling([40, -40, 3], (0.5, 0.25, 2.0))
    report = explain(model, at=(0, 0), runtime="litert-xnnpack")
    assert report.output == 2
    found = causes(report)
    assert set(found) == {"litert-builtin-x86", "litert-reference", "tflm"}
    for cause in found.values():
        assert (cause.step, cause.tie) == ("last_rounding", True)
        assert cause.before == (Fraction(5, 2), Fraction(5, 2))
        assert cause.numbers == (2, 3)
    text = flat(report)
    assert "The first step that makes the difference: the last rounding, by its tie rule." in text
    assert "litert-xnnpack rounds half_even: 2.5 -> 2" in text
    assert "tflm rounds half_away: 2.5 -> 3" in text
    below = explain(model, at=(0, 1), runtime="litert-builtin-x86")
    assert set(causes(below)) == {"litert-reference", "tflm"}
    assert all(cause.numbers == (-2, -3) for cause in causes(below).values())
    assert below.differing == 2
    assert below.size == 3


def test_the_accumulator_people_argue_about_is_a_tie_in_float32_only():
    scales = (
        np.float32(0.05296124517917633),
        np.float32(0.024093778803944588),
        np.float32(0.11484327912330627),
    )
    report = explain(scaling([585], scales, zy=-126), runtime="litert-xnnpack")
    assert report.output == -120
    found = causes(report)
    assert set(found) == {"litert-builtin-x86", "litert-reference", "tflm"}
    cause = found["litert-reference"]
    # XNNPACK's float32 scale is one float32 step below the nearest one, and that makes the tie.
    assert (cause.step, cause.tie) == ("scale_precision", False)
    at = STEPS.index("first_rounding")
    assert cause.here[at] == Fraction(13, 2) < cause.there[at]
    assert "the precision of the effective scale" in flat(report)


def test_double_rounding_is_named_as_the_cause():
    # acc * 0.59... * 2^-8 is 5.4998, which the first of two roundings takes to 5.5.
    scales = (
        np.float32(0.391015231609344482421875),
        np.float32(0.00027755965129472315),
        np.float32(0.046788316),
    )
    report = explain(scaling([2371], scales, sb=scales[0] * scales[1]), runtime="tflm")
    cause = causes(report)["litert-reference"]
    assert cause.step == "first_rounding"
    assert cause.here[STEPS.index("first_rounding")] == Fraction(11, 2)
    assert "high_mul rounded half_up: 5.5" in str(report)
    assert "an exact tie" in str(report)


def test_a_tie_that_only_one_of_them_meets_is_blamed_on_what_made_it():
    # -2.5 + a little: the first of two roundings makes it a tie, and only then the tie rule has a say.
    scales = (
        np.float32(0.391015231609344482421875),
        np.float32(0.00027755965129472315),
        np.float32(0.046788316),
    )
    accs = np.arange(-60000, 60000)
    report = explain(scaling(accs, scales, sb=scales[0] * scales[1]), runtime="litert-reference")
    found = causes(report)
    assert "tflm" in found or "litert-builtin-x86" in found
    for cause in found.values():
        assert cause.step in ("first_rounding", "multiplier_form", "scale_precision")


def test_a_clamp_bound_is_named_as_the_cause():
    # 6 is 4.5 steps: half_away gives 5, half_even 4.
    scale = np.float32(6 / 4.5)
    model = scaling([100], (scale, 1.0, scale), activation="RELU6")
    report = explain(model, runtime="litert-xnnpack")
    assert set(causes(report)) == {"litert-builtin-x86", "litert-reference", "tflm"}
    for cause in causes(report).values():
        assert (cause.step, cause.before, cause.numbers) == ("clamp", (100, 100), (4, 5))
    assert "litert-xnnpack bounds 0 .. 4: 100 -> 4" in flat(report)
    (cause,) = causes(explain(model, runtime="tflm")).values()
    assert (cause.step, cause.numbers) == ("clamp", (5, 4))


def test_no_difference_is_said():
    report = explain(scaling([3], (1.0, 1.0, 1.0)), runtime="litert-xnnpack")
    assert causes(report) == {}
    assert "No runtime prints another value for this element." in str(report)
    assert "The same in all of these runtimes: each of the layer's 1 output elements." in str(report)


dyadic = st.builds(lambda n, k: float(np.float32(n * 2.0**-k)), st.integers(1, 200), st.integers(0, 10))
plain = st.floats(2.0**-10, 8, width=32)
scale = st.one_of(dyadic, plain)


@settings(max_examples=150, deadline=None)
@given(scale, scale, scale, st.integers(-128, 127), st.sampled_from(["NONE", "RELU6"]), st.data())
def test_five_steps_are_every_rule_and_the_cause_decides(sx, sw, sy, zy, activation, data):
    if sx * sw / sy >= 256:
        return
    near = [int(Fraction(2 * n + 1, 2) * Fraction(sy) / (Fraction(sx) * Fraction(sw))) for n in range(-4, 5)]
    acc = data.draw(st.one_of(st.integers(-70000, 70000), st.sampled_from(near)))
    acc = max(-(2**31), min(2**31 - 1, acc))
    sides, outputs = {}, {}
    for name, rule in RULES.items():
        params = prepare_requantize(
            rule,
            input_scale=np.float32(sx),
            weights_scale=np.asarray([sw], np.float32),
            output_scale=np.float32(sy),
            output_zero_point=zy,
            activation=activation,
            dtype=INT8,
        )
        sides[name] = RequantSide.of(params)
        outputs[name] = int(requantize(np.asarray([acc]), params)["output"][0])
        assert five_steps(acc, (sx, sw, sy), (sides[name],) * 5)[-1] == outputs[name], name
    for here, there in itertools.permutations(RULES, 2):
        if outputs[here] == outputs[there]:
            continue
        cause = find_cause(acc, (sx, sw, sy), sides[here], sides[there])
        back = find_cause(acc, (sx, sw, sy), sides[there], sides[here])
        assert (back.step, back.here, back.there) == (cause.step, cause.there, cause.here)
        assert (cause.here[-1], cause.there[-1]) == (outputs[here], outputs[there])
        # Exchanging the steps before it leaves one as it is, exchanging it too turns one into the other.
        done = STEPS.index(cause.step)
        # A change that a later step undoes is not the cause, so both hold in one direction at least.
        turned, kept = [], []
        for first, second in ((here, there), (there, here)):
            before = (*(sides[second],) * done, *(sides[first],) * (5 - done))
            after = (*(sides[second],) * (done + 1), *(sides[first],) * (4 - done))
            kept.append(five_steps(acc, (sx, sw, sy), before)[-1] != outputs[second])
            turned.append(five_steps(acc, (sx, sw, sy), after)[-1] == outputs[second])
        assert any(turned)
        assert any(kept)


def test_refusing_runtimes_are_listed_with_their_reason():
    report = explain(scaling([3], (1.0, 512.0, 1.0)), runtime="litert-reference")
    refused = {other.name: other.refused for other in report.others if other.output is None}
    assert "256 or more" in refused["litert-xnnpack"]
    assert "256 or more" in refused["litert-xnnpack-avx2"]
    assert not refused.keys() & {"litert-builtin-x86", "litert-reference", "tflm"}
    assert "256 or more" in str(report)
    with pytest.raises(UnsupportedError, match="256 or more"):
        explain(scaling([3], (1.0, 512.0, 1.0)))


def test_a_layer_that_xnnpack_declines_shows_the_builtin_kernel():
    report = explain(dense_model({"w": [[3, 4]], "b": [1], "zw": 2}))
    assert report.element.prepared.kernel == "builtin"
    assert report.element.layer.weights_zero_point == 2


def test_a_zero_point_that_per_channel_kernels_ignore_is_pointed_out():
    model = dense_model({"w": [[3], [4]], "sw": [0.5, 0.25], "zw": [0, 7]})
    report = explain(model, at=(0, 1), runtime="litert-reference")
    assert report.element.layer.weights_zero_point == 0
    assert report.as_dict()["weights_zero_point_stored"] == 7
    assert "The file has weights zero point 7 here" in str(report)
