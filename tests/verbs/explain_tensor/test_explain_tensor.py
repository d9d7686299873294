"""explain --tensor: the rule that decided a scale, the samples that set its range, the formula, other converters."""

import json
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError
from lastbit.model.tflite import load, write
from lastbit.verbs.explain_tensor.deciding_rule import ScaleRule
from lastbit.verbs.explain_tensor.verb import explain_tensor
from lastbit.verbs.quantize.verb import CONVERTERS
from tests.support.cli import invoke
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import GOLDEN, MODELS, needs_shared_models

FLOAT = MODELS / "more" / "tflm_hello_world_float.tflite"
SAMPLES = np.random.default_rng(13).uniform(0, 6.28, (40, 1)).astype(np.float32)


def float_model(bias=(0.25, -0.5, 3e9), weights=None):
    """Dense, RESHAPE, SOFTMAX in float32; 3 units of depth 2."""
    weights = np.array([[0.31, -0.52], [0.07, 0.2], [1e-4, 2e-4]] if weights is None else weights, np.float32)
    build = ModelBuilder()
    x = build.tensor((1, 2), "float32")
    operands = [x, build.constant(weights, "float32"), build.constant(bias, "float32")]
    dense = build.operator("FULLY_CONNECTED", operands, [build.tensor((1, 3), "float32")])
    shape = build.constant([1, 1, 3], "int32")
    flat = build.operator("RESHAPE", [dense, shape], [build.tensor((1, 1, 3), "float32")])
    return build.model([x], [build.operator("SOFTMAX", [flat], [build.tensor((1, 1, 3), "float32")], beta=1.0)])


RANGES = {"t0": (-1.0, 2.0), "t3": (-0.1, 3.3), "t5": (-0.1, 3.3), "t6": (0.0, 1.0)}


def named(model, name):
    return next(t.index for t in model.tensors if t.name.startswith(name) and t.quant is not None)


def text_of(story, title):
    return "\n".join(dict(story.sections)[title])


@pytest.fixture(scope="module")
def pair():
    source = float_model()
    return source, load(lastbit.quantize(source, ranges=RANGES, io="int8").content)


def test_a_measured_range_with_its_numbers(pair):
    source, model = pair
    story = explain_tensor(model, named(model, "t3"), float_model=source, ranges=RANGES)
    assert story.decided.rule is ScaleRule.RANGE
    worked = text_of(story, "Range to scale and zero point")
    # -128 + 0.1 / 0.013333333 = -120.49999954598 in float64, which is -120.5 as float32: a tie, away from zero
    assert "-120.5" in worked
    assert "a tie: away from zero = -121" in worked
    assert story.tensor.quant.zero_point.tolist() == [-121]
    assert story.limits == (np.float32(-0.1), np.float32(3.3))


def test_other_converters_are_those_of_quantize(pair):
    source, model = pair
    index = named(model, "t3")
    story = explain_tensor(model, index, float_model=source, ranges=RANGES)
    for other in story.others:
        made = load(lastbit.quantize(source, ranges=RANGES, io="int8", like=other.converters[0].label).content)
        quant = made.tensors[named(made, "t3")].quant
        assert other.tensor.quant.scale.tobytes() == quant.scale.tobytes()
        assert other.tensor.quant.zero_point.tolist() == quant.zero_point.tolist()
    assert {one.label for other in story.others for one in other.converters} == {one.label for one in CONVERTERS}


def test_shared_and_fixed_scales(pair):
    source, model = pair
    shared = explain_tensor(model, named(model, "t5"))
    assert shared.decided.rule is ScaleRule.SHARED
    assert shared.decided.root.index == named(model, "t3")
    fixed = explain_tensor(model, named(model, "t6"), float_model=source, ranges=RANGES)
    assert fixed.decided.rule is ScaleRule.FIXED
    assert "whatever the data" in str(fixed)


@pytest.mark.parametrize(("channel", "widened"), [(0, False), (2, True)])
def test_weights_and_a_bias_that_widened_them(pair, channel, widened):
    source, model = pair
    story = explain_tensor(model, named(model, "t1"), float_model=source, ranges=RANGES, channel=channel)
    assert story.decided.rule is ScaleRule.WEIGHTS
    text = text_of(story, "From the float weights")
    assert ("would be" in text and "more than half of int32" in text) == widened
    assert ("it is not 127" in text_of(story, "What the file says")) == widened


def test_a_bias_and_its_product(pair):
    source, model = pair
    story = explain_tensor(model, named(model, "t2"), float_model=source, ranges=RANGES)
    assert story.decided.rule is ScaleRule.BIAS
    assert text_of(story, "What the file says").splitlines()[1].endswith(": the same")
    stored = int(model.tensors[named(model, "t2")].data[0])
    assert f"the file has {stored}" in text_of(story, "From the float bias")


def test_a_bias_scale_that_is_not_the_product():
    model = make_dense_model()
    graph = model.subgraphs[0]
    quant = replace(graph.tensors[2].quant, scale=graph.tensors[2].quant.scale * np.float32(4))
    changed = tuple(replace(t, quant=quant) if t.index == 2 else t for t in graph.tensors)
    story = explain_tensor(load(write(replace(graph, tensors=changed))), 2)
    assert "4 times it" in text_of(story, "What the file says")


@pytest.mark.parametrize("index", [0, 3])
def test_a_file_alone_implies_the_range(index):
    story = explain_tensor(make_dense_model(), index)
    assert not story.others
    assert "255 * scale = 5.1" in text_of(story, "What the file says").replace("5.09999", "5.1")


@needs_shared_models
def test_samples_and_elements_that_set_the_ends():
    model = load(lastbit.quantize(FLOAT, SAMPLES, calibrator="lastbit").content)
    index = named(model, load(FLOAT).inputs[0].name)
    story = explain_tensor(model, index, float_model=FLOAT, data=SAMPLES, calibrator="lastbit")
    assert [sample for sample, _ in story.ends] == [int(SAMPLES.argmin()), int(SAMPLES.argmax())]
    assert story.limits == (SAMPLES.min(), SAMPLES.max())


@needs_shared_models
def test_a_moving_average_of_the_real_quantizer_is_seen_at_each_layer():
    model = load(GOLDEN / "moving_average.tflite")
    for op in model.dense_operators:
        story = explain_tensor(model, op.outputs[0], float_model=FLOAT, data=SAMPLES, calibrator="lastbit")
        assert "A moving average" in dict(story.sections)


def test_wrong_use_is_told(pair):
    source, model = pair
    for tensor, match in (("nothing", "there is no tensor"), (99, "there is no tensor"), ("t4", "not quantized")):
        with pytest.raises(InputError, match=match):
            explain_tensor(model, tensor)
    outer = lastbit.quantize(source, ranges=RANGES)
    for end in (outer.inputs[0], outer.outputs[0]):
        with pytest.raises(
            InputError, match=rf"not quantized\. Its integers are those of tensor \d+ '{end.name}_int8_"
        ):
            explain_tensor(outer, end.index)
    with pytest.raises(InputError, match="which is not given"):
        explain_tensor(model, 0, ranges=RANGES)
    with pytest.raises(InputError, match="one of the two"):
        explain_tensor(model, 0, float_model=source)
    with pytest.raises(InputError, match="a channel from 0 to 2"):
        explain_tensor(model, named(model, "t1"), channel=3)


def test_the_command(tmp_path, pair):
    source, model = pair
    (tmp_path / "f.tflite").write_bytes(source.content)
    (tmp_path / "q.tflite").write_bytes(model.content)
    (tmp_path / "r.json").write_text(json.dumps(RANGES))
    index = named(model, "t3")
    args = ["explain", tmp_path / "q.tflite", "--tensor", index, "--float", tmp_path / "f.tflite"]
    result = invoke(*args, "--ranges", tmp_path / "r.json", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["schema"], data["rule"]) == ("lastbit.explain_tensor/1", "range")
    assert float.fromhex(data["scale"][0]) == model.tensors[index].quant.scale[0]
    assert invoke(*args).exit_code == 2
    assert invoke("explain", tmp_path / "q.tflite", "--tensor", "x").exit_code == 2
    assert invoke("explain", tmp_path / "q.tflite", "--float", tmp_path / "f.tflite").exit_code == 2
