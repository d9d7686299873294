"""lastbit quantize, compared with what real converters wrote (tests/recorded/quantize.zip, lab/record/quantize.py)."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lab.checks.quantize_canonical import digests, ranges_of
from lastbit import InputError, UnsupportedError
from lastbit.cli import main
from lastbit.model.graph import Signature
from lastbit.model.tflite import load, write
from lastbit.verbs.quantize.converters import Quantizer
from lastbit.verbs.quantize.numbers import activation, round_away, round_in_eights
from lastbit.verbs.quantize.verb import CONVERTERS, measure
from tests.support.models import ModelBuilder
from tests.support.places import ROOT

RECORDED = ROOT / "tests" / "recorded"
ARCHIVE = RECORDED / "quantize.zip"


def golden():
    with zipfile.ZipFile(ARCHIVE) as archive:
        results = json.loads(archive.read("results.json"))["results"]
        return results, {name: archive.read(name) for name in archive.namelist() if name.endswith(".tflite")}


RESULTS, MODELS = golden()


@pytest.mark.parametrize("like", RESULTS)
def test_every_scale_weight_and_bias_is_the_converters(like):
    name, _, activations = like.partition("/")
    compared = 0
    for model, wanted in RESULTS[like].items():
        content = MODELS[model]
        arguments = {"ranges": ranges_of(content), "like": name, "activations": activations or "int8"}
        if wanted is None:
            with pytest.raises(UnsupportedError, match="gives up"):
                lastbit.quantize(content, **arguments)
            continue
        made = digests(bytes(lastbit.quantize(content, **arguments).content))
        assert made == wanted, model
        compared += len(made)
    assert compared > 1000


def test_every_converter_has_golden_results():
    recorded = {like.partition("/")[0] for like in RESULTS}
    # Those of ai-edge-quantizer stand in another archive: test_quantize_modes.
    assert recorded == {one.label for one in CONVERTERS if one.int8 is not Quantizer.AI_EDGE}


def dense_model(weights, bias=None, width=4):
    """A float32 model: one dense layer."""
    build = ModelBuilder()
    x = build.tensor((1, width), "float32", name="x")
    w = build.constant(weights, "float32", name="w")
    y = build.tensor((1, len(weights)), "float32", name="y")
    b = -1 if bias is None else build.constant(bias, "float32", name="b")
    return build.content([x], [build.operator("FULLY_CONNECTED", [x, w, b], [y])])


SIGNED = Signature("serving_default", 0, {"image": 0}, {"scores": 2})


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("io_type", ["float32", None])
def test_signatures_name_the_same_inputs_and_outputs(activations, io_type):
    content = write(load(dense_model(np.ones((2, 4)))).subgraphs[0], signatures=[SIGNED])
    made = lastbit.quantize(content, ranges=RANGES, activations=activations, io=io_type or activations)
    read = load(bytes(made.content))
    assert read.signatures == made.signatures
    (signature,) = read.signatures
    assert signature.key == "serving_default"
    assert dict(signature.inputs) == {"image": read.inputs[0].index}
    assert dict(signature.outputs) == {"scores": read.outputs[0].index}
    assert (read.inputs[0].name, read.outputs[0].name) == ("x", "y")


@pytest.mark.parametrize(
    ("like", "activations", "wanted"),
    [
        ("litert", "int8", "int32"),
        ("litert", "int16", "int64"),
        ("tflite@2.15", "int16", "int64"),
        ("tflite@2.14", "int16", "float32"),
        ("tflite@2.21", "int8", "float32"),
    ],
)
def test_the_older_quantizer_names_the_biass_type(like, activations, wanted):
    made = lastbit.quantize(dense_model(np.ones((2, 4)), [1, 2]), ranges=RANGES, like=like, activations=activations)
    read = load(bytes(made.content))
    assert [op.options["quantized_bias_type"] for op in read.dense_operators] == [wanted]


RANGES = {"x": (-1.0, 1.0), "y": (-3.0, 5.0)}


def test_a_range_becomes_a_scale_and_a_zero_point():
    model = lastbit.quantize(dense_model(np.ones((2, 4))), ranges=RANGES, io="int8")
    quant = model.outputs[0].quant
    assert quant.scale[0] == np.float32(8) / np.float32(255)
    assert quant.zero_point.tolist() == [-32]


def test_input_and_output_types():
    content = dense_model(np.ones((2, 4)))
    for io_type, operators in (("float32", 3), ("int8", 1), ("uint8", 3)):
        model = lastbit.quantize(content, ranges=RANGES, io=io_type)
        assert model.inputs[0].dtype.name == model.outputs[0].dtype.name == io_type
        assert len(model.operators) == operators


def test_a_range_too_narrow_is_widened_by_a_millionth_at_both_ends():
    params = activation(np.float32(0), np.float32(0))
    assert params.scale == (float(np.float32(2e-6) / np.float32(255)),)


def test_rounding_of_vector_code_takes_what_is_just_below_a_half_for_one():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    values = np.full(9, below, np.float32)
    assert round_away(values).tolist() == [0] * 9
    assert round_in_eights(values).tolist() == [1] * 8 + [0]


def test_an_unfitting_bias_widens_the_weights_scale():
    model = lastbit.quantize(dense_model(np.ones((2, 4)), [1e9, 0]), ranges=RANGES)
    weights = next(t for t in model.tensors if t.name == "w")
    assert weights.quant.scale[0] > 100 * weights.quant.scale[1]
    again = lastbit.quantize(dense_model(np.ones((2, 4)), [1e9, 0]), ranges=RANGES, like="litert")
    other = next(t for t in again.tensors if t.name == "w")
    assert other.quant.scale[0] != weights.quant.scale[0]


def test_ranges_may_be_measured_or_given(tmp_path):
    content = dense_model(np.eye(4))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    own = lastbit.ranges(content, x, calibrator="lastbit")
    assert own[0] == (0.0, 7.0)
    assert own.calibrator.startswith("lastbit")
    pytest.importorskip("ai_edge_litert")
    real = lastbit.ranges(content, x)
    assert dict(real) == dict(own)
    assert "ai-edge-litert" in lastbit.quantize(content, x).description


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.zeros((2, 5), np.float32), r"shape \[2, 5\], wanted \[n, 4\]"),
        (np.zeros((0, 4), np.float32), "n >= 1"),
        (np.zeros((2, 4), np.int8), "is int8, wanted float32"),
        (np.full((2, 4), np.nan, np.float32), r"has nan at \[0, 0\]"),
        ({"z": np.zeros((2, 4), np.float32)}, "'z', which is not an input"),
    ],
)
def test_data_that_does_not_fit_is_told(data, said):
    with pytest.raises(InputError, match=said):
        lastbit.ranges(dense_model(np.eye(4)), data, calibrator="lastbit")


def test_models_that_cannot_be_quantized_are_told():
    content = dense_model(np.eye(4))
    made = bytes(lastbit.quantize(content, ranges=RANGES).content)
    with pytest.raises(InputError, match="quantized already: tensor"):
        lastbit.quantize(made, ranges=RANGES)
    with pytest.raises(InputError, match="the ranges lack tensor 2 'y'"):
        lastbit.quantize(content, ranges={"x": (-1, 1)})
    with pytest.raises(InputError, match="there is no converter 'toco'"):
        lastbit.quantize(content, ranges=RANGES, like="toco")
    with pytest.raises(UnsupportedError, match="weights that are not finite"):
        lastbit.quantize(dense_model(np.full((2, 4), np.inf)), ranges=RANGES)


@pytest.mark.parametrize(
    ("name", "activations", "said"),
    [
        ("CEIL", "int8", "TensorFlow's converter leaves it in float32"),
        ("EXP", "int8", "TensorFlow's converter gives it integers"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "int16", "refuses it with int16 activations"),
        ("ACOSH", "int8", "was not asked"),
    ],
)
def test_an_operator_without_a_quantized_form_is_told_with_what_the_converter_does(name, activations, said):
    plain = load(dense_model(np.eye(4)))
    graph = plain.subgraphs[0]
    other = replace(plain, subgraphs=(replace(graph, operators=(replace(graph.operators[0], name=name),)),))
    with pytest.raises(UnsupportedError) as told:
        lastbit.quantize(other, ranges=RANGES, activations=activations)
    (reason,) = told.value.reasons
    assert reason.startswith(f"operator 0 {name}: LastBit has no quantized form of it; ")
    assert said in reason


@pytest.mark.parametrize("operator", ["WHILE", "IF"])
@pytest.mark.parametrize("options", [["--data"], [], ["--like", "ai-edge-quantizer"], ["--weights", "float16"]])
def test_a_converters_file_with_control_flow_is_refused(operator, options, tmp_path):
    with zipfile.ZipFile(RECORDED / "control_flow.zip") as archive:
        model = archive.extract(f"{operator.lower()}.float.tflite", tmp_path)
    data = tmp_path / "x.npy"
    np.save(data, np.ones((3, 4), np.float32))
    options = [*options, str(data)] if "--data" in options else options
    result = CliRunner().invoke(main, ["quantize", model, "-o", str(tmp_path / "out.tflite"), *options])
    assert result.exit_code == 3
    assert "it has 3 subgraphs (control flow)" in result.stderr
    assert not (tmp_path / "out.tflite").exists()
    if "--data" in options:
        assert (
            f"{operator}: LastBit has no quantized form of it; TensorFlow's converter passes float32" in result.stderr
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "was not compared"),
        (["--like", "litert", "--data"], "LastBit has no quantized form of it; the older quantizer gives it int8"),
        (["--activations", "int16", "--data"], "the older quantizer refuses it with int16 activations"),
        (["--calibrator", "lastbit", "--data"], "this operator is not covered yet"),
    ],
)
def test_a_converters_file_with_an_lstm_is_refused_in_one_line(options, said, tmp_path):
    with zipfile.ZipFile(RECORDED / "control_flow.zip") as archive:
        model = archive.extract("lstm.float.tflite", tmp_path)
    data = tmp_path / "x.npy"
    np.save(data, np.ones((3, 6, 4), np.float32))
    options = [*options, str(data)] if "--data" in options else options
    result = CliRunner().invoke(main, ["quantize", model, "-o", str(tmp_path / "out.tflite"), *options])
    assert result.exit_code == 3
    assert "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM: " in result.stderr
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert not (tmp_path / "out.tflite").exists()


def test_several_subgraphs_are_told():
    plain = load(dense_model(np.eye(4)))
    several = replace(plain, subgraphs=plain.subgraphs * 3)
    for call in (
        lambda: lastbit.quantize(several, ranges=RANGES),
        lambda: lastbit.ranges(several, np.zeros((1, 4), np.float32), calibrator="lastbit"),
    ):
        with pytest.raises(UnsupportedError, match=r"it has 3 subgraphs \(control flow\)"):
            call()


@pytest.mark.parametrize("io_type", [("uint8", "float32"), ("float32", "int8"), ("int8", "uint8")])
def test_inputs_and_outputs_may_have_a_type_each(io_type):
    made = lastbit.quantize(dense_model(np.ones((2, 4))), ranges=RANGES, io=io_type)
    assert (made.inputs[0].dtype.name, made.outputs[0].dtype.name) == io_type


@pytest.mark.parametrize("io_type", ["int16", ("float32", "int16"), ("int16", "float32")])
def test_what_stays_float32_in_int16_can_be_no_int16_output(io_type):
    build = ModelBuilder()
    x, y = build.tensor((1, 4), "float32", name="x"), build.tensor((1, 4), "float32", name="y")
    content = build.content([x], [build.operator("HARD_SWISH", [x], [y])])  # has no int16 form
    assert len(lastbit.quantize(content, ranges=RANGES, activations="int16").operators) == 1
    end = "output 'y'" if io_type == ("float32", "int16") else "input 'x'"
    with pytest.raises(UnsupportedError, match=f"{end} stays float32 and cannot be int16"):
        lastbit.quantize(content, ranges=RANGES, activations="int16", io=io_type)


def test_a_type_of_inputs_or_outputs_that_does_not_fit_is_told_before_anything_is_measured(tmp_path):
    from tests.support.cli import invoke

    (tmp_path / "f.tflite").write_bytes(dense_model(np.eye(4)))
    result = invoke(
        "quantize", tmp_path / "f.tflite", "-o", tmp_path / "q.tflite", "--io", "uint8,int4", "--data", "x.npy"
    )
    assert result.exit_code == 2
    assert "io is 'int4'; with activations of int8 wanted one of float32, int8, uint8" in result.output
    assert not (tmp_path / "q.tflite").exists()


def test_the_command_asks_about_samples_of_zeros(tmp_path):
    from tests.support.cli import invoke

    (tmp_path / "f.tflite").write_bytes(dense_model(np.eye(4)))
    said = []
    for name, value in (("zeros", 0), ("ones", 1)):
        np.save(tmp_path / f"{name}.npy", np.full((2, 4), value, np.float32))
        arguments = ["--data", tmp_path / f"{name}.npy", "--calibrator", "lastbit"]
        said.append(invoke("quantize", tmp_path / "f.tflite", "-o", tmp_path / f"{name}.tflite", *arguments).output)
    assert "have a range of almost nothing: tensor" in said[0]
    assert "almost nothing" not in said[1]


def test_the_command_writes_the_file_and_says_whose_arithmetic(tmp_path):
    from tests.support.cli import shell as command

    source, target, data = tmp_path / "f.tflite", tmp_path / "q.tflite", tmp_path / "x.npy"
    source.write_bytes(dense_model(np.eye(4)))
    np.save(data, np.ones((3, 4), np.float32))
    done = command("quantize", source, "-o", target, "--data", data, "--calibrator", "lastbit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["like"] == "tflite@2.21"
    assert lastbit.load(target).operators[1].name == "FULLY_CONNECTED"
    wrong = command("quantize", target, "-o", tmp_path / "r.tflite", "--data", data)
    assert wrong.returncode == 2
    assert "quantized already" in wrong.stderr
    assert not (tmp_path / "r.tflite").exists()
    assert io.StringIO(wrong.stderr).readline().count("error:") == 1


def test_calibration_says_how_far_it_is():
    told = []
    x = np.ones((3, 4), np.float32)
    pytest.importorskip("ai_edge_litert")
    for calibrator in ("lastbit", "litert"):
        measure(load(dense_model(np.eye(4))), lambda: x, calibrator, progress=lambda *step: told.append(step))
    assert [step[:2] for step in told][:4] == [(0, 3), (1, 3), (2, 3), (0, 3)]
