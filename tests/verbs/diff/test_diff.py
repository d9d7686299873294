"""diff: what counts and what does not, every kind of difference, and why files of real converters differ."""

import json
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError
from lastbit.model.graph import Subgraph
from lastbit.model.tflite import load, write
from lastbit.model.types import INT16, QuantParams
from lastbit.verbs.diff.differences import What, ulps
from lastbit.verbs.diff.verb import diff
from lastbit.verbs.diff.why import converters_text
from lastbit.verbs.quantize.verb import converter_named
from tests.support.cli import invoke
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import GOLDEN, MODELS, needs_shared_models

FLOAT = MODELS / "more" / "tflm_hello_world_float.tflite"
AVERAGED = GOLDEN / "moving_average.tflite"
SAMPLES = np.random.default_rng(13).uniform(0, 6.28, (40, 1, 1)).astype(np.float32)


def changed(model, index, **parts):
    """The model with another tensor."""
    graph = model.subgraphs[0]
    tensors = [replace(t, **parts) if t.index == index else t for t in graph.tensors]
    return load(write(replace(graph, tensors=tuple(tensors))))


def scaled(model, index, scale=None, zero_point=None):
    quant = model.tensors[index].quant
    scale = quant.scale if scale is None else np.asarray(scale, np.float32)
    zero_point = quant.zero_point if zero_point is None else np.asarray(zero_point)
    return changed(model, index, quant=QuantParams(scale, zero_point, quant.axis))


def renumbered(model):
    """The same graph with other names, tensors in the opposite order, and another description."""
    graph = model.subgraphs[0]
    last = len(graph.tensors) - 1
    tensors = [replace(t, index=last - t.index, name=f"other{t.index}") for t in reversed(graph.tensors)]
    operators = [
        replace(
            op,
            inputs=tuple(last - i if i >= 0 else -1 for i in op.inputs),
            outputs=tuple(last - i for i in op.outputs),
        )
        for op in graph.operators
    ]
    ends = [tuple(last - i for i in part) for part in (graph.inputs, graph.outputs)]
    return load(write(Subgraph("x", tuple(tensors), tuple(operators), *ends), "another description"))


MODEL = make_dense_model(per_channel=True)
ONE = make_dense_model()


def only(second, first=MODEL):
    report = diff(first, second)
    assert report.exit_code == 1
    (difference,) = report.differences
    return difference


def test_names_numbers_and_descriptions_do_not_count():
    report = diff(MODEL, renumbered(MODEL))
    assert report.equal
    assert report.exit_code == 0
    assert "EQUAL: 1 operator and 4 tensors" in str(report)
    apart = " ".join(report.as_dict()["not_counted"])
    for what in ("another description", "names of tensors", "numbers of 4 tensors"):
        assert what in apart
    assert "another description" not in str(report)
    assert "another description" in str(diff(MODEL, renumbered(MODEL), full=True))


@pytest.mark.parametrize("steps", [1, 7])
def test_scales_are_compared_in_ulp(steps):
    scale = ONE.tensors[0].quant.scale
    for _ in range(steps):
        scale = np.nextafter(scale, np.float32(9))
    found = only(scaled(ONE, 0, scale), ONE)
    assert (found.what, found.amount, found.role) == (What.SCALE, steps, "graph input")


def test_one_scale_of_several():
    scale = MODEL.tensors[1].quant.scale.copy()
    scale[3] *= 2
    found = only(scaled(MODEL, 1, scale))
    assert (found.what, found.count, found.total, found.role) == (What.SCALE, 1, 5, "weights")


@pytest.mark.parametrize("zero_point", [-128, 4])
def test_zero_points(zero_point):
    found = only(scaled(ONE, 0, zero_point=[zero_point]), ONE)
    assert (found.what, found.amount) == (What.ZERO_POINT, abs(zero_point - 3))


@pytest.mark.parametrize(("index", "role"), [(1, "weights"), (2, "bias")])
@pytest.mark.parametrize("by", [1, -3])
def test_data(index, role, by):
    data = MODEL.tensors[index].data.copy()
    data.flat[2] += by
    found = only(changed(MODEL, index, data=data))
    assert (found.what, found.role, found.count, found.amount) == (What.DATA, role, 1, abs(by))


def test_granularity_is_one_difference_of_scales():
    report = diff(MODEL, scaled(MODEL, 1, [0.01], [0]))
    assert [d.what for d in report.differences] == [What.GRANULARITY]
    assert [reason.kind for reason in report.reasons] == ["per_tensor_dense"]


def test_types_and_options():
    wide = changed(ONE, 3, dtype=INT16)
    assert only(wide, ONE).what is What.TYPE
    graph = ONE.subgraphs[0]
    op = replace(graph.operators[0], options={**graph.operators[0].options, "fused_activation_function": "RELU"})
    found = only(load(write(replace(graph, operators=(op,)))), ONE)
    assert (found.what, found.first, found.second) == (What.OPTIONS, "NONE", "RELU")


def chain(names):
    """Operators of one input and one output, one behind the other."""
    build = ModelBuilder()
    x = end = build.tensor((1, 8), "int8", ONE.tensors[0].quant)
    for name in names:
        end = build.operator(name, [end], [build.like(x)])
    return build.model([x], [end])


def test_operators_that_only_one_has_are_left_out_of_the_comparison():
    report = diff(chain(["RELU", "TANH", "RELU6"]), chain(["RELU", "RELU6"]))
    assert [(d.what, d.first, d.second) for d in report.differences] == [(What.OPERATORS, "TANH", "-")]
    assert report.operators == 2


def test_the_order_of_quantize_operators_with_one_source_does_not_count():
    def two(order):
        build = ModelBuilder()
        for _ in range(5):
            build.tensor((1, 8), "int8", ONE.tensors[0].quant)
        for name, source, target in [("RELU", 0, 1), ("RELU6", 0, 2), *order]:
            build.operator(name, [source], [target])
        return build.model([0], [3, 4])

    pairs = [("QUANTIZE", 1, 3), ("QUANTIZE", 2, 4)]
    assert diff(two(pairs), two(pairs[::-1])).equal
    assert diff(two(pairs), two([("QUANTIZE", 2, 3), ("QUANTIZE", 1, 4)])).exit_code == 1


def test_ulps_cross_zero_and_know_nan():
    a, b = np.float32([0.0, np.nan, 1]), np.float32([-0.0, np.nan, np.inf])
    assert ulps(a, b)[:2].tolist() == [0, 0]
    assert ulps(np.float32([-(2.0**-149)]), np.float32([2.0**-149])).tolist() == [2]


@needs_shared_models
def test_a_moving_average_of_the_real_quantizer_is_told_from_min_and_max():
    ours = lastbit.quantize(FLOAT, SAMPLES.reshape(40, 1), calibrator="lastbit")
    report = diff(ours, AVERAGED, float_model=FLOAT, data=SAMPLES.reshape(40, 1), calibrator="lastbit")
    reasons = {reason.kind: reason.text for reason in report.reasons}
    assert "ranges_min_and_max" in reasons
    assert reasons["ranges_min_and_max"].endswith("of A, 3 by min and max, 0 by moving average")
    assert reasons["ranges_moving_average"].endswith("3 by moving average: moving average instead of min and max")
    assert "tflite@2.17 to 2.21" in reasons["converter"]


@needs_shared_models
def test_converters_are_told_apart_from_the_same_ranges():
    ranges = lastbit.ranges(FLOAT, SAMPLES.reshape(40, 1), calibrator="lastbit")
    new, old = (lastbit.quantize(FLOAT, ranges=ranges, like=f"tflite@{version}") for version in ("2.21", "2.14"))
    report = diff(new, old, float_model=FLOAT, ranges=ranges)
    texts = [reason.text for reason in report.reasons if reason.kind == "converter"]
    assert "A is, to the last bit, the file of tflite@2.17 to 2.21" in texts[0]
    assert "B is, to the last bit, the file of tflite@2.12 to 2.16" in texts[1]
    assert "per_tensor_dense" in {reason.kind for reason in report.reasons}


def test_wrong_use_is_told():
    with pytest.raises(InputError, match="only with the float model"):
        diff(MODEL, ONE, data=np.zeros(1))
    with pytest.raises(InputError, match="does not tell its ranges"):
        diff(MODEL, ONE, float_model=ONE)


def test_the_command(tmp_path):
    for name, model in (("a", MODEL), ("b", renumbered(MODEL)), ("c", ONE)):
        (tmp_path / f"{name}.tflite").write_bytes(model.content)
    a, b, c = (tmp_path / f"{name}.tflite" for name in "abc")
    assert invoke("diff", a, b).exit_code == 0
    result = invoke("diff", a, c, "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["schema"] == "lastbit.diff/1"
    assert data["differences"]
    assert invoke("diff", a, tmp_path / "missing.tflite").exit_code == 2
    assert invoke("diff", a, b, "--data", "x.npy").exit_code == 2


def test_versions_that_are_no_neighbours_are_not_joined():
    ways = [(converter_named(f"tflite@2.{minor}"), False) for minor in (12, 13, 15, 17, 18, 21)]
    text = "tflite@2.12 to 2.13 or tflite@2.15 or tflite@2.17 to 2.18 or tflite@2.21"
    assert converters_text(ways) == text
    assert converters_text([*ways[:1], (converter_named("litert@2.3"), True)]).endswith(
        "litert@2.3 with --per-tensor-dense"
    )


@pytest.mark.parametrize("seed", [900, 904])
def test_equal_means_what_the_comparer_of_converters_says(seed):
    pytest.importorskip("ai_edge_litert")
    from lab.cases import quantize_models
    from lab.checks.quantize_canonical import canonical, ranges_of

    content, _ = quantize_models.write_model(seed, 0.1)
    made = [
        bytes(lastbit.quantize(content, ranges=ranges_of(content), like=like).content)
        for like in ("tflite@2.21", "tflite@2.16", "tflite@2.15", "litert")
    ]
    for first in made:
        for second in made:
            assert diff(first, second).equal == (canonical(first) == canonical(second))
