"""inspect --op of operators that are no dense layers: the constants are those that the runtimes calculate with."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

import lastbit
from lab.record.activations import cases
from lab.record.operators import all_cases
from lastbit.arith.exact import round_multiplier
from lastbit.report.blocks import Text

RUNTIMES = ("litert-builtin-x86", "litert-xnnpack", "tflm")


def first(operator, dtype="int8"):
    for case in all_cases(seed=3, scale=0.05):
        if case.op == operator and case.outputs[0].dtype == dtype:
            report = lastbit.inspect(case.model(), op=0, runtimes=RUNTIMES)
            if report.as_dict()["constants"]:
                return report
    for case in cases(4, 40):
        if case.op == operator and case.output[0] == dtype:
            report = lastbit.inspect(case.model(), op=0, runtimes=RUNTIMES)
            if report.as_dict()["constants"]:
                return report
    raise AssertionError(operator)


def test_an_additions_multipliers():
    report = first("ADD")
    for made in report.as_dict()["constants"].values():
        assert made["kind"] == "stages"
        for part in made["parts"]:
            assert len(part["stages"]) >= 2
            assert part["clamp"][0] <= part["clamp"][1]
            for stage in part["stages"]:
                assert float.fromhex(stage["factor_hex"]) == stage["factor"]
    text = str(report)
    assert "Constants on" in text
    assert "multiplier" in text


def test_a_requantization_is_one_multiplier_and_shift():
    report = first("RELU6")
    stage = report.as_dict()["constants"]["tflm" if "tflm" not in RUNTIMES[:2] else RUNTIMES[0]]["parts"][0]
    assert stage["stages"] == []  # TensorFlow Lite Micro only clamps here
    stage = report.as_dict()["constants"]["litert-builtin-x86"]["parts"][0]["stages"][0]
    assert (stage["multiplier"], stage["shift"]) == round_multiplier(Fraction(stage["factor"]))


def test_a_convolutions_multiplier_shift_clamp_and_folded_bias():
    for operator in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        report = first(operator)
        made = report.as_dict()["constants"]["litert-builtin-x86"]
        assert made["kind"] == "convolution"
        count = len(made["bias"])
        assert len(made["folded_bias"]) == len(made["weights_sum"]) == count
        assert [part["channels"][0] for part in made["parts"]] == sorted(part["channels"][0] for part in made["parts"])
        assert made["parts"][-1]["channels"][1] == count
        for part in made["parts"]:
            scales = part["effective_scale"]["decimal"]
            pairs = [round_multiplier(Fraction(scale)) for scale in scales]
            assert list(zip(part["multiplier"], part["shift"], strict=True)) == pairs
        assert "Folded bias" in str(report)


def test_a_convolutions_accumulators_are_those_of_the_inputs_at_both_ends():
    """By hand: for each channel the input's end that makes the product large, for each tap."""
    for operator in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        case = next(c for c in all_cases(seed=3, scale=0.05) if c.op == operator and c.outputs[0].dtype == "int8")
        model = case.model()
        report = lastbit.inspect(model)
        (entry,) = report.as_dict()["convolutions"]
        op = model.operator(entry["operator"])
        weights = model.tensors[op.inputs[1]]
        axis = 0 if operator == "CONV_2D" else 3
        taps = np.moveaxis(weights.data, axis, 0).reshape(weights.shape[axis], -1).astype(int)
        taps = taps - int(weights.quant.zero_point[0])
        bias = (
            model.tensors[op.inputs[2]].data if len(op.inputs) > 2 and op.inputs[2] >= 0 else np.zeros(len(taps), int)
        )
        x = model.tensors[op.inputs[0]]
        ends = [end - int(x.quant.zero_point[0]) for end in (x.dtype.qmin, x.dtype.qmax)]
        products = np.stack([end * taps for end in ends])
        assert entry["constants"]["acc_min"] == (products.min(axis=0).sum(axis=1) + bias).tolist()
        assert entry["constants"]["acc_max"] == (products.max(axis=0).sum(axis=1) + bias).tolist()
        assert (entry["channels"], entry["taps"]) == taps.shape
        low, high = min(entry["constants"]["acc_min"]), max(entry["constants"]["acc_max"])
        screen = " ".join(block.text for block in report.first_screen() if isinstance(block, Text))
        assert f"{operator} {op.index}: [{taps.shape[0]},{taps.shape[1]}]" in screen
        assert f"acc {low}..{high} ({entry['constants']['acc_bits']} bits)" in screen
        assert f"{low}..{high}" in str(report)


def test_recipes_are_shown_as_fields():
    fields = first("SOFTMAX").as_dict()["constants"]["tflm"]
    assert fields["kind"] == "recipe"
    assert fields["fields"]["diff_bits"] == 5
    assert "Made by LastBit" in str(first("LOGISTIC"))


def test_an_overview_has_none():
    case = next(case for case in all_cases(seed=3, scale=0.02) if case.op == "ADD")
    assert lastbit.inspect(case.model()).as_dict()["constants"] == {}


def test_a_matrix_products_multiplier_and_shift():
    made = first("BATCH_MATMUL").as_dict()["constants"]
    for runtime in ("litert-builtin-x86", "tflm"):
        (part,) = made[runtime]["parts"]
        (stage,) = part["stages"]
        assert (stage["multiplier"], stage["shift"]) == round_multiplier(Fraction(stage["factor"]))
    assert made["litert-xnnpack"]["parts"][0]["stages"][0]["multiplier"] is None
