"""Diagnose: it names the mistake, never one that is not there, and says what it does not know."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lastbit.cli import main
from lastbit.layers.mistakes import MISTAKES, applicable, wrong_output
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.graph import Operator
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import FLOAT32
from lastbit.ops.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.demo.verb import demo_model, numpy_as_asked, numpy_right
from lastbit.verbs.diagnose.names import PARAMETERS
from lastbit.verbs.diagnose.report import separating_inputs
from tests.support.explain_models import flat
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

FORUM_MISTAKES = {"product_wraps_int8", "scales_first_for_all", "scale_added"}
# Some outputs saturate at both ends, so that mistakes in the clamp show.
MODEL = make_dense_model(units=6, depth=11, per_channel=True, output_scale=0.018, seed=2)
X = np.concatenate(
    [np.random.default_rng(8).integers(-128, 128, (30, 11)), np.random.default_rng(8).integers(-12, 18, (30, 11))]
).astype(np.int8)


diagnose = lastbit.diagnose


def layer(model=MODEL, runtime="litert-reference"):
    return prepare_operator(model, model.operators[0], runtime)


def names(report):
    return None if report.explanation is None else set(report.explanation.mistakes)


@pytest.fixture(scope="module")
def forum():
    model = demo_model()
    x = np.random.default_rng(0).integers(-128, 128, (2, 16, 48)).astype(np.int8)
    return model, x, prepare_operator(model, model.operators[0], "litert-xnnpack").layer


def as_asked(forum, rows=2):
    _, x, got = forum
    return numpy_as_asked(
        x.reshape(-1, 48), got.weights_values, got.input_scale, got.input_zero_point, got.weights_scale, 0,
        got.output_scale, got.output_zero_point,
    ).reshape(rows, 16, 32)  # fmt: skip


def test_the_forums_array_is_named_with_exactly_its_three_mistakes(forum):
    model, x, _ = forum
    report = diagnose(model, x, as_asked(forum), runtime="litert-xnnpack")
    assert names(report) == FORUM_MISTAKES
    assert len(report.explanations) == 1
    assert report.verdict == "mistakes"
    assert report.exit_code == 1
    text = str(report)
    for name in FORUM_MISTAKES:
        assert f"{name} ({MISTAKES[name].stage})" in text
        assert MISTAKES[name].fix_numpy in text
    assert "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089" in text


@needs_shared_models
def test_scales_that_are_nearly_equal_are_told_apart_before_the_rounding():
    # Here the channels' factors differ by less than float32 holds beside the values: two mistakes nearly fit.
    model = load(MODELS / "forum_dense_per_channel.tflite")
    x = np.random.default_rng(0).integers(-128, 128, (1, 16, 48)).astype(np.int8)
    mine = as_asked((model, x, layer(model).layer), rows=1)
    report = diagnose(model, x, mine)
    assert names(report) == FORUM_MISTAKES
    assert len(report.explanations) == 1


def test_the_forums_function_is_named_with_exactly_its_three_mistakes(forum):
    report = diagnose(forum[0], None, numpy_as_asked)
    assert names(report) == FORUM_MISTAKES
    assert len(report.explanations) == 1


def test_a_right_function_is_right_and_whose_it_is():
    report = diagnose(demo_model(), None, numpy_right, runtime="litert-xnnpack")
    assert (report.verdict, report.exit_code) == ("right", 0)
    other = diagnose(demo_model(), None, numpy_right, runtime="tflm")
    assert (other.verdict, other.exit_code) == ("other runtime", 1)
    assert "litert-xnnpack" in other.explanation.runtimes
    assert "you compared it with tflm" in str(other)


@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"activation": "RELU"}, {"bias": False}], ids=str)
def test_right_outputs_are_never_given_a_mistake(options):
    rng = np.random.default_rng(8)
    model = make_dense_model(output_scale=0.1, **options)
    x = rng.integers(-128, 128, (40, 7)).astype(np.int8)
    for name in RUNTIMES:
        try:
            prepared = prepare_operator(model, model.operators[0], name)
        except UnsupportedError:
            continue
        report = diagnose(model, x, prepared.evaluate([x])["output"])
        assert report.verdict == "right"
        assert name in report.explanation.runtimes
        assert report.exit_code == 0


def test_every_single_mistake_is_named_or_one_that_prints_the_same():
    runtime = "tflm"
    prepared = layer(MODEL, runtime)
    right = prepared.evaluate([X])["output"]
    for mistake in applicable(prepared):
        mine = wrong_output(prepared, X, [mistake.name])
        if np.array_equal(mine, right):
            continue
        report = diagnose(MODEL, X, mine, runtime=runtime)
        assert report.explanation is not None, mistake.name
        assert len(report.explanation.mistakes) <= 1
        told = {name for e in report.explanations for name in e.mistakes}
        same = np.array_equal(wrong_output(report.explanation.prepared, X, report.explanation.mistakes), mine)
        assert same, mistake.name
        assert mistake.name in told or not report.explanation.mistakes


@pytest.mark.parametrize(
    "injected",
    [
        ("input_zero_point_missing", "scales_first_for_all"),
        ("bias_missing", "clamp_before_zero_point"),
        ("weights_as_in_out", "rounding_floor"),
        ("output_zero_point_missing", "output_column_major"),
        ("bias_missing", "scales_four_decimals", "rounding_truncated"),
        ("input_minus_zero_point_wraps_int8", "bias_as_int8", "output_zero_point_missing"),
    ],
    ids=" + ".join,
)
def test_sets_of_mistakes_are_named(injected):
    report = diagnose(MODEL, X, wrong_output(layer(), X, injected), runtime="litert-reference")
    assert names(report) == set(injected)
    assert report.explanation.runtimes[0] == "litert-reference"


@pytest.mark.parametrize(("dtype", "channels"), [("int8", 1), ("uint8", 1), ("int8", 8)])
def test_a_real_bias_on_an_integer_sum_is_named_beside_a_zero_point_that_wraps(dtype, channels):
    """https://github.com/pytorch/executorch/pull/20655: both of its mistakes at once, and the second alone."""
    rng = np.random.default_rng(17)
    unsigned = dtype == "uint8"
    zx, zw, kind = (28, 131, np.uint8) if unsigned else (-100, 0, np.int8)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    sx, sy, zy = 0.3, 31.0, 120 if unsigned else -7
    sw = np.linspace(0.1, 0.4, channels)
    graph = dense_subgraph(
        rng.integers(-127, 128, (8, 32)) + (128 if unsigned else 0), input_quant=quant(sx, zx),
        weights_quant=quant(sw, np.full(channels, zw)), output_quant=quant(sy, zy), bias=rng.integers(-2000, 2000, 8),
        input_dtype=dtype, weights_dtype=dtype,
    )  # fmt: skip

    def scaled(centred, weights, bias):
        acc = centred.astype(np.int64) @ (weights.astype(np.int64) - zw).T
        return (np.rint((acc + bias * (sx * sw)) * (sx * sw) / sy) + zy).clip(low, high).astype(kind)

    def both(x, weights, bias):
        return scaled(x - kind(zx), weights, bias)

    def second(x, weights, bias):
        return scaled(x.astype(np.int64) - zx, weights, bias)

    model = load(write(graph))
    wraps = f"input_minus_zero_point_wraps_{dtype}"
    assert names(diagnose(model, None, both)) == {wraps, "bias_real_on_integer_sum"}
    report = diagnose(model, None, second)
    assert names(report) == {"bias_real_on_integer_sum"}
    (step,) = (step for step in report.worked() if step.name == "acc: with the bias")
    assert float(step.wrong) != int(step.right)


def test_a_real_bias_that_prints_as_none_is_not_decided():
    rng = np.random.default_rng(17)
    graph = dense_subgraph(
        rng.integers(-127, 128, (8, 32)), input_quant=quant(0.03, -100), weights_quant=quant(0.012, 0),
        output_quant=quant(0.4, -7), bias=rng.integers(-2000, 2000, 8),
    )  # fmt: skip
    model = load(write(graph))
    x = rng.integers(-128, 128, (20, 32)).astype(np.int8)
    mine = wrong_output(layer(model), x, ["bias_real_on_integer_sum"])
    np.testing.assert_array_equal(mine, wrong_output(layer(model), x, ["bias_missing"]))
    report = diagnose(model, x, mine, runtime="litert-reference")
    assert report.explanation.mistakes == ("bias_missing",)
    (tie,) = (tie for tie in report.ties if tie.other.mistakes == ("bias_real_on_integer_sum",))
    assert "bias_real_on_integer_sum" in str(report)
    assert tie.separation is not None


def test_another_runtimes_right_answer_is_no_mistake():
    model = demo_model()
    x = np.random.default_rng(0).integers(-128, 128, (4, 16, 48)).astype(np.int8)
    mine = lastbit.run(model, x, "tflm").output
    report = diagnose(model, x, mine, runtime="litert-xnnpack")
    assert report.verdict == "other runtime"
    assert report.exit_code == 1
    assert report.difference.mismatched == int((mine != lastbit.run(model, x, "litert-xnnpack").output).sum())
    assert "This is what tflm" in str(report)
    assert diagnose(model, x, mine).verdict == "right"


def forms(right, scale, zero_point):
    real = (right.astype(np.float32) - zero_point) * scale
    return {
        "flattened": right.ravel(),
        "transposed": right.T,
        "the same bytes read as the other type": right.view(np.uint8),
        "shifted by 128": (right.astype(np.int16) + 128).astype(np.uint8),
        "its dtype is int32": right.astype(np.int32),
        "whole numbers": right.astype(np.float64),
        "dequantized": real,
        "dequantized: output scale": real.astype(np.float16),
        "compared with the first 20": right[:20],
        "reshaped": right.reshape(1, *right.shape),
    }


def test_dtype_and_shape_are_diagnosed_themselves():
    got = layer().layer
    right = lastbit.run(MODEL, X, "litert-reference").output
    for words, mine in forms(right, got.output_scale, got.output_zero_point).items():
        report = diagnose(MODEL, X, mine)
        assert report.verdict == "form", words
        assert any(words in finding for finding in report.reading.findings), (words, report.reading.findings)
        assert report.exit_code == 1
        assert "The numbers are right" in str(report)


def test_a_mistake_is_found_through_an_unusual_form():
    mine = wrong_output(layer(), X, ["bias_missing", "output_zero_point_missing"])
    got = layer().layer
    shown = forms(mine, got.output_scale, got.output_zero_point)
    for words in ("transposed", "the same bytes read as the other type", "dequantized"):
        assert names(diagnose(MODEL, X, shown[words])) == {"bias_missing", "output_zero_point_missing"}


def test_unrounded_values_are_compared_before_rounding_and_clamp():
    steps = layer().evaluate([X])
    unrounded = steps["acc"] * layer().requant.effective_scale + (-5)
    report = diagnose(MODEL, X, unrounded)
    assert report.verdict == "form"
    assert "neither rounded nor clamped yet" in str(report)
    one = diagnose(MODEL, X, steps["acc"] * np.float32(layer().requant.effective_scale[0]) - 5)
    assert names(one) == {"scales_first_for_all"}


def test_the_raw_accumulator_is_called_what_it_is():
    report = diagnose(MODEL, X, layer().evaluate([X])["acc"])
    assert names(report) == {"requantization_missing"}


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        (np.zeros((60, 5), np.int8), "300 elements where 360 are wanted"),
        (np.zeros((60, 11), np.int8), "as many elements as the layer's input"),
        (np.zeros((120, 6), np.int8), "120 rows of 6 units"),
        (np.zeros((60, 4), np.int8), "it has 4 units, the layer 6"),
        (np.full((60, 6), np.nan), "is nan; a quantized output is finite"),
        (np.zeros((60, 6), complex), "its dtype is complex128; wanted int8"),
    ],
    ids=["size", "input", "rows", "units", "nan", "complex"],
)
def test_what_cannot_be_an_output_is_said_and_not_searched(mine, words):
    report = diagnose(MODEL, X, mine)
    assert report.verdict == "unreadable"
    assert words in str(report)
    assert report.explanations == ()


@needs_shared_models
def test_another_operators_output_is_recognized():
    rng = np.random.default_rng(8)
    model = load(MODELS / "arm_kws_dnn_s.tflite")
    first, second = (op for op in model.dense_operators[:2])
    tensor = model.inputs[0]
    x = rng.uniform(-60, 60, (3, *tensor.shape[1:])).astype(np.float32)
    trace = lastbit.run(model, x, "litert-reference")
    for asked, given in ((first, second), (second, model.dense_operators[-1])):
        mine = trace.tensors[given.outputs[0]]
        report = diagnose(model, x, mine, op=asked.index, runtime="litert-reference", most=1)
        assert report.verdict in ("unexplained", "unreadable")
        assert f"it is the output of {given.label}" in flat(report)
        assert report.as_dict()["elsewhere"]


def test_what_fits_nothing_is_not_guessed():
    right = lastbit.run(MODEL, X, "litert-reference").output
    mine = right.copy()
    mine[3:5, 2] ^= 21
    report = diagnose(MODEL, X, mine, runtime="litert-reference", most=2)
    assert report.verdict == "unexplained"
    assert report.explanations == ()
    assert report.nearest.matching == right.size - 2
    assert report.nearest.mistakes == ()
    text = str(report)
    assert "358 of 360 elements" in text
    assert "This does not explain your output" in text
    assert "only in unit 2" in text


def test_a_few_more_elements_are_not_worth_a_mistake():
    right = lastbit.run(MODEL, X, "litert-reference").output
    mine = right.copy()
    mine[right == right.max()] -= 1
    mine[7, 1:4] ^= 9
    report = diagnose(MODEL, X, mine, runtime="litert-reference", most=2)
    assert report.verdict == "unexplained"
    if report.nearest.mistakes:
        assert report.nearest.matching >= (mine == right).sum() + 2 * len(report.nearest.mistakes)
        assert "where the right calculation reproduces" in str(report)


def test_memory_that_was_used_again_is_recognized():
    rng = np.random.default_rng(8)
    mine = lastbit.run(MODEL, X, "litert-reference").output
    mine.ravel()[40:170] = rng.integers(-128, 128, 130)
    text = flat(diagnose(MODEL, X, mine, most=1))
    assert "side by side" in text
    assert "experimental_preserve_all_tensors=True" in text


def test_a_difference_that_is_constant_for_each_unit_is_told():
    rng = np.random.default_rng(8)
    prepared = layer()
    acc = prepared.evaluate([X])["acc"] + rng.permutation(6) * 1700 - 4000  # a bias that belongs to another model
    value = acc * prepared.requant.effective_scale
    mine = np.clip(np.rint(value) - 5, -128, 127).astype(np.int8)
    text = flat(diagnose(MODEL, X[30:], mine[30:], most=1))
    assert "No set of up to" in text
    assert "as a wrong bias does" in text


def test_units_that_alone_are_right_are_told():
    model = make_dense_model(units=16, depth=11, per_channel=True, output_scale=0.018, seed=2)
    mine = lastbit.run(model, X, "litert-reference").output.copy()
    mine[:, np.arange(16) != 5] ^= 37
    assert "right only in unit 5" in flat(diagnose(model, X, mine, most=1))


def test_off_by_one_near_ties_is_told():
    prepared, x = layer(), np.random.default_rng(6).integers(-12, 18, (900, 11)).astype(np.int8)
    value = prepared.evaluate([x])["acc"] * prepared.requant.effective_scale
    mine = np.clip(np.rint(value + 1 / 100) - 5, -128, 127).astype(np.int8)  # a rounding that nobody has
    report = diagnose(MODEL, x, mine, runtime="litert-reference", most=1)
    assert report.verdict == "unexplained"
    assert "of a rounding tie" in flat(report)


def test_real_numbers_in_place_of_integers_are_named():
    rng = np.random.default_rng(11)
    graph = dense_subgraph(  # half of all values lie at ties, as far as float32 tells
        rng.integers(-9, 10, (6, 11)).astype(np.int8), input_quant=quant(0.1, 3), weights_quant=quant(0.3),
        output_quant=quant(0.06, -5),
    )  # fmt: skip
    model, x = load(write(graph)), rng.integers(-12, 18, (400, 11)).astype(np.int8)
    mine = wrong_output(layer(model), x, ["calculated_in_real_numbers"])
    report = diagnose(model, x, mine, runtime="litert-reference")
    assert report.difference.mismatched > 50
    assert names(report) == {"calculated_in_real_numbers"}
    steps = {step.name: step for step in report.worked()}
    assert steps["rounded"].differs
    assert not steps["acc: with the bias"].differs


def quantized_first():
    """The layer with a float32 input and a QUANTIZE before it."""
    graph = MODEL.subgraphs[0]
    own = graph.tensors[0]
    real = replace(own, index=len(graph.tensors), name="real", dtype=FLOAT32, quant=None)
    quantize = Operator(0, "QUANTIZE", 1, (real.index,), (own.index,))
    dense = replace(graph.operators[0], index=1)
    tensors, operators = (*graph.tensors, real), (quantize, dense)
    return load(write(replace(graph, tensors=tensors, operators=operators, inputs=(real.index,))))


def test_mistakes_in_quantizing_the_input_are_named():
    prepared = layer()
    real = np.random.default_rng(4).uniform(-3, 3, (80, 11)).astype(np.float32)
    own = lastbit.run(quantized_first(), real, "litert-reference").tensors[0]
    for name in ("input_quantized_by_truncation", "input_cast_without_scale"):
        mine = wrong_output(prepared, own, [name, "bias_missing"], real=real)
        for model, options in ((quantized_first(), {}), (MODEL, {"quantize_input": True})):
            report = diagnose(model, real, mine, runtime="litert-reference", **options)
            assert names(report) == {name, "bias_missing"}
            assert next(step for step in report.worked() if step.name == "x as it is read").differs
    one = diagnose(quantized_first(), real[:1], wrong_output(prepared, own[:1], [name], real=real[:1]))
    assert one.explanation is not None
    for tie in one.ties:  # real rows tell them apart, or nothing does
        if tie.separation is not None:
            assert tie.separation.x.dtype == np.float32


def test_ties_are_told_with_an_input_that_parts_them():
    x = X[40:41]
    mine = wrong_output(layer(), x, ["output_zero_point_missing"])
    report = diagnose(MODEL, x, mine, runtime="litert-reference")
    assert report.explanation is not None
    parted = [tie for tie in report.ties if tie.separation is not None]
    assert parted
    for tie in parted:
        got = [
            wrong_output(e.prepared, np.repeat(tie.separation.x, 2, axis=0), e.mistakes)[0, tie.separation.unit]
            for e in (report.explanation, tie.other)
        ]
        assert got == list(tie.separation.values)
        assert got[0] != got[1]
    assert "These data do not decide" in str(report)
    assert separating_inputs(report.ties).shape[1] == 11


def test_a_finding_on_few_wrong_elements_says_so():
    x = X[40:41]
    few = diagnose(MODEL, x, wrong_output(layer(), x, ["output_zero_point_missing"]))
    assert "by chance: diagnose an output of more inputs" in str(few)
    many = diagnose(MODEL, X, wrong_output(layer(), X, ["output_zero_point_missing"]))
    assert "by chance" not in str(many)


def test_an_array_of_one_value_tells_little():
    report = diagnose(MODEL, X, np.full((60, 6), -5, np.int8))  # -5 is the output's zero point
    assert report.verdict == "mistakes"
    assert "only 1 different value" in flat(report)


def test_given_steps_show_the_first_that_is_wrong():
    prepared = layer()
    right = prepared.evaluate([X])
    both = ["bias_missing", "output_zero_point_missing"]
    mine = wrong_output(prepared, X, both)
    acc = right["acc"] - prepared.layer.bias_values
    report = diagnose(MODEL, X, mine, acc=acc)
    assert [part.name for part in report.parts] == ["acc", "output"]
    assert [part.status for part in report.parts] == ["explained", "explained"]
    assert report.parts[0].explanations[0].mistakes == ("bias_missing",)
    assert names(report) == set(both)
    assert "The first that is wrong is acc" in str(report)

    fine = diagnose(MODEL, X, wrong_output(prepared, X, both[1:]), acc=right["acc"])
    assert [part.status for part in fine.parts] == ["right", "explained"]


def test_given_scaled_values_narrow_it_further():
    prepared = layer()
    right = prepared.evaluate([X])
    mine = wrong_output(prepared, X, ["rounding_floor", "clamp_symmetric", "output_zero_point_subtracted"])
    floor = np.floor(right["product"]).astype(np.int32)
    report = diagnose(MODEL, X, mine, acc=right["acc"], scaled=floor)
    assert [(part.name, part.status) for part in report.parts] == [
        ("acc", "right"), ("scaled", "explained"), ("output", "explained"),
    ]  # fmt: skip
    assert names(report) == {"rounding_floor", "clamp_symmetric", "output_zero_point_subtracted"}


def test_a_step_that_nothing_explains_does_not_hide_that_the_rest_is_right():
    prepared = layer()
    acc = prepared.evaluate([X])["acc"].astype(np.int64)
    acc[5] += 3000
    factor = prepared.requant.effective_scale
    product = acc * factor
    mine = np.clip(np.trunc(product + np.copysign(0.5, product)) - 5, -128, 127).astype(np.int8)
    report = diagnose(MODEL, X, mine, acc=acc, most=1)
    assert [part.status for part in report.parts] == ["unexplained", "right"]
    assert report.verdict == "unexplained"
    with pytest.raises(InputError, match="acc has values that are not whole numbers"):
        diagnose(MODEL, X, mine, acc=acc + 0.5)
    with pytest.raises(InputError, match=r"acc has shape \[5\]; wanted 360 elements"):
        diagnose(MODEL, X, mine, acc=np.zeros(5, np.int32))


def test_the_worked_element_is_explains_on_the_right_and_mine_on_the_other_side():
    mine = wrong_output(layer(), X, ["bias_missing", "scales_first_for_all"])
    report = diagnose(MODEL, X, mine, runtime="litert-reference")
    row, unit = report.element()
    explained = lastbit.explain(MODEL, X, at=(row, unit), runtime="litert-reference")
    steps = {step.name: step for step in report.worked()}
    assert steps["acc: with the bias"].right == str(explained.element.acc)
    assert steps["rounded"].right == str(int(explained.element.step("acc_scaled").value))
    assert steps["output, clamped"].right.startswith(f"{explained.output} ")
    assert steps["output, clamped"].wrong.startswith(f"{mine[row, unit]} ")
    assert steps["acc: with the bias"].differs
    assert not steps["sum of (x - zx)(w - zw)"].differs


def dense_with_aliases(input_data, kernel, biases, scale_x, filter_scales, out_scale, zp_in, output_zp, unused=3):
    acc = (input_data.astype(np.int32) - zp_in) @ kernel.astype(np.int32).T + biases
    value = acc * (np.float64(scale_x) * filter_scales.astype(np.float64) / np.float64(out_scale))
    return np.clip(np.trunc(value) + output_zp, -128, 127).astype(np.int8)


def dense_of_one_row(x, w, bias, zx, zy, multiplier, shift, lo, hi):
    acc = [int(((x.astype(int) - zx) * w[unit].astype(int)).sum() + bias[unit]) for unit in range(len(w))]
    scaled = [(a * int(q)) >> (31 - int(s)) for a, q, s in zip(acc, multiplier, shift, strict=True)]
    return np.asarray([min(max(v + zy, lo), hi) for v in scaled], np.int8)


def test_functions_get_what_they_ask_for_by_name():
    assert names(diagnose(MODEL, None, dense_with_aliases)) == {"rounding_truncated"}
    report = diagnose(MODEL, None, dense_of_one_row)
    assert names(report) == {"rounding_floor"}
    assert "rows chosen to tell mistakes apart" in report.given.input_source
    aliases = [alias for group in PARAMETERS.values() for alias in group]
    assert len(aliases) == len(set(aliases))


def test_a_function_may_give_its_accumulator_too():
    def dense(x, w, zx, m, zy):
        acc = x.astype(np.int32) @ w.astype(np.int32).T - zx * w.astype(np.int32).sum(axis=1)
        return {"output": np.clip(np.floor(acc * m) + zy, -128, 127).astype(np.int8), "acc": acc}

    report = diagnose(MODEL, None, dense)
    assert [part.status for part in report.parts] == ["explained", "explained"]
    assert names(report) == {"bias_missing", "rounding_floor"}


def test_a_function_is_asked_again_until_nothing_is_left_to_tell_apart():
    prepared = layer(runtime="tflm")

    def dense(x):
        return wrong_output(prepared, x, ["scales_six_digits", "input_zero_point_added"])

    report = diagnose(MODEL, X[:2], dense)
    assert names(report) == {"scales_six_digits", "input_zero_point_added"} or report.ties == ()
    assert all(tie.separation is None for tie in report.ties)


def test_functions_that_cannot_be_called_are_told_why():
    with pytest.raises(InputError, match=r"has the parameters 'gain', 'offst', .* params=.*--param NAME=MEANING"):
        diagnose(MODEL, None, lambda x, gain, offst: x)
    with pytest.raises(
        InputError, match=r"fails on every shape .*:\n  .*test_diagnose.py:\d+: AttributeError: .* int8\["
    ):
        diagnose(MODEL, None, lambda x: x.no_such_thing)
    with pytest.raises(InputError, match=r"gives .* values \(str\)"):
        diagnose(MODEL, None, lambda x: "text")
    with pytest.raises(InputError, match="wanted a key 'output'"):
        diagnose(MODEL, None, lambda x: {"y": x})
    with pytest.raises(InputError, match="there is no input"):
        diagnose(MODEL, None, np.zeros((1, 6), np.int8))


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_layers_of_other_integer_types_are_diagnosed(dtype):
    rng = np.random.default_rng(8)
    weights = rng.integers(-120, 120, (6, 10))
    kinds = {
        "uint8": {
            "weights": (weights + 128).astype(np.uint8), "weights_quant": quant(0.003, 131), "zero": 120,
            "weights_dtype": "uint8", "bias_dtype": "int32", "scale": 0.05,
        },
        "int16": {
            "weights": weights.astype(np.int8), "weights_quant": quant(0.003), "zero": 0, "weights_dtype": "int8",
            "bias_dtype": "int64", "scale": 0.0005,
        },
    }  # fmt: skip
    kind = kinds[dtype]
    graph = dense_subgraph(
        kind["weights"], input_quant=quant(kind["scale"], kind["zero"]), weights_quant=kind["weights_quant"],
        output_quant=quant(kind["scale"], kind["zero"]), bias=rng.integers(-900, 900, 6), input_dtype=dtype,
        weights_dtype=kind["weights_dtype"], bias_dtype=kind["bias_dtype"],
    )  # fmt: skip
    model = load(write(graph))
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (40, 10), dtype, endpoint=True)
    prepared = prepare_operator(model, model.operators[0], "litert-reference")
    assert diagnose(model, x, prepared.evaluate([x])["output"], runtime="litert-reference").verdict == "right"
    for injected in ({"bias_missing"}, {"weights_as_in_out", "rounding_floor"}):
        report = diagnose(model, x, wrong_output(prepared, x, sorted(injected)), runtime="litert-reference")
        assert names(report) == injected


@pytest.fixture
def files(tmp_path):
    (tmp_path / "m.tflite").write_bytes(MODEL.content)
    np.save(tmp_path / "x.npy", X)
    prepared = layer()
    np.save(tmp_path / "right.npy", prepared.evaluate([X])["output"])
    np.save(tmp_path / "acc.npy", prepared.evaluate([X])["acc"])
    np.save(tmp_path / "mine.npy", wrong_output(prepared, X, ["bias_after_scaling"]))
    return tmp_path


def run(files, *args):
    return CliRunner().invoke(main, ["diagnose", str(files / "m.tflite"), "-i", str(files / "x.npy"), *args])


def test_the_command_prints_json_and_ends_with_what_it_found(files):
    result = run(files, "--output", str(files / "mine.npy"), "--json", "--runtime", "litert-reference", "--op", "0")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["schema"] == "lastbit.diagnose/1"
    assert data["verdict"] == "mistakes"
    assert [m["name"] for m in data["explanations"][0]["mistakes"]] == ["bias_after_scaling"]
    assert data["worked"][-1]["wrong"] != data["worked"][-1]["right"]
    right = run(files, "--output", str(files / "right.npy"))
    assert right.exit_code == 0
    assert "Nothing is wrong" in right.stdout


def test_the_command_takes_steps_and_writes_separating_inputs(files):
    result = run(files, "--output", str(files / "mine.npy"), "--acc", str(files / "acc.npy"))
    assert result.exit_code == 1
    assert "Step by step" in result.stdout
    np.save(files / "x.npy", X[40:41])
    np.save(files / "one.npy", wrong_output(layer(), X[40:41], ["output_zero_point_missing"]))
    target = files / "separate.npy"
    result = run(files, "--output", str(files / "one.npy"), "--separating", str(target))
    assert result.exit_code == 1
    assert np.load(target).shape[1] == 11


def test_the_command_says_what_it_needs(files):
    missing = CliRunner().invoke(main, ["diagnose", str(files / "m.tflite"), "--output", str(files / "mine.npy")])
    assert missing.exit_code == 2
    assert "Give the input" in missing.stderr
    assert run(files, "--output", str(files / "mine.npy"), "--runtime", "tflite2").exit_code == 2
