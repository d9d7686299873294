"""Hybrid convolutions: against the exact twin window by window, against interpreters, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.cases.by_operator import hybrid_windows
from lab.cases.by_operator.hybrid_convolutions import hybrid_convolutions
from lastbit.model.errors import InputError, Refusal, UnsupportedError
from lastbit.model.types import fused_bounds
from lastbit.ops import OPERATORS
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.ops.products.as_dense import as_dense
from lastbit.oracles import OracleFailure, on_this_machine, open_oracle
from lastbit.rules.hybrid.convolutions import HYBRID_CONVOLUTIONS
from lastbit.rules.hybrid.exact import LayerUnit, exact_finish, exact_row
from tests.support.hybrid_models import hybrid_convolution
from tests.support.interpreters import needs_all_interpreters

XNNPACK = on_this_machine("litert-xnnpack")


def lost_in_16_bits(window, weights):
    """What is lost where columns k and k + 8 of every sixteen are added in 16 bits, part by part of a window."""
    lost = 0
    for q, w in zip(window, weights, strict=True):
        for k in (k for k in range(len(q) - 8) if k % 16 < 8):
            total = q[k] * w[k] + q[k + 8] * w[k + 8]
            lost += total - ((total + 2**15) % 2**16 - 2**15)
    return lost


def exact_output(prepared, image, row, column, unit, together):
    """One output in Python integers and fractions, from the definition: row by row, tap by tap."""
    layer, rule = prepared.convolution, prepared.arithmetic
    rows, columns = layer.rows, layer.columns
    height, width, channels = image.shape
    values = image[row, column] if prepared.by_pixel else image
    quantized = exact_row(rule.symmetric, values.ravel().tolist())
    q = np.asarray(quantized.quantized).reshape(values.shape)
    group = unit // (layer.channels // layer.groups)
    each = channels // layer.groups
    weights = prepared.weights[unit].reshape(rows.size, columns.size, each)
    top = row * rows.stride - rows.padding(height)[0]
    left = column * columns.stride - columns.padding(width)[0]
    window = []
    for i in range(rows.size):
        for j in range(columns.size):
            y, x = top + i * rows.dilation, left + j * columns.dilation
            inside = 0 <= y < height and 0 <= x < width
            pixel = q if prepared.by_pixel else q[y, x] if inside else np.full(channels, quantized.zero_point)
            window.append([int(value) for value in pixel[group * each : (group + 1) * each]])
    taps = weights.reshape(-1, each).tolist()
    if rule.pairs is None:
        lost = 0
    elif HYBRID_CONVOLUTIONS[prepared.rule].pairs_across_taps:
        lost = lost_in_16_bits([[q for tap in window for q in tap]], [[w for tap in taps for w in tap]])
    else:
        lost = lost_in_16_bits(window, taps)
    dot = sum(int(np.dot(q, w)) for q, w in zip(window, taps, strict=True)) - lost
    scales = prepared.constants.weights_scale
    activation = prepared.constants.activation
    unit_of = LayerUnit(
        int(prepared.constants.weights_sum[unit]),
        float(scales[unit if scales.size > 1 else 0]),
        None if prepared.constants.bias is None else float(prepared.constants.bias[unit]),
        False,
        None if activation == "NONE" else fused_bounds(activation),
    )
    finish = rule.finish_of(unit, layer.channels)
    several = rule.loops == "one_row" and together > 1
    return exact_finish(finish, unit_of, quantized, dot, any_input=True, four_rows=several)["output"]


@pytest.mark.parametrize("rule", HYBRID_CONVOLUTIONS)
def test_outputs_are_those_of_the_exact_twin(rule):
    rng, compared = np.random.default_rng(len(rule)), 0
    cases = (*hybrid_convolutions(np.random.default_rng(5), 48), *hybrid_windows.operator_cases(5, lambda _: 20))
    for number, case in enumerate(cases):
        model = case.model()
        op = model.operators[0]
        prepared = OPERATORS[op.name].prepare(model, op, rule)
        if prepared.wrong_signs.any() or case.inputs[1].shape[3] > 64 or number % 3 == len(rule) % 3:
            continue
        found = prepared.evaluate(case.values)["output"]
        for _ in range(5):
            n, row, column, unit = (int(rng.integers(size)) for size in found.shape)
            together = found[..., 0].size
            wanted = exact_output(prepared, case.values[0][n], row, column, unit, together)
            assert np.float32(wanted).tobytes() == found[n, row, column, unit].tobytes() or (
                np.isnan(wanted) and np.isnan(found[n, row, column, unit])
            ), (rule, number, n, row, column, unit)
            compared += 1
    assert compared > 100


@needs_all_interpreters
@pytest.mark.live
@pytest.mark.parametrize("runtime", [XNNPACK, "litert-builtin-x86", "litert-reference"])
def test_outputs_are_those_of_the_interpreter(runtime):
    compared = refused = 0
    with open_oracle(runtime) as oracle:
        for case in hybrid_convolutions(np.random.default_rng(77), 40):
            try:
                found = oracle.run(case.content(), [list(case.values)]).outputs[0][0]
            except OracleFailure:
                with pytest.raises(UnsupportedError):
                    prepare_operator(case.model(), case.model().operators[0], runtime)
                refused += 1
                continue
            ours = prepare_operator(case.model(), case.model().operators[0], runtime).evaluate(case.values)["output"]
            assert ours.tobytes() == found.tobytes() or np.isnan(ours).any()
            compared += found.size
    assert compared > 2_000
    assert refused < 15


def test_windows_have_the_steps_of_a_dense_layer():
    for model in (hybrid_convolution(), hybrid_convolution("DEPTHWISE_CONV_2D", units=5, channels=5)):
        prepared = prepare(model, "litert-builtin-x86").operators[0]
        x = np.random.default_rng(0).normal(size=(2, *model.inputs[0].shape[1:])).astype(np.float32)
        windows = as_dense(prepared).evaluate([x])
        whole = prepared.evaluate([x])
        assert windows["output"].tobytes() == whole["output"].tobytes()
        assert (windows["acc"].reshape(whole["acc"].shape) == whole["acc"]).all()
        assert len(windows["input_scale"]) == whole["acc"][..., 0].size
        assert (np.unique(windows["input_scale"]) == np.unique(whole["input_scale"])).all()


def test_a_window_of_one_tap_is_quantized_pixel_by_pixel_in_xnnpack_alone():
    model = hybrid_convolution(kernel=(1, 1))
    x = np.random.default_rng(0).normal(size=model.inputs[0].shape).astype(np.float32)
    scales = {name: prepare(model, name).operators[0].evaluate([x])["input_scale"].size for name in (
        "litert-xnnpack", "litert-xnnpack-avx2", "litert-builtin-x86", "litert-reference"
    )}  # fmt: skip
    pixels = x[0, ..., 0].size
    assert scales == {
        "litert-xnnpack": pixels, "litert-xnnpack-avx2": pixels, "litert-builtin-x86": 1, "litert-reference": 1,
    }  # fmt: skip


def reason(model, runtime):
    with pytest.raises(UnsupportedError) as caught:
        prepare_operator(model, model.operators[0], runtime)
    return caught.value


def test_what_runtimes_refuse_is_refused():
    one_scale = hybrid_convolution("DEPTHWISE_CONV_2D", units=5, channels=5, per_channel=False)
    assert "LiteRT wants a scale for each of the 5 channels" in str(reason(one_scale, "litert-xnnpack"))
    along_0 = hybrid_convolution("DEPTHWISE_CONV_2D", units=5, channels=5, per_channel=False, axis=0)
    assert reason(along_0, "litert-builtin-x86").kind is Refusal.UNDEFINED
    groups = hybrid_convolution(units=4, channels=4, groups=2, per_channel=False)
    assert "wants a scale for each of the 4 channels" in str(reason(groups, "litert-reference"))
    prepare_operator(groups, groups.operators[0], "litert-xnnpack")
    assert "without a bias" in str(reason(hybrid_convolution(bias=False), "litert-xnnpack"))
    assert "no hybrid convolutions" in str(reason(hybrid_convolution(), "tflm"))
    assert "not compared with ai-edge-litert 2.0.2" in str(reason(hybrid_convolution(), "litert-xnnpack-arm64@2.0.2"))
    assert "weights_zero_point is not covered yet" in str(reason(hybrid_convolution(zero_point=3), "litert-xnnpack"))
    assert "not compared with ai-edge-litert 2.0.2" in str(reason(hybrid_convolution(), "litert-builtin-arm64@2.0.2"))


def test_nan_is_refused_and_faults_are_told():
    model = hybrid_convolution()
    x = np.full(model.inputs[0].shape, np.nan, np.float32)
    with pytest.raises(InputError, match=r"found NaN at \[0, 0, 0, 0\]"):
        lastbit.run(model, x)
    lowest = hybrid_convolution(per_channel=False, weights=np.full((5, 3, 3, 3), -128))
    assert "weights are -128" in prepare(lowest, "litert-builtin-x86").operators[0].notes[0]
    deep = hybrid_convolution(channels=512, weights=np.full((5, 3, 3, 512), 127))
    assert "overflow 16 bits" in prepare(deep, "litert-builtin-x86").operators[0].notes[0]
    assert prepare(deep, "litert-reference").operators[0].notes == ()


def test_four_units_go_through_a_matrix_library_that_has_no_fault():
    for units, faulty in ((4, False), (5, True), (8, False)):
        model = hybrid_convolution(per_channel=False, units=units, weights=np.full((units, 3, 3, 3), -128))
        assert prepare(model, "litert-builtin-x86").operators[0].wrong_signs.any() == faulty


def test_a_rule_differs_from_every_other_one():
    assert len({replace(rule, name="") for rule in HYBRID_CONVOLUTIONS.values()}) == len(HYBRID_CONVOLUTIONS)


def test_many_images_are_calculated_some_at_a_time():
    model = hybrid_convolution(image=(90, 90), channels=8)
    prepared = prepare(model, "litert-builtin-x86").operators[0]
    x = np.random.default_rng(0).normal(size=(8, 90, 90, 8)).astype(np.float32)
    together, alone = prepared.evaluate([x]), [prepared.evaluate([image[None]]) for image in x]
    for name in together:
        assert together[name].tobytes() == b"".join(steps[name].tobytes() for steps in alone)
