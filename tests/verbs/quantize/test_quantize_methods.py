"""Dynamic range, float16 and ai-edge-quantizer, compared with what the real converters wrote.

Source: tests/recorded/quantize_methods.tar.xz (lab/record/quantize_methods.py).
"""

import io
import json
import tarfile

import numpy as np
import pytest

import lastbit
from lab.checks.methods_check import METHODS
from lab.checks.quantize_canonical import digests, ranges_of
from lastbit import InputError, UnsupportedError
from lastbit.model.tflite.raw_options import RawOptions
from lastbit.verbs.quantize.settings import Method, settings_of
from lastbit.verbs.quantize.verb import CONVERTERS
from tests.support.places import ROOT
from tests.verbs.quantize.test_quantize import RANGES, dense_model

ARCHIVE = ROOT / "tests" / "recorded" / "quantize_methods.tar.xz"


def golden():
    with tarfile.open(ARCHIVE) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    return json.loads(files.pop("results.json"))["results"], files


RESULTS, MODELS = golden()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("like", RESULTS)
def test_every_scale_and_weight_is_the_converters(like, method):
    recorded = RESULTS[like].get(method)
    if recorded is None:
        return
    ranged, arguments = METHODS[method]
    compared = 0
    for name, wanted in recorded.items():
        content = MODELS[f"{like}/{name}"]
        limits = {"ranges": ranges_of(content)} if ranged else {}
        if wanted is None:
            with pytest.raises(UnsupportedError, match="gives up"):
                lastbit.quantize(content, like=like, **arguments, **limits)
            continue
        made = digests(bytes(lastbit.quantize(content, like=like, **arguments, **limits).content))
        assert made == wanted, name
        compared += len(made)
    assert compared > 100


def test_every_version_of_each_method_is_recorded():
    labels = {converter.label: converter for converter in CONVERTERS}
    without_data = {label for label, converter in labels.items() if converter.name == "tflite"}
    assert {like for like, found in RESULTS.items() if {"dynamic", "float16"} <= set(found)} == without_data
    assert set(RESULTS) - without_data == {"ai-edge-quantizer@0.10"}
    assert {method for found in RESULTS.values() for method in found} == set(METHODS)


def test_weights_of_1024_elements_become_integers_and_smaller_ones_do_not():
    for width, dtype in ((31, "float32"), (32, "int8")):
        model = lastbit.quantize(dense_model(np.ones((32, width)), width=width))
        weights = next(tensor for tensor in model.tensors if tensor.shape == (32, width))
        assert weights.dtype.name == dtype
        assert model.operators[0].options["asymmetric_quantize_inputs"] == (dtype == "int8")


def test_one_scale_or_one_for_each_unit_by_version():
    content = dense_model(np.arange(1024).reshape(32, 32), width=32)
    counts = {}
    for like in ("tflite@2.16", "tflite@2.17"):
        model = lastbit.quantize(content, like=like)
        counts[like] = next(t for t in model.tensors if t.dtype.name == "int8").quant.scale.size
    assert counts == {"tflite@2.16": 1, "tflite@2.17": 32}


def test_float16_keeps_what_is_finite_and_a_constant_of_nothing_but_minus_zero_becomes_zero():
    values = np.full((2, 4), np.float32(-1e-9))
    model = lastbit.quantize(dense_model(values), weights="float16")
    half = next(t for t in model.tensors if t.dtype.name == "float16")
    assert not np.signbit(half.data).any()
    model = lastbit.quantize(dense_model(values * 1e30), weights="float16")
    half = next(t for t in model.tensors if t.dtype.name == "float16")
    assert half.data.min() == -65504


def test_int4_weights_are_packed_and_read_back():
    content = dense_model(np.linspace(-7, 7, 8).reshape(2, 4))
    model = lastbit.load(bytes(lastbit.quantize(content, like="ai-edge-quantizer", weights="int4").content))
    weights = next(t for t in model.tensors if t.dtype.name == "int4")
    assert weights.data.tolist() == [[-7, -5, -3, -1], [1, 3, 5, 7]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"like": "litert"}, "litert quantizes with data or ranges only"),
        ({"weights": "int4"}, "tflite makes no int4 weights; ai-edge-quantizer does"),
        ({"weights": "int4", "ranges": RANGES}, "tflite makes no int4 weights"),
        ({"weight_only": True}, "tflite has no mode of weights only"),
        ({"weights": "float16", "ranges": RANGES}, "no data and no ranges are used"),
        ({"like": "ai-edge-quantizer", "weight_only": True, "ranges": RANGES}, "no data and no ranges are used"),
        ({"weights": "float16", "weight_only": True}, "weights only already"),
        ({"like": "ai-edge-quantizer", "weights": "float16"}, "tflite makes float16"),
        ({"like": "ai-edge-quantizer", "per_tensor_dense": True}, "is tflite's"),
        ({"like": "ai-edge-quantizer", "io": "uint8", "ranges": RANGES}, "wanted one of float32, int8"),
        ({"activations": "int16"}, "activations of int16 need data or ranges"),
        ({"io": "int8"}, "io of int8 need data or ranges"),
        ({"weights": "int2"}, "wanted int8, int4 or float16"),
        ({"data": np.ones((1, 4), np.float32), "ranges": RANGES}, "exclude each other"),
    ],
)
def test_what_no_converter_makes_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        lastbit.quantize(dense_model(np.ones((2, 4))), **arguments)


def test_settings_name_method_and_type():
    assert settings_of("ai-edge-quantizer@0.10.0", ranged=True).io == ("int8", "int8")
    assert settings_of("tflite", ranged=True).io == ("float32", "float32")
    assert settings_of("tflite", ranged=False).method is Method.DYNAMIC
    assert settings_of("ai-edge-quantizer", ranged=False, weights="int4").label.endswith("(dynamic range, int4)")


def test_operators_that_lastbit_cannot_read_are_kept():
    """GATHER and EMBEDDING_LOOKUP have options that LastBit moves unread."""
    kept = {"GATHER", "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"}
    seen = set()
    for name, content in MODELS.items():
        model = lastbit.load(content)
        names = {op.name for op in model.operators} & kept
        if names:
            made = lastbit.load(bytes(lastbit.quantize(content, weights="float16").content))
            assert {op.name for op in made.operators} & kept == names, name
            kept_ops = [[op for op in one.operators if op.name in kept] for one in (model, made)]
            for before, after in zip(*kept_ops, strict=True):
                assert after.version == before.version
                if isinstance(before.options, RawOptions):
                    assert after.options.code == before.options.code
                    assert after.options.table[4:] == before.options.table[4:]
                else:
                    assert after.options == before.options
            seen |= names
    assert seen == kept


def test_the_command_without_data(tmp_path):
    from tests.support.cli import shell as command

    source, target = tmp_path / "f.tflite", tmp_path / "q.tflite"
    source.write_bytes(dense_model(np.ones((32, 32)), width=32))
    done = command("quantize", source, "-o", target)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 float32 constants became smaller" in " ".join(done.stdout.split())
    assert lastbit.load(target).operators[0].name == "FULLY_CONNECTED"
    done = command("quantize", source, "-o", target, "--like", "ai-edge-quantizer", "--weights", "int4", "--json")
    found = json.loads(done.stdout)
    assert (found["like"], found["method"]) == ("ai-edge-quantizer@0.10", "dynamic range")
    wrong = command("quantize", source, "-o", tmp_path / "r.tflite", "--like", "litert")
    assert wrong.returncode == 2
    assert "quantizes with data or ranges only" in " ".join(wrong.stderr.split())
    assert not (tmp_path / "r.tflite").exists()
    assert io.StringIO(wrong.stderr).readline().count("error:") == 1


def test_ranges_of_ai_edge_quantizer_are_a_moving_average():
    content = dense_model(np.eye(4))
    data = np.arange(8, dtype=np.float32).reshape(2, 4)
    model = lastbit.quantize(content, data, like="ai-edge-quantizer", calibrator="lastbit")
    assert "moving average" in model.description
    top = np.float32(0.95) * np.float32(3) + np.float32(1 - 0.95) * np.float32(7)
    assert model.inputs[0].quant.scale[0] == top / np.float32(255)


def test_diff_names_converter_and_method_of_files_without_ranges():
    content = dense_model(np.arange(1024).reshape(32, 32), width=32)
    old, new = (lastbit.quantize(content, like=f"tflite@{version}") for version in ("2.16", "2.21"))
    reasons = {reason.kind: reason.text for reason in lastbit.diff(old, new, float_model=content).reasons}
    assert "per_tensor_dense" in reasons
    int4 = lastbit.quantize(content, like="ai-edge-quantizer", weights="int4")
    found = lastbit.diff(int4, new, float_model=content).reasons
    texts = [reason.text for reason in found if reason.kind == "converter"]
    assert texts[0].startswith("A is, to the last bit, the file of ai-edge-quantizer@0.10; int4 dynamic range")
    assert texts[1].endswith("tflite@2.17 to 2.21; int8 dynamic range")
    assert "method" in {reason.kind for reason in found}
    with pytest.raises(InputError, match="does not tell its ranges"):
        lastbit.diff(new, lastbit.quantize(content, ranges=RANGES), float_model=content)


def test_explain_tells_where_int4_weights_come_from():
    content = dense_model(np.linspace(-7, 7, 8).reshape(2, 4))
    model = lastbit.load(bytes(lastbit.quantize(content, like="ai-edge-quantizer", weights="int4").content))
    weights = next(t for t in model.tensors if t.dtype.name == "int4")
    story = lastbit.explain_tensor(model, weights.index, float_model=content)
    assert story.decided.rule.value == "weights"
    assert any("scale = 7 / 7 = 1" in line for _, lines in story.sections for line in lines)
    assert any(other.method == "int4 dynamic range" and other.tensor is not None for other in story.others)


def test_explain_follows_a_table_of_int8_through_gather():
    content = MODELS["tflite@2.21/000003.tflite"]
    model = lastbit.load(bytes(lastbit.quantize(content).content))
    gather = next(
        op for op in model.operators if op.name == "GATHER" and model.tensors[op.outputs[0]].quant is not None
    )
    story = lastbit.explain_tensor(model, gather.outputs[0])
    assert (story.decided.rule.value, story.decided.base.value) == ("same scale as", "weights")
    assert story.decided.root.index == gather.inputs[0]
