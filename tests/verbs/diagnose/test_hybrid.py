"""Diagnose of hybrid layers: what runtimes print is right, any order of summation is right, and mistakes are named."""

import json

import numpy as np
import pytest

import lastbit
from bench.user_layers import model_of, numbers_of
from lastbit.layers.mistakes.hybrid import HYBRID
from lastbit.model.errors import InputError
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph

MODEL = model_of("hybrid_channels")
P = numbers_of(MODEL)[0]
X = np.random.default_rng(3).normal(size=(12, 32)).astype(np.float32) * 3


def names(report):
    return [mistake.name for mistake in report.mistakes]


def rows(x, steps=127, *, cast=False, together=False):
    scale = np.abs(x).max(axis=None if together else 1, keepdims=True) / np.float32(steps)
    q = x / scale
    return (np.trunc(q) if cast else np.rint(q)).clip(-128, 127), scale


def output(q, scale, w=None, s_w=None, bias=None):
    w, s_w = P["weights"] if w is None else w, P["weights_scale"] if s_w is None else s_w
    return (q @ w.T.astype(np.float64)) * (scale * s_w) + (P["bias"] if bias is None else bias)


def wrapped(q):
    return (q.astype(np.int64) @ P["weights"].T.astype(np.int64)).astype(np.int16)


@pytest.mark.parametrize("layer", ["hybrid", "hybrid_channels", "hybrid_int4"])
def test_what_a_runtime_prints_is_right(layer):
    for runtime in ("litert-xnnpack", "litert-builtin", "litert-reference"):
        report = lastbit.diagnose(model_of(layer), X, lastbit.run(model_of(layer), X, runtime=runtime).output)
        assert report.verdict == "right"
        assert report.exit_code == 0
        assert names(report) == []


def test_another_order_of_summation_is_no_mistake():
    q, scale = rows(X)
    for order in (np.arange(32), np.random.default_rng(1).permutation(32)):
        y = np.zeros((12, 9), np.float32)
        for k in order:
            y += (q[:, k : k + 1] * scale * (P["weights"][:, k] * P["weights_scale"])).astype(np.float32)
        report = lastbit.diagnose(MODEL, X, y + P["bias"])
        assert report.verdict == "form"
        assert "last bits differ" in str(report)


def test_real_weights_and_a_real_input_are_named_in_any_order_of_summation():
    w = P["weights"].astype(np.float32) * P["weights_scale"][:, None]
    for order in (np.arange(32), np.arange(32)[::-1], np.random.default_rng(2).permutation(32)):
        y = np.zeros((12, 9), np.float32)
        for k in order:
            y += X[:, k : k + 1] * w[:, k]
        assert names(lastbit.diagnose(MODEL, X, y + P["bias"])) == ["hybrid_input_not_quantized"]
    assert names(lastbit.diagnose(MODEL, X, X.astype(np.float64) @ w.T)) == [
        "hybrid_input_not_quantized", "bias_missing",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "mine"),
    [
        (["hybrid_input_truncated"], lambda: output(*rows(X, cast=True))),
        (["hybrid_scale_over_128"], lambda: output(*rows(X, 128))),
        (["hybrid_scale_of_whole_batch"], lambda: output(*rows(X, together=True))),
        (["input_scale_missing"], lambda: output(rows(X)[0], 1)),
        (["weights_scale_missing"], lambda: output(*rows(X), s_w=1)),
        (["scales_first_for_all"], lambda: output(*rows(X), s_w=P["weights_scale"][0])),
        (["bias_missing"], lambda: output(*rows(X), bias=0)),
        (["weights_as_uint8"], lambda: output(*rows(X), w=P["weights"].view(np.uint8))),
        (["weights_as_in_out"], lambda: output(*rows(X), w=P["weights"].reshape(32, 9).T)),
        (["hybrid_input_truncated", "bias_twice"], lambda: output(*rows(X, cast=True), bias=2 * P["bias"])),
        (["bias_real_on_integer_sum"], lambda: output(*rows(X), bias=0) + rows(X)[1] * P["weights_scale"] * P["bias"]),
        (["scales_mean_for_all"], lambda: output(*rows(X), s_w=P["weights_scale"].mean())),
        (["output_column_major"], lambda: output(*rows(X)).T.reshape(12, 9)),
        (["output_column_major", "bias_missing"], lambda: output(*rows(X), bias=0).T.reshape(12, 9)),
        (["product_wraps_int16"], lambda: wrapped(rows(X)[0]) * (rows(X)[1] * P["weights_scale"]) + P["bias"]),
        (["last_product_left_out"], lambda: output(rows(X)[0] * (np.arange(32) < 31), rows(X)[1])),
    ],
)
def test_mistakes_are_named(wanted, mine):
    report = lastbit.diagnose(MODEL, X, mine().astype(np.float32))
    assert set(names(report)) == set(wanted)
    wanted = names(report)
    assert json.loads(report.json())["explanations"][0]["mistakes"][0]["name"] == wanted[0]
    assert HYBRID[wanted[0]].why in str(report)


def test_a_function_is_bound_and_nonsense_is_refused():
    def mine(x, weights, bias, scale):
        return x @ (weights * scale[:, None]).T.astype(np.float32)

    assert names(lastbit.diagnose(MODEL, None, mine)) == ["hybrid_input_not_quantized", "bias_missing"]
    with pytest.raises(InputError, match="there is no input"):
        lastbit.diagnose(MODEL, None, np.zeros((1, 9), np.float32))
    with pytest.raises(InputError, match=r"wanted float32 with 12 x 9 elements"):
        lastbit.diagnose(MODEL, X, np.zeros((12, 8), np.float32))
    noise = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    report = lastbit.diagnose(MODEL, X, noise, most=1)
    assert report.verdict == "unexplained"
    assert "largest difference" in str(report)


def test_pictures_show_where_and_by_how_much_in_real_units():
    q, scale = rows(X, cast=True)
    wrong = output(q, scale).astype(np.float32)
    report = lastbit.diagnose(MODEL, X, wrong)
    plane, counted = report.pictures()
    right = lastbit.run(MODEL, X, runtime=report.first).output
    assert (plane.values == wrong.astype(np.float64) - right).all()
    assert sum(counted.values) == wrong.size
    assert len(report.records()) == wrong.size
    assert lastbit.diagnose(MODEL, X, right).pictures() == []


def float_layer():
    rng = np.random.default_rng(5)
    graph = dense_subgraph(
        rng.normal(size=(6, 20)).astype(np.float32), input_quant=None, weights_quant=None, output_quant=None,
        bias=rng.normal(size=6).astype(np.float32), input_dtype="float32", weights_dtype="float32",
        bias_dtype="float32", activation="RELU",
    )  # fmt: skip
    model = lastbit.load(write(graph))
    op = model.operators[0]
    return model, model.operand(op, 1).data, model.operand(op, 2).data


def test_a_float32_layer_is_right_in_any_order_of_summation():
    model, w, b = float_layer()
    x = np.random.default_rng(6).normal(size=(9, 20)).astype(np.float32)
    assert lastbit.diagnose(model, x, lastbit.run(model, x, runtime="litert-reference").output).verdict == "right"
    for order in (np.arange(20)[::-1], np.random.default_rng(1).permutation(20)):
        y = np.zeros((9, 6), np.float32) + b
        for k in order:
            y += x[:, k : k + 1] * w[:, k]
        assert lastbit.diagnose(model, x, np.maximum(y, 0)).verdict == "form"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("bias_missing", lambda x, weights: np.maximum(x @ weights.T, 0)),
        ("activation_missing", lambda x, weights, bias: x @ weights.T + bias),
        ("weights_as_in_out", lambda x, weights, bias: np.maximum(x @ weights.reshape(20, 6) + bias, 0)),
        ("last_product_left_out", lambda x, weights, bias: np.maximum(x[:, :-1] @ weights[:, :-1].T + bias, 0)),
    ],
)
def test_mistakes_in_a_float32_layer_are_named(name, code):
    report = lastbit.diagnose(float_layer()[0], None, code)
    assert names(report) == [name]
    assert "quantized at run time" not in str(report)
    if name == "bias_missing":
        assert "y = x @ w.T + bias" in str(report)


def test_zero_points_of_rows_that_are_not_subtracted_are_named():
    low, high = np.minimum(X.min(1, keepdims=True), 0), np.maximum(X.max(1, keepdims=True), 0)
    scale = (high - low) / np.float32(255)
    zero = np.rint(-128 - low / scale)
    q = np.clip(np.rint(X / scale) + zero, -128, 127)
    assert names(lastbit.diagnose(MODEL, X, output(q, scale).astype(np.float32))) == ["input_zero_point_missing"]
    assert names(lastbit.diagnose(MODEL, X, output(q + zero, scale).astype(np.float32))) == ["input_zero_point_added"]


def test_the_largest_value_is_not_the_largest_magnitude():
    scale = X.max(axis=1, keepdims=True) / np.float32(127)
    y = output(np.clip(np.rint(X / scale), -127, 127), scale).astype(np.float32)
    assert names(lastbit.diagnose(MODEL, X, y)) == ["hybrid_scale_of_largest_value"]
