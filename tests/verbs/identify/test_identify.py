"""identify: attribution of numbers to runtimes, and inputs that separate those left."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lastbit.cli import main
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Operator
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.demo.verb import demo_model
from lastbit.verbs.identify import arithmetics, layer, separate
from lastbit.verbs.identify.separate import MOST_INPUTS, MOST_PRODUCTS
from lastbit.verbs.identify.verb import answers
from tests.support.explain_models import dense_model, flat
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

X = np.random.default_rng(11).integers(-128, 128, (40, 16, 48)).astype(np.int8)


@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "tflm"])
def test_the_runtime_that_printed_the_numbers_is_left_and_the_default_is_excluded(runtime):
    printed = lastbit.run(demo_model(), X, runtime).output
    found = lastbit.identify(demo_model(), X, printed)
    statuses = {c.runtime.name: c.status for c in found.candidates}
    assert statuses[runtime] == "reproduces all"
    assert statuses["litert-xnnpack"] == "excluded"
    assert found.exit_code == 0
    excluded = next(c for c in found.candidates if c.runtime.name == "litert-xnnpack")
    at = excluded.difference.first
    assert excluded.difference.wanted == printed[at]
    assert excluded.difference.found == lastbit.run(demo_model(), X, "litert-xnnpack").output[at]
    assert any("acc_scaled" in line for line in excluded.worked)


def test_runtimes_that_are_left_are_told_apart_by_an_input_that_really_does():
    """With power-of-two scales ties are everywhere, but not on an input of zeros."""
    model = make_dense_model(output_scale=0.02 * 0.005 * 64, bias=False)
    x = np.full((1, 7), 3, np.int8)  # the input zero point: acc is 0
    found = lastbit.identify(model, x, lastbit.run(model, x).output)
    assert len(found.groups) > 1
    assert found.separating_input.shape == (1, 7)
    for group, output in zip(found.groups, found.separating_outputs, strict=True):
        for name in group:
            np.testing.assert_array_equal(lastbit.run(model, found.separating_input, name).output, output)
    assert len({o.tobytes() for o in found.separating_outputs}) > 1


def test_an_older_version_is_found_and_versions_that_agree_stand_together():
    model = demo_model("per_tensor")
    printed = lastbit.run(model, X, "litert-reference@1.2.0").output
    found = lastbit.identify(model, X, printed)
    by_name = {c.runtime.name: c for c in found.candidates}
    old = by_name["litert-reference@1.2.0"]
    assert old.status == "reproduces all"
    assert {"1.0.0", "1.2.0", "tf2.19.1"} <= set(old.versions)
    assert by_name["litert-reference"].status == "excluded"
    assert {"1.3.0", "2.3.0", "tf2.20.0"} <= set(by_name["litert-reference"].versions)
    text = " ".join(str(found).split())
    assert "the same in 1.0.0 to 1.2.0" in text.replace(" ai-edge-litert", "")
    entry = next(e for e in found.as_dict()["runtimes"] if e["name"] == "litert-reference@1.2.0")
    assert entry["versions"] == list(old.versions)


def test_numbers_of_nobody_exclude_everybody():
    wrong = lastbit.run(demo_model(), X).output + np.int8(1)
    found = lastbit.identify(demo_model(), X, wrong)
    assert found.exit_code == 1
    assert not found.groups
    assert all(c.difference is not None for c in found.candidates)
    assert f"None of the {len(found.candidates)} runtimes compared prints these numbers" in flat(found)


def test_a_runtime_that_refuses_the_layer_cannot_have_printed_the_numbers():
    """uint8 x uint8 is refused by some: they leave nothing open, and are not said to differ."""
    weights = np.random.default_rng(2).integers(0, 256, (5, 7)).astype(np.uint8)
    graph = dense_subgraph(
        weights, input_quant=quant(0.02, 3), weights_quant=quant(0.005, 120), output_quant=quant(0.05, 100),
        input_dtype="uint8", weights_dtype="uint8",
    )  # fmt: skip
    model = lastbit.load(write(graph))
    x = np.random.default_rng(3).integers(0, 256, (9, 7)).astype(np.uint8)
    found = lastbit.identify(model, x, lastbit.run(model, x).output + np.uint8(1))
    unable = [c for c in found.candidates if c.difference is None]
    assert {c.runtime.name for c in unable} == {"tflm", "cmsis-nn", "cmsis-nn-single-rounding"}
    assert {c.status for c in unable} == {"cannot run it"}
    assert found.exit_code == 1
    assert "3 runtimes cannot run this (below)" in flat(found)
    kinds = {e["name"]: e["refusal_kind"] for e in found.as_dict()["runtimes"]}
    assert (kinds["tflm"], kinds["onnxruntime"]) == ("refused_by_runtime", None)


def test_numbers_of_nobody_are_not_decided_where_a_runtime_was_not_compared():
    """Without scales there is nothing that the float kernels could be compared by; it is not said that they differ."""
    layer = lastbit.dense(np.ones((5, 7), int), input=3, output=-5, multiplier=2**30, shift=-3)
    x = np.random.default_rng(3).integers(-128, 128, (9, 7)).astype(np.int8)
    found = lastbit.identify(layer, x, lastbit.run(layer, x, "tflm").output + np.int8(1))
    missing = [c for c in found.candidates if c.difference is None]
    assert 0 < len(missing) < len(found.candidates)
    assert {c.status for c in missing} == {"not compared"}
    assert found.exit_code == 3
    assert f"{len(missing)} runtimes could not be compared (below)" in flat(found)


def test_one_layer_of_a_model_and_a_flat_array_of_numbers():
    model = make_dense_model()
    x = np.random.default_rng(0).integers(-128, 128, (3, 7)).astype(np.int8)
    found = lastbit.identify(model, x, lastbit.run(model, x, "tflm").output.ravel(), op=0)
    assert "tflm" in {name for group in found.groups for name in group}
    assert json.loads(found.json())["schema"] == "lastbit.identify/1"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((3, 5), np.float32), "the numbers are float32, .* wanted its own dtype .*save the integers"),
        (np.zeros((3, 4), np.int8), r"found 12 numbers of shape \[3, 4\] .* wanted 15 of shape \[3, 5\]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(output, message):
    with pytest.raises(lastbit.InputError, match=message):
        lastbit.identify(make_dense_model(), np.zeros((3, 7), np.int8), output)


def test_a_model_no_runtime_can_run_ends_with_3():
    model = make_dense_model()
    graph = model.subgraphs[0]
    options = {**graph.operators[0].options, "fused_activation_function": "TANH"}
    refused = lastbit.load(write(replace(graph, operators=(replace(graph.operators[0], options=options),))))
    found = lastbit.identify(refused, np.zeros((1, 7), np.int8), np.zeros((1, 5), np.int8))
    assert found.exit_code == 3
    assert {c.status for c in found.candidates} == {"not compared"}


def two_dense_layers(seed, scale):
    """Ties are everywhere, so that runtimes differ in most rows."""
    rng = np.random.default_rng(seed)
    first = {"w": rng.integers(-90, 90, (12, 9)), "sx": 0.5, "sw": 0.25, "sy": scale, "zy": 3}
    second = {"w": rng.integers(-90, 90, (6, 12)), "sx": scale, "zx": 3, "sw": 0.25, "sy": 8 * scale}
    return lastbit.load(dense_model(first, second))


def test_the_answer_comes_first_and_what_is_missing_is_said(monkeypatch):
    model = two_dense_layers(0, 16.0)
    x = np.random.default_rng(1).integers(-128, 128, (50, 9)).astype(np.int8)
    printed = lastbit.run(model, x, "tflm").output
    monkeypatch.setattr(arithmetics, "_BLOCK", 7 * 180)  # seven rows at a time
    first, *rest = answers(model, x, printed)
    whole = rest[-1]
    assert "tflm" in {name for group in first.groups for name in group}
    assert {n for g in first.groups for n in g} == {n for g in whole.groups for n in g}
    assert first.unfinished
    assert not whole.unfinished
    # Excluded runtimes are compared on the first rows before the answer, on all before the end.
    early = {c.runtime.name: c.difference for c in first.candidates}
    late = {c.runtime.name: c.difference for c in whole.candidates}
    assert early["litert-xnnpack"].elements < printed.size
    assert late["litert-xnnpack"].elements == printed.size
    for name in ("litert-xnnpack", "litert-reference", "tflm"):
        assert late[name].mismatched == (lastbit.run(model, x, name).output != printed).sum()


@pytest.mark.parametrize("rows", [1, 2, 8, 15])
def test_no_row_is_left_alone_by_cutting(rows, monkeypatch):
    model = two_dense_layers(2, 16.0)
    monkeypatch.setattr(arithmetics, "_BLOCK", 7 * 180)
    x = np.random.default_rng(rows).integers(-128, 128, (rows, 9)).astype(np.int8)
    for name in ("litert-builtin-x86", "litert-builtin-arm64"):
        found = lastbit.identify(model, x, lastbit.run(model, x, name).output)
        assert name in {n for g in found.groups for n in g}, found


def test_runtimes_that_share_all_rules_are_calculated_once(monkeypatch):
    model = two_dense_layers(3, 16.0)
    x = np.random.default_rng(1).integers(-128, 128, (4, 9)).astype(np.int8)
    asked = [RUNTIMES[name] for name in ("litert-xnnpack", "litert-xnnpack-avx512", "litert-xnnpack-avxvnni")]
    ran = []
    run = arithmetics.SharedArithmetic.run
    monkeypatch.setattr(
        arithmetics.SharedArithmetic, "run", lambda self, *a, **k: (ran.append(self), run(self, *a, **k))[1]
    )
    found = lastbit.identify(model, x, lastbit.run(model, x).output, runtimes=asked)
    assert len(ran) == 1
    assert found.groups == found.alike == (tuple(runtime.name for runtime in asked),)
    assert found.tried == 0
    assert "These follow the same rules here" in str(found)


def test_the_search_ends_with_the_first_input_that_tells_all_apart():
    model = two_dense_layers(4, 16.0)
    x = np.full((1, 9), 0, np.int8)
    asked = [RUNTIMES[name] for name in ("litert-xnnpack", "tflm")]
    found = lastbit.identify(model, x, lastbit.run(model, x).output, runtimes=asked)
    assert found.groups == (("litert-xnnpack",), ("tflm",))
    assert found.tried < MOST_INPUTS
    for (name,), output in zip(found.groups, found.separating_outputs, strict=True):
        np.testing.assert_array_equal(lastbit.run(model, found.separating_input, name).output, output)


def test_effort_is_bounded_by_what_an_input_costs(monkeypatch):
    monkeypatch.setattr(separate, "MOST_PRODUCTS", 20 * 180 * 2)
    assert separate._inputs_wanted(180, 2) == 20
    assert separate._inputs_wanted(1, 2) == MOST_INPUTS
    assert MOST_PRODUCTS // MOST_INPUTS > 10**7  # a small network is never cut short


@needs_shared_models
def test_a_layer_behind_operators_that_only_some_runtimes_have(tmp_path):
    model = lastbit.load(MODELS / "mlt_resnet8_quant.tflite")
    x = np.random.default_rng(0).integers(-128, 128, (2, 32, 32, 3)).astype(np.int8)
    op = model.dense_operators[0].index
    found = lastbit.identify(model, x, lastbit.run(model, x, "litert-reference")[op].output, op=op)
    status = {c.runtime.name: c.status for c in found.candidates}
    assert status["litert-reference"] == "reproduces all"
    assert status["litert-builtin-portable"] == "not compared"
    assert found.exit_code == 0


def behind_an_unknown_operator():
    """A dense layer whose input comes from an operator that no runtime covers here."""
    model = make_dense_model()
    graph = model.subgraphs[0]
    dense = graph.operators[0]
    source = graph.tensors[dense.inputs[0]]
    new = replace(source, index=len(graph.tensors), name="before")
    first = Operator(0, "ABS", 1, (new.index,), (source.index,))
    graph = replace(
        graph, tensors=(*graph.tensors, new), operators=(first, replace(dense, index=1)), inputs=(new.index,)
    )
    return replace(model, subgraphs=(graph,))


def test_a_layer_that_the_models_input_does_not_reach_ends_with_3():
    model = behind_an_unknown_operator()
    x, y = np.zeros((1, 7), np.int8), np.zeros((1, 5), np.int8)
    whole = lastbit.identify(model, x, y)
    assert whole.exit_code == 3
    assert "No runtime was compared" in str(whole)
    # Of the layer alone: this input fits the layer's own, one of another shape does not.
    graph = model.subgraphs[0]
    wide = replace(graph.tensors[graph.inputs[0]], shape=(1, 14), shape_signature=(1, 14))
    tensors = tuple(wide if t.index == wide.index else t for t in graph.tensors)
    model = replace(model, subgraphs=(replace(graph, tensors=tensors),))
    found = lastbit.identify(model, np.zeros((1, 14), np.int8), y, op=1)
    assert found.exit_code == 3
    assert {c.status for c in found.candidates} == {"not compared"}
    assert "operator 0 ABS" in flat(found)
    with pytest.raises(UnsupportedError, match=r"(?s)cannot be taken through the model.*operator 0 ABS"):
        lastbit.diagnose(model, np.zeros((1, 14), np.int8), y, op=1)


def files(tmp_path):
    paths = {name: str(tmp_path / name) for name in ("m.tflite", "x.npy", "y.npy", "s.npy")}
    model = make_dense_model(output_scale=0.02 * 0.005 * 64, bias=False)
    (tmp_path / "m.tflite").write_bytes(model.content)
    x = np.full((1, 7), 3, np.int8)
    np.save(paths["x.npy"], x)
    np.save(paths["y.npy"], lastbit.run(model, x).output)
    return paths, ["identify", paths["m.tflite"], "-i", paths["x.npy"], "--output", paths["y.npy"]]


def test_the_command(tmp_path):
    paths, arguments = files(tmp_path)
    result = CliRunner().invoke(main, [*arguments, "--separating", paths["s.npy"]])
    assert result.exit_code == 0, result.output
    assert "Left: " in result.stdout
    assert np.load(paths["s.npy"]).shape == (1, 7)
    result = CliRunner().invoke(main, [*arguments[:2], "--output", paths["y.npy"]])
    assert result.exit_code == 2
    assert "Give the input that was run" in result.stderr


def test_an_interrupted_search_keeps_the_answer(tmp_path, monkeypatch):
    _, arguments = files(tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(layer, "separate_layer", interrupted)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 130
    assert "Left: litert-xnnpack" in result.stdout
    told = "Interrupted: the search for an input that tells apart what is left was not finished."
    assert told in " ".join(result.stdout.split())
    report = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert report["unfinished"]
    assert report["left"]
