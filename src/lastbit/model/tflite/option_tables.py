"""Options tables of the schema as data: how one is read and written. Which there are: `operator_options`.

A table's fields stand in the order of their slots in the schema, which is what the structural check walks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedError
from ..types import DTYPES

__all__ = ["ACTIVATIONS", "ENUMS", "OptionTable", "choice", "read_table", "write_table"]

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")

WEIGHTS_FORMATS = ("DEFAULT", "SHUFFLED4x16INT8")
MIRRORS = ("REFLECT", "SYMMETRIC")

ENUMS = {"padding": PADDINGS, "activation": ACTIVATIONS, "weights_format": WEIGHTS_FORMATS, "mirror": MIRRORS}
"""The names of each kind of numbered choice, in the order of their numbers."""
# How each kind of field is stored, in the words of `check.SCHEMA`.
_STORED = {**dict.fromkeys((*ENUMS, "dtype"), "i8"), "bool": "u8"}


@dataclass(frozen=True)
class OptionTable:
    """One options table of the schema.

    Attributes:
        code: its BuiltinOptions type; 0 for an operator that has none.
        name: its name in the schema.
        fields: (name, kind, default) in the order of the slots. A kind is one of ENUMS, `dtype`, `bool`, `i32`,
            `f32`, `str` or `[i32]`.
    """

    code: int
    name: str
    fields: tuple[tuple[str, str, Any], ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """What the schema says of an operator without the table."""
        return {field: default for field, _, default in self.fields}

    @property
    def slots(self) -> dict[int, tuple[str, str]]:
        """The same in the words of `check.SCHEMA`: slot -> (field, kind)."""
        return {slot: (field, _STORED.get(kind, kind)) for slot, (field, kind, _) in enumerate(self.fields)}


def choice(names: tuple[str, ...], value: int) -> str:
    """The name of an enumeration's value, `unknown(6)` for one that the schema does not know.

    Real interpreters run some of those (docs/files.md), so the file is read; no operator covers such a name.
    """
    return names[value] if 0 <= value < len(names) else f"unknown({value})"


def read_table(union: Any, table: OptionTable) -> dict[str, Any]:
    """The values of one options table.

    Args:
        union: the schema's accessor of the operator's options, of this table's type.
        table: which table it is.
    """
    import tflite as schema

    if not table.fields:
        return {}
    accessor = getattr(schema, table.name)()
    accessor.Init(union.Bytes, union.Pos)
    values: dict[str, Any] = {}
    for field, kind, default in table.fields:
        name = _camel(field)
        if kind == "[i32]":
            values[field] = (
                tuple(getattr(accessor, f"{name}AsNumpy")().tolist()) if getattr(accessor, f"{name}Length")() else ()
            )
            continue
        value = getattr(accessor, name)()
        if kind == "str":
            values[field] = (value or b"").decode("utf-8", "replace")
        elif kind in ENUMS:
            values[field] = choice(ENUMS[kind], value)
        elif kind == "dtype":
            values[field] = DTYPES[value].name if value in DTYPES else f"unknown({value})"
        else:
            values[field] = type(default)(value)
    return values


def write_table(builder: Any, table: OptionTable, values: Mapping[str, Any], where: str) -> int:
    """Write one options table; its offset is returned.

    Args:
        builder: the FlatBuffers builder.
        table: which table.
        values: a value for every field of the table.
        where: how errors call the operator.

    Raises:
        UnsupportedError: an enumeration has no such name.
    """
    import numpy as np
    import tflite as schema

    codes = {dtype.name: code for code, dtype in DTYPES.items()}
    stored: dict[str, Any] = {}
    reasons = []
    for field, kind, _ in table.fields:
        value = values[field]
        names = tuple(codes) if kind == "dtype" else ENUMS.get(kind)
        if names is not None and value not in names:
            reasons.append(f"option {field} is {value!r}, wanted one of {', '.join(names)}")
        elif kind == "dtype":
            stored[field] = codes[value]
        elif names is not None:
            stored[field] = names.index(value)
        elif kind == "[i32]":
            # An absent vector is written where there is nothing: an empty one may mean something else.
            stored[field] = builder.CreateNumpyVector(np.array(value, np.int32)) if value else 0
        elif kind == "str":
            stored[field] = builder.CreateString(value)
        else:
            stored[field] = value
    if reasons:
        raise UnsupportedError(f"{where}: cannot be written to a .tflite file", reasons)
    if not table.fields:
        builder.StartObject(0)
        empty: int = builder.EndObject()
        return empty
    getattr(schema, f"{table.name}Start")(builder)
    for field, kind, _ in table.fields:
        if kind != "[i32]" or stored[field]:
            getattr(schema, f"{table.name}Add{_camel(field)}")(builder, stored[field])
    offset: int = getattr(schema, f"{table.name}End")(builder)
    return offset


def _camel(field: str) -> str:
    return "".join(part.capitalize() for part in field.split("_"))
