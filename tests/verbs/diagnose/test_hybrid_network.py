"""diagnose of models of several hybrid layers, by their output alone: plain NumPy, with one mistake and without."""

import json

import numpy as np
import pytest

import lastbit
from bench.user_layers import _CONV_OPTIONS, _DENSE_OPTIONS, _chained
from lab.cases.operators import Operand
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.tflite import write

UNITS = 24


def network(layers=3, seed=1):
    rng = np.random.default_rng(seed)
    operands, operators, numbers = [Operand((1, UNITS), "float32")], [], []
    for k in range(layers):
        scales = rng.uniform(0.004, 0.02, UNITS).astype(np.float32)
        w, b, first = rng.integers(-127, 128, (UNITS, UNITS)), rng.normal(size=UNITS).astype(np.float32), len(operands)
        operands += [
            Operand((UNITS, UNITS), "int8", scales, 0, w),
            Operand((UNITS,), "float32", data=b),
            Operand((1, UNITS), "float32"),
        ]
        options = _DENSE_OPTIONS | {"fused_activation_function": "RELU" if k < layers - 1 else "NONE"}
        operators.append(("FULLY_CONNECTED", (first - 1, first, first + 1), first + 2, options))
        numbers.append((w, scales, b, k < layers - 1))
    return lastbit.load(write(_chained(operands, operators))), numbers


MODEL, NUMBERS = network()
X = (np.random.default_rng(2).normal(size=(32, UNITS)) * 2).astype(np.float32)


def calculated(x, wrong="", where=range(3)):
    """Rows between their two ends, in float32."""
    for k, (w, scales, bias, relu) in enumerate(NUMBERS):
        bad = wrong if k in where else ""
        low, high = np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)
        s = (high - low) / np.float32(255)
        z = np.rint(-128 - low / s)
        q = np.clip(np.rint(x / s) + z, -128, 127) - z
        if bad == "hybrid_input_truncated":
            s = np.abs(x).max(1, keepdims=True) / np.float32(127)
            q = np.trunc(x / s)
        if bad == "hybrid_input_not_quantized":
            q, s = x, np.float32(1)
        y = (q @ w.T.astype(np.float32)) * (s * (scales[:1] if bad == "scales_first_for_all" else scales))
        y = y if bad == "bias_missing" else y + bias
        x = np.maximum(y, 0) if relu and bad != "activation_missing" else y
    return x.astype(np.float32)


NAMES = (
    *("hybrid_input_truncated", "hybrid_input_not_quantized", "scales_first_for_all", "bias_missing"),
    "activation_missing",
)


@pytest.mark.parametrize("name", NAMES)
def test_one_mistake_in_every_layer_is_one_answer(name):
    report = lastbit.diagnose(MODEL, X, calculated(X, name))
    assert [m.name for m in report.mistakes] == [name]
    can = 2 if name == "activation_missing" else 3  # the last layer has no activation
    assert len(report.explanations[0].operators) == can
    assert ("in all 3 layers (0, 1, 2)" if can == 3 else "in 2 layers (0, 1)") in str(report)
    alone = lastbit.diagnose(MODEL, X, calculated(X, name, where=[1]))
    assert [m.name for m in alone.mistakes] == [name]
    assert f"{name}, in operator 1 alone" in str(alone)
    assert json.loads(alone.json())["explanations"][0]["operators"] == [1]


def test_what_is_right_is_right():
    report = lastbit.diagnose(MODEL, X, calculated(X))
    assert report.verdict == "form"
    assert "next to ties of the layers' quantized inputs" in str(report)
    printed = lastbit.run(MODEL, X, runtime="litert-builtin-x86").output
    assert lastbit.diagnose(MODEL, X, printed).verdict == "right"
    assert lastbit.diagnose(MODEL, X, printed).exit_code == 0


def test_a_function_of_the_input_alone_is_called():
    report = lastbit.diagnose(MODEL, None, lambda x: calculated(x, "bias_missing"))
    assert [m.name for m in report.mistakes] == ["bias_missing"]
    assert "samples chosen" in report.input_source


def test_what_fits_nothing_says_what_was_tried():
    report = lastbit.diagnose(MODEL, X, np.random.default_rng(0).normal(size=X.shape).astype(np.float32))
    assert report.verdict == "unexplained"
    assert "Tried: one mistake, in all of the 3 layers" in str(report)
    with pytest.raises(UnsupportedError, match="diagnosed one by one"):
        lastbit.diagnose(MODEL, X, {"a": X, "b": X})
    with pytest.raises(InputError, match="there is no input"):
        lastbit.diagnose(MODEL, None, X)


def test_convolutions_one_after_the_other():
    rng = np.random.default_rng(4)
    operands, operators, numbers = [Operand((1, 6, 6, 4), "float32")], [], []
    for _ in range(2):
        w, b, first = rng.integers(-127, 128, (4, 3, 3, 4)), rng.normal(size=4).astype(np.float32), len(operands)
        scales = rng.uniform(0.004, 0.02, 4).astype(np.float32)
        operands += [
            Operand(w.shape, "int8", scales, 0, w, 0),
            Operand((4,), "float32", data=b),
            Operand((1, 6, 6, 4), "float32"),
        ]
        operators.append(("CONV_2D", (first - 1, first, first + 1), first + 2, _CONV_OPTIONS | {"padding": "SAME"}))
        numbers.append((w, scales, b))
    model = lastbit.load(write(_chained(operands, operators)))
    x = rng.normal(size=(3, 6, 6, 4)).astype(np.float32)
    relu = operators[0][3]["fused_activation_function"] == "RELU"

    def mine(y, flipped):
        for w, scales, b in numbers:
            ends = y.reshape(len(y), -1)
            low, high = np.minimum(ends.min(1), 0), np.maximum(ends.max(1), 0)
            s = ((high - low) / np.float32(255)).reshape(-1, 1, 1, 1)
            z = np.rint(-128 - low.reshape(-1, 1, 1, 1) / s)
            q = np.pad(np.clip(np.rint(y / s) + z, -128, 127) - z, ((0, 0), (1, 1), (1, 1), (0, 0)))
            kernel = w[:, ::-1, ::-1] if flipped else w
            taps = [(i, j) for i in range(3) for j in range(3)]
            acc = sum(q[:, i : i + 6, j : j + 6] @ kernel[:, i, j].T.astype(np.float32) for i, j in taps)
            y = acc * (s * scales) + b
            y = np.maximum(y, 0) if relu else y
        return y.astype(np.float32)

    assert lastbit.diagnose(model, x, mine(x, False)).verdict in ("right", "form")
    report = lastbit.diagnose(model, x, mine(x, True))
    assert [m.name for m in report.mistakes] == ["kernel_flipped"]
    assert report.explanations[0].operators == (0, 1)
