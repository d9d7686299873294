"""What every verb returns: a Report, data first, and a neutral list of blocks that any output format renders.

A report knows its data (`as_dict`, for JSON and programs) and what a person should read (`blocks`). Terminal, pipe,
notebook and HTML page are renderings of the same blocks.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..model.errors import InputError
from ..model.extras import install_text
from ..model.html import few_lines
from .json_text import json_text
from .junit import Check
from .parts import Block, Code, Heading, Table, Text

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

    from .pictures import Picture
    from .plot import Plot

__all__ = ["Block", "Code", "Heading", "Report", "Table", "Text", "print_blocks"]


class Report(ABC):
    """The result of a verb. `print(report)` is all of it, `repr` its verdict; `report.json()` is for machines."""

    main_table: ClassVar[str] = ""
    """The key of `as_dict()` that `records()` are taken from."""

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

    def checks(self) -> list[Check]:
        """What was compared, one entry for each test case of `--junit`; empty for what compares nothing."""
        return []

    def pictures(self) -> list[Picture]:
        """What can be shown as pictures, the most telling first; empty where there is nothing."""
        return []

    def plot(self) -> Plot:
        """The report's pictures, drawn with matplotlib (extra `[plot]`). A notebook shows them.

        Raises:
            InputError: matplotlib is missing, or there is nothing to draw.
        """
        from .plot import draw

        found = self.pictures()
        if not found:
            raise InputError(f"{type(self).__name__}: there is nothing to draw here.")
        return draw(found)

    def records(self) -> list[dict[str, Any]]:
        """The report's main table, a mapping for each row; empty for what has none."""
        entries = self.as_dict().get(self.main_table, []) if self.main_table else []
        return [{key: value for key, value in entry.items() if not isinstance(value, dict | list)} for entry in entries]

    def to_pandas(self) -> DataFrame:
        """`records()` as a pandas.DataFrame.

        Raises:
            InputError: pandas is missing (extra `[pandas]`), or the report has no table.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            told = f"to_pandas needs pandas, which is not installed. Install it: {install_text('pandas')}"
            raise InputError(told) from error
        found = self.records()
        if not found:
            raise InputError(f"{type(self).__name__}: it has no table for pandas; as_dict() has all of its data.")
        return DataFrame(found)

    def json(self) -> str:
        """`as_dict()` as JSON text; infinities and NaN are strings in it."""
        return json_text(self.as_dict(), indent=2)

    def __repr__(self) -> str:
        return few_lines([f"{type(self).__name__}: ", *self.in_short()])

    def __str__(self) -> str:
        from rich.console import Console

        stream = io.StringIO()
        print_blocks(self.blocks(), Console(file=stream, width=_PLAIN_WIDTH, color_system=None, soft_wrap=True))
        return stream.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self.blocks())

    def html(self, title: str = "", footer: str = "") -> str:
        """The report as one HTML page that needs no network, with its pictures where matplotlib is there.

        Args:
            title: its title and first line; the report's kind, if none is given.
            footer: its last line.
        """
        from .html import page
        from .plot import inline_svg

        picture = inline_svg(self.pictures())
        return page(self.blocks(), title or type(self).__name__, self.in_short()[0], footer, picture)


# Wide enough that nothing a report prints is folded where no terminal sets a width.
_PLAIN_WIDTH = 200

_STYLES = {"good": "green", "bad": "bold red", "warning": "yellow", "dim": "dim"}


def print_blocks(blocks: Sequence[Block], console: Console) -> None:
    """Print blocks to a rich console; colours, width, folding of text and NO_COLOR are the console's business."""
    from rich import box
    from rich import table as rich_table
    from rich import text as rich_text

    for block in blocks:
        match block:
            case Heading(text):
                console.print()
                console.print(rich_text.Text(text, style="bold"), soft_wrap=False)
            case Text(text, style):
                console.print(rich_text.Text(text, style=_STYLES.get(style, "")))
            case Code(text):
                if lines := text.splitlines():
                    console.print(rich_text.Text("\n".join(f"  {line}" for line in lines)), soft_wrap=True)
            case Table(headers, rows, title, right, close, marked):
                grid = rich_table.Table(
                    title=title or None,
                    box=None if close else box.SIMPLE,
                    title_justify="left",
                    pad_edge=False,
                    title_style="italic",
                )
                for header in headers:
                    grid.add_column(header, justify="right" if header in right else "left", overflow="fold")
                for number, row in enumerate(rows):
                    mark = _STYLES["bad"] if number in marked else None
                    grid.add_row(*(rich_text.Text(str(cell)) for cell in row), style=mark)
                console.print(grid, soft_wrap=False)
