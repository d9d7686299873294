"""prove: real interpreters probed; and a runtime that follows another rule must be found out."""

import json
import sys
from dataclasses import replace

import pytest

from lastbit.layers.step_tables import LAYERS
from lastbit.model.errors import InputError, OracleMissingError
from lastbit.oracles import Oracle, OracleFailure, on_this_machine
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.prove.verb import prove
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

XNNPACK = on_this_machine("litert-xnnpack")
FOUR = (XNNPACK, "litert-builtin-x86", "litert-reference", "tflm")


@needs_all_interpreters
@pytest.mark.parametrize("runtime", FOUR)
@pytest.mark.parametrize("probe", ["every", "thresholds"])
def test_layers_are_proved(runtime, probe):
    for per_channel in (False, True):
        model = make_dense_model(units=3, depth=7, per_channel=per_channel, activation="RELU6", input_shape=(2, 7))
        report = prove(model, runtime, probe=probe)
        (layer,) = report.layers
        assert report.exit_code == 0
        assert layer.status == "proved", layer.problems()
        assert layer.exhaustive == (probe == "every")
        assert layer.tables == (3 if per_channel else 1)
        assert layer.thresholds > 0
        assert layer.real_outputs >= 48 * 3
        if probe == "every":
            assert layer.probed > 100_000
        else:
            assert layer.probed >= 3 * layer.thresholds


@needs_all_interpreters
@pytest.mark.parametrize("probe", ["every", "thresholds"])
@pytest.mark.parametrize(
    ("runtime", "rule"), [("tflm", "q31-half_up-half_up/dd"), ("litert-reference", "q31-single-half_up/dd")]
)
def test_a_wrong_rule_is_found_out(runtime, rule, probe):
    """The interpreter is the real one; LastBit is told that it follows another rule."""
    right = RUNTIMES[runtime]
    rules = {**right.rules, key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule(rule, right.name.split("-")[-1])}
    model = make_dense_model(units=3, depth=60, output_scale=2.0**-5, seed=4)
    wrong = replace(right, rules=rules)
    report = prove(_power_of_two(model), wrong, probe=probe)
    assert report.exit_code == 1
    assert report.layers[0].mismatches > 0
    _, acc, wanted, found = report.layers[0].first
    assert wanted != found
    assert f"acc {acc}: LastBit says {wanted}" in str(report)


def _power_of_two(model):
    """The same layer with scales whose factor makes ties, at which the two rules part."""
    from lastbit.model.tflite import load, write
    from lastbit.model.tflite.synthesize import dense_subgraph, quant
    from lastbit.ops.prepare import prepare

    layer = prepare(model, "tflm").operators[0].layer
    graph = dense_subgraph(
        layer.weights_values,
        input_quant=quant(2.0**-5, 3),
        weights_quant=quant(2.0**-6),
        output_quant=quant(2.0**-1, -5),
        bias=layer.bias_values,
    )
    return load(write(graph))


@needs_all_interpreters
@needs_shared_models
def test_the_autoencoder_is_proved_for_every_reachable_accumulator():
    report = prove(MODELS / "mlt_toycar_fullint_micro_v01.tflite")
    assert report.proved
    assert report.runtime.name == XNNPACK
    assert [layer.exhaustive for layer in report.layers] == [True] * 10
    assert sum(layer.probed for layer in report.layers) > 8_000_000
    data = json.loads(report.json())
    assert data["schema"] == "lastbit.prove/1"
    assert data["fingerprint"]["oracle"] == "ai-edge-litert"
    assert "each was printed" in str(report)


@needs_all_interpreters
def test_command(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(make_dense_model(units=2, depth=3).content)
    result = invoke("prove", path, "--runtime", "tflm", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["proved"] is True
    assert invoke("prove", path, "--op", "3").exit_code == 2
    assert "PROVED" in invoke("prove", path, "--probe", "thresholds").stdout
    assert invoke("prove", path, "--runtime", "tflm", "--library", "cmsis.so").exit_code == 2


@needs_all_interpreters
def test_one_row_and_shallow_probes_go_through_the_kernel_of_the_layer():
    """Depth 9: with fewer than 8 values a probe would miss the matrix-vector kernel, which rounds in another way."""
    model = make_dense_model(units=4, depth=9, input_shape=(1, 9))
    report = prove(model, "litert-builtin-portable", probe="thresholds")
    assert report.layers[0].status == "proved", report.layers[0].not_probed


@needs_all_interpreters
@needs_shared_models
@pytest.mark.parametrize("name", ["adi_dtln_int16_1", "cpetig_hello_cc_0", "mlt_toycar_quant_v01bench"])
def test_int16_uint8_and_hybrid_layers(name):
    report = prove(MODELS / f"{name}.tflite", "litert-reference", op=5 if name.startswith("adi") else 0)
    (layer,) = report.layers
    if name.startswith("mlt"):
        assert (layer.status, report.exit_code) == ("not covered", 3)
        assert "lastbit verify" in str(report)
        return
    assert report.proved
    assert layer.exhaustive == (name == "cpetig_hello_cc_0")
    assert layer.thresholds == (65535 if name.startswith("adi") else 255)


def test_a_missing_interpreter_is_an_error_of_its_own(monkeypatch):
    def missing(runtime, library=None):
        raise OracleMissingError(f"oracle {runtime.name} is not installed")

    monkeypatch.setattr(sys.modules["lastbit.verbs.prove.verb"], "open_oracle", missing)
    with pytest.raises(OracleMissingError):
        prove(make_dense_model())
    with pytest.raises(InputError, match="no operator 9"):
        prove(make_dense_model(), op=9)


@needs_all_interpreters
@needs_shared_models
@pytest.mark.parametrize("name", ["mlt_resnet8_quant", "arm_kws_dnn_s"])
def test_operators_that_are_not_probed_are_a_gap(name):
    path = MODELS / f"{name}.tflite"
    report = prove(path, "litert-reference", probe="thresholds")
    total, probed = len(report.model.operators), [op for op in report.model.operators if op.name in LAYERS]
    assert report.proved
    left = total - len(probed)
    assert report.exit_code == (3 if left else 0)
    if left:
        assert str(report).splitlines()[-1].startswith(f"NOT COMPARED: {left} of {total} operators (")
        assert not [block for block in report.blocks() if getattr(block, "style", "") == "good"]
    assert prove(path, "litert-reference", probe="thresholds", allow_gaps=True).exit_code == 0
    one = prove(path, "litert-reference", op=report.model.dense_operators[0].index, probe="thresholds")
    assert (one.exit_code, str(one).splitlines()[-1]) == (0, "Compared: 1 of 1 operator.")


@needs_all_interpreters
@pytest.mark.parametrize("kind", ["crashed", "timeout"])
def test_an_interpreter_that_dies_ends_with_4(monkeypatch, kind):
    def dies(*args, **options):
        raise OracleFailure("tflm failed: signal 11 (SIGSEGV)", kind=kind, reason="ended with signal 11 (SIGSEGV)")

    monkeypatch.setattr(Oracle, "run", dies)
    report = prove(make_dense_model(), "tflm", allow_gaps=True)
    assert report.exit_code == 4
    assert "signal 11" in str(report)
    assert "INTERPRETER DIED" in str(report)
    assert json.loads(report.json())["layers"][0]["status"] == "interpreter died"
