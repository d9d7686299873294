"""prove, compare and thresholds of convolutions, on the real interpreters."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.layers.window_images import inner_places
from lastbit.ops.prepare import prepare
from lastbit.ops.products.as_dense import as_dense
from lastbit.oracles import on_this_machine
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.compare.verb import compare
from lastbit.verbs.prove.verb import prove
from lastbit.verbs.thresholds.verb import thresholds
from tests.support.convolution_models import make_convolution, random_images
from tests.support.interpreters import needs_all_interpreters

XNNPACK = on_this_machine("litert-xnnpack")


@needs_all_interpreters
@pytest.mark.parametrize("runtime", [XNNPACK, "litert-builtin-x86", "litert-reference", "tflm"])
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_convolutions_are_proved(runtime, op):
    """Padded windows are compared too: whole random images are run with the layer's own weights."""
    model = make_convolution(op, channels=8, units=8, stride=2)
    report = prove(model, runtime, probe="thresholds")
    (layer,) = report.layers
    assert report.exit_code == 0
    assert layer.status == "proved", layer.problems() or layer.gap
    assert layer.probed >= 3 * layer.thresholds > 0
    assert layer.real_outputs > model.outputs[0].shape[1] * model.outputs[0].shape[2] * 8
    assert "convolutions" in str(report)


@needs_all_interpreters
@pytest.mark.parametrize(("channels", "multiplier", "kernel"), [(11, 1, (3, 3)), (3, 3, (1, 1)), (3, 1, (2, 3))])
@pytest.mark.parametrize("probe", ["thresholds", "every"])
def test_channels_that_follow_two_rules_are_proved_group_by_group(channels, multiplier, kernel, probe):
    """LiteRT's depthwise kernel takes eight channels at a time, and rounds the last ones in another way."""
    units = channels * multiplier
    model = make_convolution("DEPTHWISE_CONV_2D", channels=channels, units=units, kernel=kernel)
    report = prove(model, "litert-builtin-x86", probe=probe)
    (layer,) = report.layers
    assert report.exit_code == 0, layer.problems() or layer.gap
    assert layer.exhaustive == (probe == "every")
    assert layer.probed >= 2 * layer.thresholds > 100
    if units < 8:
        assert layer.channels == []
        return
    assert [(part.first, part.last) for part in layer.channels] == [(0, 7), (8, units - 1)]
    assert sum(part.probed for part in layer.channels) == layer.probed
    assert "channels 0 to 7: rule q31-half_up-half_up/dd" in str(report)
    assert report.as_dict()["layers"][0]["channels"][1]["rule"] == "q31-half_up-half_away/dd"


@needs_all_interpreters
def test_a_wrong_rule_of_some_channels_is_found_out_in_these_alone():
    """TensorFlow Lite Micro rounds all channels as LiteRT's builtin kernel rounds the last ones."""
    right = RUNTIMES["tflm"]
    rules = {**right.rules, key_of("DEPTHWISE_CONV_2D", "int8 per_channel"): Rule("q31-by_channel/dd", "tflm")}
    model = make_convolution("DEPTHWISE_CONV_2D", channels=11, units=11, power_of_two=True)
    report = prove(model, replace(right, rules=rules), probe="thresholds")
    first, last = report.layers[0].channels
    assert report.exit_code == 1
    assert first.mismatches > 0 == last.mismatches
    assert last.probed > 1000


@needs_all_interpreters
def test_a_wrong_rule_is_found_out():
    right = RUNTIMES["tflm"]
    rules = {**right.rules, key_of("CONV_2D", "int8 per_channel"): Rule("q31-single-half_up/dd", "tflm")}
    report = prove(make_convolution(channels=8), replace(right, rules=rules), probe="thresholds")
    assert report.exit_code == 1
    assert report.layers[0].mismatches > 0


@needs_all_interpreters
def test_where_two_runtimes_differ_both_interpreters_confirm_it():
    confirmed = 0
    for op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        for seed in range(2):
            report = compare(make_convolution(op, channels=2, units=4, seed=seed), XNNPACK, "tflm", op=0)
            (layer,) = report.layers
            assert layer.status in ("same", "differs")
            if layer.witness is not None:
                found = layer.witness.confirmed
                assert found == {XNNPACK: layer.witness.first, "tflm": layer.witness.second}
                assert "A window that shows it" in str(report)
                confirmed += 1
    assert confirmed > 1


def test_equal_rules_are_proved_and_no_whole_window_is_no_proof_of_a_difference():
    same = compare(make_convolution(), "litert-reference", "litert-builtin-x86", op=0, oracles=False)
    assert same.layers[0].status in ("same", "differs")
    tiny = make_convolution(image=(2, 2), kernel=(5, 5))
    assert not inner_places(as_dense(prepare(tiny, "tflm").operators[0]).layer)
    report = compare(tiny, "litert-builtin", "litert-reference", op=0, oracles=False)
    assert report.layers == ()
    assert len(report.operators) == 1


def test_tables_say_what_the_layer_prints():
    for op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        model = make_convolution(op, channels=2, units=4)
        x = random_images(model, 3)
        steps = prepare(model, "litert-xnnpack").operators[0].evaluate([x])
        report = thresholds(model, "litert-xnnpack")
        assert "1 of 1 convolutions have tables" in report.in_short()[0]
        for unit in range(4):
            assert (
                report[0].table(unit).at(steps["acc"][..., unit].ravel()) == steps["output"][..., unit].ravel()
            ).all()
        assert np.unique(steps["output"]).size > 50
