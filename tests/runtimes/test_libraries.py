"""CMSIS-NN, ONNX Runtime and PyTorch's fbgemm: golden files, slow twins, refusals, and the real ones where they are."""

import importlib.util
import io
import itertools
import json
from functools import cache

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError, OracleMissingError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import INT8
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import ORACLES, installed, on_this_machine, open_oracle
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.table import EIGHT_BIT as EVERY_RULE
from lastbit.rules.requantize.table import INT16 as EVERY_RULE_INT16
from lastbit.rules.requantize.vector import requantize
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.explain.verb import explain
from tests.support.models import make_dense_model
from tests.support.places import GOLDEN, MODELS, needs_shared_models

NAMES = ("cmsis-nn", "cmsis-nn-single-rounding", "onnxruntime", "torch-fbgemm")
DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnx"), "torch-fbgemm": ("torch",)}
LISTING = json.loads((GOLDEN / "dense_other_runtimes.json").read_text())
CASES = LISTING["cases"]
GROUPS = sorted({case["group"] for case in CASES})

OTHER_RULES = (
    "q31-single_wrap-half_up/dd",
    "float32-clip-half_even",
    "float32-bias_fused-half_even",
    "float32-bias_by_reciprocal-half_even",
    "float32-bias_by_division-half_even",
)
OTHER_RULES_INT16 = ("q15_wrap-half_up/dd",)


def live(name):
    there = all(importlib.util.find_spec(module) for module in DISTRIBUTIONS[name])
    marks = [pytest.mark.skipif(not there, reason=f"needs {' and '.join(DISTRIBUTIONS[name])}")]
    return pytest.param(name, marks=marks)


@cache
def golden():
    """For each case: its model, its inputs, and each runtime's outputs, cut out of one run of bytes each."""
    with np.load(GOLDEN / "dense_other_runtimes.npz") as file:
        streams = {name: io.BytesIO(file[name].tobytes()) for name in file.files}

    def cut(name, shape, dtype):
        return np.frombuffer(streams[name].read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)

    found = []
    for case in CASES:
        model = load(streams["models"].read(case["model_bytes"]))
        (x,), (y,) = model.inputs, model.outputs
        inputs = cut("x", (case["samples"], *x.shape), x.dtype.numpy)
        there = [name for name in NAMES if name not in case["refused"]]
        outputs = {name: cut(name, (case["samples"], *y.shape), y.dtype.numpy) for name in there}
        found.append((model, inputs, outputs))
    assert not any(stream.read() for stream in streams.values())
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("group", GROUPS)
def test_equals_the_recorded_runtime(group, name):
    compared = 0
    for number, case in enumerate(CASES):
        if case["group"] != group:
            continue
        model, inputs, outputs = golden()[number]
        if name in case["refused"]:
            with pytest.raises(UnsupportedError):
                prepare_operator(model, model.operators[0], name)
            continue
        prepared = prepare_operator(model, model.operators[0], name)
        for x, wanted in zip(inputs, outputs[name], strict=True):
            np.testing.assert_array_equal(prepared.evaluate([x])["output"], wanted, err_msg=f"case {number}: {case}")
            compared += wanted.size
    taken = not group.startswith("uint8" if name.startswith("cmsis") else "int16")
    assert (compared > 400) == taken


def test_the_golden_set_says_what_it_was_recorded_with():
    assert set(LISTING["fingerprints"]) == set(NAMES)
    for name, fingerprint in LISTING["fingerprints"].items():
        assert fingerprint["version"]
        assert "avx512_vnni" in fingerprint["cpu"]  # without it, uint8 x int8 products may saturate
        assert f"{fingerprint['oracle']} {fingerprint['version'].partition('+')[0]}," in RUNTIMES[name].oracle
        assert name in DISTRIBUTIONS or "gcc" in fingerprint["build"]
    assert len({case["family"] for case in CASES}) >= 15


@pytest.mark.parametrize("group", GROUPS)
def test_kill_matrix_every_rule_of_these_runtimes_is_separated_from_every_other_rule(group):
    own = {rule.name for name in NAMES for rule in RUNTIMES[name].rules.values() if isinstance(rule, Rule)}
    assert {*OTHER_RULES, *OTHER_RULES_INT16} - own == {"float32-bias_by_reciprocal-half_even"}  # a rival only
    rules = EVERY_RULE_INT16 if group.startswith("int16") else EVERY_RULE
    if group.startswith("int16"):
        own = set(OTHER_RULES_INT16)
    alive = {pair for pair in itertools.combinations(rules, 2) if own & set(pair)}
    for number, case in enumerate(CASES):
        if case["group"] != group or not alive:
            continue
        model, inputs, _ = golden()[number]
        outputs = {}
        for name in {name for pair in alive for name in pair}:
            rule = prepare_fully_connected(model, model.operators[0], name)
            outputs[name] = np.stack([rule.evaluate([x])["output"] for x in inputs])
        alive = {(a, b) for a, b in alive if np.array_equal(outputs[a], outputs[b])}
    assert not alive


def test_ties_and_overflow_of_each_rule_by_hand():
    def outputs(name, accs, weights_scale=0.25, zy=0, activation="NONE"):
        params = prepare_requantize(
            EVERY_RULE[name],
            input_scale=np.float32(1),
            weights_scale=np.asarray([weights_scale], np.float32),
            output_scale=np.float32(1),
            output_zero_point=zy,
            activation=activation,
            dtype=INT8,
        )
        return requantize(np.asarray([accs]), params)["output"][0].tolist()

    ties = [-10, -6, -2, 2, 6, 10]  # -2.5, -1.5, -0.5, 0.5, 1.5, 2.5
    assert outputs("q31-half_up-half_away/dd", ties) == [-3, -2, -1, 1, 2, 3]
    assert outputs("q31-single_wrap-half_up/dd", ties) == [-2, -1, 0, 1, 2, 3]
    assert outputs("float32-clip-half_even", ties) == [-2, -2, 0, 0, 2, 2]
    ends = [-(2**31), 2**31 - 1]
    assert outputs("q31-single_wrap-half_up/dd", ends, 1.0) == [0, -1]  # twice the result leaves an int32
    assert outputs("q31-single-half_up/dd", ends, 1.0) == [-128, 127]
    assert outputs("float32-clip-half_even", ends, 1.0, zy=-3) == [-128, 127]
    assert outputs("float32-bias_by_division-half_even", ends, 1.0, zy=-3) == [-128, -128]  # 2^31 gives INT32_MIN


def test_a_bias_that_loses_bits_on_its_way_through_float32():
    """9 * 0.0007 * (1 / 0.0007) is not 9: per-tensor and per-channel kernels print different outputs for one bias."""
    found = []
    for scales_ in ([0.007], [0.007, 0.007]):
        units = len(scales_)
        graph = dense_subgraph(
            np.zeros((units, 4), np.int8),
            input_quant=quant(0.1),
            weights_quant=quant(scales_),
            output_quant=quant(np.float32(0.1) * np.float32(0.007) * np.float32(2)),  # 9 / 2: a tie
            bias=np.full(units, 9),
        )
        model = load(write(graph))
        prepared = prepare_operator(model, model.operators[0], "torch-fbgemm")
        output = lastbit.run(model, np.zeros((1, 4), np.int8), "torch-fbgemm").output
        found.append((float(prepared.requant.float_bias[0]), int(output[0, 0])))
    scale = np.float32(0.1) * np.float32(0.007)
    fused = float(np.float32(9) * scale) * float(np.float32(1) / scale)
    # PyTorch 2.13.0 printed 5 and 4.
    assert found == [(fused, 5), (9.0, 4)]
    assert fused > 9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_run_explain_and_compare_need_no_interpreter(name, per_channel, rng):
    model = make_dense_model(per_channel=per_channel)
    x = rng.integers(-128, 128, (4, 7)).astype(np.int8)
    text = str(explain(model, x, runtime=name))
    assert RUNTIMES[name].rules[key_of("FULLY_CONNECTED", "int8 per_tensor")].kernel
    for other in NAMES:
        assert other in text


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("torch-fbgemm", {"activation": "RELU_N1_TO_1"}, "linear_relu only"),
        ("torch-fbgemm", {"output_scale": 1e-44}, "infinite in float32"),
        ("onnxruntime", {"output_scale": 1e-44}, "infinite in float32"),
        ("cmsis-nn", {"output_scale": 1e-14}, "shift goes up to 30"),
        ("cmsis-nn-single-rounding", {"output_scale": 1e-14}, "shift goes up to 30"),
    ],
)
def test_refuses_what_the_kernel_has_no_form_for(name, options, reason):
    model = make_dense_model(**options)
    with pytest.raises(UnsupportedError, match=reason):
        prepare_operator(model, model.operators[0], name)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_per_channel_zero_points(name):
    graph = dense_subgraph(
        np.ones((2, 4), np.int8),
        input_quant=quant(1),
        weights_quant=quant([1, 1], [0, 3]),
        output_quant=quant(1),
    )
    model = load(write(graph))
    with pytest.raises(UnsupportedError, match="zero points that are not 0"):
        prepare_operator(model, model.operators[0], name)


def test_cmsis_nn_is_not_installed_without_a_library(tmp_path):
    assert installed("cmsis-nn") is None
    with pytest.raises(OracleMissingError, match="library=FILE"):
        open_oracle("cmsis-nn")
    with pytest.raises(InputError, match="cannot be read"):
        open_oracle("cmsis-nn", library=tmp_path / "no.so")
    other = tmp_path / "other.so"
    other.write_bytes(b"not a library")
    with open_oracle("cmsis-nn", library=other) as oracle, pytest.raises(OracleMissingError, match="does not load"):
        oracle.run(make_dense_model().content, [])


def test_only_interpreters_of_tflite_files_run_whole_models():
    assert {name.removesuffix("-avx2") for name, spec in ORACLES.items() if not spec.whole_models} == set(NAMES)


@pytest.mark.parametrize("name", [live("onnxruntime"), live("torch-fbgemm")])
def test_the_real_runtime_gives_the_recorded_outputs_again(name):
    compared, here = 0, on_this_machine(name)
    with open_oracle(here) as oracle:
        for number, case in list(enumerate(CASES))[::5]:
            if name in case["refused"]:
                continue
            model, inputs, outputs = golden()[number]
            prepared = prepare_operator(model, model.operators[0], here)
            run = oracle.run(model.content, [[x] for x in inputs])
            for x, (found,), wanted in zip(inputs, run.outputs, outputs[name], strict=True):
                # Recorded on a CPU where no pair of products saturates; test_pairs16.py has what others print.
                pairs = prepared.evaluate([x]).get("saturated_pairs", np.zeros(1)).reshape(-1)
                kept = np.broadcast_to(pairs == 0, wanted.size)
                np.testing.assert_array_equal(found.reshape(-1)[kept], wanted.reshape(-1)[kept])
                compared += int(kept.sum())
    assert compared > 3000


@pytest.mark.parametrize("name", [live("onnxruntime"), live("torch-fbgemm")])
def test_verify_holds_a_layer_against_the_real_runtime(name):
    here = on_this_machine(name)
    result = lastbit.verify(make_dense_model(units=12, depth=40, per_channel=True), [here], samples=24)
    assert result.exit_code == 0, str(result)
    ((operator,),) = (runtime.operators for runtime in result.results)
    assert sum(comparison.outputs for comparison in operator.comparisons) > 0


@needs_shared_models
@pytest.mark.parametrize("name", [live("onnxruntime")])
def test_verify_leaves_out_whole_models_with_a_note(name):
    content = (MODELS / "tflm_hello_world_int8.tflite").read_bytes()
    result = lastbit.verify(content, [on_this_machine(name)], samples=16)
    assert result.exit_code == 0, str(result)
    assert "single dense layers" in result.results[0].whole_model_note
