"""verify against the real interpreters: exact models, wrong rules, refusals, reports."""

import json
from dataclasses import replace

import pytest

import lastbit
from lastbit.model.tflite import load, write
from lastbit.model.types import FLOAT32
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.demo.verb import demo_model
from tests.support.interpreters import XNNPACK, needs_all_interpreters
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import shared_models

pytestmark = needs_all_interpreters


@pytest.mark.parametrize("path", shared_models(), ids=lambda path: path.stem)
def test_every_covered_operator_of_the_real_models_is_exact(path):
    # Of networks of hundreds of operators fewer samples: each operator has its own cases besides.
    report = lastbit.verify(path, samples=24 if len(lastbit.load(path).operators) < 200 else 6)
    for result in report.results:
        wrong = [(o.index, o.name, o.comparisons) for o in result.operators if o.status == "differs"]
        assert not wrong
        assert result.end_to_end is None or not result.end_to_end.differs
    model = report.model
    int8_dense = [
        op.index
        for op in model.dense_operators
        if model.tensors[op.inputs[0]].dtype.name == "int8" and model.tensors[op.inputs[1]].dtype.name == "int8"
    ]
    for result in report.results:
        for index in int8_dense:
            assert result.operators[index].status == "exact"
            assert {c.what.split(",")[0] for c in result.operators[index].comparisons} >= {"cut out"}
    complete = all(r.coverage.complete or not r.coverage.asked for r in report.results)
    assert report.exit_code == (0 if complete and report.coverage.asked else 3)


@pytest.mark.parametrize("wrong", ["float64-half_away", "q31-half_up-half_up/dd", "q31-half_up-half_away/dd"])
def test_a_wrong_rule_is_found_and_the_first_bad_element_worked_out(wrong):
    rules = {**RUNTIMES[XNNPACK].rules, key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule(wrong, "xnnpack")}
    # Power-of-two scales: ties are everywhere.
    model = make_dense_model(output_scale=0.02 * 0.005 * 64)
    mistaken = replace(RUNTIMES[XNNPACK], rules=rules)
    report = lastbit.verify(model, [mistaken], samples=16)
    assert report.exit_code == 1
    text = str(report)
    assert "Mismatched elements: " in text
    assert f"rule {wrong}: acc = " in text
    assert "DIFFERS: " in text


def test_a_delegate_that_does_not_do_what_is_expected_is_a_difference():
    """A layer of litert-builtin-x86's, claimed to be run by XNNPACK: the outputs agree here, the kernel does not."""
    claimed = replace(
        RUNTIMES["litert-builtin-x86"],
        rules={
            key: replace(rule, kernel="xnnpack") if isinstance(rule, Rule) else rule
            for key, rule in RUNTIMES["litert-builtin-x86"].rules.items()
        },
    )
    report = lastbit.verify(make_dense_model(), [claimed], samples=4)
    assert report.exit_code == 1
    assert "expected the xnnpack kernel, but the delegate declined" in str(report)


def test_what_both_refuse_is_told_with_the_interpreters_own_words():
    model = make_dense_model(output_scale=0.02 * 0.005 / 300)
    report = lastbit.verify(model, [XNNPACK, "tflm"])
    refused, ran = report.results
    assert refused.operators[0].status == "refused by both"
    assert "XNNPACK" in refused.operators[0].refused_by_oracle
    assert ran.operators[0].status == "exact"


def test_operators_not_covered_are_listed_never_skipped_in_silence():
    dense = make_dense_model().subgraphs[0]
    build = ModelBuilder(dense)
    (last,) = dense.outputs
    real = build.operator("DEQUANTIZE", [last], [build.like(last, dtype=FLOAT32, quant=None)], version=2)
    result = build.operator("LOGISTIC", [real], [build.like(real)])  # on float32: not exact, so not covered
    graph = build.graph(dense.inputs, [result])
    report = lastbit.verify(load(write(graph)), ["litert-reference"])
    statuses = [o.status for o in report.results[0].operators]
    assert statuses == ["exact", "exact", "not covered"]
    assert report.exit_code == 3
    assert "Not covered" in str(report)
    assert str(report).endswith("NOT COMPARED: 1 of 3 operators (1 LOGISTIC). No statement about the whole model.")
    assert "EXACT" not in str(report)
    assert lastbit.verify(load(write(graph)), ["litert-reference"], allow_gaps=True).exit_code == 0
    assert report.results[0].end_to_end is None


def test_the_report_is_json_and_repeats_with_its_seed():
    first, second = (lastbit.verify(demo_model(), ["tflm"], samples=8, seed=5) for _ in range(2))
    assert first.json() == second.json()
    data = json.loads(first.json())
    assert data["schema"] == "lastbit.verify/1"
    assert data["exact"] is True
    assert data["runtimes"][0]["fingerprint"]["oracle"] == "tflite-micro"
    assert data["runtimes"][0]["operators"][0]["comparisons"][0]["kernel"] == "its own kernels"
    assert "<table>" in first._repr_html_()


def test_progress_counts_up_to_its_total():
    seen = []
    lastbit.verify(demo_model(), ["tflm", "litert-reference"], samples=4, progress=lambda *a: seen.append(a))
    done = [entry[0] for entry in seen]
    (total,) = {entry[1] for entry in seen}
    assert done == list(range(total))
    # A dense layer, and for each input of the whole model: the interpreter, its operator and the end.
    assert total == 2 * (1 + 4 * 3)


def test_samples_below_one_are_refused():
    with pytest.raises(lastbit.InputError, match="samples is 0; wanted 1 or more"):
        lastbit.verify(demo_model(), samples=0)
