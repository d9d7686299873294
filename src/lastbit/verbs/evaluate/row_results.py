"""What an evaluation found for each row, as a file: .csv for people and spreadsheets, .npz for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np

from ...model.types import Array
from ...report.output_files import suffix, write_arrays, write_bytes

__all__ = ["ROW_ENDINGS", "RowResults"]

ROW_ENDINGS = (".csv", ".npz")


class RowResults:
    """A few numbers for each row, kept until all are there.

    Attributes:
        path: the file that they are written to.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._chunks: dict[str, list[Array]] = {}

    def add(self, columns: Mapping[str, Array]) -> None:
        """Take a chunk: the same columns in each, of one length."""
        for name, values in columns.items():
            self._chunks.setdefault(name, []).append(values)

    def write(self) -> None:
        """Write the file, whole or not at all: column `row` first, then the others in their order.

        Raises:
            InputError: it cannot be written.
        """
        columns = {name: np.concatenate(chunks) for name, chunks in self._chunks.items()}
        size = len(next(iter(columns.values()))) if columns else 0
        table = {"row": np.arange(size), **columns}
        if suffix(self.path) == ".npz":
            write_arrays(self.path, table)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
        write_bytes(self.path, text.getvalue().encode())
