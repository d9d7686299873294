"""The list of operators, what is worked out of one, and how differences grow along a network."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from lastbit.cli import main
from lastbit.engines import reference
from lastbit.layers.along_network import Growth
from lastbit.layers.worked_element import worked_operator_element
from lastbit.model.tflite import load
from lastbit.ops import OPERATORS
from lastbit.ops.prepare import prepare
from lastbit.runtimes import RUNTIMES, Refusal, Refused, Rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.runtimes import operators as operator_report
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES, operator_cell, operators_report
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

WANTED = """
CONV_2D DEPTHWISE_CONV_2D ADD SUB MUL AVERAGE_POOL_2D MAX_POOL_2D MEAN SUM PAD PADV2 CONCATENATION RESHAPE
SQUEEZE EXPAND_DIMS TRANSPOSE STRIDED_SLICE SPLIT SPLIT_V PACK UNPACK SHAPE QUANTIZE DEQUANTIZE RELU RELU6
LEAKY_RELU HARD_SWISH LOGISTIC TANH SOFTMAX MAXIMUM MINIMUM ARG_MAX BATCH_MATMUL
""".split()  # noqa: SIM905 - a list this long reads better as text


def test_every_operator_is_listed_and_nothing_that_was_compared_differed():
    cells = operators_report().cells()
    assert {operator for operator, _ in cells} >= set(WANTED)
    assert not [key for key, row in cells.items() for cell in row.values() if cell.mismatches]
    exact = {operator for (operator, _), row in cells.items() if row["litert-reference"].status == "exact"}
    assert exact >= set(WANTED)


def test_a_status_says_what_the_rules_say():
    for (operator, variant), row in operators_report().cells().items():
        for name, cell in row.items():
            if cell.status == "exact":
                assert cell.rule in OPERATORS[operator].rules
                assert cell.outputs > 0
            else:
                assert cell.reason, (operator, variant, name)
            rule = RUNTIMES[name].rules.get(key_of(operator, variant))
            if isinstance(rule, Refused):
                ours = rule.kind in (Refusal.NOT_EXACT, Refusal.NOT_SETTLED)
                assert cell.status == ("not yet" if ours else "refused")


def test_a_rule_of_the_delegate_is_not_shown_by_its_fallback(monkeypatch):
    assert operator_cell("ADD", "float32->float32", "litert-xnnpack").status == "exact"
    seen = operator_report._seen
    monkeypatch.setattr(operator_report, "_seen", lambda name: {} if name == "litert-xnnpack" else seen(name))
    assert operator_cell("ADD", "int16->int16", "litert-xnnpack").status == "exact"
    cell = operator_cell("ADD", "float32->float32", "litert-xnnpack")
    assert cell.kernel == "xnnpack"
    assert cell.status == "not yet"


def test_the_command_prints_the_list():
    result = CliRunner().invoke(main, ["runtimes", "--operators"])
    assert result.exit_code == 0
    assert "BATCH_MATMUL" in result.output
    loaded = json.loads(CliRunner().invoke(main, ["runtimes", "--operators", "--json"]).output)
    assert loaded["schema"] == "lastbit.operators/2"
    first = loaded["operators"][0]
    assert set(first["runtimes"]) == set(OPERATOR_RUNTIMES)


def test_one_element_of_a_convolution_ends_at_what_was_printed():
    from lab.cases.convolutions import convolutions

    for case in convolutions(np.random.default_rng(3), 6):
        entry = prepare(case.model(), "litert-builtin-x86").operators[0]
        output = entry.evaluate(case.values)["output"]
        index = tuple(n - 1 for n in output.shape)
        lines = worked_operator_element(entry, case.values, index)
        assert lines[0].startswith(f"element {list(index)}, rule {entry.rule}: acc = ")
        assert f") = {output[index]}" in lines[-1]


def test_one_element_of_an_elementwise_operator_shows_its_operands():
    from lab.cases.elementwise import binaries

    for case in binaries(np.random.default_rng(3), ("ADD", "MUL"), 4):
        if len(case.values) != 2:
            continue
        entry = prepare(case.model(), "litert-reference").operators[0]
        output = entry.evaluate(case.values)["output"]
        index = tuple(0 for _ in output.shape)
        lines = worked_operator_element(entry, case.values, index)
        assert f" {case.values[0].reshape(-1)[0]}" in lines[1]
        name, told = lines[-1].split(maxsplit=1)
        assert name == "output"
        # The calculation, its result, and what was cut off.
        assert told.rpartition(" = ")[2].split()[0] == str(output[index])


@needs_shared_models
def test_differences_grow_along_a_network_from_where_they_begin():
    model = load(MODELS / "mlt_resnet8_quant.tflite")
    x = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 3)).astype(np.int8)
    first, second = (reference.run(prepare(model, name), [x]) for name in ("litert-reference", "litert-builtin-x86"))
    growth, same = Growth(), Growth()
    growth.add(first, second)
    same.add(first, first)
    assert not same.differing
    assert same.blocks() == []
    rows = growth.differing
    assert rows
    assert [row.index for row in rows] == sorted(row.index for row in rows)
    wrong = int((first.tensors[model.operators[0].outputs[0]] != second.tensors[model.operators[0].outputs[0]]).sum())
    assert growth.operators[0].mismatches == wrong
    assert len(growth.as_dict()) == len(model.operators)


@needs_all_interpreters
@needs_shared_models
def test_verify_names_the_first_operator_that_differs():
    from lastbit.verbs.verify.verb import verify

    right = RUNTIMES["litert-reference"]
    wrong = replace(
        right, rules={**right.rules, key_of("CONV_2D", "int8 per_channel"): Rule("q31-half_up-half_up/dd", "reference")}
    )
    result = verify(MODELS / "mlt_resnet8_quant.tflite", [wrong], samples=8)
    assert result.exit_code == 1
    first = result.results[0].first_differing
    assert first is not None
    assert first.name == "CONV_2D"
    assert first.index == min(o.index for o in result.results[0].operators if o.status == "differs")
    text = str(result)
    assert f"It starts at operator {first.index} CONV_2D" in text
    assert "acc_scaled" in text
    assert result.as_dict()["runtimes"][0]["first_differing_operator"] == first.index


@needs_shared_models
@pytest.mark.parametrize("name", ["tflm_mnist_lstm_int8"])
def test_all_that_is_not_covered_is_told_at_once(name, tmp_path):
    model = load(MODELS / f"{name}.tflite")
    np.save(tmp_path / "x.npy", np.zeros(model.inputs[0].shape, model.inputs[0].dtype.numpy))
    path = str(MODELS / f"{name}.tflite")
    result = CliRunner().invoke(main, ["run", path, "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npz")])
    assert result.exit_code == 3
    for index in prepare(model, "litert-xnnpack").refusals:
        assert model.operators[index].name in result.output
