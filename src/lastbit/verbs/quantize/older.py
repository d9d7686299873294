"""The older quantizer (C++), which TFLiteConverter uses for int16 activations and the wheel of LiteRT carries.

It goes through the operators once, in order, and gives every tensor its scale where it first meets it.

Source: google-ai-edge/LiteRT tflite/tools/optimize/quantize_model.cc (119ef6fa29fd), quantization_utils.cc
(12160967b9f4) and tflite/converter/tools/optimize/operator_property.cc (8b87307e24f7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...model.graph import Subgraph
from ...model.types import Array
from .ir import CONSTANT, RETURN, Graph, Op, Value
from .numbers import F32, Parameters
from .older_numbers import (
    activation,
    bias_integers,
    int16_constant,
    requantized,
    weights_from_range,
    widened,
)

__all__ = ["OlderQuantizer", "Property"]

Ranges = Mapping[int, tuple[Any, Any]]


@dataclass(frozen=True)
class Property:
    """What the older quantizer knows of one operator.

    Attributes:
        inputs: positions of the inputs that are quantized, what is fed before the weights; () where `any_inputs`.
        weights: (position, axis of the channels) of weights.
        bias: the bias's position.
        any_inputs: all inputs are quantized and brought to the output's scale.
        any_outputs: all outputs are quantized.
        outputs: positions of the outputs that are quantized.
        same_scale: the output takes the input's scale (or with `any_inputs` the inputs the output's).
        fixed: {dtype: (scale, zero point)} of an output that is always the same.
        int16: whether there is an int16 form.
        as_activations: constants are int16 too where the activations are.
        names_bias_type: whether its options can name the bias's type.
        any_scale_option: whether its options say that int16 scales need not be powers of two.
    """

    inputs: tuple[int, ...] = (0,)
    weights: tuple[int, int] | None = None
    bias: int | None = None
    any_inputs: bool = False
    any_outputs: bool = False
    outputs: tuple[int, ...] = (0,)
    same_scale: bool = False
    fixed: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    int16: bool = True
    as_activations: bool = False
    names_bias_type: bool = False
    any_scale_option: bool = False


_MOVE = Property(same_scale=True)
_TWO = Property(inputs=(0, 1), as_activations=True)
_JOIN = Property(inputs=(), any_inputs=True, same_scale=True)
_UNIT = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}

PROPERTIES: dict[str, Property] = {
    **dict.fromkeys(("BATCH_MATMUL", "MUL"), _TWO),
    **dict.fromkeys(("ADD", "SUB"), replace(_TWO, any_scale_option=True)),
    **dict.fromkeys(("ARG_MAX",), Property(outputs=(), int16=False)),
    **dict.fromkeys(("SHAPE",), Property(outputs=())),
    **dict.fromkeys(
        (
            "AVERAGE_POOL_2D",
            "BATCH_TO_SPACE_ND",
            "EXPAND_DIMS",
            "GATHER",
            "MAX_POOL_2D",
            "MIRROR_PAD",
            "PAD",
            "PADV2",
            "RESHAPE",
            "RESIZE_NEAREST_NEIGHBOR",
            "SLICE",
            "SPACE_TO_BATCH_ND",
            "SQUEEZE",
            "STRIDED_SLICE",
            "SUM",
            "TRANSPOSE",
        ),
        _MOVE,
    ),
    "FILL": Property(inputs=(1,), same_scale=True),
    "SPLIT": Property(inputs=(1,), any_outputs=True, same_scale=True),
    **dict.fromkeys(("SPLIT_V", "UNPACK"), Property(any_outputs=True, same_scale=True)),
    **dict.fromkeys(("CONCATENATION", "PACK"), _JOIN),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), Property(inputs=(), any_inputs=True, same_scale=True, as_activations=True)),
    "CONV_2D": Property(inputs=(0, 1), weights=(1, 0), bias=2, names_bias_type=True),
    "DEPTHWISE_CONV_2D": Property(inputs=(0, 1), weights=(1, 3), bias=2),
    "FULLY_CONNECTED": Property(inputs=(0, 1), weights=(1, 0), bias=2, names_bias_type=True),
    "TRANSPOSE_CONV": Property(inputs=(2, 1), weights=(1, 0), bias=3, names_bias_type=True),
    **dict.fromkeys(("LEAKY_RELU", "MEAN", "RELU", "RELU6"), Property()),
    **dict.fromkeys(("HARD_SWISH", "RELU_N1_TO_1"), Property(int16=False)),
    **dict.fromkeys(("LOGISTIC", "SOFTMAX"), Property(fixed=_UNIT)),
    "TANH": Property(fixed={"int8": (1 / 128, 0), "int16": (1 / 32768, 0)}),
}


class OlderQuantizer:
    """One run over a graph."""

    def __init__(
        self,
        source: Subgraph,
        ranges: Ranges,
        *,
        activations: str,
        per_tensor: bool,
        per_tensor_dense: bool,
        names_bias_type: bool = True,
        stay_float: frozenset[str] = frozenset(),
    ) -> None:
        self.activations = activations
        self.per_tensor = per_tensor
        self.per_tensor_dense = per_tensor_dense
        self.names_bias_type = names_bias_type
        self.stay_float = stay_float
        self.graph = Graph()
        # Of a weight: arrays of each channel's least and greatest value.
        self.limits: dict[Value, tuple[Array, Array]] = {}
        self.values: dict[int, Value] = {}
        self._read(source, ranges)

    def run(self, io: tuple[str, str]) -> Graph:
        """Quantize the graph."""
        self._fill_weights()
        self._widen_weights()
        self._quantize_all()
        self._share_scales()
        self._quantize_biases()
        self._set_options()
        self._set_io(io)
        return self.graph

    def _read(self, source: Subgraph, ranges: Ranges) -> None:
        for index in source.inputs:
            self.values[index] = self.graph.argument(source.tensors[index])
        for op in source.operators:
            for index in op.inputs:
                if index >= 0 and index not in self.values:
                    tensor = source.tensors[index]
                    made = self.graph.add(CONSTANT, [], [(tensor, None)], data=tensor.data)
                    self.values[index] = made.results[0]
            operands = [self.values[i] if i >= 0 else None for i in op.inputs]
            made = self.graph.add(op.name, operands, [(source.tensors[i], None) for i in op.outputs], op.options)
            self.values.update(zip(op.outputs, made.results, strict=True))
        self.graph.add(RETURN, [self.values[i] for i in source.outputs], [])
        for index, (low, high) in ranges.items():
            if index in self.values:
                self.limits[self.values[index]] = (np.array([low], F32), np.array([high], F32))

    def _operators(self) -> list[Op]:
        return [op for op in self.graph.ops if op.name not in (CONSTANT, RETURN)]

    def _property(self, op: Op) -> Property | None:
        """What is known of an operator; None where it stays float."""
        known = PROPERTIES.get(op.name)
        if known is None or self.activations == "int8":
            return known
        return known if known.int16 and op.name not in self.stay_float else None

    def _axis(self, op: Op, position: int) -> int:
        """The axis of a weight's channels, -1 for one scale."""
        known = PROPERTIES[op.name]
        if known.weights is None or known.weights[0] != position or self.per_tensor:
            return -1
        return -1 if op.name == "FULLY_CONNECTED" and self.per_tensor_dense else known.weights[1]

    def _fill_weights(self) -> None:
        for op in self._operators():
            known = PROPERTIES.get(op.name)
            if known is None or not _reads_or_gives_float(op):
                continue
            for position in known.inputs:
                value = op.operands[position] if position < len(op.operands) else None
                data = _constant(value)
                if value is None or data is None or value in self.limits:
                    continue
                axis = self._axis(op, position)
                moved = data.reshape(1, -1) if axis < 0 else np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1)
                self.limits[value] = (moved.min(axis=1), moved.max(axis=1))

    def _widen_weights(self) -> None:
        """Widen weights' ranges until the bias fits into half of int32."""
        for op in self._operators():
            known = self._property(op)
            if known is None or known.bias is None or known.bias >= len(op.operands):
                continue
            bias = _constant(op.operands[known.bias])
            given, weights = (op.operands[position] for position in known.inputs)
            if bias is None or given is None or weights is None or given not in self.limits:
                continue
            scale = F32(self._activation(given).scale[0])
            self.limits[weights] = widened(*self.limits[weights], bias, scale)

    def _activation(self, value: Value) -> Parameters:
        low, high = self.limits[value]
        return activation(low[0], high[0], self.activations)

    def _quantize_all(self) -> None:
        for op in self._operators():
            known = self._property(op)
            if not _reads_or_gives_float(op):
                continue
            every = known is None or known.any_inputs
            positions = range(len(op.operands)) if every else known.inputs if known is not None else ()
            for position in positions:
                self._quantize_input(op, known, position)
            if known is not None:
                for position in range(len(op.results)) if known.any_outputs else known.outputs:
                    self._quantize_output(op, known, op.results[position])

    def _quantize_input(self, op: Op, known: Property | None, position: int) -> None:
        value = op.operands[position] if position < len(op.operands) else None
        if value is None:
            return
        at = self.graph.ops.index(op)
        if known is None:
            if value.params is not None:
                op.set_operand(position, self.graph.dequantize(value, at).results[0])
        elif value.params is None and value.is_float:
            if _constant(value) is not None:
                self._quantize_constant(op, known, position, value)
            elif value.producer is None:
                value.params = self._activation(value)
            else:
                op.set_operand(position, self.graph.quantize(value, self._activation(value), at).results[0])

    def _quantize_constant(self, op: Op, known: Property, position: int, value: Value) -> None:
        source = value.producer
        assert source is not None
        assert source.data is not None
        if self.activations == "int16" and (known.same_scale or known.as_activations):
            value.params, source.data = int16_constant(source.data)
            return
        axis = self._axis(op, position)
        limits = self.limits.get(value) if not known.any_inputs else None
        if limits is None:
            limits = (source.data.min().reshape(1), source.data.max().reshape(1))
        value.params, source.data = weights_from_range(source.data, *limits, axis)

    def _quantize_output(self, op: Op, known: Property, value: Value) -> None:
        if value.params is not None or not value.is_float:
            return
        if known.same_scale and not known.any_inputs:
            first = op.operands[known.inputs[0]]
            assert first is not None
            assert first.params is not None
            value.params = Parameters(
                self.activations,
                first.params.scale[:1],
                first.params.zero_point[:1],
                -1,
                first.params.low,
                first.params.high,
            )
        elif known.fixed:
            scale, zero = known.fixed[self.activations]
            top = 127 if self.activations == "int8" else 32767
            value.params = Parameters(self.activations, (scale,), (zero,), -1, -top - 1, top)
        else:
            value.params = self._activation(value)

    def _share_scales(self) -> None:
        """Bring the inputs of joins, MAXIMUM and MINIMUM to the output's scale, from the last operator to the first."""
        for op in reversed(self._operators()):
            known = self._property(op)
            if known is None or not known.any_inputs or op.results[0].params is None:
                continue
            wanted = op.results[0].params
            at = self.graph.ops.index(op)
            for position, value in enumerate(op.operands):
                assert value is not None
                if value.params is None or (value.params.scale, value.params.zero_point) == (
                    wanted.scale,
                    wanted.zero_point,
                ):
                    continue
                source = value.producer
                users = {user for user, _ in value.uses}
                if source is not None and source.name == CONSTANT and len(users) == 1:
                    assert source.data is not None
                    source.data = requantized(source.data, value.params, wanted)
                    value.params = wanted
                    continue
                again = self.graph.quantize(value, wanted, at)
                op.set_operand(position, again.results[0])

    def _quantize_biases(self) -> None:
        for op in self._operators():
            known = self._property(op)
            if known is None or known.bias is None or known.bias >= len(op.operands):
                continue
            value = op.operands[known.bias]
            source = value.producer if value is not None else None
            if value is None or value.params is not None or source is None or source.data is None:
                continue
            given, weights = (op.operands[position] for position in known.inputs)
            assert given is not None
            assert given.params is not None
            assert weights is not None
            assert weights.params is not None
            dtype = "int64" if self.activations == "int16" else "int32"
            value.params, source.data = bias_integers(source.data, given.params, weights.params, dtype)

    def _set_options(self) -> None:
        """Options that say what the integers are: the bias's type, and int16 scales that are no powers of two."""
        bias = "int64" if self.activations == "int16" else "int32"
        for op in self._operators():
            known = self._property(op)
            if known is None or op.results[0].params is None:
                continue
            if known.names_bias_type and self.names_bias_type:
                op.options = {**op.options, "quantized_bias_type": bias}
            if known.any_scale_option and self.activations == "int16":
                op.options = {**op.options, "pot_scale_int16": False}

    def _set_io(self, io: tuple[str, str]) -> None:
        """Inputs and outputs of another type than the activations get QUANTIZE or DEQUANTIZE.

        One that stays float32, as only operators without a quantized form read or give it, can have no other type.
        """
        for wanted, values, end in (
            (io[0], self.graph.arguments, "input"),
            (io[1], self.graph.ops[-1].operands, "output"),
        ):
            for value in values if wanted != "float32" else ():
                if value is not None and value.is_float:
                    name = value.tensor.name
                    self.graph.refused.append(f"{end} {name!r} stays float32 and cannot be {wanted}")
        if io[0] != self.activations:
            self._set_inputs(io[0])
        if io[1] != self.activations:
            self._set_outputs(io[1])

    def _set_inputs(self, io: str) -> None:
        for position, argument in enumerate(self.graph.arguments):
            params = argument.params
            if params is None:
                continue
            outer = Value(argument.tensor, argument.dtype, other_type(params, io), None, [])
            self.graph.arguments[position] = outer
            users = [user for user, _ in argument.uses]
            if len(users) == 1 and users[0].name == "QUANTIZE" and users[0].results[0].params == params:
                argument.replace_all(outer)
                continue
            made = self.graph.quantize(outer, params, 0)
            argument.replace_all(made.results[0])

    def _set_outputs(self, io: str) -> None:
        terminator = self.graph.ops[-1]
        for position, value in enumerate(list(terminator.operands)):
            assert value is not None
            if value.params is None:
                continue
            at = len(self.graph.ops) - 1
            target = other_type(value.params, io)
            made = self.graph.dequantize(value, at) if target is None else self.graph.quantize(value, target, at)
            terminator.set_operand(position, made.results[0])


def other_type(params: Parameters, io: str) -> Parameters | None:
    """The parameters of an input or output of another type; None for float32."""
    if io == "float32":
        return None
    zero = tuple(z + 128 for z in params.zero_point)
    return Parameters("uint8", params.scale, zero, -1, 0, 255)


def _constant(value: Value | None) -> Array | None:
    return value.producer.data if value is not None and value.producer is not None else None


def _reads_or_gives_float(op: Op) -> bool:
    values = [value for value in (*op.operands, *op.results) if value is not None]
    return any(value.dtype.name == "float32" for value in values)
