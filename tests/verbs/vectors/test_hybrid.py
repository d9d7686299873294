"""Golden vectors of hybrid layers: each label is checked by calculating row by row, and every format is read back."""

import json
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lastbit import load
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import on_this_machine
from lastbit.runtimes import RUNTIMES, get_runtime
from lastbit.verbs.prove.verb import prove
from lastbit.verbs.thresholds.verb import thresholds
from lastbit.verbs.vectors.formats import write_vectors
from lastbit.verbs.vectors.hybrid_rivals import function_of, hybrid_rivals
from lastbit.verbs.vectors.verb import vectors
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

RULES = ("litert-xnnpack", "litert-xnnpack-avx2", "litert-builtin-x86", "litert-reference")
AUTOENCODER = MODELS / "mlt_toycar_quant_v01bench.tflite"


def make_hybrid(units=5, depth=37, *, dtype="int8", bias=True, shape=None, seed=0, **options):
    rng = np.random.default_rng(seed)
    limit = 7 if dtype == "int4" else 127
    graph = dense_subgraph(
        rng.integers(-limit, limit + 1, (units, depth)).astype(np.int8),
        input_quant=None,
        weights_quant=quant(rng.uniform(0.001, 0.02, units)),
        output_quant=None,
        bias=rng.normal(size=units).astype(np.float32) if bias else None,
        input_shape=shape or (1, depth),
        input_dtype="float32",
        weights_dtype=dtype,
        bias_dtype="float32",
        **options,
    )
    return load(write(graph))


def alone(prepared, rows):
    """Each row as an input of its own: the outputs `[n, out]`, as bits."""
    found = [prepared.evaluate([row[None]])["output"].reshape(-1) for row in rows]
    return bits(np.stack(found))


def bits(values):
    return np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)


@pytest.fixture(scope="module")
def small():
    model = make_hybrid()
    return model, vectors(model, "litert-xnnpack", random=200, oracle=False)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("runtime", RULES)
def test_labels_are_true_and_every_rule_is_caught(runtime, asymmetric, dtype):
    depth = 64 if dtype == "int4" else 37  # 64: the 4-bit kernel takes it
    model = make_hybrid(depth=depth, dtype=dtype, asymmetric_quantize_inputs=asymmetric)
    report = vectors(model, runtime, random=20, oracle=False)
    assert report.exit_code == 0
    (layer,) = report.layers
    right = prepare_operator(model, model.operators[0], get_runtime(runtime))
    wanted = alone(right, layer.x)
    assert np.array_equal(wanted, bits(layer.outputs))
    assert 0 < len(layer.x) <= 32
    rivals = {r.name: r.prepared for r in hybrid_rivals(model, right, runtime)}
    assert list(rivals) == [c.name for c in layer.catches]
    for catch in layer.catches:
        found = np.flatnonzero((alone(rivals[catch.name], layer.x) != wanted).any(axis=1))
        assert found.tolist() == catch.vectors, catch.name
        if catch.kind == "runtime":  # its rule is another one, or is said to be the same function
            assert bool(catch.equal) == (function_of(rivals[catch.name]) == function_of(right))
            assert catch.status != "not caught", catch.name
        assert not (catch.equal and catch.random)
    missed = {c.name for c in layer.catches if c.status == "not caught"}
    assert not missed, missed


def test_rivals_are_every_other_runtime_that_takes_the_layer(small):
    model, report = small
    (layer,) = report.layers
    takes = set()
    for name, runtime in RUNTIMES.items():
        try:
            prepare_operator(model, model.operators[0], runtime)
        except UnsupportedError:
            continue
        takes.add(name)
    assert {c.name for c in layer.catches if c.kind == "runtime"} == takes - {"litert-xnnpack"}
    names = {c.name for c in layer.catches if c.kind == "mistake"}
    assert names == {
        "rows_symmetric", "rows_half_away", "rows_truncated", "unfused", "scales_first", "float64", "bias_int32",
    }  # fmt: skip
    (without,) = vectors(make_hybrid(bias=False), random=0, oracle=False).layers
    assert "bias_int32" not in {c.name for c in without.catches}


def test_the_mistakes_are_what_they_are_called():
    """One ordinary row, by fractions."""
    model = make_hybrid(units=3, depth=6)
    right = prepare_operator(model, model.operators[0], get_runtime("litert-xnnpack"))
    wrong = {r.name: r.prepared for r in hybrid_rivals(model, right, "litert-xnnpack") if r.kind == "mistake"}
    row = np.random.default_rng(3).normal(size=(1, 6)).astype(np.float32)
    steps = right.evaluate([row])
    scale, acc = Fraction(float(steps["input_scale"][0])), steps["acc"][0].tolist()
    for unit, (weight, bias) in enumerate(zip(right.weights_scale, right.bias, strict=True)):
        s, b = Fraction(float(weight)), Fraction(float(bias))
        product, both = Fraction(float(np.float32(acc[unit]) * steps["input_scale"][0])), np.float32(weight)
        assert wrong["float64"].evaluate([row])["output"][0, unit] == np.float32(float(acc[unit] * scale * s + b))
        assert wrong["unfused"].evaluate([row])["output"][0, unit] == np.float32(float(product)) * both + bias
        s_both = Fraction(float(weight * steps["input_scale"][0]))
        assert wrong["scales_first"].evaluate([row])["output"][0, unit] == np.float32(float(acc[unit] * s_both + b))
        whole = acc[unit] + round(b / s_both)
        assert wrong["bias_int32"].evaluate([row])["output"][0, unit] == np.float32(float(whole * s_both))
    assert wrong["rows_symmetric"].evaluate([row])["input_zero_point"].tolist() == [0]
    ties = np.float32([[-128, 127, 0.5, 2.5, -0.5, -1.5]])
    assert right.evaluate([ties])["quantized_input"].tolist() == [[-128, 127, 0, 2, 0, -2]]
    assert wrong["rows_half_away"].evaluate([ties])["quantized_input"].tolist() == [[-128, 127, 1, 3, -1, -2]]
    assert wrong["rows_truncated"].evaluate([ties])["quantized_input"].tolist() == [[-128, 127, 0, 2, 0, -1]]


def test_files_can_be_read_back(small, tmp_path):
    model, report = small
    (layer,) = report.layers
    write_vectors(report, str(tmp_path))
    right = prepare_operator(model, model.operators[0], get_runtime("litert-xnnpack"))
    with np.load(tmp_path / "op0.npz") as file:
        arrays = {key: file[key] for key in file.files if key != "about"}
    assert set(arrays) == {
        "input", "input_scale", "input_zero_point", "quantized_input", "weights", "bias", "acc", "output",
    }  # fmt: skip
    for at, row in enumerate(layer.x):
        steps = right.evaluate([row[None]])
        for key in ("input_scale", "input_zero_point", "quantized_input", "acc", "output"):
            assert np.array_equal(steps[key][0], arrays[key][at], equal_nan=steps[key].dtype.kind == "f"), key
    data = json.loads((tmp_path / "op0.json").read_text())
    header = (tmp_path / "op0.h").read_text()
    for key, array in arrays.items():
        plain = data["arrays"][key]
        values = [float.fromhex(v) for v in plain["values"]] if array.dtype.kind == "f" else plain["values"]
        assert np.array_equal(bits(np.asarray(values, np.float32)), bits(array.reshape(-1).astype(np.float32))), key
        raw = np.frombuffer((tmp_path / f"op0_{key}.bin").read_bytes(), array.dtype)
        assert raw.tobytes() == array.tobytes()
        lines = (tmp_path / f"op0_{key}.mem").read_text().splitlines()
        unsigned = np.dtype(f"u{array.dtype.itemsize}")
        memory = np.asarray([int(v, 16) for v in lines if not v.startswith("//")], unsigned)
        assert memory.tobytes() == array.tobytes()
        listed = re.search(rf"lastbit_op0_{key}\[\d+\] = \{{([^}}]*)\}}", header)[1].split(",")
        texts = [re.sub(r"/\*.*?\*/", "", v).strip() for v in listed if v.strip()]
        if array.dtype.kind == "f":
            found = [float(v.lower() if v.isupper() else v.removesuffix("f")) for v in texts]
            assert np.array_equal(bits(np.asarray(found, np.float32)), bits(array.reshape(-1)))
    assert np.isinf(arrays["input_scale"]).any()  # a row whose range overflows: C needs math.h
    assert "#include <math.h>" in header


def test_rows_of_zeros_are_inputs_of_their_own_even_where_an_input_has_many_rows():
    """The short cut for zeros looks at the whole input: a row beside others must not change a vector."""
    one, many = (vectors(make_hybrid(shape=s), "litert-reference", random=0, oracle=False) for s in ((1, 37), (4, 37)))
    assert np.array_equal(one.layers[0].outputs, many.layers[0].outputs)


def test_what_no_candidate_catches_is_not_said_to_be_uncatchable(small):
    _, report = small
    (layer,) = report.layers
    catches = [replace(c, vectors=[], candidate=False) if c.name == "float64" else c for c in layer.catches]
    assert f"not caught by any of {layer.candidates} candidates" in str(replace_layer(report, catches=catches))


def test_too_few_vectors_are_not_said_to_be_all_that_candidates_show():
    report = vectors(make_hybrid(), "litert-xnnpack", random=0, oracle=False, count=1)
    left = [c for c in report.layers[0].catches if not c.vectors and not c.equal]
    assert left
    assert all(c.candidate and c.status == "not caught" for c in left)
    assert "the number of vectors left out" in str(report)
    assert "not caught by any" not in str(report)


def replace_layer(report, **changes):
    made = object.__new__(type(report))
    made.__dict__ |= vars(report) | {"layers": (replace(report.layers[0], **changes),)}
    return made


def test_seed_count_and_no_random_vectors():
    model = make_hybrid()
    first, again, other = (vectors(model, random=0, oracle=False, count=3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.layers[0].x, again.layers[0].x)
    assert not np.array_equal(first.layers[0].x, other.layers[0].x)
    assert len(first.layers[0].x) == 3
    assert {c.random for c in first.layers[0].catches} == {None}
    assert first.runtime.name == on_this_machine("litert-xnnpack")


def test_depth_one():
    (layer,) = vectors(make_hybrid(units=1, depth=1), "litert-builtin-x86", random=5, oracle=False).layers
    assert len(layer.x)
    assert layer.count("caught") > 4


@needs_all_interpreters
@pytest.mark.parametrize("shape", [(1, 37), (3, 37), (1, 2, 37)])
def test_real_interpreters_confirm_the_outputs(shape, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(make_hybrid(shape=shape).content)
    for runtime in ("auto", "litert-builtin-x86", "litert-reference"):
        report = vectors(path, runtime, random=0)
        (layer,) = report.layers
        assert layer.confirmed == layer.outputs.size > 0
        assert (layer.mismatches, layer.oracle_failure, report.exit_code) == (0, "", 0)
    # The default runtime's own outputs do not pass for another's.
    wrong = vectors(path, "litert-reference", random=0, oracle=False).layers[0]
    assert not np.array_equal(bits(wrong.outputs), alone(_default(path), wrong.x))


def _default(path):
    model = load(path)
    return prepare_operator(model, model.operators[0], get_runtime(on_this_machine("litert-xnnpack")))


@needs_shared_models
def test_command_on_a_published_model_and_what_the_other_verbs_say(tmp_path):
    out = tmp_path / "out"
    result = invoke("vectors", AUTOENCODER, "--op", "4", "-o", out, "--no-oracle", "--random", "50")
    assert result.exit_code == 0, result.output
    assert (out / "op4.h").exists()
    assert thresholds(AUTOENCODER).exit_code == 3
    assert "not an integer with a finite number of steps" in str(thresholds(AUTOENCODER))


@needs_shared_models
@needs_all_interpreters
def test_prove_keeps_refusing():
    report = prove(AUTOENCODER, op=4)
    assert report.exit_code == 3
