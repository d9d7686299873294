"""compare on operators that have no table: proved by one rule, or run in both; verdicts count every operator."""

import json
import sys

import numpy as np
import pytest

import lastbit
from lastbit.model.graph import Tensor
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, quant
from lastbit.ops.prepare import prepare
from lastbit.verbs.compare.layer_result import rate_seen
from lastbit.verbs.compare.operator_inputs import KINDS, drawn, tie_images
from lastbit.verbs.compare.trials import Limits
from lastbit.verbs.compare.verb import compare
from tests.support.cli import invoke
from tests.support.interpreters import XNNPACK, needs_all_interpreters
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import MODELS, needs_shared_models
from tests.support.segmentation_model import segmentation_model


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sys.modules["lastbit.verbs.compare.verb"], "LIMITS", Limits(outputs=60_000, seconds=10))


def one_operator(name, version, tensors, options=None):
    """A model of one operator: (shape, dtype, scale, zero point, data) of its operands, the output last."""
    build = ModelBuilder()
    *inputs, output = [
        build.tensor(shape, dtype, None if scale is None else quant(scale, zero), data)
        for shape, dtype, scale, zero, data in tensors
    ]
    build.operator(name, inputs, [output], version=version, **(options or {}))
    return build.model([i for i in inputs if build.tensors[i].data is None], [output])


def mean(shape, axes, out, dtype="int8", scales=(9 / 255, 8.666667 / 255), keep=True):
    axes = np.asarray(axes, np.int32)
    zero = -128 if dtype == "int8" else 0
    return one_operator(
        "MEAN",
        2,
        [
            (shape, dtype, scales[0], zero, None),
            (axes.shape, "int32", None, 0, axes),
            (out, dtype, scales[1], zero, None),
        ],
        {"keep_dims": keep},
    )


MEANS = {
    "tensorflow#33588": (mean((1, 3, 3, 3), [3], (1, 3, 3, 1)), "tflm"),
    "another shape": (mean((1, 7, 5, 6), [1, 2], (1, 6), scales=(0.0235, 0.0171), keep=False), "tflm"),
    "another type": (mean((1, 3, 4, 5), [3], (1, 3, 4, 1), "uint8", (0.05, 0.0411)), "litert-reference"),
}


@needs_all_interpreters
@pytest.mark.parametrize("case", MEANS)
def test_means_that_differ_rarely_are_found_to_differ(case):
    model, other = MEANS[case]
    report = compare(model, other, XNNPACK)
    (operator,) = report.operators
    assert (operator.status, report.exit_code) == ("differs", 1)
    assert operator.outputs >= 60_000
    assert 0 < operator.differing < operator.outputs // 5
    example = operator.example
    assert example.confirmed == {other: example.first, XNNPACK: example.second}
    text = str(report)
    assert "MEAN" in text
    assert "both confirm" in text
    assert f"DIFFERS: {other} and {XNNPACK} differ in 1 of 1 operators (1 MEAN)" in text
    made = [prepare(model, name).operators[0].evaluate(example.inputs)["output"] for name in (other, XNNPACK)]
    assert [int(y[example.index]) for y in made] == [example.first, example.second]


def test_one_rule_is_a_proof():
    model, _ = MEANS["tensorflow#33588"]
    report = compare(model, "tflm", "litert-reference", oracles=False)
    assert [o.status for o in report.operators] == ["same"]
    assert report.exit_code == 0
    assert "THE SAME" in str(report)
    assert str(report).endswith("Compared: 1 of 1 operator.")


@pytest.mark.parametrize(("dtype", "shape"), [("int8", (1, 8)), ("uint8", (2, 3, 4, 5))])
def test_no_difference_found_says_how_many_outputs_and_which_rate(dtype, shape):
    """Two rules that agree on all values: no percent of what was not seen."""
    model = one_operator("RESHAPE", 1, [(shape, dtype, 0.05, 3, None)] * 2, {"new_shape": shape})
    report = compare(model, "tflm", "litert-reference", oracles=False)
    (operator,) = report.operators
    assert (operator.status, report.exit_code) == ("no difference found", 0)
    assert operator.outputs >= 60_000
    text = str(report)
    assert f"0 of {operator.outputs} outputs differ; {rate_seen(operator.outputs)}" in text
    assert "with 99.9 %" in text
    assert "(0 %)" not in text
    assert "NO DIFFERENCE FOUND" in text
    assert "THE SAME" not in text


@pytest.mark.parametrize(("dtype", "size"), [("int8", 7), ("uint8", 33)])
def test_all_values_of_an_element_wise_operator_are_a_proof_or_show_a_difference(dtype, size):
    zero = -128 if dtype == "int8" else 0
    ends = [((1, size), dtype, 0.05, 3, None), ((1, size), dtype, 1 / 256, zero, None)]
    model = one_operator("LOGISTIC", 2, ends)
    names = ("litert-xnnpack", "litert-builtin-x86")
    (operator,) = compare(model, *names, oracles=False).operators
    assert operator.outputs == 256 * size
    values = np.arange(256, dtype=np.uint8).view(dtype)
    wrong = 0
    for value in values:
        x = np.full((1, size), value)
        made = [prepare(model, name).operators[0].evaluate([x])["output"] for name in names]
        wrong += int((made[0] != made[1]).sum())
    assert operator.differing == wrong
    assert operator.status == ("differs" if wrong else "same")


def test_the_rate_that_would_have_been_seen():
    assert rate_seen(1_000_000) == "a rate of 7e-06 would have been seen with 99.9 %"
    assert rate_seen(3) == "too few to say anything of the rate"


@needs_shared_models
@pytest.mark.parametrize(
    ("name", "first", "second", "missing"),
    [
        ("mlt_resnet8_quant", "litert-xnnpack@1.3.0", "litert-xnnpack@2.3.0", 13),
        ("mlt_resnet8_quant", "litert-xnnpack-avx2", "litert-builtin-portable", 9),
        ("arm_kws_cnn_s", "litert-xnnpack@1.3.0", "litert-xnnpack@2.3.0", 2),
    ],
)
def test_operators_that_were_not_compared_are_never_the_same(name, first, second, missing):
    path = MODELS / f"{name}.tflite"
    report = compare(path, first, second, oracles=False, samples=100)
    total = len(report.model.operators)
    assert len(report.coverage.missing) >= missing
    last = str(report).splitlines()[-1]
    assert last.startswith(f"NOT COMPARED: {len(report.coverage.missing)} of {total} operators (")
    assert last.endswith("No statement about the whole model.")
    assert "THE SAME" not in str(report)
    assert not [block for block in report.blocks() if getattr(block, "style", "") == "good"]
    differs = report.differs
    assert report.exit_code == (1 if differs else 3)
    assert compare(path, first, second, oracles=False, samples=100, allow_gaps=True).exit_code == (1 if differs else 0)


@needs_shared_models
def test_the_verdict_counts_all_operators_and_not_dense_layers_alone():
    report = compare(MODELS / "mlt_kws_ref.tflite", "litert-xnnpack", "tflm", oracles=False, samples=100)
    wrong = [entry.name for entry in (*report.layers, *report.operators) if entry.status == "differs"]
    assert len(wrong) > 5
    assert "CONV_2D" in wrong
    assert f"differ in {len(wrong)} of {len(report.model.operators)} operators (" in str(report)
    data = json.loads(report.json())
    assert data["coverage"]["operators"] == len(report.model.operators)
    assert {entry["status"] for entry in data["operators"]} <= {"same", "differs", "no difference found", "not covered"}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_ties_of_convolutions_are_sought(dtype, rng):
    """Two rules that differ at few sums of a thousand: images are made in which a window has such a sum."""
    model = segmentation_model(17, dtype=dtype)
    sides = [prepare(model, name) for name in ("litert-builtin-x86", "litert-reference")]
    found = 0
    for index, op in enumerate(model.operators):
        if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or index > 12:
            continue
        pair = tuple(side.operators[index] for side in sides)
        images = tie_images(pair, 8, rng)
        assert images is None or images.shape[1:] == model.tensors[op.inputs[0]].shape[1:]
        made = [entry.evaluate([images])["output"] for entry in pair] if images is not None else [0, 0]
        found += int(np.sum(made[0] != made[1]))
    assert found > 0


@pytest.mark.parametrize(("dtype", "shape"), [("int8", (2, 3)), ("int16", (4,)), ("float32", (1, 5)), ("int8", ())])
def test_inputs_hold_ends_and_zero_points(dtype, shape, rng):
    scale = None if dtype == "float32" else quant(0.1, 5 if dtype == "int8" else 0)
    tensor = Tensor(0, "x", shape, shape, DTYPE_BY_NAME[dtype], scale, None)
    values = [drawn(tensor, 1, kind, 0.1, rng) for kind in range(KINDS)]
    assert {v.shape for v in values} == {shape}
    assert {v.dtype for v in values} == {np.dtype(dtype)}
    every = np.concatenate([v.ravel() for v in values])
    if dtype != "float32":
        info = np.iinfo(dtype)
        assert {info.min, info.max, int(scale.zero_point[0])} <= set(every.tolist())
    else:
        assert np.isfinite(every).all()
        assert (np.abs(every / np.float32(0.1) % 1 - 0.5) < 1e-4).any()


def test_one_operator_by_its_number(tmp_path):
    model = segmentation_model(17)
    path = tmp_path / "m.tflite"
    path.write_bytes(model.content)
    two = ("--runtime", "litert-builtin-x86", "--runtime", "litert-reference", "--no-oracle")
    result = invoke("compare", path, *two, "--op", 9, "--json")
    data = json.loads(result.stdout)
    assert [entry["operator"] for entry in data["operators"]] == [9]
    assert data["coverage"]["operators"] == 1
    assert data["data"] is None
    assert result.exit_code == data["exit_code"]


def test_two_runtimes_are_asked_for(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(make_dense_model().content)
    for names in ((), ("tflm",), ("tflm", "cmsis-nn", "litert-reference")):
        result = invoke("compare", path, *(word for name in names for word in ("--runtime", name)))
        assert result.exit_code == 2
        assert "compare needs two runtimes: --runtime A --runtime B." in result.output


@needs_shared_models
def test_gaps_may_be_allowed_on_the_command_line():
    path = MODELS / "mlt_resnet8_quant.tflite"
    two = ("--runtime", "litert-xnnpack@1.3.0", "--runtime", "litert-xnnpack@2.3.0", "--no-oracle")
    assert invoke("compare", path, *two).exit_code == 3
    result = invoke("compare", path, *two, "--allow-gaps")
    assert result.exit_code == 0
    assert "NOT COMPARED: 13 of 16 operators (9 CONV_2D, 3 ADD, 1 AVERAGE_POOL_2D)." in result.stdout


def test_nothing_compared_is_never_equal():
    model, _ = MEANS["tensorflow#33588"]
    for allow in (False, True):
        report = compare(model, "tflm", "cmsis-nn", oracles=False, allow_gaps=allow)
        assert report.exit_code == 3
        assert "NOTHING COMPARED" in str(report)


@pytest.mark.parametrize(("name", "dtype"), [("TANH", "float32"), ("LOGISTIC", "float32")])
def test_an_operator_without_a_rule_beside_dense_layers(name, dtype):
    graph = make_dense_model().subgraphs[0]
    build = ModelBuilder(graph)
    x = build.tensor((1, 5), dtype)
    y = build.operator(name, [x], [build.tensor((1, 5), dtype)])
    model = build.model([*graph.inputs, x], [*graph.outputs, y])
    report = lastbit.compare(model, "tflm", "litert-builtin-x86", oracles=False, samples=0)
    assert report.exit_code == 1  # the dense layer differs; the gap is told all the same
    assert str(report).endswith(f"NOT COMPARED: 1 of 2 operators (1 {name}). No statement about the whole model.")
