"""Coverage: one count of what was asked and what was not compared, one sentence and one exit code."""

import pytest

from lastbit.model.graph import Operator
from lastbit.report.coverage import Coverage


def operators(*names):
    return tuple(Operator(index, name, 1, (), ()) for index, name in enumerate(names))


RESNET = operators(*["CONV_2D"] * 9, *["ADD"] * 3, "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX")


def test_the_sentence_counts_every_operator_and_names_the_kinds():
    gaps = {op.index: "not covered" for op in RESNET if op.name in ("CONV_2D", "ADD", "SOFTMAX", "RESHAPE")}
    assert Coverage(RESNET, gaps).sentence() == (
        "NOT COMPARED: 14 of 16 operators (9 CONV_2D, 3 ADD, 1 RESHAPE, 1 SOFTMAX). No statement about the whole model."
    )
    assert Coverage(RESNET, {}).sentence() == "Compared: 16 of 16 operators."
    every = Coverage(RESNET, {op.index: "" for op in RESNET}).sentence()
    assert every.startswith("NOT COMPARED: 16 of 16 operators (9 CONV_2D, 3 ADD, ")
    assert ", ...)" in every
    assert Coverage(RESNET[:1], {}).sentence() == "Compared: 1 of 1 operator."
    assert Coverage((), {}).sentence().startswith("NOT COMPARED")


@pytest.mark.parametrize(
    ("gaps", "differs", "died", "allow", "wanted"),
    [
        (0, False, False, False, 0),
        (0, True, False, False, 1),
        (5, True, False, False, 1),
        (5, True, True, True, 1),
        (0, False, True, False, 4),
        (5, False, True, True, 4),
        (16, False, True, False, 4),
        (1, False, False, False, 3),
        (1, False, False, True, 0),
        (16, False, False, False, 3),
        # Nothing compared is no gap in something: allowing gaps does not make it equal.
        (16, False, False, True, 3),
    ],
)
def test_exit_codes(gaps, differs, died, allow, wanted):
    coverage = Coverage(RESNET, {op.index: "why" for op in RESNET[:gaps]})
    assert coverage.exit_code(differs=differs, died=died, allow_gaps=allow) == wanted


def test_nothing_asked_is_nothing_compared():
    assert Coverage((), {}).exit_code(differs=False) == 3
    assert not Coverage((), {}).complete


def test_only_a_complete_coverage_is_no_warning():
    assert Coverage(RESNET, {}).block().style == ""
    assert Coverage(RESNET, {3: "why"}).block().style == "warning"


def test_joined_counts_an_operator_where_any_runtime_left_it_out():
    first = Coverage(RESNET, {0: "not covered", 1: "not covered"})
    second = Coverage(RESNET, {1: "not covered"})
    dense = Coverage(RESNET[14:15], {})
    joined = Coverage.joined({"a": first, "b": second, "c": dense})
    assert (len(joined.asked), joined.compared) == (16, 14)
    assert joined.gaps == {0: "a: not covered", 1: "a, b: not covered"}
    assert Coverage.joined({"a": first}).gaps == first.gaps


def test_as_dict():
    entry = Coverage(RESNET, {9: "no rule", 10: "no rule", 15: "refused"}).as_dict()
    assert (entry["operators"], entry["compared"], entry["complete"]) == (16, 13, False)
    assert entry["not_compared"][0] == {"operator": 9, "name": "ADD", "why": "no rule"}
    assert entry["not_compared_kinds"] == {"ADD": 2, "SOFTMAX": 1}
