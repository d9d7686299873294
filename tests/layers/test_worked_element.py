"""One element of every operator that has a slow twin: the twin's output is the operator's, and so is every step."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from lab.record.activations import cases
from lab.record.operators import all_cases
from lastbit.layers.worked_element import exact_element, worked_operator_element
from lastbit.model.errors import InputError
from lastbit.ops.prepare import prepare

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
TWINS = {
    *("ADD", "SUB", "MUL", "MEAN", "SUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "LEAKY_RELU", "HARD_SWISH"),
    *(
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "TRANSPOSE_CONV",
        "BATCH_MATMUL",
        "QUANTIZE",
        "DEQUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
    ),
    *("LOGISTIC", "TANH", "SOFTMAX"),
}


def models():
    for case in all_cases(seed=11, scale=0.02):
        yield case.model(), [np.asarray(value) for value in case.values]
    for case in cases(12, 25):
        yield case.model(), [case.values]


def places(shape, rng):
    """The first, the last, and one in between: the vector loop and what is left of it."""
    size = math.prod(shape)
    return {tuple(int(i) for i in np.unravel_index(n, shape)) for n in (0, size - 1, int(rng.integers(0, size)))}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_worked_element_is_the_operators(runtime):
    rng, seen, steps_seen = np.random.default_rng(5), Counter(), Counter()
    for model, values in models():
        prepared = prepare(model, runtime)
        if prepared.refusals or model.operators[0].name not in TWINS:
            continue
        entry = prepared.operators[0]
        fed = values[: len(entry.inputs)]
        try:
            steps = entry.evaluate(fed)
        except InputError:
            continue
        output = steps["output"]
        if not output.size:
            continue
        for place in places(output.shape, rng):
            found = exact_element(entry, fed, place)
            if found is None:
                assert output.dtype == np.float32, entry.operator.name
                continue
            assert found[-1].name == "output"
            named = {step.name: step.value for step in found}
            for name, value in steps.items():
                if name not in named:
                    continue
                here = np.broadcast_to(value, output.shape)[place] if np.ndim(value) else value
                here = here.item()
                if math.isfinite(here):
                    assert Fraction(here) == named[name], (entry.operator.name, entry.rule, name, place)
                    steps_seen[entry.operator.name] += 1
            lines = worked_operator_element(entry, fed, place)
            assert entry.rule in lines[0]
            assert len(lines) == len(found) + 1
            seen[entry.operator.name] += 1
    # The reference kernels' SUM cannot be stated, and TensorFlow Lite Micro has no RELU_N1_TO_1.
    assert TWINS - set(seen) <= {"SUM", "RELU_N1_TO_1"}
    assert set(steps_seen) == set(seen)
