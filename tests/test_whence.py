"""whence: attribution of numbers to runtimes, and inputs that separate those left."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from conftest import make_dense_model
from lastbit.cli import main
from lastbit.demo import demo_model
from lastbit.tflite import write

X = np.random.default_rng(11).integers(-128, 128, (40, 16, 48)).astype(np.int8)


@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "tflm"])
def test_the_runtime_that_printed_the_numbers_is_left_and_the_default_is_excluded(runtime):
    printed = lastbit.run(demo_model(), X, runtime).output
    found = lastbit.whence(demo_model(), X, printed)
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
    found = lastbit.whence(model, x, lastbit.run(model, x).output)
    assert len(found.groups) > 1
    assert found.separating_input.shape == (1, 7)
    for group, output in zip(found.groups, found.separating_outputs, strict=True):
        for name in group:
            np.testing.assert_array_equal(lastbit.run(model, found.separating_input, name).output, output)
    assert len({o.tobytes() for o in found.separating_outputs}) > 1


def test_an_older_version_is_found_and_versions_that_agree_stand_together():
    model = demo_model("per_tensor")
    printed = lastbit.run(model, X, "litert-reference@1.2.0").output
    found = lastbit.whence(model, X, printed)
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
    found = lastbit.whence(demo_model(), X, wrong)
    assert found.exit_code == 1
    assert not found.groups
    assert "No runtime that LastBit knows prints these numbers" in str(found)


def test_one_layer_of_a_model_and_a_flat_array_of_numbers():
    model = make_dense_model()
    x = np.random.default_rng(0).integers(-128, 128, (3, 7)).astype(np.int8)
    found = lastbit.whence(model, x, lastbit.run(model, x, "tflm").output.ravel(), op=0)
    assert "tflm" in {name for group in found.groups for name in group}
    assert json.loads(found.json())["schema"] == "lastbit.whence/1"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((3, 5), np.float32), "the numbers are float32, .* wanted its own dtype .*save the integers"),
        (np.zeros((3, 4), np.int8), r"found 12 numbers of shape \[3, 4\] .* wanted 15 of shape \[3, 5\]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(output, message):
    with pytest.raises(lastbit.InputError, match=message):
        lastbit.whence(make_dense_model(), np.zeros((3, 7), np.int8), output)


def test_a_model_no_runtime_can_run_ends_with_3():
    model = make_dense_model()
    graph = model.subgraphs[0]
    options = {**graph.operators[0].options, "fused_activation_function": "TANH"}
    refused = lastbit.load(write(replace(graph, operators=(replace(graph.operators[0], options=options),))))
    found = lastbit.whence(refused, np.zeros((1, 7), np.int8), np.zeros((1, 5), np.int8))
    assert found.exit_code == 3
    assert {c.status for c in found.candidates} == {"cannot run it"}


def test_the_command(tmp_path):
    paths = {name: str(tmp_path / name) for name in ("m.tflite", "x.npy", "y.npy", "s.npy")}
    model = make_dense_model(output_scale=0.02 * 0.005 * 64, bias=False)
    (tmp_path / "m.tflite").write_bytes(model.content)
    x = np.full((1, 7), 3, np.int8)
    np.save(paths["x.npy"], x)
    np.save(paths["y.npy"], lastbit.run(model, x).output)
    arguments = ["whence", paths["m.tflite"], "-i", paths["x.npy"], "--output", paths["y.npy"]]
    result = CliRunner().invoke(main, [*arguments, "--separating", paths["s.npy"]])
    assert result.exit_code == 0, result.output
    assert "Left: " in result.stdout
    assert np.load(paths["s.npy"]).shape == (1, 7)
    result = CliRunner().invoke(main, [*arguments[:2], "--output", paths["y.npy"]])
    assert result.exit_code == 2
    assert "Give the input that was run" in result.stderr
