"""Neighbouring products added in 16 bits: golden outputs of a CPU without VNNI, a slow twin, and every verb."""

import importlib.util
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastbit
from lab.cases import dense_pairs
from lastbit.engines.jit.matmul import available
from lastbit.engines.plan import ChainStep, OperatorStep
from lastbit.layers.mistakes import applicable, wrong_output
from lastbit.layers.running import accumulators
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import installed
from lastbit.rules.sums.pairs16 import overflowing_pairs
from lastbit.runtimes import RUNTIMES
from tests.support.places import GOLDEN

NAMES = ("onnxruntime-avx2", "torch-fbgemm-avx2")
LISTING = json.loads((GOLDEN / "dense_pairs.json").read_text())
GROUPS = sorted({case["group"] for case in LISTING["cases"]})
MODULES = {"onnxruntime-avx2": ("onnxruntime", "onnx"), "torch-fbgemm-avx2": ("torch",)}


def golden(group):
    """(model, input, runtime -> output) of each case of a group."""
    with np.load(GOLDEN / "dense_pairs.npz") as stored:
        for number, case in enumerate(LISTING["cases"]):
            if case["group"] == group:
                outputs = {name: stored[f"{number}.{name}"] for name in NAMES}
                yield load(stored[f"{number}.model"].tobytes()), stored[f"{number}.x"], outputs


def layer(weights, *, zx=3, zw=0, scale=0.004, input_dtype="int8", weights_dtype="int8", bias=None, sy=0.9):
    graph = dense_subgraph(
        np.asarray(weights),
        input_quant=quant(0.03, zx),
        weights_quant=quant(scale, zw),
        output_quant=quant(sy, 5),
        bias=bias,
        input_dtype=input_dtype,
        weights_dtype=weights_dtype,
    )
    return load(write(graph))


def saturating_layer(units=6, depth=9):
    rng = np.random.default_rng(16)
    weights = rng.integers(90, 128, (units, depth)) * rng.choice([1, -1], (units, 1))
    return layer(weights.astype(np.int8), bias=rng.integers(-900, 900, units))


HIGH = np.full((4, 9), 127, np.int8)


def prepared(model, name):
    return prepare_operator(model, model.operators[0], name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("group", GROUPS)
def test_equals_the_recorded_runtime(group, name):
    compared = saturated = 0
    for model, x, outputs in golden(group):
        trace = prepared(model, name).evaluate([x])
        np.testing.assert_array_equal(trace["output"], outputs[name])
        compared += outputs[name].size
        saturated += int((trace["saturated_pairs"] > 0).sum()) if "saturated_pairs" in trace else 0
    assert compared > 1000
    # ONNX Runtime adds int8 x int8 and uint8 x uint8 in 32 bits.
    assert (saturated > 300) == (name.startswith("torch") or "x int8" in group)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("group", GROUPS)
def test_kill_matrix_no_other_sum_prints_what_was_recorded(group, name):
    alive = None
    for model, x, outputs in golden(group):
        own = prepared(model, name)
        rivals = dense_pairs.rivals(model, model.operators[0])
        plain = own.rule.removesuffix("/pairs")
        wanted = {n for n in rivals if n.startswith("sum: ")} | {plain, f"{plain}/pairs"}
        alive = wanted - {own.rule} if alive is None else alive
        alive = {n for n in alive if np.array_equal(rivals[n].evaluate([x])["output"], outputs[name])}
        if not alive:
            break
    assert not alive


def test_the_golden_set_says_what_it_was_recorded_with():
    for name in NAMES:
        fingerprint = LISTING["fingerprints"][name]
        assert "avx2" in fingerprint["cpu"]
        assert "vnni" not in fingerprint["cpu"]
        assert f"{fingerprint['oracle']} {fingerprint['version'].partition('+')[0]}," in RUNTIMES[name].oracle


byte = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 129, 254, 255]))
signed = st.one_of(st.integers(-128, 127), st.sampled_from([-128, -127, -65, -64, 64, 65, 127]))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 9), st.data(), st.booleans(), st.booleans())
def test_the_slow_twin_agrees(depth, data, int8_inputs, uint8_weights):
    """Python integers, pair by pair, on what the kernel gets; then zero points and bias."""
    x = [data.draw(st.lists(byte, min_size=depth, max_size=depth)) for _ in range(2)]
    w = [data.draw(st.lists(signed, min_size=depth, max_size=depth)) for _ in range(3)]
    up, down = 128 * int8_inputs, 128 * uint8_weights
    zx, zw = data.draw(byte), 0 if not uint8_weights else data.draw(signed)
    model = layer(
        (np.asarray(w) + down).astype(np.uint8 if uint8_weights else np.int8),
        zx=zx - up,
        zw=zw + down,
        input_dtype="int8" if int8_inputs else "uint8",
        weights_dtype="uint8" if uint8_weights else "int8",
        bias=np.asarray([7, -9, 0]),
    )
    if int8_inputs and uint8_weights:
        return  # no such layer
    own = prepared(model, "torch-fbgemm-avx2")
    given_x = (np.asarray(x) - up).astype(np.int8 if int8_inputs else np.uint8)
    found = own.evaluate([given_x])
    for n, unit in itertools.product(range(2), range(3)):
        total, changed = 0, 0
        for k in range(0, depth, 2):
            pair = sum(a * b for a, b in zip(x[n][k : k + 2], w[unit][k : k + 2], strict=True))
            kept = max(-32768, min(32767, pair))
            total, changed = total + kept, changed + (kept != pair)
        total += depth * zx * zw - zx * sum(w[unit]) - zw * sum(x[n]) + (7, -9, 0)[unit]
        assert found["acc"][n, unit] == total
        if own.pairs is not None:
            assert found["saturated_pairs"][n, unit] == changed
            assert accumulators(own, given_x)[n, unit] == total
        else:
            assert not changed


def test_which_layers_can_saturate():
    def can(*weights):
        return overflowing_pairs(np.asarray([weights]), 0, 0) is not None

    assert not can(64, 64)  # 255 * 128 = 32640
    assert can(64, 65)
    assert not can(-64, -64)
    assert can(-64, -65)
    assert not can(127, -128)
    assert not can(1, 127, 127)  # the last has no neighbour: 127 and 1, then 127 alone
    assert can(127, 127, 1)


@pytest.mark.parametrize(
    "engine", ["numpy", pytest.param("jit", marks=pytest.mark.skipif(not available(), reason="-"))]
)
@pytest.mark.parametrize("name", [*NAMES, "onnxruntime", "torch-fbgemm"])
def test_fast_engines_are_the_reference(engine, name, rng):
    for kind, weights_kind in (("int8", "int8"), ("uint8", "uint8"), ("uint8", "int8")):
        info, given_x = np.iinfo(weights_kind), np.iinfo(kind)
        x = rng.integers(given_x.min, given_x.max + 1, (40, 19)).astype(kind)
        for narrow in (False, True):
            w = rng.integers(info.min, info.max + 1, (11, 19))
            w = w // 2 if narrow and weights_kind == "int8" else w
            zw = 0 if weights_kind == "int8" and kind == "int8" else 60
            model = layer(w.astype(weights_kind), zx=99, zw=zw, input_dtype=kind, weights_dtype=weights_kind)
            steps = lastbit.build(model, name, engine=engine).steps
            saturates = prepared(model, name).pairs is not None
            assert all(isinstance(step, OperatorStep if saturates else ChainStep) for step in steps)
            found = lastbit.run(model, x, name, engine=engine).output
            np.testing.assert_array_equal(found, lastbit.run(model, x, name).output)


def test_runtimes_differ_only_where_a_pair_saturates(rng):
    model = saturating_layer()
    x = rng.integers(-128, 128, (300, 9)).astype(np.int8)
    ours = prepared(model, "torch-fbgemm-avx2").evaluate([x])
    there = prepared(model, "torch-fbgemm").evaluate([x])
    lost = ours["saturated_pairs"] > 0
    assert lost.any()
    np.testing.assert_array_equal(ours["acc"] != there["acc"], lost)
    np.testing.assert_array_equal(ours["acc"] - there["acc"], ours["lost_to_saturation"])


def test_explain_shows_the_pairs_and_by_how_much_the_accumulator_is_off():
    model = saturating_layer()
    report = lastbit.explain(model, HIGH, runtime="torch-fbgemm-avx2", at=(0, 0))
    data = report.as_dict()["accumulation"]
    assert len(data["saturated_pairs"]) == 4
    first = data["saturated_pairs"][0]
    assert first["total"] == 255 * sum(first["w"])
    assert first["kept"] == (32767 if first["total"] > 0 else -32768)
    assert data["acc"] == data["total"] + data["lost_to_saturation"]
    assert not data["wrapped"]
    text = " ".join(str(report).split())
    assert "4 of 4 such sums do not fit and saturate" in text
    assert f"{data['lost_to_saturation']:+} off the exact sum" in text
    assert f"= {first['total']}, kept as {first['kept']}" in text
    assert f"+ saturation 4 saturated pairs {data['lost_to_saturation']}" in text
    assert "saturate}_{16}" in report.latex()
    # From the other side: the runtime with VNNI names the cause.
    other = lastbit.explain(model, HIGH, runtime="torch-fbgemm", at=(0, 0))
    assert "neighbouring products are added in 16 bits there, and 4 such sums saturate" in " ".join(str(other).split())
    calm = lastbit.explain(model, np.full((1, 9), -128, np.int8), runtime="torch-fbgemm-avx2")
    assert "All 4 sums of two fit here" in " ".join(str(calm).split())


def test_inspect_warns_where_pairs_can_saturate_and_nowhere_else():
    def notes(model):
        return [n for n in prepared(model, "torch-fbgemm-avx2").notes if "16 bits" in n]

    (note,) = notes(saturating_layer())
    assert "6 of 6 units" in note
    assert "reduce_range" in note
    assert not notes(layer(np.full((3, 4), 64, np.int8)))
    assert "adds neighbouring products in 16 bits" in " ".join(str(lastbit.inspect(saturating_layer())).split())


def test_verbs_that_conclude_from_the_accumulators_range_refuse_or_try_inputs():
    model, calm = saturating_layer(), layer(np.full((3, 4), 60, np.int8), bias=np.asarray([1, 2, 3]))
    for verb in (lastbit.thresholds, lastbit.vectors):
        assert "saturate in 16 bits" in str(verb(model, "torch-fbgemm-avx2")), verb
        assert "saturate in 16 bits" not in str(verb(calm, "torch-fbgemm-avx2")), verb
    compared = lastbit.compare(model, "torch-fbgemm", "torch-fbgemm-avx2")
    (found,) = compared.layers
    assert found.status == "differs"
    witness = found.witness
    outputs = [prepared(model, name).evaluate([witness.x[None]])["output"] for name in ("torch-fbgemm", NAMES[1])]
    assert [int(y[0, witness.unit]) for y in outputs] == [witness.first, witness.second]
    assert lastbit.compare(calm, "torch-fbgemm", "torch-fbgemm-avx2").layers[0].status == "same"


def test_diagnose_knows_the_runtime_and_the_mistake(rng):
    model = saturating_layer()
    x = rng.integers(-128, 128, (64, 9)).astype(np.int8)
    own = prepared(model, "torch-fbgemm-avx2")
    assert lastbit.diagnose(model, x, own.evaluate([x])["output"], runtime="torch-fbgemm-avx2").verdict == "right"
    wrong = wrong_output(own, x, ["bias_missing"])
    found = lastbit.diagnose(model, x, wrong, runtime="torch-fbgemm-avx2")
    assert found.explanation is not None
    assert found.explanation.mistakes == ("bias_missing",)
    names = [mistake.name for mistake in applicable(prepared(model, "litert-reference"))]
    assert "product_pairs_saturate_int16" in names
    assert "product_pairs_saturate_int16" not in [mistake.name for mistake in applicable(own)]
    wrong = wrong_output(prepared(model, "litert-reference"), x, ["product_pairs_saturate_int16"])
    found = lastbit.diagnose(model, x, wrong, runtime="litert-reference")
    assert "product_pairs_saturate_int16" in str(found) or "torch-fbgemm-avx2" in str(found)


@pytest.mark.parametrize("name", NAMES)
def test_verify_against_the_real_runtime_on_a_cpu_without_vnni(name):
    if not all(importlib.util.find_spec(module) for module in MODULES[name]) or installed(name) is None:
        pytest.skip(f"needs {' and '.join(MODULES[name])} and a CPU without VNNI")
    rng = np.random.default_rng(4)
    weights = rng.integers(-128, 128, (12, 40)).astype(np.int8)
    model = layer(weights, zx=120, zw=4, input_dtype="uint8", sy=0.5, scale=0.01, bias=rng.integers(-99, 99, 12))
    result = lastbit.verify(model, [name], samples=64)
    assert result.exit_code == 0, str(result)
    assert prepared(model, name).pairs is not None
