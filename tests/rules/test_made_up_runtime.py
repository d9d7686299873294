"""A runtime that nobody has, handed to the verbs as an object: rules without a line need no table to be patched."""

from __future__ import annotations

import numpy as np
import pytest

import lastbit
from lastbit import diagnose, explain, prepare, run, thresholds, vectors
from lastbit.layers.mistakes import wrong_output
from lastbit.model.errors import UnsupportedError
from lastbit.ops.prepare import prepare_operator
from lastbit.rules.base import ChannelGroups, Either, IntegerRule, OneRow, Scales, Sums
from lastbit.rules.requantize.table import RULES, line_of
from lastbit.runtimes.base import Rule, Runtime
from lastbit.runtimes.variant import key_of
from lastbit.verbs.compare.verb import compare
from tests.support.every_form import every_form
from tests.support.models import make_dense_model

FORMS = [form for form in every_form()[0] if form not in {rule.requantize for rule in RULES.values()}]
SEEN = FORMS[::31]


def made_up(arithmetic):
    """A runtime that follows one rule for int8 dense layers."""
    rule = Rule(arithmetic.name, "cmsis_nn", arithmetic)
    rules = {key_of("FULLY_CONNECTED", f"int8 {granularity}"): rule for granularity in ("per_tensor", "per_channel")}
    return Runtime("made-up", "a runtime of this test", "none", "any", rules)


def integer_rule(form, bits=32):
    return line_of(IntegerRule("?", Sums(bits), Scales("fd"), form, "half_away"))


@pytest.mark.parametrize("form", SEEN, ids=str)
def test_every_verb_takes_a_rule_that_no_table_has(form):
    rule = integer_rule(form)
    assert rule.name not in RULES
    runtime, model = made_up(rule), make_dense_model(per_channel=True, output_scale=0.5)
    x = np.random.default_rng(1).integers(-128, 128, (9, 7)).astype(np.int8)
    trace = run(model, x, runtime)
    wanted = trace.output
    assert prepare(model, runtime).operators[0].rule == rule.name
    for engine in ("numpy", "jit"):
        assert np.array_equal(lastbit.build(model, runtime, engine=engine)(x), wanted)
    for row in range(3):
        explanation = explain(model, x, at=(row, 1), runtime=runtime)
        assert explanation.output == wanted[row, 1]
        assert explanation.as_dict()["rule"] == rule.name
        assert f"= {wanted[row, 1]}" in explanation.latex()
        assert rule.name in str(explanation).replace("\n", "").replace(" ", "")
    report = thresholds(model, runtime)
    tables = report.layers[0].tables
    acc = trace[0].acc.astype(np.int64)
    for unit in range(acc.shape[1]):
        table = tables.table(unit)
        if table is not None:
            assert np.array_equal(table.at(acc[:, unit]), wanted[:, unit].astype(np.int64))
    certificate = compare(model, runtime, "litert-reference", oracles=False)
    assert certificate.as_dict()["layers"]
    found = vectors(model, runtime, oracle=False)
    assert found.layers[0].rule == rule.name
    assert len(found.layers[0].catches) > 20
    mine = wrong_output(prepare_operator(model, model.operators[0], runtime), x, ["output_zero_point_missing"])
    assert "output_zero_point_missing" in [m.name for m in diagnose(model, x, mine, runtime=runtime).mistakes]


def test_a_choice_of_two_rules_that_no_table_has():
    then, otherwise = integer_rule(SEEN[0]), integer_rule(SEEN[-1])
    runtime = made_up(Either("by rows", OneRow(2, 3), then, otherwise))
    model = make_dense_model(per_channel=True)
    x = np.random.default_rng(1).integers(-128, 128, (4, 7)).astype(np.int8)
    one, many = run(model, x[:1], runtime).output, run(model, x, runtime).output
    assert np.array_equal(one, run(model, x[:1], made_up(then)).output)
    assert np.array_equal(many, run(model, x, made_up(otherwise)).output)


@pytest.mark.parametrize(
    ("arithmetic", "reason"),
    [
        (Either("?", ChannelGroups(8), integer_rule(SEEN[0]), integer_rule(SEEN[1])), "chooses by channels"),
    ],
)
def test_what_a_family_does_not_have_is_refused_with_the_field(arithmetic, reason):
    model = make_dense_model()
    with pytest.raises(UnsupportedError, match=reason):
        run(model, np.zeros((1, 7), np.int8), made_up(arithmetic))
