"""What was compared, as the JUnit XML that CI servers read: one test case for each thing that was compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape, quoteattr

from .visible import visible

__all__ = ["Check", "Outcome", "junit_xml"]


class Outcome(Enum):
    """How a comparison ended; the value is the XML element that says so."""

    EQUAL = ""
    DIFFERS = "failure"
    NOT_COMPARED = "skipped"
    DIED = "error"


@dataclass(frozen=True)
class Check:
    """One thing that was compared.

    Attributes:
        group: what it is a part of, such as a runtime.
        name: what was compared.
        outcome: how it ended.
        why: what differs, or why it was not compared; one line.
        text: the details of that.
    """

    group: str
    name: str
    outcome: Outcome
    why: str = ""
    text: str = ""


def junit_xml(suite: str, checks: Sequence[Check]) -> str:
    """One test suite; a check that was not compared is a skipped test, a died interpreter an error.

    Args:
        suite: the suite's name.
        checks: its test cases, in order.
    """
    counts = [f'tests="{len(checks)}"']
    counts += [
        f'{key}="{sum(check.outcome is outcome for check in checks)}"'
        for key, outcome in (
            ("failures", Outcome.DIFFERS),
            ("errors", Outcome.DIED),
            ("skipped", Outcome.NOT_COMPARED),
        )
    ]
    totals = " ".join([*counts, 'time="0"'])
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<testsuites {totals}>"]
    lines.append(f"<testsuite name={_quoted(suite)} {totals}>")
    for check in checks:
        names = f"classname={_quoted(check.group)} name={_quoted(check.name)}"
        if check.outcome is Outcome.EQUAL:
            lines.append(f'<testcase {names} time="0"/>')
            continue
        tag = check.outcome.value
        kind = "" if check.outcome is Outcome.NOT_COMPARED else f' type="{tag}"'  # a skipped test has no type
        text = f">{escape(visible(check.text))}</{tag}>" if check.text else "/>"
        lines.append(f'<testcase {names} time="0"><{tag} message={_quoted(check.why)}{kind}{text}</testcase>')
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""])


def _quoted(text: str) -> str:
    return quoteattr(visible(text))
