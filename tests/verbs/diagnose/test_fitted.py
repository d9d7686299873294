"""A factor that no known mistake makes: its interval, and the number that it suggests."""

import json

import numpy as np
import pytest

import lastbit
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant

RNG = np.random.default_rng(12)
W, B = RNG.integers(-127, 128, (8, 40)), RNG.integers(-3000, 3000, 8)
X = RNG.integers(-128, 128, (40, 40)).astype(np.int8)
SX, SW, SY, ZX, ZY = 0.0745098039, 0.01782345, 1.5403217, -5, 4


def model(scales=SW):
    graph = dense_subgraph(
        W, input_quant=quant(SX, ZX), weights_quant=quant(scales), output_quant=quant(SY, ZY), bias=B
    )
    return load(write(graph))


def made(factor, zero_point=ZY, rounded=np.rint):
    acc = (X.astype(np.int64) - ZX) @ W.T + B
    return np.clip(rounded(acc * factor) + zero_point, -128, 127).astype(np.int8)


@pytest.mark.parametrize(
    ("factor", "name", "said"),
    [
        (0.075 * SW / SY, "input_scale_two_digits", "s_x = 0.075 (right: 0.07450980"),
        (SX * 0.0178 / SY, "weights_scale_three_digits", "s_w = 0.0178 (right: 0.0178234"),
        (SX * SW / 1.5, "output_scale_two_digits", "s_y = 1.5 (right: 1.540321"),
        (0.075 * 0.018 / 1.5, "scales_two_digits", "s_x = 0.075 (right: 0.07450980"),
        (round(SX * SW / SY * 2**14) / 2**14, "factor_14_fraction_bits", "m = 0.0008544921"),
    ],
)
def test_a_constant_of_a_few_digits_is_named_with_its_number(factor, name, said):
    report = lastbit.diagnose(model(), X, made(factor), most=1)
    assert name in [e.mistakes[0] for e in report.explanations if len(e.mistakes) == 1]
    assert said in str(report)


def test_a_number_of_digits_and_a_rounding_are_named_together():
    report = lastbit.diagnose(model(), X, made(0.0745 * SW / SY * 1.0, rounded=np.floor), most=2)
    assert {"rounding_floor"} < {m.name for m in report.mistakes}


def test_a_factor_that_is_no_copied_number_is_fitted():
    report = lastbit.diagnose(model(), X, made(0.0757 * SW / SY), most=1)
    assert report.verdict == "fitted"
    assert [m.name for m in report.mistakes] == ["fitted_factor"]
    assert report.exit_code == 1
    low, high = report.fit.ratio
    assert low <= 0.0757 / SX <= high
    assert json.loads(report.json())["fit"]["rounding"] == "nearest"


def test_the_interval_holds_the_factor_of_every_unit_and_the_zero_point_is_found():
    scales = RNG.uniform(0.005, 0.02, 8)
    factor = SX * scales.astype(np.float32) / SY * RNG.uniform(0.93, 1.07, 8)
    report = lastbit.diagnose(model(scales), X, made(factor, 9), most=1)
    assert (report.fit.low <= factor).all()
    assert (factor <= report.fit.high).all()
    assert (report.fit.zero_point, report.fit.right_zero_point) == (9, 4)
    assert report.fit.ratio is None
    assert "Your output zero point is 9; right is 4" in str(report)


def test_a_scale_of_another_layer_is_suggested():
    assert "s_y = 1.7 with the other two scales right" in str(lastbit.diagnose(model(), X, made(SX * SW / 1.7), most=1))


@pytest.mark.parametrize(("rounded", "said"), [(np.floor, "rounded down"), (np.trunc, "rounded towards zero")])
def test_the_rounding_of_a_wrong_factor_is_told(rounded, said):
    assert said in str(lastbit.diagnose(model(), X, made(SX * SW / SY * 1.0371, rounded=rounded), most=1))


def test_noise_and_too_few_elements_fit_no_factor():
    noise = RNG.integers(-100, 100, (40, 8)).astype(np.int8)
    assert lastbit.diagnose(model(), X, noise, most=1).verdict == "unexplained"
    assert lastbit.diagnose(model(), X[:2], made(SX * SW / SY * 1.2)[:2], most=1).verdict != "fitted"


def test_the_units_whose_factor_is_wrong_are_named():
    scales, times = SW * np.linspace(0.6, 1.4, 8), np.ones(8)
    times[3] = 1.37
    report = lastbit.diagnose(model(scales), X, made(SX * scales * times / SY), most=1)
    assert report.fit.wrong_units.tolist() == [3]
    assert "Your factor of unit 3 lies in" in str(report)
    assert "It is right in the other 7 units" in str(report)
    times[5] = 0.81
    report = lastbit.diagnose(model(scales), X, made(SX * scales * times / SY), most=1)
    assert report.fit.wrong_units.tolist() == [3, 5]
    assert "It is wrong in 2 of 8 units" in str(report)
    for unit in (3, 5):
        low, high = report.fit.low[unit], report.fit.high[unit]
        assert low <= SX * scales[unit] * times[unit] / SY <= high
        assert f"{low:.6g}" in str(report)
