"""Labels and data as text: .csv and .tsv with or without a head, and .txt with a row on each line."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

import numpy as np

from ...model.errors import InputError
from ...model.types import Array
from ...report.output_files import reason

__all__ = ["TEXT_ENDINGS", "read_text"]

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
# Names of a column that holds the labels, beside those that the caller has for arrays.
_COLUMNS = ("label", "class", "target")
_SEPARATORS = (",", ";", "\t")


def read_text(path: str, keys: Sequence[str], what: str) -> Array:
    """The numbers of a text file, whole.

    The values of a line stand between commas, semicolons or tabs; in a .txt spaces do too, and what follows a `#` is
    left out. A first line without numbers names the columns: then the column of the labels is taken, if one is called
    so, else all of them.

    Args:
        path: the file.
        keys: names that the column of the labels may have, beside `label`, `class` and `target`.
        what: what it is, for messages: `data` or `labels`.

    Returns:
        `[rows]` for one column, else `[rows, columns]`: int64 where all are whole numbers, else float64.

    Raises:
        InputError: it cannot be read, is empty, or a line has other columns or no number; the line is named.
    """
    rows = _rows(path, what)
    names: list[str] = []
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        names = [cell.lower() for cell in rows.pop(0)[1]]
    if not rows:
        raise InputError(f"{path}: has no rows; wanted at least one line of numbers.")
    columns = len(names or rows[0][1])
    uneven = next((number for number, cells in rows if len(cells) != columns), None)
    if uneven is not None:
        found = len(dict(rows)[uneven])
        raise InputError(f"{path}: line {uneven} has {found} values, the first one has {columns}; wanted as many.")
    wanted = [name for name in (*keys, *_COLUMNS) if name in names]
    if wanted:
        at = names.index(wanted[0])
        rows = [(number, [cells[at]]) for number, cells in rows]
    values = np.array([[_number(path, number, cell, what) for cell in cells] for number, cells in rows])
    return values[:, 0] if values.shape[1] == 1 else values


def _rows(path: str, what: str) -> list[tuple[int, list[str]]]:
    """The number of each line that is not empty, and its values."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder. Check the path of the {what}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {reason(error)}.") from None
    plain = os.path.splitext(path)[1].lower() == ".txt"
    lines = [line.partition("#")[0] if plain else line for line in text.splitlines()]
    first = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    if plain and separator not in first:
        split = [line.split() for line in lines]
    else:
        split = [[cell.strip() for cell in cells] for cells in csv.reader(lines, delimiter=separator)]
    return [(number, cells) for number, cells in enumerate(split, 1) if any(cells)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(path: str, line: int, cell: str, what: str) -> int | float:
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        advice = " Give each class its number." if what == "labels" else ""
        raise InputError(f"{path}: line {line} has {cell!r}, wanted a number.{advice}") from None
