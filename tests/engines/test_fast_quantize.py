"""QUANTIZE and DEQUANTIZE of the fast engines: vectors of usual values, and everything that is not one."""

import numpy as np
import pytest

from lastbit.engines.blas import ElementTable
from lastbit.model.tflite.synthesize import quant
from tests.engines.test_fast import ENGINE, same
from tests.engines.test_fast_chains import covered
from tests.support.models import ModelBuilder

SCALES = (0.02, 0.1, 1.0, 2.0**-7, 3e-5, 1e30, 1e-38, 1.1754944e-38, 2.0**-126, 3.3e38)


def quantize_model(elements, scale, zero_point, dtype, back=False):
    """QUANTIZE of a sample, and DEQUANTIZE behind it."""
    shape = (1, elements)
    build = ModelBuilder()
    x = build.tensor(shape, "float32")
    end = build.operator("QUANTIZE", [x], [build.tensor(shape, dtype, quant(scale, zero_point))])
    if back:
        end = build.operator("DEQUANTIZE", [end], [build.tensor(shape, "float32")], version=2)
    return build.model([x], [end])


def hard_values(scale, rng):
    """Ties and the floats around them, both ends, and what is no usual number."""
    steps = np.concatenate([np.arange(-300, 301), rng.uniform(-600, 600, 400), 2.0 ** np.arange(8, 32)])
    with np.errstate(over="ignore", under="ignore"):
        ties = ((steps + 0.5) * np.float64(scale)).astype(np.float32)
        near = [ties]
        for direction in (-np.inf, np.inf):
            value = ties
            for _ in range(3):
                value = np.nextafter(value, np.float32(direction))
                near.append(value)
        usual = (rng.normal(size=600) * 60 * np.float64(scale)).astype(np.float32)
    special = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38])
    return np.concatenate([usual, *near, special, usual, special[rng.integers(0, 10, 50)], usual])


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("elements", [1, 7, 40, 250])
def test_every_value_in_every_runtime(engine, dtype, elements):
    rng = np.random.default_rng(elements)
    compared = 0
    for number, scale in enumerate(SCALES):
        zero_point = int(rng.choice([-128, 0, 3, 127])) + (128 if dtype == "uint8" else 0)
        model = quantize_model(elements, scale, zero_point, dtype, back=number % 2 == 1)
        values = hard_values(scale, rng)
        x = np.resize(values, (-(-values.size // elements), elements))
        for runtime in covered(model):
            same(model, x, runtime, engine, threads=2)
            same(model, x[:1], runtime, engine)
            compared += x.size
    assert compared > 100_000


def test_dequantizing_is_known_by_its_table():
    def table(values, unsigned=False, split=8):
        return ElementTable(values=np.stack([values, values]), split=split, period=8, elements=8, unsigned=unsigned)

    scale = np.float32(0.037)
    for zero in (0, 3, 128, 255):
        values = (np.arange(256) - zero).astype(np.float32) * scale
        scaling = table(values).scaling
        assert scaling is not None
        assert scaling.tolist() == [zero, int(scale.view(np.int32)), 128]
        assert table(values, unsigned=True).scaling[2] == 0
        assert table(values, split=3).scaling is None
        for place in (0, 77, 255):
            other = values.copy()
            other[place] = np.nextafter(other[place], np.float32(9))
            assert table(other).scaling is None
    assert table(np.zeros(256, np.float32)).scaling is None
    assert table(np.zeros(256, np.int8)).scaling is None
    minus = (np.arange(256) - 3).astype(np.float32) * scale
    minus[3] = -0.0
    assert table(minus).scaling is None
