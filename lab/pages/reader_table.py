"""Which readers of rules have which values of which fields: made from the readers themselves, for docs/rules.md."""

from __future__ import annotations

import itertools

from lastbit.engines.jit.forms import code_of
from lastbit.model.types import INT8
from lastbit.rules.base import Unsupported
from lastbit.rules.requantize.forms import (
    Float,
    Meaningless,
    OneRounding,
    Requantize,
    TwoRoundings,
    values_of,
)
from lastbit.rules.requantize.table import RULES
from lastbit.verbs.export.c99.library import Library
from lastbit.verbs.export.c99.requantize import form_lines

__all__ = ["reader_table"]

# `vector`, `exact` and the others that take every value: mypy holds each to it.
TOTAL = ("vector", "exact", "overflow", "words", "latex")


def _llvm(form: Requantize) -> None:
    code_of(form, wide=False)


def _c99(form: Requantize) -> None:
    form_lines(form, INT8, False, Library())


PARTIAL = {"llvm": _llvm, "c99": _c99}


def _forms(kind: type[Requantize]) -> list[Requantize]:
    made = []
    for values in itertools.product(*values_of(kind).values()):
        try:
            made.append(kind(*values))
        except Meaningless:
            continue
    return made


def _has(reader: str, forms: list[Requantize]) -> str:
    """`yes`, `no` or `some`: of the forms that have a value, those that the reader has."""
    done = 0
    for form in forms:
        try:
            PARTIAL[reader](form)
            done += 1
        except Unsupported:
            continue
    return "yes" if done == len(forms) else "some" if done else "no"


def reader_table() -> str:
    """One line for each value: how many lines of the table have it, and which readers."""
    used = [rule.requantize for rule in RULES.values()]
    lines = [
        f"| form | field | value | rules | {', '.join(TOTAL)} | {' | '.join(PARTIAL)} |",
        f"|---|---|---|---:|---|{'---|' * len(PARTIAL)}",
    ]
    for kind in (Float, TwoRoundings, OneRounding):
        forms = _forms(kind)
        for field, values in values_of(kind).items():
            for value in values:
                own = [form for form in forms if getattr(form, field) == value]
                rules = sum(isinstance(form, kind) and getattr(form, field) == value for form in used)
                has = " | ".join(_has(reader, own) for reader in PARTIAL)
                lines.append(f"| {kind.__name__} | {field} | {value} | {rules} | yes | {has} |")
    return "\n".join(lines)
