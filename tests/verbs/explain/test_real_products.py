"""explain of float32 layers: the window, what is padding, each product, and their sum in exact numbers."""

import json
from fractions import Fraction

import numpy as np
import pytest

import lastbit
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph
from tests.support.hybrid_models import hybrid_convolution


def real_images(model, count):
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def by_loops(model, x, at):
    """Exact products of one output element, by loops over the padded image."""
    options, (_, weights, bias) = model.operators[0].options, [model.tensors[i] for i in model.operators[0].inputs]
    depthwise = model.operators[0].name == "DEPTHWISE_CONV_2D"
    w = weights.data if not depthwise else weights.data.transpose(3, 1, 2, 0)
    image, y, c, o = at
    stride, kernel = options["stride_h"], w.shape[1:3]
    total, met = Fraction(float(bias.data[o])), 0
    for i, j in np.ndindex(*kernel):
        spots = [
            place * stride + tap - max((-(-n // stride) - 1) * stride + k - n, 0) // 2
            for place, tap, n, k in zip((y, c), (i, j), x.shape[1:3], kernel, strict=True)
        ]
        if all(0 <= spot < n for spot, n in zip(spots, x.shape[1:3], strict=True)):
            for k in range(w.shape[3]):
                met += 1
                channel = o // (len(w) // x.shape[3]) if depthwise else k
                total += Fraction(float(x[image, spots[0], spots[1], channel])) * Fraction(float(w[o, i, j, k]))
    return total, met


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "kernel": (2, 3)}, {"op": "DEPTHWISE_CONV_2D", "units": 6}],
)
def test_a_convolution_shows_its_window_and_the_exact_sum(options):
    model = hybrid_convolution(real=True, **options)
    x = real_images(model, 2)
    output = lastbit.run(model, x).output
    for at in ((0, 0, 0, 2), (1, 1, 2, 4), tuple(n - 1 for n in output.shape)):
        made = lastbit.explain(model, x, op=0, at=at)
        total, met = by_loops(model, x, at)
        assert made.element.real.exact == total
        assert len(made.element.real.x) == met
        assert abs(float(total) - float(made.output)) < 1e-4
        assert "exact sum, with the bias" in str(made)
        assert ("taps meet no input value" in str(made)) == (made.element.real.padding > 0)
        data = json.loads(made.json())["real_products"]
        assert Fraction(data["exact_sum"]["numerator"], data["exact_sum"]["denominator"]) == total


@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_layer_of_float32_is_explained_as_well(bias):
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(3, 20)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    real = {"input_dtype": "float32", "weights_dtype": "float32", "bias_dtype": "float32"}
    graph = dense_subgraph(
        w, input_quant=None, weights_quant=None, output_quant=None, bias=b if bias else None, **real
    )  # fmt: skip
    model = lastbit.load(write(graph))
    x = rng.normal(size=(4, 20)).astype(np.float32)
    made = lastbit.explain(model, x, at=(2, 1))
    exact = sum(map(lambda a, c: Fraction(float(a)) * Fraction(float(c)), x[2], w[1]), Fraction(0))
    assert made.element.real.exact == exact + (Fraction(float(b[1])) if bias else 0)
    assert made.output == lastbit.run(model, x).output[2, 1]
    assert ("with the bias" in str(made)) == bias
    tflm = next(other for other in made.others if other.name == "tflm")
    assert tflm.output == lastbit.run(model, x, runtime="tflm").output[2, 1]


def test_a_product_that_is_no_number_has_no_exact_sum():
    model = hybrid_convolution(real=True)
    x = real_images(model, 1)
    x[0, 0, 0, 0] = np.inf
    made = lastbit.explain(model, x, op=0, at=(0, 0, 0, 0))
    assert made.element.real.exact is None
    assert "no exact value" in str(made)
