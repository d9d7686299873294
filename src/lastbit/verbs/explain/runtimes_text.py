"""The last section of an explanation: what every runtime prints, and the step that makes the difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...arith.exact import decimal_text
from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import not_the_same
from .deciding_step import STEPS, Cause, OtherRuntime, RequantSide
from .element import Element
from .paragraphs import paragraph

__all__ = ["cause_text", "section_runtimes"]

_STEP_TEXT = {
    "scale_precision": "the precision of the effective scale",
    "multiplier_form": "the form of the multiplier",
    "first_rounding": "the rounding before the last one",
    "last_rounding": "the last rounding",
    "clamp": "the clamp",
}


def section_runtimes(element: Element, others: Sequence[OtherRuntime], differing: int, size: int) -> Iterable[Block]:
    """The section; the arguments are those of `text.explanation_blocks`."""
    yield Heading("8. What every runtime prints for this element, from the same layer input")
    yield Table(
        ("runtime", "output", "rule", "whole output"),
        [
            (
                other.name,
                "refused" if other.output is None else other.output,
                other.rule or "-",
                _whole(other, element, size),
            )
            for other in others
        ],
        right=("output",),
        marked=[number for number, other in enumerate(others) if other.output not in (None, element.output)],
    )
    for other in others:
        if other.cause is not None and other.side is not None:
            yield from _cause_blocks(element, other, other.cause, other.side)
        elif other.acc is not None:
            yield paragraph(
                f"{element.runtime.name} prints {element.output}, {other.name} {other.output}. The first step that "
                f"makes the difference: {other.acc_cause}. So acc is {element.acc} here, and {other.acc} there.",
                "warning",
            )
    yield from _refused(others)
    if all(other.output in (None, element.output) for other in others):
        yield Text("No runtime prints another value for this element.", "good")
    yield Text(not_the_same(differing, size, "layer"))


def cause_text(element: Element, other: OtherRuntime) -> str:
    """The first step that makes another value of the element, with both numbers, in half a line."""
    if other.cause is None:
        return f"{other.acc_cause}; acc is {element.acc} here, {other.acc} there"
    here, there = (f"{float(number):.12g}" for number in other.cause.numbers)
    return f"{_step_text(other.cause)}: {here} here, {there} there"


def _step_text(cause: Cause) -> str:
    return _STEP_TEXT[cause.step] + (", by its tie rule" if cause.tie else "")


def _refused(others: Sequence[OtherRuntime]) -> Iterable[Block]:
    """Each reason once, with the runtimes that have it."""
    reasons: dict[str, list[str]] = {}
    for other in others:
        if other.refused:
            reasons.setdefault(other.refused, []).append(other.name)
    for reason, names in reasons.items():
        verb = "refuses" if len(names) == 1 else "refuse"
        yield paragraph(f"{', '.join(names)} {verb} this layer: {reason}.", "warning")


def _whole(other: OtherRuntime, element: Element, size: int) -> str:
    if other.output is None:
        return "-"
    if other.name == element.runtime.name:
        return "(this one)"
    return f"{other.mismatched} of {size} differ" if other.mismatched else "equal"


def _cause_blocks(element: Element, other: OtherRuntime, cause: Cause, there: RequantSide) -> Iterable[Block]:
    """Why one runtime prints another value: the deciding step, and both numbers."""
    here = RequantSide.of(element.prepared.requant, element.unit)
    yield paragraph(
        f"{element.runtime.name} prints {element.output}, {other.name} {other.output}. "
        f"The first step that makes the difference: {_step_text(cause)}.",
        "warning",
    )
    width = max(len(element.runtime.name), len(other.name))
    lines = []
    for name, side, i in ((element.runtime.name, here, 0), (other.name, there, 1)):
        start = f"{decimal_text(cause.before[i])} -> " if cause.before is not None else ""
        lines.append(f"{name:<{width}}  {side.way(cause.step)}: {start}{decimal_text(cause.numbers[i])}")
    if cause.step in ("scale_precision", "multiplier_form"):
        at = STEPS.index("first_rounding")
        for name, values in ((element.runtime.name, cause.here), (other.name, cause.there)):
            lines.append(f"{name:<{width}}  times acc: {decimal_text(values[at])}, rounded {values[at + 1]}")
    if cause.step == "first_rounding":
        at = STEPS.index("last_rounding")
        lines.append(
            f"{'then':<{width}}  {here.way('last_rounding')} to {cause.here[at]} here, "
            f"{there.way('last_rounding')} to {cause.there[at]} there"
        )
    yield Code("\n".join(lines))
