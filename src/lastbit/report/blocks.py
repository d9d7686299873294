"""What every verb returns: a Report, data first, and a neutral list of blocks that any output format renders.

A report knows its data (`as_dict`, for JSON and programs) and what a person should read (`blocks`). Terminal, pipe and
notebook are three renderings of the same blocks.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ..model.html import few_lines, html_table
from .json_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Block", "Code", "Heading", "Report", "Table", "Text", "print_blocks"]


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph. `style` is a hint for terminals: `good`, `bad`, `warning`, `dim` or nothing."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Code:
    """Text whose line breaks and spaces matter: code, aligned numbers."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table. Columns named in `right` are aligned right; every cell is converted by `str`.

    A `close` one has no lines and no empty lines around it, for screens where space is short.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    right: Sequence[str] = ()
    close: bool = False


Block = Heading | Text | Code | Table


class Report(ABC):
    """The result of a verb. `print(report)` is all of it, `repr` its verdict; `report.json()` is for machines."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, with a `schema` key that names its kind and version."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """What a person should read, in order."""

    def first_screen(self) -> list[Block]:
        """What the command line shows without `-v`: the answer first. All of it, where that is short."""
        return self.blocks()

    @abstractmethod
    def in_short(self) -> list[str]:
        """The verdict in one to four sentences, the most important first: what `repr` shows."""

    def json(self) -> str:
        """`as_dict()` as JSON text; infinities and NaN are strings in it."""
        return json_text(self.as_dict(), indent=2)

    def __repr__(self) -> str:
        return few_lines([f"{type(self).__name__}: ", *self.in_short()])

    def __str__(self) -> str:
        from rich.console import Console

        stream = io.StringIO()
        print_blocks(self.blocks(), Console(file=stream, width=_PLAIN_WIDTH, color_system=None))
        return stream.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        return "\n".join(_block_html(block) for block in self.blocks())


# Wide enough that nothing a report prints is folded where no terminal sets a width.
_PLAIN_WIDTH = 200

_STYLES = {"good": "green", "bad": "bold red", "warning": "yellow", "dim": "dim"}


def print_blocks(blocks: Sequence[Block], console: Console) -> None:
    """Print blocks to a rich console; colours, width and NO_COLOR are the console's business."""
    from rich import box
    from rich import table as rich_table
    from rich import text as rich_text

    for block in blocks:
        match block:
            case Heading(text):
                console.print()
                console.print(rich_text.Text(text, style="bold"))
            case Text(text, style):
                console.print(rich_text.Text(text, style=_STYLES.get(style, "")), soft_wrap=not console.is_terminal)
            case Code(text):
                for line in text.splitlines():
                    console.print(rich_text.Text("  " + line), soft_wrap=True)
            case Table(headers, rows, title, right, close):
                grid = rich_table.Table(
                    title=title or None,
                    box=None if close else box.SIMPLE,
                    title_justify="left",
                    pad_edge=False,
                    title_style="italic",
                )
                for header in headers:
                    grid.add_column(header, justify="right" if header in right else "left", overflow="fold")
                for row in rows:
                    grid.add_row(*(rich_text.Text(str(cell)) for cell in row))
                console.print(grid)


def _block_html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h4>{escape(text)}</h4>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case Table(headers, rows, title, right):
            return html_table(title, headers, rows, right)
