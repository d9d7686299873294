"""explain of hybrid convolutions: an element with its window, the image's scale and every rounding."""

import json

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError
from tests.support.hybrid_models import hybrid_convolution


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin-x86", "litert-reference"])
@pytest.mark.parametrize(("op", "kernel"), [("CONV_2D", (3, 3)), ("CONV_2D", (1, 1)), ("DEPTHWISE_CONV_2D", (3, 3))])
def test_every_element_is_what_run_prints(runtime, op, kernel):
    model = hybrid_convolution(op, channels=5, units=5, kernel=kernel, activation="RELU6")
    x = np.random.default_rng(2).normal(size=(2, 6, 7, 5)).astype(np.float32)
    output = lastbit.run(model, x, runtime=runtime).output
    for at in ((0, 0, 0, 0), (1, 5, 6, 4), (1, 2, 3, 1), 17):
        found = lastbit.explain(model, x, at=at, runtime=runtime)
        place = at if isinstance(at, tuple) else np.unravel_index(at, output.shape)
        assert found.output == output[tuple(place)]
        assert found.steps[-1].value == found.output
        data = json.loads(found.json())
        assert sum(data["accumulation"]["products"]) == data["accumulation"]["dot"]
        assert len(data["input"]["values"]) == (5 if op == "CONV_2D" else 1) * kernel[0] * kernel[1]


def test_the_window_and_the_padding_are_shown():
    model = hybrid_convolution()
    text = str(lastbit.explain(model, seed=0, at=(0, 0, 0, 2)))
    assert "operator 0 CONV_2D, element [0, 0, 0, 2], litert-xnnpack" in text
    assert "of the image; padding is the zero point" in text
    assert "i, j, c" in text
    assert "2, 2, 2" in text
    assert "The window's quantized inputs" in text
    short = lastbit.explain(model, seed=0).in_short()
    assert "CONV_2D, element [0, " in short[0]


def test_how_the_last_channels_end_is_told_step_by_step():
    model = hybrid_convolution("DEPTHWISE_CONV_2D", channels=5, units=5)
    for unit, formula in ((3, "float32(acc) * s_w"), (4, "float32(acc) * s_row")):
        found = lastbit.explain(model, seed=0, at=(0, 2, 2, unit), runtime="litert-builtin-x86")
        assert found.steps[1].formula == formula
    with pytest.raises(InputError, match="there is no output element"):
        lastbit.explain(model, seed=0, at=(0, 9, 0, 0))
    latex = lastbit.explain(model, seed=0).latex()
    assert r"\begin{align*}" in latex
