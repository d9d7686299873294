"""--junit: XML that CI servers read, whose counts are those of its test cases, and which agrees with the exit code."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lab.pages.json_documents import fill
from lastbit.report.junit import Check, Outcome, junit_xml
from lastbit.verbs.verify.result import Comparison, OperatorResult
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters

CHECKS = (
    Check("tflm", "operator 0", Outcome.EQUAL),
    Check("tflm", "operator 1 <b>", Outcome.DIFFERS, '2 of "4" \x1b differ', "a < b\n& \x00"),
    Check("tflm", "operator 2", Outcome.NOT_COMPARED, "not covered"),
    Check("tflm", "operator 3", Outcome.DIED, "signal 9"),
)


def cases(text):
    """The test cases: (name, the element that says how it ended, or None); what every reader of JUnit XML relies on."""
    root = ElementTree.fromstring(text)
    (suite,) = root
    found = []
    for case in suite:
        assert case.tag == "testcase"
        assert set(case.attrib) == {"classname", "name", "time"}
        assert len(case) <= 1
        for end in case:
            assert end.tag in ("failure", "error", "skipped")
            assert end.get("message")
        found.append((case.get("name"), case[0] if len(case) else None))
    for element in (root, suite):
        assert int(element.get("tests")) == len(found)
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(key)) == sum(end is not None and end.tag == tag for _, end in found)
    return found


def test_every_outcome_with_its_text():
    found = cases(junit_xml('suite "<>', CHECKS))
    assert [end.tag if end is not None else None for _, end in found] == [None, "failure", "skipped", "error"]
    assert found[1][0] == "operator 1 <b>"
    assert found[1][1].get("message") == '2 of "4" \\x1b differ'
    assert found[1][1].text == "a < b\n& \\x00"


def test_an_operator_of_verify_says_what_differs_and_what_was_not_compared():
    wrong = OperatorResult(3, "ADD", "r", "builtin", comparisons=[Comparison("cut out", outputs=9, mismatches=2)])
    assert wrong.check("tflm") == Check(
        "tflm", "operator 3 ADD", Outcome.DIFFERS, "2 of 9 outputs differ (cut out)", "2 of 9 outputs differ (cut out)"
    )
    died = OperatorResult(3, "ADD", "r", "builtin", comparisons=[Comparison("cut out", died="signal 11")])
    assert (died.check("tflm").outcome, died.check("tflm").why) == (Outcome.DIED, "signal 11")
    refused = OperatorResult(3, "ADD", "", "", refusal="not covered yet", refused_by_oracle="no kernel")
    assert refused.check("tflm").why == "not covered yet (the interpreter too: no kernel)"
    assert refused.check("tflm").outcome is Outcome.NOT_COMPARED


@pytest.mark.parametrize(
    ("command", "code", "ends"),
    [
        ("diagnose {m} -i {x} --output {y} --runtime tflm", 0, [None]),
        ("diagnose {m} -i {x} --output {wrong} --runtime tflm", 1, ["failure"]),
        ("diagnose {hybrid} -i {real} --output {zeros} --runtime litert-reference", 1, ["failure"]),
        ("compare {m} --runtime tflm --runtime cmsis-nn --no-oracle", 0, [None, None]),
        ("compare {m} --runtime tflm --runtime litert-reference --no-oracle --samples 50", 1, None),
        ("compare {conv} --runtime tflm --runtime cmsis-nn --no-oracle", 3, ["skipped"]),
    ],
)
def test_the_file_agrees_with_the_exit_code(command, code, ends, tmp_path):
    names = fill(tmp_path) | {"zeros": tmp_path / "zeros.npy"}
    np.save(names["zeros"], np.zeros((4, 5), np.float32))
    result = invoke(*command.format(**names).split(), "--junit", tmp_path / "out.xml")
    assert result.exit_code == code, result.stderr
    found = [end.tag if end is not None else None for _, end in cases((tmp_path / "out.xml").read_text("utf-8"))]
    assert ends is None or found == ends
    assert ("failure" in found) == (code == 1)


@needs_all_interpreters
def test_verify_and_prove_with_the_real_interpreter(tmp_path):
    names = fill(tmp_path)
    for command in ("verify {m} --samples 4 --runtime tflm", "prove {m} --runtime tflm"):
        result = invoke(*command.format(**names).split(), "--junit", tmp_path / "out.xml")
        assert result.exit_code == 0, result.stderr
        found = cases((tmp_path / "out.xml").read_text("utf-8"))
        assert found
        assert all(end is None for _, end in found)
