"""verify counts what was asked: gaps, interpreters that die, outputs that are constants, operators without outputs."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import OracleMissingError
from lastbit.model.tflite.synthesize import quant
from lastbit.oracles import OracleFailure, open_oracle
from lastbit.verbs.verify.whole_model import whole_model_samples
from tests.support.cli import invoke
from tests.support.interpreters import XNNPACK, needs_all_interpreters
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.segmentation_model import segmentation_model

pytestmark = needs_all_interpreters

GAP = "NOT COMPARED: 1 of 2 operators (1 {}). No statement about the whole model."


def with_another(name, dtype, shape=(1, 5), units=5):
    """A dense layer, and beside it an operator on float32 or int8 values of its own."""
    graph = make_dense_model(units=units).subgraphs[0]
    build = ModelBuilder(graph)
    fed = build.tensor(shape, dtype, None if dtype == "float32" else quant(0.05, 3))
    made = build.operator(name, [fed], [build.like(fed)])
    return build.model([*graph.inputs, fed], [*graph.outputs, made])


@pytest.mark.parametrize(
    ("name", "dtype", "runtime"), [("LOGISTIC", "float32", "litert-reference"), ("TANH", "float32", "tflm")]
)
def test_an_operator_that_is_not_covered_is_a_gap(name, dtype, runtime, tmp_path):
    model = with_another(name, dtype)
    report = lastbit.verify(model, [runtime], samples=4)
    assert report.results[0].operators[0].status == "exact"
    assert (report.exit_code, report.exact) == (3, False)
    assert str(report).endswith(GAP.format(name))
    assert "EXACT" not in str(report)
    assert not [block for block in report.blocks() if getattr(block, "style", "") == "good"]
    path = tmp_path / "m.tflite"
    path.write_bytes(model.content)
    assert invoke("verify", path, "--runtime", runtime, "--samples", 4).exit_code == 3
    allowed = invoke("verify", path, "--runtime", runtime, "--samples", 4, "--allow-gaps", "--json")
    data = json.loads(allowed.stdout)
    assert (allowed.exit_code, data["exact"], data["coverage"]["complete"]) == (0, False, False)
    assert data["coverage"]["not_compared"][0]["name"] == name


def test_a_model_of_which_nothing_is_covered_is_never_equal():
    build = ModelBuilder()
    x = build.tensor((1, 5), "float32")
    alone = build.model([x], [build.operator("LOGISTIC", [x], [build.like(x)])])
    for allow in (False, True):
        report = lastbit.verify(alone, ["litert-reference"], allow_gaps=allow)
        assert report.exit_code == 3
        assert "NOTHING COMPARED" in str(report)


def test_runtimes_for_dense_layers_are_asked_for_more_by_name_only():
    model = with_another("RELU", "int8")
    default = lastbit.verify(model, samples=4)
    assert (default.exit_code, default.exact) == (0, True)
    assert "onnxruntime" in {r.runtime.name for r in default.results}
    named = lastbit.verify(model, ["onnxruntime"], samples=4)
    assert named.exit_code == 3
    assert str(named).endswith(GAP.format("RELU"))


def test_a_difference_counts_more_than_a_gap(monkeypatch):
    model = with_another("LOGISTIC", "float32")
    dying(monkeypatch, XNNPACK, lambda label: False, wrong=True)
    assert lastbit.verify(model, [XNNPACK], samples=4, allow_gaps=True).exit_code == 1


def dying(monkeypatch, runtime, when, wrong=False, kind="crashed"):
    """Let the interpreter of one runtime die at jobs with certain labels, or print wrong numbers."""
    real = open_oracle

    def opened(asked, **options):
        oracle, name = real(asked, **options), asked.name
        if name != runtime:
            return oracle
        run = oracle.run

        def replaced(content, samples, *, resize=False, label=""):
            if when(label):
                raise OracleFailure(f"{name} failed: signal 11", kind=kind, reason="ended with signal 11 (SIGSEGV)")
            result = run(content, samples, resize=resize, label=label)
            if not wrong:
                return result
            return replace(result, outputs=tuple(tuple(y + y.dtype.type(1) for y in ys) for ys in result.outputs))

        oracle.run = replaced
        return oracle

    monkeypatch.setattr(sys.modules["lastbit.verbs.verify.verb"], "open_oracle", opened)


@pytest.mark.parametrize("kind", ["crashed", "timeout"])
@pytest.mark.parametrize(
    "where", ["cut out", "the whole model", "probed"], ids=["a layer", "the whole model", "a probe"]
)
def test_an_interpreter_that_dies_ends_with_4_and_the_others_are_kept(monkeypatch, where, kind):
    dying(monkeypatch, "tflm", lambda label: where in label, kind=kind)
    report = lastbit.verify(make_dense_model(), ["tflm", "litert-reference"], samples=4, allow_gaps=True)
    assert report.exit_code == 4
    assert report.results[1].count("exact") == 1
    assert "INTERPRETER DIED" in str(report)
    assert "signal 11" in str(report)
    assert json.loads(report.json())["exit_code"] == 4


def test_an_interpreter_that_dies_end_to_end(monkeypatch):
    seen = []

    def second(label):
        seen.append(label)
        return label == "the whole model" and seen.count(label) == 2

    dying(monkeypatch, "tflm", second)
    report = lastbit.verify(make_dense_model(), ["tflm"], samples=4)
    assert (report.exit_code, report.results[0].count("exact")) == (4, 1)


def test_an_interpreter_that_does_not_load_loses_nothing_of_the_others(monkeypatch):
    def missing(label):
        raise OracleMissingError("tflite-micro is installed but does not load: no module")

    dying(monkeypatch, "tflm", missing)
    report = lastbit.verify(make_dense_model(), ["litert-reference", "tflm"], samples=4)
    assert (report.exit_code, report.results[0].count("exact")) == (4, 1)
    with pytest.raises(OracleMissingError):
        lastbit.verify(make_dense_model(), ["tflm"], samples=4)


def test_a_missing_interpreter_is_told_before_anything_runs():
    seen = []
    names = ["litert-reference", "litert-xnnpack-arm64"]
    with pytest.raises(OracleMissingError):
        lastbit.verify(make_dense_model(), names, samples=4, progress=lambda *a: seen.append(a))
    assert not seen


@pytest.mark.parametrize(("dtype", "shape"), [("int8", (1, 5)), ("float32", (2, 3)), ("int32", (4,))])
def test_a_models_output_that_is_a_constant(dtype, shape):
    graph = make_dense_model().subgraphs[0]
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    build = ModelBuilder(graph)
    model = build.model(graph.inputs, [*graph.outputs, build.constant(values, dtype, name="table")])
    report = lastbit.verify(model, ["litert-reference", XNNPACK], samples=4)
    assert report.exit_code == 0, str(report)
    for result in report.results:
        assert result.end_to_end.mismatches == 0
        assert result.end_to_end.outputs == 4 * (5 + values.size)


@pytest.mark.parametrize(("dtype", "size"), [("uint8", 33), ("int8", 17)])
def test_a_segmentation_network_is_exact_in_every_operator(dtype, size):
    model = segmentation_model(size, dtype=dtype)
    report = lastbit.verify(model, [XNNPACK, "litert-builtin-x86", "litert-reference"], samples=2)
    assert (report.exit_code, report.exact) == (0, True), str(report)
    assert str(report).endswith(f"Compared: {len(model.operators)} of {len(model.operators)} operators.")


def test_large_models_are_run_on_fewer_inputs():
    assert whole_model_samples(make_dense_model(), 64) == 8
    assert whole_model_samples(make_dense_model(), 3) == 3
    assert whole_model_samples(segmentation_model(), 64) == 1


def test_what_an_interpreter_refuses_as_a_whole_is_compared_operator_by_operator():
    """TensorFlow Lite Micro has no uint8 convolutions; its other operators are compared each alone."""
    report = lastbit.verify(segmentation_model(17), ["tflm"], samples=1)
    result = report.results[0]
    assert result.whole_model_note
    assert result.count("refused by both") > 40
    assert result.count("differs") == 0
    assert report.coverage.compared + len(report.coverage.missing) == 64 - result.count("refused by both")
