"""A report's blocks on one screen of 80 columns: nothing wider, and long tables and listings cut, which is said."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from .blocks import Block, Code, Table, Text, print_blocks
from .phrases import folded, plural

__all__ = ["LINES", "one_screen"]

LINES = 30
"""Lines of most first screens."""

_WIDTH = 80
_LEAST = 4  # rows of a table and lines of a listing that always stay


def one_screen(blocks: Sequence[Block], lines: int = LINES) -> list[Block]:
    """The blocks, with as many rows and lines of their tables and listings as the screen has room for.

    Rows that are marked stay before others do. Text is never left out.

    Args:
        blocks: all of a report.
        lines: how many lines a terminal of 80 columns may show of it.
    """
    narrow = [_narrow(block) for block in folded(blocks)]
    kept = {number: min(size, lines) for number, block in enumerate(narrow) if (size := _size(block))}
    while True:
        shown = [part for number, block in enumerate(narrow) for part in _cut(block, kept.get(number, 0))]
        over = _height(shown) - lines
        longest = max(kept, key=lambda number: kept[number], default=None)
        if over <= 0 or longest is None or kept[longest] <= _LEAST:
            return shown
        kept[longest] -= max(1, min(kept[longest] - _LEAST, over // 2))


def _narrow(block: Block) -> Block:
    """The block without empty lines around a table, and with lines of code that fit."""
    match block:
        case Table():
            return replace(block, close=True)
        case Code(text):
            return Code("\n".join(part for line in text.splitlines() for part in _wrapped(line)))
        case _:
            return block


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, _WIDTH - 2, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _size(block: Block) -> int:
    """The rows or lines that can be cut."""
    match block:
        case Table(_, rows):
            return len(rows)
        case Code(text):
            return len(text.splitlines())
        case _:
            return 0


def _cut(block: Block, kept: int) -> list[Block]:
    """The block with so many of its rows or lines, and how many are left out."""
    left = _size(block) - kept
    if left <= 0:
        return [block]
    match block:
        case Table(rows=rows, marked=marked):
            others = [number for number in range(len(rows)) if number not in set(marked)]
            chosen = sorted([*marked, *others][:kept])
            marks = [place for place, number in enumerate(chosen) if number in set(marked)]
            part: Block = replace(block, rows=[rows[number] for number in chosen], marked=marks)
            return [part, Text(f"{plural(left, 'more row')}: -v", "dim")]
        case Code(text):
            return [Code("\n".join(text.splitlines()[:kept])), Text(f"{plural(left, 'more line')}: -v", "dim")]
        case _:
            return [block]


def _height(blocks: Sequence[Block]) -> int:
    """The lines that a terminal of 80 columns shows."""
    from rich.console import Console

    stream = io.StringIO()
    print_blocks(blocks, Console(file=stream, width=_WIDTH, force_terminal=True, color_system=None, highlight=False))
    return stream.getvalue().strip("\n").count("\n") + 1
