"""The options of the operators that LastBit computes: schema tables to plain values and back, side by side.

An operator whose options are not here has none as far as LastBit goes: reading gives an empty mapping, which holds
the table as it is where it can be written again (`raw_options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedError
from ..types import DTYPES
from .option_tables import ACTIVATIONS, TABLES, choice, read_table, write_table
from .raw_options import RawOptions, read_raw_options, write_raw_options

__all__ = ["OPTION_DEFAULTS", "read_options", "write_options"]

WEIGHTS_FORMATS = ("DEFAULT", "SHUFFLED4x16INT8")

# What the schema says of an operator without an options table.
OPTION_DEFAULTS: dict[str, dict[str, Any]] = {
    "FULLY_CONNECTED": {
        "fused_activation_function": "NONE",
        "weights_format": "DEFAULT",
        "keep_num_dims": False,
        "asymmetric_quantize_inputs": False,
        "quantized_bias_type": "float32",
    },
    "SOFTMAX": {"beta": 0.0},
    "RESHAPE": {"new_shape": ()},
    **{name: table.defaults for name, table in TABLES.items() if table.fields},
}

# Operators that are written, and the BuiltinOptions type that goes with each (0: none).
_OPTIONS_TYPE = {
    "FULLY_CONNECTED": 8,
    "SOFTMAX": 9,
    "RESHAPE": 17,
    "DEQUANTIZE": 38,
    "QUANTIZE": 89,
    "RELU": 0,
    "RELU6": 0,
    "RELU_N1_TO_1": 0,
    "LOGISTIC": 0,
    "TANH": 0,
    **{name: table.code for name, table in TABLES.items()},
}


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
    if name not in _OPTIONS_TYPE and name.isidentifier():
        return read_raw_options(operator)
    # The type comes first: a table of another type has not been checked, and must not be touched.
    if not values or operator.BuiltinOptionsType() != _OPTIONS_TYPE[name]:
        return values
    union = operator.BuiltinOptions()
    if union is None:
        return values
    import tflite as schema

    if name in TABLES:
        return read_table(union, TABLES[name])
    if name == "FULLY_CONNECTED":
        dense = schema.FullyConnectedOptions()
        dense.Init(union.Bytes, union.Pos)
        bias_type = dense.QuantizedBiasType()
        values = {
            "fused_activation_function": choice(ACTIVATIONS, dense.FusedActivationFunction()),
            "weights_format": choice(WEIGHTS_FORMATS, dense.WeightsFormat()),
            "keep_num_dims": bool(dense.KeepNumDims()),
            "asymmetric_quantize_inputs": bool(dense.AsymmetricQuantizeInputs()),
            "quantized_bias_type": DTYPES[bias_type].name if bias_type in DTYPES else f"unknown({bias_type})",
        }
    elif name == "SOFTMAX":
        softmax = schema.SoftmaxOptions()
        softmax.Init(union.Bytes, union.Pos)
        values = {"beta": float(softmax.Beta())}
    else:
        reshape = schema.ReshapeOptions()
        reshape.Init(union.Bytes, union.Pos)
        values = {"new_shape": tuple(reshape.NewShapeAsNumpy().tolist()) if reshape.NewShapeLength() else ()}
    return values


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
    if name not in _OPTIONS_TYPE:
        raise UnsupportedError(
            f"{where}: cannot be written to a .tflite file",
            [f"LastBit writes {', '.join(sorted(_OPTIONS_TYPE))}; the options of {name} are not known to it"],
        )
    defaults = OPTION_DEFAULTS.get(name, {})
    if unknown := sorted(set(options) - set(defaults)):
        raise UnsupportedError(
            f"{where}: cannot be written to a .tflite file",
            [f"option {option!r} is not one of {name}, which has {sorted(defaults)}" for option in unknown],
        )
    import tflite as schema

    values = {**defaults, **options}
    if name in TABLES:
        return TABLES[name].code, write_table(builder, TABLES[name], values, where)
    if name == "FULLY_CONNECTED":
        return _OPTIONS_TYPE[name], _write_dense(builder, values, where)
    if name == "SOFTMAX":
        schema.SoftmaxOptionsStart(builder)
        schema.SoftmaxOptionsAddBeta(builder, values["beta"])
        return _OPTIONS_TYPE[name], schema.SoftmaxOptionsEnd(builder)
    if name == "RESHAPE":
        return _OPTIONS_TYPE[name], _write_reshape(builder, values["new_shape"])
    if _OPTIONS_TYPE[name]:
        # QUANTIZE and DEQUANTIZE: a table without fields, as the converter writes it.
        builder.StartObject(0)
        return _OPTIONS_TYPE[name], builder.EndObject()
    return 0, 0


def _write_dense(builder: Any, values: Mapping[str, Any], where: str) -> int:
    import tflite as schema

    codes = {dtype.name: code for code, dtype in DTYPES.items()}
    wanted = {
        "fused_activation_function": ACTIVATIONS,
        "weights_format": WEIGHTS_FORMATS,
        "quantized_bias_type": tuple(codes),
    }
    reasons = [
        f"option {option} is {values[option]!r}, wanted one of {', '.join(choices)}"
        for option, choices in wanted.items()
        if values[option] not in choices
    ]
    if reasons:
        raise UnsupportedError(f"{where}: cannot be written to a .tflite file", reasons)
    schema.FullyConnectedOptionsStart(builder)
    schema.FullyConnectedOptionsAddFusedActivationFunction(
        builder, ACTIVATIONS.index(values["fused_activation_function"])
    )
    schema.FullyConnectedOptionsAddWeightsFormat(builder, WEIGHTS_FORMATS.index(values["weights_format"]))
    schema.FullyConnectedOptionsAddKeepNumDims(builder, bool(values["keep_num_dims"]))
    schema.FullyConnectedOptionsAddAsymmetricQuantizeInputs(builder, bool(values["asymmetric_quantize_inputs"]))
    schema.FullyConnectedOptionsAddQuantizedBiasType(builder, codes[values["quantized_bias_type"]])
    offset: int = schema.FullyConnectedOptionsEnd(builder)
    return offset


def _write_reshape(builder: Any, new_shape: tuple[int, ...]) -> int:
    import numpy as np
    import tflite as schema

    # An empty new_shape would say "a scalar"; the absent one leaves it to the second input.
    vector = builder.CreateNumpyVector(np.array(new_shape, np.int32)) if new_shape else 0
    schema.ReshapeOptionsStart(builder)
    if vector:
        schema.ReshapeOptionsAddNewShape(builder, vector)
    offset: int = schema.ReshapeOptionsEnd(builder)
    return offset
