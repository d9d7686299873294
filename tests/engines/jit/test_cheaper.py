"""The cheap form of requantization: the same as the rule wherever constants for it are found."""

import numpy as np
import pytest

from lab.cases.hard_numbers import scale_triples
from lastbit.engines.jit import cheaper, matmul
from lastbit.engines.jit.fused import FUSED, FUSED_SIGNED, Fused, fit_fused
from lastbit.engines.jit.linear import LINEAR, LINEAR_SIGNED, fit_linear
from lastbit.engines.jit.thresholds import thresholds
from lastbit.model.types import INT8, UINT8
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.forms import Float
from lastbit.rules.requantize.table import EIGHT_BIT
from lastbit.rules.requantize.vector import requantize

CASES = [
    name
    for name, rule in EIGHT_BIT.items()
    if rule.sums.bits == 32 and not (isinstance(rule.requantize, Float) and rule.requantize.bits == 32)
]


def calculated(form, acc, slots, params):
    """The form in NumPy: accumulators `[n, units]`."""
    bounds = params.activation_min, params.activation_max
    if isinstance(form, Fused):
        added = np.copysign(slots["addend"], acc) if form.signed else slots["addend"]
        total = (acc * slots["multiplier"].astype(np.float64) + added).astype(np.float32)
        whole = np.trunc(total) + params.output_zero_point if form.signed else np.rint(total)
        return np.clip(whole.astype(np.int64), *bounds)
    shifted = (acc << slots["left"]).astype(np.int32).astype(np.int64)
    high = (shifted * slots["multiplier"]) >> 32
    less = np.where(acc < 0, slots.get("less_if_negative", 0), 0)
    total = high + slots["addend"] - less
    assert (np.abs(total) < 2**31).all()
    return np.clip(total >> slots["right"], *bounds)


def make(rule, rng, units, number, activation, dtype):
    if number % 3 == 2:
        # Layers as they are: factors of a thousandth.
        s_x, s_y = np.float32(rng.uniform(0.01, 0.1)), np.float32(rng.uniform(0.05, 0.5))
        s_w = rng.uniform(0.001, 0.02, units).astype(np.float32)
    else:
        s_x, s_w, s_y = scale_triples(rng, units, number)
    return prepare_requantize(
        rule,
        input_scale=s_x,
        weights_scale=s_w[:1] if number % 4 == 0 else s_w,
        output_scale=s_y,
        output_zero_point=int(rng.choice([dtype.qmin, dtype.qmax, 0, 5])),
        activation=activation,
        dtype=dtype,
    )


def fitted_to(fit, params, low, high):
    layer = thresholds(params, low, high)
    return None if layer is None else fit(layer)


@pytest.mark.parametrize("fit", [fit_linear, fit_fused])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_found_is_the_rule_itself(name, activation, fit):
    rng = np.random.default_rng([len(name), len(activation)])
    found = tried = 0
    for number in range(24):
        units = int(rng.integers(1, 40))
        params = make(EIGHT_BIT[name], rng, units, number, activation, (INT8, UINT8)[number % 2])
        middle = rng.integers(-20_000, 20_000, units)
        reach = rng.integers(0, 10 ** int(rng.integers(1, 7)), units)
        low, high = middle - reach, middle + reach
        fitted = fitted_to(fit, params, low, high)
        tried += 1
        if fitted is None:
            continue
        found += 1
        form, slots = fitted
        assert form in ((LINEAR, LINEAR_SIGNED) if fit is fit_linear else (FUSED, FUSED_SIGNED))
        assert ("less_if_negative" in slots) == (form == LINEAR_SIGNED)
        # Every accumulator of a small range; of a large one random ones and those around the thresholds.
        steps = np.arange(2001)[:, None]
        spread = np.where(2 * reach <= 2000, low + steps, rng.integers(low, high + 1, (2001, units)))
        scale = np.broadcast_to(params.effective_scale, units)
        outputs = np.arange(params.activation_min - 1, params.activation_max + 2)[:, None]
        around = np.rint((outputs - params.output_zero_point - 0.5) / scale)
        around = np.clip(around, -(2.0**40), 2.0**40).astype(np.int64)
        near = np.concatenate([around + step for step in range(-2, 3)])
        acc = np.clip(np.concatenate([spread, near, low[None], high[None]]), low, high)
        np.testing.assert_array_equal(
            calculated(form, acc, slots, params), requantize(acc, params)["output"], f"{name}, layer {number}"
        )
    assert found >= tried // 4, (name, found, tried)


LAYERS = [("float64-half_away", FUSED), ("q31-half_up-half_away/dd", FUSED_SIGNED), ("q31-half_up-half_up/dd", FUSED)]


@pytest.mark.parametrize(("name", "fused"), LAYERS)
def test_layers_as_they_are_get_it(name, fused):
    rng = np.random.default_rng(1)
    for activation, wanted in (("RELU", LINEAR), ("NONE", None)):
        params = make(EIGHT_BIT[name], rng, 200, 2, activation, INT8)
        fitted = fitted_to(fit_linear, params, np.full(200, -3_000_000), np.full(200, 3_000_000))
        assert fitted is not None
        assert wanted in (None, fitted[0])
    params = make(EIGHT_BIT[name], rng, 20, 2, "NONE", INT8)
    fitted = fitted_to(fit_fused, params, np.full(20, -100_000), np.full(20, 100_000))
    assert fitted is not None
    assert fitted[0] == fused


def test_accumulators_that_overflow_keep_the_rules_own_form():
    rng = np.random.default_rng(1)
    params = make(EIGHT_BIT["float64-half_away"], rng, 3, 2, "NONE", INT8)
    assert thresholds(params, np.full(3, -(2**31)), np.full(3, 2**31 - 1)) is None


def test_accumulators_that_no_float32_holds_keep_integers():
    rng = np.random.default_rng(1)
    params = make(EIGHT_BIT["float64-half_away"], rng, 3, 2, "RELU", INT8)
    layer = thresholds(params, np.full(3, -(2**24)), np.full(3, 2**24))
    assert layer is not None
    assert fit_fused(layer) is None
    assert fit_linear(layer) is not None


@pytest.mark.parametrize("name", [name for name, _ in LAYERS])
@pytest.mark.parametrize("forms", [(fit_linear,), (fit_fused,)])
def test_compiled_code_is_the_rule_around_every_threshold(name, forms, monkeypatch):
    monkeypatch.setattr(cheaper, "cheaper_forms", lambda: forms)
    rng = np.random.default_rng(4)
    params = make(EIGHT_BIT[name], rng, 250, 2, "NONE", INT8)
    # Each unit's sums lie around one threshold, one accumulator after the other.
    outputs = rng.permutation(np.arange(params.activation_min, params.activation_max))[:250]
    middle = np.rint((outputs + 0.5 - params.output_zero_point) / params.effective_scale).astype(np.int64)
    weights = np.ones((250, 1), np.int8)
    layer = matmul.pack(weights, bias=middle, epilogue=matmul.Epilogue(params, cheapest=True))
    assert isinstance(layer.form, Fused) == (forms == (fit_fused,))
    x = np.arange(-128, 128, dtype=np.int8)[:, None]
    wanted = requantize(middle + x, params)["output"]
    np.testing.assert_array_equal(matmul.dense(x, layer), wanted)
    assert len(np.unique(wanted)) > 200
