"""Operators of 8-bit values that go from element to element, as tables: one entry for each input.

The table is read off the rule itself, for all 256 inputs. Where a kernel treats the last elements of a sample otherwise
than the rest, there are two tables.
"""

from __future__ import annotations

import numpy as np

from ....model.graph import Tensor
from ....model.types import Array
from ....ops.base import PreparedOperator
from ....rules.base import Unsupported
from ..program import Piece, elements
from .library import Library
from .requantize import READER
from .text import C_TYPES

__all__ = ["has_table", "tabulated"]


def has_table(source: Tensor, output: Tensor) -> bool:
    """Whether an operator of these element types is a table."""
    return source.dtype.name in ("int8", "uint8") and output.dtype.name in ("int8", "uint8", "int16")


def tabulated(entry: PreparedOperator, source: Tensor, output: Tensor, prefix: str, library: Library) -> Piece:
    """One operator of one input as a table.

    Raises:
        Unsupported: its elements follow more than two tables, one behind the other.
    """
    first, last, split = _tables(entry, source)
    x, y = C_TYPES[source.dtype.name], C_TYPES[output.dtype.name]
    kind = first.dtype
    zero = " + 128" if x == "int8_t" else ""
    count = elements(source)
    table = library.array(f"{prefix}_table", kind, first)
    if split >= count:
        kernel = f"""\
/* Each input's output stands in a table. */
static void @(const {y} *table, int32_t count, const {x} *input, {y} *output) {{
  for (int32_t i = 0; i < count; i++) {{
    output[i] = table[input[i]{zero}];
  }}
}}"""
        return Piece(entry, library.function("look_up", kernel), (table, str(count)))
    rest = library.array(f"{prefix}_table_of_last", kind, last)
    kernel = f"""\
/* The same; the last elements, which fill no vector register, have a table of their own. */
static void @(const {y} *table, const {y} *last, int32_t split, int32_t count, const {x} *input, {y} *output) {{
  for (int32_t i = 0; i < count; i++) {{
    output[i] = (i < split ? table : last)[input[i]{zero}];
  }}
}}"""
    return Piece(entry, library.function("look_up_two", kernel), (table, rest, str(split), str(count)))


def _tables(entry: PreparedOperator, source: Tensor) -> tuple[Array, Array, int]:
    """The outputs of the first elements, those of the last ones, and how many the first ones are."""
    assert source.dtype.numpy is not None
    low = -128 if source.dtype.name == "int8" else 0
    columns = []
    for value in range(low, low + 256):
        probe = np.full(source.shape, value, source.dtype.numpy)
        columns.append(entry.evaluate([probe])["output"].reshape(-1))
    first = np.asarray([column[0] for column in columns])
    last = np.asarray([column[-1] for column in columns])
    as_first = np.ones(columns[0].shape, bool)
    for column in columns:
        as_first &= column == column[0]
    split = len(as_first) if as_first.all() else int(np.argmin(as_first))
    if any((column[split:] != column[-1]).any() for column in columns):
        raise Unsupported(READER, "elements", "more than two tables")
    return first, last, split
