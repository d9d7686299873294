"""The first screen of `explain`: the value, its numbers in short, and which runtimes print another one."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...arith.exact import ExactStep
from ...model.types import hex_float
from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import clause, families_text, folded, lines_in, name_text, plural, short_hex

__all__ = ["InShort", "Printed", "Products", "plain_steps", "screen_blocks", "whole_output"]

LINES = 45
_WIDTH = 78
_MOST_PRODUCTS = 3
_MORE = "Every digit, tie and runtime: -v. As data: --json. As LaTeX: --format latex."
_LEAST_STEPS = 6
_MOST_VALUES = 4
_MOST_CAUSES = 2
_MOST_FACTS = 4
_MOST_EQUATION = 4


@dataclass(frozen=True)
class Products:
    """What an element adds up.

    Attributes:
        headers: of the columns; the last one is the product.
        rows: a row for each product.
        acc: the sum, and what is added to it, in words.
        real: the products as numbers where the last column has them as text.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    acc: str
    real: Sequence[float] = ()


@dataclass(frozen=True)
class Printed:
    """What one runtime makes of the element.

    Attributes:
        runtime: its name.
        value: the element's value as text; None where the runtime refuses.
        cause: the first step that differs, in words; empty where none does.
        refused: why it does not run the operator.
    """

    runtime: str
    value: str | None
    cause: str = ""
    refused: str = ""


@dataclass(frozen=True)
class InShort:
    """An explained element of any kind, as far as its first screen tells it.

    Attributes:
        answer: operator, element, runtime and value in a line.
        source: the model's path.
        rule: the rule's name.
        equation: what the rule calculates.
        origin: where the input came from, and why this element.
        notes: what is special to this runtime here.
        scales: (role, zero point, scale) of each quantized tensor.
        facts: (name, text) about the inputs.
        products: what is added up; None where nothing is.
        steps: (value, formula) of each step.
        printed: what each runtime makes of it, the explained one first.
        last: what holds for the whole output.
    """

    answer: str
    source: str
    rule: str
    equation: str
    origin: str
    notes: Sequence[str] = ()
    scales: Sequence[tuple[str, int, float | None]] = ()
    facts: Sequence[tuple[str, str]] = ()
    products: Products | None = None
    steps: Sequence[tuple[str, str]] = ()
    printed: Sequence[Printed] = ()
    last: str = ""


def screen_blocks(made: InShort) -> list[Block]:
    """The element in at most 45 lines; the steps have the room that the rest leaves."""
    above = folded([*_head(made), *_scales(made), *_inputs(made)])
    below = folded([*_runtimes(made), Text(_MORE, "dim")])
    room = max(LINES - lines_in([*above, *below]) - 2, _LEAST_STEPS)
    return [*above, *_steps(made, room), *below]


def plain_steps(steps: Iterable[ExactStep]) -> list[tuple[str, str]]:
    """Exact steps as (value, formula); of a whole number that was rounded also what it was before."""
    return [(_number(step.value), f"{step.name} = {step.formula}{_before(step)}") for step in steps]


def whole_output(mismatched: Sequence[tuple[str, int]], of: Sequence[str]) -> str:
    """Which runtimes print another value somewhere in the whole output.

    Args:
        mismatched: (runtime, elements that differ from the explained runtime's).
        of: every runtime that was asked.
    """
    names = [name for name, count in mismatched if count]
    if not names:
        return "The whole output is the same on all of these runtimes."
    most = max(count for _, count in mismatched)
    return f"In the whole output others differ somewhere (up to {most} elements): {families_text(names, of)}"


def _head(made: InShort) -> Iterable[Block]:
    yield Text(made.answer)
    equation = textwrap.wrap(" ".join(made.equation.split()), _WIDTH, break_on_hyphens=False)
    more = ["..."] if len(equation) > _MOST_EQUATION else []
    yield Code(
        "\n".join(
            [
                f"{name_text(os.path.basename(made.source), width=34)}; rule {made.rule}",
                *equation[:_MOST_EQUATION],
                *more,
            ]
        )
    )
    yield Text(clause(made.origin, 2 * _WIDTH), "dim")
    for note in made.notes[:1]:
        yield Text(clause(note, 2 * _WIDTH), "warning")


def _scales(made: InShort) -> Iterable[Block]:
    if made.scales:
        rows = [
            (role, zero, "-", "-") if scale is None else (role, zero, f"{scale:.9g}", short_hex(hex_float(scale)))
            for role, zero, scale in made.scales
        ]
        yield Heading("Scales and zero points: real = scale * (q - zero point)")
        yield Table(("", "zero point", "scale", "as hex float"), rows, right=("zero point",), close=True)


def _inputs(made: InShort) -> Iterable[Block]:
    if not made.facts and made.products is None:
        return
    yield Heading("What the element is made of")
    if made.facts:
        lines = [
            line
            for name, text in made.facts
            for line in textwrap.wrap(f"{name}: {text}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        ]
        yield Code("\n".join(lines[:_MOST_FACTS] + (["..."] if len(lines) > _MOST_FACTS else [])))
    if made.products is not None:
        headers, rows = made.products.headers, made.products.rows
        shown = list(rows[:_MOST_PRODUCTS])
        if len(rows) > len(shown):
            left = made.products.real[len(shown) :]
            rest = f"{sum(left):.9g}" if left else sum(int(str(row[-1])) for row in rows[len(shown) :])
            shown.append((f"{len(rows) - len(shown)} more", *[""] * (len(headers) - 2), rest))
        yield Table(headers, shown, right=headers, close=True)
        yield Code("\n".join(textwrap.wrap(made.products.acc, _WIDTH)))


def _steps(made: InShort, room: int) -> Iterable[Block]:
    if not made.steps:
        return
    width = max(len(value) for value, _ in made.steps)
    parts = []
    for value, formula in made.steps:
        first, *rest = textwrap.wrap(formula, _WIDTH - width - 2, break_on_hyphens=False)
        parts.append([f"{value:>{width}}  {first}", *(" " * (width + 4) + line for line in rest)])
    yield Heading("Step by step")
    yield Code("\n".join(_fitting(parts, room)))


def _fitting(parts: Sequence[Sequence[str]], room: int) -> list[str]:
    """The lines of all steps, or of as many as there is room for, without some in the middle."""
    lines = [line for part in parts for line in part]
    if len(lines) <= room:
        return lines
    ends = [*parts[:1]], [*parts[-1:]]
    left = list(parts[1:-1])
    while left:
        use_last = len(ends[1]) <= 2 * len(ends[0])  # what is nearer to the output matters more
        taken = left[-1] if use_last else left[0]
        used = sum(map(len, [*ends[0], *ends[1]])) + 1
        if used + len(taken) > room:
            break
        if use_last:
            ends[1].insert(0, left.pop())
        else:
            ends[0].append(left.pop(0))
    more = [f"... {len(left)} more: -v"] if left else []
    return [*(line for part in ends[0] for line in part), *more, *(line for part in ends[1] for line in part)]


def _runtimes(made: InShort) -> Iterable[Block]:
    yield Heading("What every runtime prints for this element")
    asked = [printed.runtime for printed in made.printed]
    by_value: dict[str, list[Printed]] = {}
    for printed in made.printed:
        if printed.value is not None:
            by_value.setdefault(printed.value, []).append(printed)
    values = list(by_value.items())
    for number, (value, those) in enumerate(values[:_MOST_VALUES]):
        yield Text(f"{value}: {families_text([one.runtime for one in those], asked)}", "warning" if number else "")
    if len(values) > _MOST_VALUES:
        yield Text(f"{len(values) - _MOST_VALUES} more values: -v", "warning")
    causes = list(dict.fromkeys(those[0].cause for _, those in values[1:] if those[0].cause))
    for cause in causes[:_MOST_CAUSES]:
        yield Text(clause(f"First step that differs: {cause}", 3 * _WIDTH))
    refused = [printed for printed in made.printed if printed.value is None]
    if refused:
        reasons = list(dict.fromkeys(printed.refused for printed in refused))
        more = "" if len(reasons) == 1 else f" (and {plural(len(reasons) - 1, 'more reason')})"
        names = families_text([printed.runtime for printed in refused], asked)
        yield Text(clause(f"not run by {names}: {reasons[0]}", 2 * _WIDTH) + more)
    yield Text(made.last)


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.9g}"


def _before(step: ExactStep) -> str:
    """What a whole number was before it was rounded, clamped or wrapped."""
    if not step.cut_off or step.value.denominator != 1:
        return ""
    tie = ", an exact tie" if abs(step.cut_off) == Fraction(1, 2) else ""
    return f"   [from {_number(step.exact)}{tie}]"
