"""What people ask (docs/converter.md): each answer there, run."""

import numpy as np
import pytest

import lastbit
from tests.verbs.quantize.test_quantize import RANGES, dense_model

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 4))
PIXELS[0, :2] = 0, 255


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0, 6, 0.023529412, -128),
        (-1, 1, 0.007843138, -1),
        (-0.1, 3.3, 0.013333333, -121),
        (0.5, 1.5, 0.005882353, -128),
    ],
)
def test_what_people_ask_where_a_zero_point_comes_from(low, high, scale, zero_point):
    ranges = {"x": (low, high), "y": (-3, 5)}
    quant = lastbit.quantize(dense_model(np.ones((2, 4))), ranges=ranges, io="int8").inputs[0].quant
    assert (quant.scale[0], quant.zero_point[0]) == (np.float32(scale), zero_point)


@pytest.mark.parametrize(
    ("samples", "scale", "zero_point"),
    [
        (PIXELS, 1, 0),
        (PIXELS / 255, 0.003921569, 0),
        (PIXELS / 127.5 - 1, 0.007843138, 127),
        (PIXELS * 0, 7.843137e-09, 128),
    ],
)
def test_what_people_ask_the_scale_of_a_uint8_input(samples, scale, zero_point):
    data = samples.astype(np.float32)
    made = lastbit.quantize(dense_model(np.ones((2, 4))), data, io="uint8", calibrator="lastbit")
    quant = made.inputs[0].quant
    assert (quant.scale[0], quant.zero_point[0]) == (np.float32(scale), zero_point)


def test_what_people_ask_which_integers_weights_have():
    weights = np.random.default_rng(1).normal(size=(500, 400)).astype(np.float32)
    weights[:, 0] = -np.abs(weights).max(axis=1)
    made = lastbit.quantize(dense_model(weights, width=400), ranges=RANGES)
    data = next(t for t in made.tensors if t.name == "w").data
    assert (data.size, data.min(), data.max()) == (200_000, -127, 127)


def test_what_people_ask_small_weights_are_quantized_with_data():
    made = lastbit.quantize(dense_model(np.ones((2, 4))), np.ones((1, 4), np.float32), calibrator="lastbit")
    assert next(t for t in made.tensors if t.name == "w").dtype.name == "int8"


@pytest.mark.parametrize(("units", "depth", "dtype"), [(2, 4, "float32"), (31, 33, "float32"), (32, 32, "int8")])
def test_what_people_ask_weights_of_fewer_than_1024_elements_stay_float32_without_data(units, depth, dtype):
    weights = np.random.default_rng(2).normal(size=(units, depth))
    made = lastbit.quantize(dense_model(weights, width=depth))
    assert next(t for t in made.tensors if t.shape == (units, depth)).dtype.name == dtype
