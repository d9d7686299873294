"""Golden vectors: each label is checked by running the wrong code, and every format is read back."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit import load
from lastbit.layers.mistakes import MISTAKES, applicable, wrong_output
from lastbit.layers.running import random_rows
from lastbit.layers.step_tables import LayerTables
from lastbit.model.errors import InputError
from lastbit.model.graph import Operator
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.dense.gemv_or_gemm import for_rows
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.oracles import Fingerprint, on_this_machine
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.vectors.formats import write_vectors
from lastbit.verbs.vectors.random_catches import _look_up
from lastbit.verbs.vectors.rivals import of_the_accumulator, rivals_of
from lastbit.verbs.vectors.verb import caught_by, vectors
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models


@pytest.fixture(scope="module")
def small():
    model = make_dense_model(units=6, depth=20, seed=5, per_channel=True, activation="RELU6")
    return model, vectors(model, "tflm", random=300, oracle=False)


def test_labels_are_true(small):
    model, report = small
    (layer,) = report.layers
    right = prepare(model, "tflm").operators[0]
    wanted = right.evaluate([layer.x])
    assert np.array_equal(wanted["output"], layer.outputs)
    assert np.array_equal(wanted["acc"], layer.accs)
    for catch in layer.catches:
        if catch.kind == "mistake":
            found = wrong_output(right, layer.x, [catch.name])
        elif catch.kind == "runtime":
            other = for_rows(prepare_operator(model, model.operators[0], catch.name), 1)  # as in the model
            found = np.concatenate([other.evaluate([row[None]])["output"] for row in layer.x])
        else:
            continue
        assert np.flatnonzero((found != wanted["output"]).any(axis=1)).tolist() == catch.vectors, catch.name


def test_everything_that_can_be_caught_is(small):
    model, report = small
    (layer,) = report.layers
    assert len(layer.x) <= 32
    assert {c.name for c in layer.catches if c.kind == "runtime"} == {
        n for n in RUNTIMES if n != "tflm" and 0 in prepare(model, n).operators
    }
    prepared = prepare(model, "tflm").operators[0]
    assert {c.name for c in layer.catches if c.kind == "mistake"} == {m.name for m in applicable(prepared)}
    assert not [c.name for c in layer.catches if c.status == "not caught"]
    # Said to be uncatchable: then random inputs must not catch it either.
    assert not [c.name for c in layer.catches if c.status == "cannot be caught" and c.random]
    assert layer.count("caught") > 50


def test_more_is_caught_than_by_random_vectors():
    model = make_dense_model(units=8, depth=48, seed=1)
    # Three hundred random ones catch all, or all but one: that is luck, and depends on how many rivals drew before.
    (layer,) = vectors(model, "litert-xnnpack", random=50, oracle=False).layers
    solved = {c.name for c in layer.catches if c.vectors}
    drawn = {c.name for c in layer.catches if c.random}
    assert solved >= drawn
    assert solved - drawn


def test_the_same_seed_gives_the_same_vectors_and_count_is_kept():
    model = make_dense_model(units=3, depth=9)
    first, again, other = (vectors(model, random=0, oracle=False, count=5, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.layers[0].x, again.layers[0].x)
    assert not np.array_equal(first.layers[0].x, other.layers[0].x)
    assert len(first.layers[0].x) <= 5


def test_a_layer_of_depth_one_is_decided_by_every_input():
    model = make_dense_model(units=4, depth=1)
    (layer,) = vectors(model, "tflm", random=0, oracle=False).layers
    assert not [c.name for c in layer.catches if c.status == "not caught"]
    every = np.arange(-128, 128).astype(np.int8)[:, None]
    prepared = prepare(model, "tflm").operators[0]
    wanted = prepared.evaluate([every])["output"]
    for catch in layer.catches:
        if catch.kind == "mistake" and not catch.vectors and MISTAKES[catch.name].slot not in ("layout", "input"):
            assert np.array_equal(wrong_output(prepared, every, [catch.name]), wanted), catch.name


def test_files_can_be_read_back(small, tmp_path):
    model, report = small
    (layer,) = report.layers
    folder = tmp_path / "out"
    paths = write_vectors(report, str(folder))
    assert sorted(p.name for p in folder.iterdir()) == sorted(re.split(r"[\\/]", p)[-1] for p in paths)
    with np.load(folder / "op0.npz") as file:
        assert np.array_equal(file["input"], layer.x)
        assert np.array_equal(file["output"], layer.outputs)
        assert file["output"].dtype == np.int8
        about = json.loads(str(file["about"]))
    data = json.loads((folder / "op0.json").read_text())
    assert data["model_sha256"] == about["model_sha256"] == report.fingerprint["model_sha256"]
    assert data["runtime"] == "tflm"
    acc = data["arrays"]["acc"]
    assert np.array_equal(np.reshape(acc["values"], acc["shape"]), layer.accs)
    scales = [float.fromhex(text) for text in data["weights_scale"]["hex"]]
    assert scales == [float(s) for s in prepare(model, "tflm").operators[0].layer.weights_scale]
    raw = np.frombuffer((folder / "op0_acc.bin").read_bytes(), "<i4")
    assert np.array_equal(raw.reshape(layer.accs.shape), layer.accs)
    import hashlib

    for name, digest in data["sha256_of_files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    lines = (folder / "op0_output.mem").read_text().splitlines()
    values = [int(v, 16) for v in lines if not v.startswith("//")]
    assert np.array_equal(np.asarray(values, np.uint8).view(np.int8).reshape(layer.outputs.shape), layer.outputs)
    assert any(report.fingerprint["model_sha256"] in v for v in lines)
    header = (folder / "op0.h").read_text()
    listed = re.search(r"lastbit_op0_input\[\d+\] = \{([^}]*)\}", header)[1]
    assert np.array_equal([int(v) for v in listed.split(",") if v.strip()], layer.x.reshape(-1))
    assert report.fingerprint["model_sha256"] in header


def test_a_path_cannot_end_a_comment(small, tmp_path):
    from dataclasses import replace

    model, _ = small
    report = vectors(replace(model, source="a*/ int evil; /*\n\\"), "tflm", random=0, oracle=False, count=2)
    write_vectors(report, str(tmp_path), ["h", "mem"])
    header = (tmp_path / "op0.h").read_text()
    assert header.count("*/") == header.count("/*")
    assert len(header.partition("#include")[0].splitlines()) < 12  # a short header first
    assert all(
        v.startswith("//") or re.fullmatch("[0-9a-f]+", v)
        for v in (tmp_path / "op0_acc.mem").read_text().split("\n")
        if v
    )


def test_least_integers_are_written_so_that_c_takes_them():
    from lastbit.verbs.vectors.formats import _c_values

    assert _c_values(np.asarray([-(2**31), 5], np.int32)) == ["(-2147483647 - 1)", "5"]
    assert _c_values(np.asarray([-(2**63)], np.int64)) == ["(-9223372036854775807LL - 1)"]
    assert _c_values(np.asarray([-128], np.int8)) == ["-128"]


def test_folders_and_formats_are_checked_first(small, tmp_path):
    _, report = small
    with pytest.raises(InputError, match="there is no folder"):
        write_vectors(report, str(tmp_path / "a" / "b"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is a file\. Give -o the name of a folder"):
        write_vectors(report, str(tmp_path / "file"))
    with pytest.raises(InputError, match="unknown format xml"):
        write_vectors(report, str(tmp_path / "new"), ["xml"])
    assert not (tmp_path / "new").exists()


def test_command(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(make_dense_model(units=2, depth=5).content)
    out = tmp_path / "out"
    options = ("--random", "0", "--count", "4", "--no-oracle")
    result = invoke("vectors", path, "-o", out, *options, "--format", "json", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["schema"] == "lastbit.vectors/1"
    assert [p.name for p in out.iterdir()] == ["op0.json"]
    assert invoke("vectors", path, "-o", tmp_path / "x" / "y", *options).exit_code == 2
    assert invoke("vectors", path, "-o", out, "--format", "xml").exit_code == 2
    assert invoke("vectors", path).exit_code == 2


@needs_all_interpreters
def test_real_interpreters_confirm_the_outputs(tmp_path):
    model = make_dense_model(units=5, depth=30, seed=9, per_channel=True)
    for runtime in (on_this_machine("litert-xnnpack"), "tflm"):
        report = vectors(model, runtime, random=0, count=8)
        assert report.exit_code == 0
        assert report.layers[0].confirmed == report.layers[0].outputs.size > 0
        assert report.fingerprint["confirmed_by"]["version"]


@pytest.mark.parametrize(
    ("seed", "options"),
    [(0, {}), (1, {"per_channel": True}), (2, {"per_channel": True, "activation": "RELU"}), (3, {"output_scale": 0.3})],
)
@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "litert-xnnpack", "tflm"])
def test_pairs_shown_are_some_of_the_pairs_there_are(seed, options, runtime):
    model = make_dense_model(units=5 + seed, depth=9 + 4 * seed, seed=seed, **options)
    (layer,) = vectors(model, runtime, random=0, oracle=False).layers
    possible, shown = layer.pairs
    rules = len({c.what for c in layer.catches if c.kind != "mistake"})
    assert 0 < shown <= possible <= rules * (5 + seed)


def test_pairs_of_products_that_saturate_are_counted_too():
    """uint8 x int8: torch-fbgemm-avx2 has no table, so no accumulators are known at which it differs."""
    graph = dense_subgraph(
        np.random.default_rng(3).integers(-127, 128, (6, 31)),
        input_quant=quant(0.05, 120),
        weights_quant=quant(0.01),
        output_quant=quant(0.5, 100),
        input_dtype="uint8",
    )
    (layer,) = vectors(load(write(graph)), "torch-fbgemm", random=0, oracle=False).layers
    possible, shown = layer.pairs
    assert 6 <= shown <= possible


def without_dense_layers():
    """A model of one RELU."""
    model = make_dense_model()
    graph = model.subgraphs[0]
    only = Operator(0, "RELU", 1, (graph.inputs[0],), (graph.outputs[0],))
    return write(replace(graph, operators=(only,)))


def test_a_model_without_dense_layers_is_told_why_there_is_nothing(tmp_path):
    (tmp_path / "m.tflite").write_bytes(without_dense_layers())
    result = invoke("vectors", tmp_path / "m.tflite", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "it has no dense layer and no convolution. Its operators are: RELU." in " ".join(result.stdout.split())
    assert f"nothing is written to {tmp_path / 'out'}" in result.stderr
    assert not (tmp_path / "out").exists()
    data = json.loads(invoke("vectors", tmp_path / "m.tflite", "-o", tmp_path / "out", "--json").stdout)
    assert data["layers"] == []


class FakeCmsis:
    """What CMSIS-NN would print, by the layer's own rule; one output is turned where that is wanted."""

    fingerprint = Fingerprint("CMSIS-NN", "library with SHA-256 0123456789abcdef", "plain C", "a CPU", "a system")

    def __init__(self, wrong=0):
        self.wrong = wrong

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("wrong", "code"), [(0, 0), (1, 1)])
def test_a_library_is_asked_and_named(tmp_path, monkeypatch, wrong, code):
    model = make_dense_model(units=3, depth=8)
    (tmp_path / "m.tflite").write_bytes(model.content)
    (tmp_path / "cmsis.so").write_bytes(b"a library")
    module, asked = sys.modules["lastbit.verbs.vectors.verb"], []

    def opened(runtime, *, library=None):
        asked.append((runtime.name, str(library)))
        return FakeCmsis(wrong)

    def printed(oracle, model, layer, rows, at_once):
        out = lastbit.run(model, rows, "cmsis-nn").output.copy()
        out.reshape(-1)[: oracle.wrong] ^= 1
        return out

    monkeypatch.setattr(module, "open_oracle", opened)
    monkeypatch.setattr(module, "rows_in_oracle", printed)
    options = ("--runtime", "cmsis-nn", "--library", tmp_path / "cmsis.so", "--random", "0", "--count", "5")
    result = invoke("vectors", tmp_path / "m.tflite", "-o", tmp_path / "out", *options)
    assert result.exit_code == code, result.output
    assert asked == [("cmsis-nn", str(tmp_path / "cmsis.so"))]
    named = "CMSIS-NN library with SHA-256 0123456789abcdef (plain C)"
    if wrong:
        assert f"{named} prints something else for 1 of" in " ".join(result.stdout.split())
        assert not (tmp_path / "out").exists()
    else:
        assert f"outputs confirmed by {named}." in " ".join(result.stdout.split())
        header = (tmp_path / "out" / "op0.h").read_text()
        assert "outputs confirmed by CMSIS-NN library with SHA-256 0123456789abcdef" in header
    tflm = invoke("vectors", tmp_path / "m.tflite", "-o", tmp_path / "out", *options[2:4], "--runtime", "tflm")
    assert tflm.exit_code == 2
    assert "tflm needs none; leave it out" in tflm.stderr


def test_without_the_library_the_vectors_say_that_nothing_confirmed_them():
    report = vectors(make_dense_model(units=2, depth=5), "cmsis-nn", random=0, count=3)
    assert report.exit_code == 0
    assert "not confirmed by the real interpreter: no library of it was given (docs/cmsis_nn.md)." in str(report)
    assert report.as_dict()["unconfirmed"]


@pytest.mark.parametrize(("runtime", "per_channel"), [("tflm", False), ("tflm", True), ("litert-builtin-x86", True)])
def test_multiplier_and_shift_are_memories_too(tmp_path, runtime, per_channel):
    model = make_dense_model(units=4, depth=6, per_channel=per_channel)
    report = vectors(model, runtime, random=0, count=3, oracle=False)
    write_vectors(report, str(tmp_path / "out"), ["mem"])
    params = prepare(model, runtime).operators[0].requant
    for key, wanted in (("multiplier", params.multiplier), ("shift", params.shift)):
        lines = (tmp_path / "out" / f"op0_{key}.mem").read_text().splitlines()
        bits = np.asarray([int(line, 16) for line in lines if not line.startswith("//")], np.uint32)
        assert np.array_equal(bits.view(np.int32), wanted)


def read_memory(path, kind=np.int32):
    lines = path.read_text().splitlines()
    return np.asarray([int(line, 16) for line in lines if not line.startswith("//")], np.uint32).view(kind)


@pytest.mark.parametrize("runtime", ["tflm", "litert-xnnpack", "litert-reference"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_memories_are_enough_to_calculate_a_layer_whatever_its_rule(tmp_path, runtime, per_channel):
    """Sums from input, weights, bias and zero points; outputs by counting thresholds."""
    model = make_dense_model(units=4, depth=6, per_channel=per_channel)
    report = vectors(model, runtime, random=0, count=5, oracle=False)
    write_vectors(report, str(tmp_path / "out"), ["mem"])
    (layer,) = report.layers
    parameters = tmp_path / "out" / "op0_parameters.mem"
    (names,) = re.findall(r"parameters \((.*)\)", parameters.read_text())
    number = dict(zip(names.split(", "), read_memory(parameters).tolist(), strict=True))
    x, weights = (
        read_memory(tmp_path / "out" / f"op0_{key}.mem").astype(np.uint8).view(np.int8).astype(int)
        for key in ("input", "weights")
    )
    bias = read_memory(tmp_path / "out" / "op0_bias.mem")
    acc = (x.reshape(-1, 6) - number["input_zero_point"]) @ (
        weights.reshape(4, 6) - number["weights_zero_point"]
    ).T + bias
    steps = read_memory(tmp_path / "out" / "op0_thresholds.mem")
    steps = steps.reshape(-1, number["activation_max"] - number["activation_min"])
    assert len(steps) == (4 if per_channel else 1)
    outputs = number["activation_min"] + (acc[..., None] >= steps[None]).sum(axis=-1)
    np.testing.assert_array_equal(outputs, layer.outputs)


def test_float_layers_are_listed():
    graph = dense_subgraph(
        np.ones((2, 3), np.float32),
        input_quant=None,
        weights_quant=None,
        output_quant=None,
        input_dtype="float32",
        weights_dtype="float32",
        bias_dtype="float32",
    )
    report = vectors(load(write(graph)), oracle=False)
    assert report.exit_code == 3
    assert report.layers[0].refusal
    assert "Without vectors" in str(report)
    assert "No vectors: none of its 1 layer has any; see why." in str(report)


@pytest.mark.parametrize("runtime", ["tflm", "litert-reference", "litert-xnnpack"])
def test_what_cannot_be_caught_is_caught_by_no_input_at_all(runtime):
    """Depth 1: all 256 inputs are run, so every reason can be checked, whatever it was concluded from."""
    for seed in range(3):
        model = make_dense_model(units=6, depth=1, seed=seed, output_scale=0.3, activation="RELU6")
        (layer,) = vectors(model, runtime, random=0, oracle=False).layers
        prepared = prepare(model, runtime).operators[0]
        every = np.arange(-128, 128).astype(np.int8)[:, None]
        wanted = prepared.evaluate([every])["output"]
        unable = [c.name for c in layer.catches if c.kind == "mistake" and c.status == "cannot be caught"]
        assert unable
        for name in unable:
            assert np.array_equal(wrong_output(prepared, every, [name]), wanted), name


def test_reasons_that_need_no_trial():
    """Even weights cannot make a sum leave 16 bits when there are few; the same claims hold on random inputs."""
    model = make_dense_model(units=4, depth=3, seed=2)
    (layer,) = vectors(model, "litert-reference", random=4000, oracle=False).layers
    reasons = {c.name: c.equal for c in layer.catches}
    assert reasons["sum_saturates_int16"] == reasons["sum_wraps_int16"] != ""
    assert not [c.name for c in layer.catches if c.equal and c.random]


@needs_shared_models
def test_every_rival_of_an_int16_layer_is_decided():
    (layer,) = vectors(MODELS / "adi_dtln_int16_1.tflite", "tflm", op=36, random=0, oracle=False).layers
    assert len(layer.x) <= 32
    assert not [c.name for c in layer.catches if c.status == "not caught"]
    assert {c.name: c.equal for c in layer.catches}["sum_wraps_int32"]


@pytest.mark.parametrize("per_channel", [False, True])
def test_random_vectors_looked_up_are_those_that_are_run(per_channel):
    model = make_dense_model(units=5, depth=12, seed=4, per_channel=per_channel, output_scale=2.0**-6)
    tables = LayerTables(prepare(model, "litert-builtin-x86").operators[0])
    found = rivals_of(model, tables, "litert-builtin-x86", np.random.default_rng(0))
    rivals = [r for r in found if r.mistake is None or of_the_accumulator(r.mistake)]
    # What saturates on the way to the accumulator is no function of it.
    rivals = [r for r in rivals if r.prepared is None or r.prepared.pairs is None]
    count, hits = 3000, []
    for first in range(0, len(rivals), 64):
        hits += _look_up(tables, rivals[first : first + 64], count, np.random.default_rng(1))
    run = caught_by(tables.prepared, rivals, random_rows(tables.layer, count, np.random.default_rng(1))).sum(axis=0)
    assert dict(zip((r.name for r in rivals), hits, strict=True)) == {
        r.name: int(n) for r, n in zip(rivals, run, strict=True)
    }
    assert 0 < min(n for n in hits if n) < 30


def test_rare_catches_are_counted_on_more_random_vectors():
    model = make_dense_model(units=5, depth=12, seed=4)
    (layer,) = vectors(model, "litert-builtin-x86", random=20_000, oracle=False).layers
    tried = {c.tried for c in layer.catches}
    assert tried == {4096, 20_000}
    assert all(c.random <= c.tried for c in layer.catches)
    assert not [c.name for c in layer.catches if c.equal and c.random]
