"""A structural check of a .tflite file, made before anything in it is believed.

The FlatBuffers accessors for Python check no bounds: an offset that points in front of the file reads from
its end, and a count of four thousand million is handed to NumPy. `verify` walks everything that the reader is
going to touch, as a table of the schema (`SCHEMA`) says, and compares each position with the file's size.
After it has passed, the accessors cannot leave the file.

FlatBuffers may share: a thousand tensors can all point at one table with one very long shape. Such a file
stays small and takes quadratic time to read. So the walk adds up what the reader will read *along every
path*, and stops when that is out of proportion to the file's size.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, NoReturn

from ..errors import ModelError
from ..types import FileBytes
from .operator_options import TABLES

__all__ = ["SCHEMA", "Damage", "verify"]

IDENTIFIER = b"TFL3"

# Table -> slot -> (field, kind), for the fields that the reader reads. A kind is a scalar (`u8`), a string
# (`str`), a table (`Tensor`), a vector of scalars or tables in brackets, a vector whose content is only ever
# viewed (`view`, so its length costs nothing), or `union`: the options table that OPTIONS names for the
# operator's options type.
SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "Model": {
        0: ("version", "u32"),
        1: ("operator_codes", "[OperatorCode]"),
        2: ("subgraphs", "[SubGraph]"),
        3: ("description", "str"),
        4: ("buffers", "[Buffer]"),
        7: ("signature_defs", "[SignatureDef]"),
    },
    "SignatureDef": {
        0: ("inputs", "[TensorMap]"),
        1: ("outputs", "[TensorMap]"),
        2: ("signature_key", "str"),
        4: ("subgraph_index", "u32"),
    },
    "TensorMap": {0: ("name", "str"), 1: ("tensor_index", "u32")},
    "OperatorCode": {
        0: ("deprecated_builtin_code", "i8"),
        1: ("custom_code", "str"),
        2: ("version", "i32"),
        3: ("builtin_code", "i32"),
    },
    "SubGraph": {
        0: ("tensors", "[Tensor]"),
        1: ("inputs", "[i32]"),
        2: ("outputs", "[i32]"),
        3: ("operators", "[Operator]"),
        4: ("name", "str"),
    },
    "Tensor": {
        0: ("shape", "[i32]"),
        1: ("type", "i8"),
        2: ("buffer", "u32"),
        3: ("name", "str"),
        4: ("quantization", "QuantizationParameters"),
        5: ("is_variable", "u8"),
        6: ("sparsity", "SparsityParameters"),
        7: ("shape_signature", "[i32]"),
    },
    "QuantizationParameters": {
        2: ("scale", "[f32]"),
        3: ("zero_point", "[i64]"),
        4: ("details_type", "u8"),
        6: ("quantized_dimension", "i32"),
    },
    "SparsityParameters": {},  # only its presence is read
    "Operator": {
        0: ("opcode_index", "u32"),
        1: ("inputs", "[i32]"),
        2: ("outputs", "[i32]"),
        3: ("builtin_options_type", "u8"),
        4: ("builtin_options", "union"),
        8: ("intermediates", "[i32]"),
    },
    "Buffer": {0: ("data", "view"), 1: ("offset", "u64"), 2: ("size", "u64")},
    **{table.name: table.slots for table in TABLES.values() if table.code},
}

# BuiltinOptions of the schema -> the table it holds, for the options that the reader reads.
OPTIONS: dict[int, str] = {table.code: table.name for table in TABLES.values() if table.code}

_WIDTH = {"u8": 1, "i8": 1, "i32": 4, "u32": 4, "f32": 4, "i64": 8, "u64": 8}

# Offsets are 32 bits wide, and the accessors refuse positions beyond them.
_REACH = 2**32 - 1

# What a file may cost to read. In a real model a tensor takes some 50 bytes and its buffer 8, so a table
# takes more than 12 on average; strings and scalar vectors that several tables share count once for each.
# The constants leave room for tiny files.
_FREE_TABLES, _BYTES_PER_TABLE = 1024, 12
_FREE_BYTES, _READS_PER_BYTE = 1 << 16, 4


class Damage(Exception):
    """What is wrong with the file's structure; `verify` turns it into a ModelError that names the file."""


class _Cost(NamedTuple):
    """What reading one table or vector takes, with everything below it."""

    tables: int
    bytes: int


class _Walk:
    """One walk over one file."""

    def __init__(self, content: FileBytes) -> None:
        self.content = content
        self.excused: list[str] = []
        self.size = min(len(content), _REACH)
        self.path: list[str] = []
        self.known: dict[tuple[str, int], _Cost] = {}
        self.tables = _FREE_TABLES + self.size // _BYTES_PER_TABLE
        self.bytes = _FREE_BYTES + self.size * _READS_PER_BYTE

    def where(self) -> str:
        """What is being read."""
        return "".join(self.path).lstrip(".") or "the file's root"

    def fail(self, found: str) -> NoReturn:
        raise Damage(f"{self.where()}: {found}")

    def need(self, start: int, count: int, what: str) -> None:
        """Refuse bytes that are not all inside the file."""
        if start < 0 or start + count > self.size:
            self.fail(f"{what} is at bytes {start} to {start + count}, but the file has {self.size} bytes")

    def u16(self, position: int) -> int:
        value: int = struct.unpack_from("<H", self.content, position)[0]
        return value

    def u32(self, position: int, what: str) -> int:
        self.need(position, 4, what)
        value: int = struct.unpack_from("<I", self.content, position)[0]
        return value

    def follow(self, position: int) -> int:
        """Where the offset stored at `position` leads."""
        distance = self.u32(position, "an offset")
        if distance == 0:
            self.fail("its offset is 0, so it leads to itself")
        return position + distance

    def spend(self, cost: _Cost) -> None:
        """Refuse a file whose reading is out of proportion to its size."""
        if cost.tables > self.tables or cost.bytes > self.bytes:
            self.fail(
                f"more than {self.tables} tables or {self.bytes} bytes would be read from a file of "
                f"{self.size} bytes, because its parts share or overlap each other"
            )

    def field(self, kind: str, position: int, options: str | None) -> _Cost:
        """Check one field of a table, `position` being where its value or offset is stored."""
        if kind in _WIDTH:
            self.need(position, _WIDTH[kind], "the value")
            return _Cost(0, 0)
        if kind == "union":
            return self.table(options, self.follow(position)) if options else _Cost(0, 0)
        target = self.follow(position)
        if kind in SCHEMA:
            return self.table(kind, target)
        known = self.known.get((kind, target))
        if known is not None:
            return known
        cost = self.string(target) if kind == "str" else self.vector(kind, target)
        self.known[kind, target] = cost
        return cost

    def excuse(self, found: str) -> None:
        """Note what LiteRT refuses and TensorFlow Lite Micro never looks at."""
        self.excused.append(f"{self.where()}: {found}")

    def string(self, start: int) -> _Cost:
        length = self.u32(start, "the string's length")
        end = start + 4 + length
        if end >= self.size:
            self.excuse(f"a string of {length} bytes goes beyond the end of the file")
        elif self.content[end] != 0:
            self.excuse(f"a string of {length} bytes is not followed by the zero byte that ends it")
        return _Cost(0, min(length, self.size - start))

    def vector(self, kind: str, start: int) -> _Cost:
        count = self.u32(start, "the vector's length")
        element = "u8" if kind == "view" else kind[1:-1]
        width = _WIDTH.get(element, 4)
        self.need(start + 4, count * width, f"a vector of {count} elements")
        if kind == "view":
            return _Cost(0, 0)
        if element in _WIDTH:
            return _Cost(0, count * width)
        tables = read = 0
        for index in range(count):
            self.path.append(f"[{index}]")
            cost = self.table(element, self.follow(start + 4 + 4 * index))
            tables, read = tables + cost.tables, read + cost.bytes
            self.spend(_Cost(tables, read))
            self.path.pop()
        return _Cost(tables, read)

    def table(self, name: str, start: int) -> _Cost:
        known = self.known.get((name, start))
        if known is not None:
            return known
        self.need(start, 4, f"the table {name}")
        vtable: int = start - struct.unpack_from("<i", self.content, start)[0]
        self.need(vtable, 4, f"the vtable of {name}")
        length = self.u16(vtable)
        if length < 4:
            self.fail(f"the vtable of {name} says that it has {length} bytes, wanted 4 or more")
        if length % 2:
            self.excuse(f"the vtable of {name} says that it has {length} bytes, wanted an even number")
        self.need(vtable, length + length % 2, f"the vtable of {name}")
        tables, read = 1, 0
        options = self.options(start, vtable, length) if name == "Operator" else None
        offsets = struct.unpack_from(f"<{(length - 3) // 2}H", self.content, vtable + 4)
        for slot, (field, kind) in SCHEMA[name].items():
            offset = offsets[slot] if slot < len(offsets) else 0
            if not offset or (kind in _WIDTH and start + offset + _WIDTH[kind] <= self.size):
                continue  # absent, or a number inside the file
            self.path.append("." + field)
            cost = self.field(kind, start + offset, options)
            tables, read = tables + cost.tables, read + cost.bytes
            self.spend(_Cost(tables, read))
            self.path.pop()
        self.known[name, start] = _Cost(tables, read)
        return _Cost(tables, read)

    def options(self, start: int, vtable: int, length: int) -> str | None:
        """The table that this operator's options are, by the type stored beside them."""
        offset = self.u16(vtable + 10) if length > 10 else 0
        if not offset:
            return None
        self.need(start + offset, 1, "builtin_options_type")
        return OPTIONS.get(self.content[start + offset])


def verify(content: FileBytes, source: str) -> list[str]:
    """Check the structure of a .tflite file: every position that the reader will follow is inside the file.

    Time and memory are in proportion to the size of the file's tables, whatever its bytes are.

    Args:
        content: the file's bytes.
        source: what errors call the file.

    Returns:
        What is wrong and harms no reader: names that are not ended, odd lengths of vtables.

    Raises:
        ModelError: a table or a vector is not inside the file.
    """
    walk = _Walk(content)
    try:
        walk.table("Model", walk.follow(0))
    except Damage as damage:
        raise ModelError(
            f"{source}: damaged .tflite file: {damage}. The file is truncated or was changed; download it "
            "or convert the model again."
        ) from None
    return walk.excused
