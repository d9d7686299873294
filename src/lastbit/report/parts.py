"""What the text of a report is made of, whatever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Code", "Heading", "Table", "Text"]


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
    """A table; every cell is converted by `str`.

    Attributes:
        headers: the columns' names.
        rows: the cells, row by row.
        title: what stands above it.
        right: names of the columns that are aligned right.
        close: it has no lines and no empty lines around it, for screens where space is short.
        marked: numbers of the rows that the reader should see first: what is wrong, what differs.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    right: Sequence[str] = ()
    close: bool = False
    marked: Sequence[int] = ()


Block = Heading | Text | Code | Table
