"""The schema's options tables of the operators around dense layers, as data: read, written and checked from here.

A table's fields stand in the order of their slots in the schema, which is what the structural check walks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedError
from ..types import DTYPES

__all__ = ["ACTIVATIONS", "TABLES", "OptionTable", "choice", "read_table", "write_table"]

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")

_ENUMS = {"padding": PADDINGS, "activation": ACTIVATIONS}
# How each kind of field is stored, in the words of `check.SCHEMA`.
_STORED = {"padding": "i8", "activation": "i8", "dtype": "i8", "bool": "u8"}


@dataclass(frozen=True)
class OptionTable:
    """One options table of the schema.

    Attributes:
        code: its BuiltinOptions type.
        name: its name in the schema.
        fields: (name, kind, default) in the order of the slots. A kind is `padding`, `activation`, `dtype`, `bool`,
            `i32`, `f32`, `str` or `[i32]`.
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


_PADDING = ("padding", "padding", "SAME")
_ACTIVATION = ("fused_activation_function", "activation", "NONE")
_STRIDES = (("stride_w", "i32", 0), ("stride_h", "i32", 0))
_DILATIONS = (("dilation_w_factor", "i32", 1), ("dilation_h_factor", "i32", 1))
_POOL = OptionTable(
    5, "Pool2DOptions", (_PADDING, *_STRIDES, ("filter_width", "i32", 0), ("filter_height", "i32", 0), _ACTIVATION)
)
_POT_SCALE = ("pot_scale_int16", "bool", True)
_REDUCE = OptionTable(27, "ReducerOptions", (("keep_dims", "bool", False),))
_MAXIMUM_MINIMUM = OptionTable(39, "MaximumMinimumOptions")

# Keyed by the operator's name.
TABLES: dict[str, OptionTable] = {
    "CONV_2D": OptionTable(
        1,
        "Conv2DOptions",
        (_PADDING, *_STRIDES, _ACTIVATION, *_DILATIONS, ("quantized_bias_type", "dtype", "float32")),
    ),
    "DEPTHWISE_CONV_2D": OptionTable(
        2, "DepthwiseConv2DOptions", (_PADDING, *_STRIDES, ("depth_multiplier", "i32", 0), _ACTIVATION, *_DILATIONS)
    ),
    "TRANSPOSE_CONV": OptionTable(
        49,
        "TransposeConvOptions",
        (_PADDING, *_STRIDES, _ACTIVATION, ("quantized_bias_type", "dtype", "float32")),
    ),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "CONCATENATION": OptionTable(10, "ConcatenationOptions", (("axis", "i32", 0), _ACTIVATION)),
    "ADD": OptionTable(11, "AddOptions", (_ACTIVATION, _POT_SCALE)),
    "MUL": OptionTable(21, "MulOptions", (_ACTIVATION,)),
    "PAD": OptionTable(22, "PadOptions"),
    "GATHER": OptionTable(23, "GatherOptions", (("axis", "i32", 0), ("batch_dims", "i32", 0))),
    "BATCH_TO_SPACE_ND": OptionTable(24, "BatchToSpaceNDOptions"),
    "SPACE_TO_BATCH_ND": OptionTable(25, "SpaceToBatchNDOptions"),
    "TRANSPOSE": OptionTable(26, "TransposeOptions"),
    "MEAN": _REDUCE,
    "SUM": _REDUCE,
    "SUB": OptionTable(28, "SubOptions", (_ACTIVATION, _POT_SCALE)),
    "SQUEEZE": OptionTable(30, "SqueezeOptions", (("squeeze_dims", "[i32]", ()),)),
    "STRIDED_SLICE": OptionTable(
        32,
        "StridedSliceOptions",
        (
            *((f"{mask}_mask", "i32", 0) for mask in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")),
            ("offset", "bool", False),
        ),
    ),
    "SLICE": OptionTable(48, "SliceOptions"),
    "SPLIT": OptionTable(35, "SplitOptions", (("num_splits", "i32", 0),)),
    "SPLIT_V": OptionTable(79, "SplitVOptions", (("num_splits", "i32", 0),)),
    "MAXIMUM": _MAXIMUM_MINIMUM,
    "MINIMUM": _MAXIMUM_MINIMUM,
    "ARG_MAX": OptionTable(40, "ArgMaxOptions", (("output_type", "dtype", "float32"),)),
    "ARG_MIN": OptionTable(57, "ArgMinOptions", (("output_type", "dtype", "float32"),)),
    "BATCH_MATMUL": OptionTable(
        101,
        "BatchMatMulOptions",
        (("adj_x", "bool", False), ("adj_y", "bool", False), ("asymmetric_quantize_inputs", "bool", False)),
    ),
    "PADV2": OptionTable(43, "PadV2Options"),
    "EXPAND_DIMS": OptionTable(52, "ExpandDimsOptions"),
    "SHAPE": OptionTable(55, "ShapeOptions", (("out_type", "dtype", "float32"),)),
    "PACK": OptionTable(59, "PackOptions", (("values_count", "i32", 0), ("axis", "i32", 0))),
    "UNPACK": OptionTable(64, "UnpackOptions", (("num", "i32", 0), ("axis", "i32", 0))),
    "FILL": OptionTable(68, "FillOptions"),
    "LEAKY_RELU": OptionTable(75, "LeakyReluOptions", (("alpha", "f32", 0.0),)),
    "HARD_SWISH": OptionTable(91, "HardSwishOptions"),
    "CALL_ONCE": OptionTable(103, "CallOnceOptions", (("init_subgraph_index", "i32", 0),)),
    "VAR_HANDLE": OptionTable(111, "VarHandleOptions", (("container", "str", ""), ("shared_name", "str", ""))),
    "READ_VARIABLE": OptionTable(112, "ReadVariableOptions"),
    "ASSIGN_VARIABLE": OptionTable(113, "AssignVariableOptions"),
}


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
        elif kind in _ENUMS:
            values[field] = choice(_ENUMS[kind], value)
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
        names = tuple(codes) if kind == "dtype" else _ENUMS.get(kind)
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
