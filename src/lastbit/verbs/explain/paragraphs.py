"""Paragraphs, columns and numbers of an explanation's text."""

from __future__ import annotations

import textwrap
from fractions import Fraction

from ...model.types import hex_float
from ...report.blocks import Code, Text

__all__ = ["error_text", "facts", "paragraph", "short_hex", "steps_text"]

_WIDTH = 78  # and two columns of indent
_FORMULA_WIDTH = 86


def steps_text(lost: Fraction) -> str:
    """A fraction of a step: decimal, and as it is."""
    ratio = f" = {lost.numerator}/{lost.denominator}" if lost.denominator <= 2**16 else ""
    return f"{float(lost):+.6g}{ratio}"


def error_text(value: Fraction, exact: Fraction) -> str:
    """How far a value is from the exact one, relative to it."""
    if exact == 0:  # a scale of 0
        return "0, it is exact" if value == 0 else "infinite, it should be 0"
    error = value / exact - 1
    return f"{float(error):+.3g}" if error else "0, it is exact"


def short_hex(value: float) -> str:
    """A float in C99 hexadecimal without the zeros at the end of its digits."""
    digits, _, exponent = hex_float(value).partition("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}"


def paragraph(text: str, style: str = "") -> Text:
    """A paragraph with line breaks of its own, for pipes."""
    return Text(textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False), style)


def facts(*pairs: tuple[str, str]) -> Code:
    """Names and values in two columns; long values go on in the second column."""
    lines = []
    for name, value in pairs:
        formula = not name and " = " in value
        width = _FORMULA_WIDTH if formula else _WIDTH - 12
        wrapped = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"{name if i == 0 else '':<12}{line}" for i, line in enumerate(wrapped)]
    return Code("\n".join(lines))
