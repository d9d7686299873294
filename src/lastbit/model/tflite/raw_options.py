"""Options that LastBit does not read, kept as the file has them: a table of scalars can be moved as it is.

So a model can be written again with operators that LastBit cannot compute.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..types import FileBytes

__all__ = ["RawOptions", "read_raw_options", "write_raw_options"]

# BuiltinOptions whose tables hold references: ConcatEmbeddings, Reshape, Squeeze, VarHandle, Bucketize.
_WITH_REFERENCES = frozenset((3, 17, 30, 111, 115))
_LONGEST_SCALAR = 8
# Fields of the schema's Operator that would be lost: custom options, variable inputs, large custom options, options of
# StableHLO.
_NOT_MOVED = (14, 18, 22, 26)


@dataclass(frozen=True, eq=False)
class RawOptions(Mapping[str, Any]):
    """One operator's options table, unread: as a mapping it is empty.

    Attributes:
        code: the BuiltinOptions type; 0 where the operator has no table.
        vtable: the bytes that say where each field stands.
        table: the table's own bytes.
        place: the table's position in the file, modulo 8: its fields are aligned by that.
    """

    code: int = 0
    vtable: bytes = b""
    table: bytes = b""
    place: int = 0

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read_raw_options(operator: Any) -> Mapping[str, Any]:
    """The options table of an operator, unread. An empty dict where the file's table cannot be moved.

    Args:
        operator: the schema's accessor of the operator.
    """
    code = operator.BuiltinOptionsType()
    union = operator.BuiltinOptions() if code else None
    if any(operator._tab.Offset(slot) for slot in _NOT_MOVED):
        return {}
    if union is None:
        return RawOptions()
    if code in _WITH_REFERENCES:
        return {}
    content: FileBytes = union.Bytes
    start = union.Pos
    if not 4 <= start <= len(content) - 4:
        return {}
    vtable = start - struct.unpack_from("<i", content, start)[0]
    if not 4 <= vtable <= len(content) - 4:
        return {}
    length, size = struct.unpack_from("<HH", content, vtable)
    if length < 4 or size < 4 or length % 2 or vtable + length > len(content) or start + size > len(content):
        return {}
    return RawOptions(code, bytes(content[vtable : vtable + length]), bytes(content[start : start + size]), start % 8)


def write_raw_options(builder: Any, options: RawOptions) -> int:
    """Write a table as it was; its offset, 0 where there is none."""
    if not options.code:
        return 0
    size = len(options.table)
    builder.Prep(_LONGEST_SCALAR, size + len(options.vtable) + _LONGEST_SCALAR)
    # The builder fills the file from its end, whose place is a multiple of 8.
    builder.Pad((-options.place - builder.Offset() - size) % _LONGEST_SCALAR)
    place(builder, struct.pack("<i", len(options.vtable)) + options.table[4:])
    offset: int = builder.Offset()
    place(builder, options.vtable)
    return offset


def place(builder: Any, content: bytes) -> None:
    """Put bytes before what has been built."""
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
