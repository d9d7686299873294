"""Operators beside dense layers in older LiteRT versions, compared with what these printed (lab/record)."""

from functools import cache

import pytest

from lab.record.recorded_operators import read_golden
from lastbit.model.errors import Refusal
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare
from lastbit.runtimes import get_runtime
from tests.support.operators_recorded import joined
from tests.support.places import GOLDEN

DELEGATE = "litert-xnnpack"


@cache
def recorded():
    fingerprints, cases = read_golden(GOLDEN / "operators_versions.npz")
    return fingerprints, list(cases)


NAMES = sorted(recorded()[0])
OWN_REFUSALS = (Refusal.NOT_EXACT, Refusal.NOT_SETTLED, Refusal.NOT_ASKED, Refusal.UNDEFINED)


def test_the_file_names_three_versions():
    assert {entry["version"] for entry in recorded()[0].values()} == {"1.4.0", "2.1.6", "2.2.0"}
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_output_is_that_versions(name):
    compared, left = 0, 0
    for model, inputs, outcomes in recorded()[1]:
        prepared, op, outcome = prepare(model, name), model.operators[0], outcomes[name]
        if isinstance(outcome, str):
            assert prepared.refusals, f"{op.name} {op.options}: the interpreter {outcome}, LastBit does not"
        elif prepared.refusals:
            assert prepared.refused[0].kind in OWN_REFUSALS, prepared.refusals
            left += 1
        else:
            found = joined(output_values(op, prepared.operators[0].evaluate(inputs)).values())
            assert found == joined(outcome), f"{op.name} {op.options}"
            compared += 1
    assert compared > 5 * left


def test_delegates_up_to_2_1_6_read_padding_only_where_strides_leave_the_image_behind():
    """The output is the same for every input: the bias. 2.2.0 prints what today's version prints."""
    seen = 0
    for model, inputs, outcomes in recorded()[1]:
        prepared = prepare(model, f"{DELEGATE}@2.1.6")
        if not prepared.refusals or prepared.refused[0].kind is not Refusal.UNDEFINED:
            continue
        assert "reads padding only" in str(prepared.refusals[0])
        op = model.operators[0]
        today = prepare(model, DELEGATE).operators[0]
        nothing = [
            x * 0 + (model.tensors[op.inputs[0]].quant.zero_point[0] if x.dtype.kind in "iu" else 0) for x in inputs
        ]
        bias = joined(
            output_values(
                op, today.evaluate([x.astype(i.dtype) for x, i in zip(nothing, inputs, strict=True)])
            ).values()
        )
        for version in ("1.4.0", "2.1.6"):
            assert joined(outcomes[f"{DELEGATE}@{version}"]) == bias
        assert joined(outcomes[f"{DELEGATE}@2.2.0"]) == joined(output_values(op, today.evaluate(inputs)).values())
        seen += 1
    assert seen >= 3


def test_the_newest_rules_stand_where_the_version_was_seen_to_follow_them():
    for version in ("2.1.6", "2.2.0"):
        old, new = get_runtime(f"{DELEGATE}@{version}").rules, get_runtime(DELEGATE).rules
        same = [key for key in new if key[0] == "CONV_2D" and old.get(key) == new[key]]
        assert len(same) >= 4
