"""vectors of convolutions: images that catch rivals, confirmed by real interpreters, in every format."""

import json

import numpy as np
import pytest

from lastbit.layers.mistakes import wrong_output
from lastbit.model.tflite import load
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.ops.products.as_dense import as_dense
from lastbit.verbs.vectors.verb import vectors
from tests.support.cli import invoke
from tests.support.convolution_models import make_convolution
from tests.support.interpreters import needs_all_interpreters

SHAPES = {
    "conv": {"stride": 2, "image": (8, 9)},
    "depthwise": {"op": "DEPTHWISE_CONV_2D", "units": 6},
    "uint8": {"dtype": "uint8"},
}


@pytest.fixture(scope="module", params=SHAPES)
def made(request):
    model = make_convolution(**SHAPES[request.param])
    return model, vectors(model, "litert-reference", random=200, oracle=False)


def test_everything_that_can_be_caught_is_caught(made):
    model, report = made
    (layer,) = report.layers
    assert layer.count("not caught") == 0
    assert layer.count("caught") > 60
    assert layer.x.shape[1:] == model.inputs[0].shape[1:]
    assert layer.outputs.shape == (len(layer.x), *model.outputs[0].shape[1:])
    shown, possible = layer.pairs[1], layer.pairs[0]
    assert 0 < shown <= possible
    names = {c.name for c in layer.catches if c.vectors}
    assert "padding_zero" in names
    assert "convolutions" in report.in_short()[0]


def test_labels_are_true(made):
    model, report = made
    (layer,) = report.layers
    right = prepare(model, "litert-reference").operators[0].evaluate([layer.x])
    assert (layer.outputs == right["output"]).all()
    assert (layer.accs == right["acc"]).all()
    dense = as_dense(prepare_operator(model, model.operators[0], "litert-reference"))
    for catch in layer.catches:
        if catch.kind == "mistake":
            wrong = wrong_output(dense, layer.x, [catch.name])
        elif catch.kind == "runtime":
            wrong = prepare(model, catch.name).operators[0].evaluate([layer.x])["output"]
        else:
            continue
        differs = (wrong != layer.outputs).reshape(len(wrong), -1).any(axis=1)
        assert np.flatnonzero(differs).tolist() == catch.vectors, catch.name


def test_what_cannot_be_caught_is_caught_by_no_image(made):
    model, report = made
    dense = as_dense(prepare_operator(model, model.operators[0], "litert-reference"))
    info = np.iinfo(model.inputs[0].dtype.numpy)
    x = np.random.default_rng(2).integers(info.min, info.max + 1, (8, *model.inputs[0].shape[1:])).astype(info.dtype)
    right = dense.evaluate([x])["output"]
    equal = [c for c in report.layers[0].catches if c.equal and c.kind == "mistake"]
    assert equal
    for catch in equal:
        assert (wrong_output(dense, x, [catch.name]) == right).all(), catch.name


@needs_all_interpreters
@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "tflm"])
def test_real_interpreters_confirm_the_outputs(runtime):
    report = vectors(make_convolution(stride=2, image=(8, 8)), runtime, random=0)
    (layer,) = report.layers
    assert layer.confirmed == layer.outputs.size > 0
    assert layer.mismatches == 0
    assert report.exit_code == 0


def test_files_of_every_format(tmp_path):
    model = make_convolution("DEPTHWISE_CONV_2D", units=6, stride=2, image=(8, 7))
    path = tmp_path / "m.tflite"
    path.write_bytes(model.content)
    folder = tmp_path / "out"
    found = invoke("vectors", path, "-o", folder, "--runtime", "litert-reference", "--no-oracle", "--random", "0")
    assert found.exit_code == 0, found.output
    with np.load(folder / "op0.npz") as arrays:
        about = json.loads(str(arrays["about"]))
        x, weights, output = arrays["input"], arrays["weights"], arrays["output"]
    assert weights.shape == load(path).tensors[1].shape == (1, 3, 3, 6)
    assert x.shape[1:] == (8, 7, 3)
    wanted = {"stride_height": 2, "padding_top": 0, "padding_bottom": 1, "padding_left": 1, "groups": 3}
    assert {key: about[key] for key in wanted} == wanted
    header = (folder / "op0.h").read_text()
    assert "#define LASTBIT_OP0_STRIDE_HEIGHT (2)" in header
    assert f"lastbit_op0_output[{output.size}]" in header
    assert (folder / "op0_input.bin").read_bytes() == x.tobytes()
    values = [line for line in (folder / "op0_input.mem").read_text().splitlines() if not line.startswith("//")]
    assert np.array_equal(np.asarray([int(v, 16) for v in values], np.uint8).view(np.int8), x.ravel())


def test_a_convolution_whose_windows_all_reach_into_the_padding_has_vectors_too():
    report = vectors(make_convolution(image=(2, 2), kernel=(5, 5)), "litert-reference", random=0, oracle=False)
    (layer,) = report.layers
    assert len(layer.x)
    assert layer.count("caught") > 50
