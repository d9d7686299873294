"""The options of the operators that LastBit computes: schema tables to plain values and back, side by side.

An operator whose options are not here has none as far as LastBit goes: reading gives an empty mapping, which holds
the table as it is where it can be written again (`raw_options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedError
from .operator_options import TABLES
from .option_tables import read_table, write_table
from .raw_options import RawOptions, read_raw_options, write_raw_options

__all__ = ["OPTION_DEFAULTS", "can_be_written", "read_options", "write_options"]

# What the schema says of an operator without an options table.
OPTION_DEFAULTS: dict[str, dict[str, Any]] = {name: table.defaults for name, table in TABLES.items() if table.fields}


def read_options(operator: Any, name: str) -> Mapping[str, Any]:
    """The options of one operator, by their schema names.

    Args:
        operator: the schema's accessor of the operator.
        name: the operator's name.

    Returns:
        The options; the schema's defaults where the file says nothing or has the options of another operator,
        as in TFLite; for operators whose options are not read an empty mapping, a RawOptions where they can be moved.
    """
    values = dict(OPTION_DEFAULTS.get(name, {}))
    if name not in TABLES and name.isidentifier():
        return read_raw_options(operator)
    # The type comes first: a table of another type has not been checked, and must not be touched.
    if not values or operator.BuiltinOptionsType() != TABLES[name].code:
        return values
    union = operator.BuiltinOptions()
    return values if union is None else read_table(union, TABLES[name])


def can_be_written(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an operator with these options can be written (see `write_options`)."""
    return name in TABLES or isinstance(options, RawOptions)


def write_options(builder: Any, name: str, options: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Write one operator's options.

    Args:
        builder: the FlatBuffers builder.
        name: the operator's name.
        options: the options; those left out have the schema's defaults.
        where: how errors call the operator.

    Returns:
        The BuiltinOptions type and the options table's offset, (0, 0) where the operator has none.

    Raises:
        UnsupportedError: the operator is not one that is written, or an option is not one of its own.
    """
    if isinstance(options, RawOptions):
        return options.code, write_raw_options(builder, options)
    if not can_be_written(name, options):
        raise UnsupportedError(
            f"{where}: cannot be written to a .tflite file",
            [
                f"the options of {name} are not known, and cannot be copied where they are custom ones or stand beside "
                "variable inputs"
            ],
        )
    defaults = OPTION_DEFAULTS.get(name, {})
    if unknown := sorted(set(options) - set(defaults)):
        raise UnsupportedError(
            f"{where}: cannot be written to a .tflite file",
            [f"option {option!r} is not one of {name}, which has {sorted(defaults)}" for option in unknown],
        )
    table = TABLES[name]
    return table.code, write_table(builder, table, {**defaults, **options}, where) if table.code else 0
