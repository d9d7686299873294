"""FULLY_CONNECTED: acc = sum_k (input - input_zp)(weights - weights_zp) + bias, then requantize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import wrap32
from ..arith.matmul import ExactWeights, pack_weights
from ..arith.requantize import RULES as REQUANT_RULES
from ..arith.requantize import RequantParams, prepare_requantize, requantize
from ..errors import InputError
from ..model import Model, Operator, Tensor
from ..types import Array, IntArray, QuantParams
from .base import PreparedOperator, constant_operand, refuse, required_operand

__all__ = ["DenseLayer", "PreparedDense", "dense_layer", "dense_variant", "prepare_fully_connected"]

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """What the file says of one quantized dense layer: no runtime, nothing folded.

    Attributes:
        operator: the FULLY_CONNECTED operator.
        input: the activation input's tensor.
        weights: int8 constant, `[out, in]` as stored.
        bias: int32 constant `[out]`, or None.
        output: the output's tensor.
        activation: the fused activation's name.
        keep_num_dims: whether the output keeps the input's leading dimensions.
    """

    operator: Operator
    input: Tensor
    weights: Tensor
    bias: Tensor | None
    output: Tensor
    activation: str
    keep_num_dims: bool

    @property
    def units(self) -> int:
        """Output units: rows of the weights."""
        return self.weights.shape[0]

    @property
    def depth(self) -> int:
        """Accumulation depth: columns of the weights."""
        return self.weights.shape[1]

    @property
    def weights_values(self) -> IntArray:
        """The weights, `[out, in]`."""
        assert self.weights.data is not None
        return self.weights.data

    @property
    def bias_values(self) -> npt.NDArray[np.int64]:
        """The bias as int64 `[out]`; zeros where the layer has none."""
        if self.bias is None or self.bias.data is None:
            return np.zeros(self.units, np.int64)
        return self.bias.data.reshape(-1).astype(np.int64)

    @property
    def granularity(self) -> str:
        """`per_channel` (more than one weights scale) or `per_tensor`."""
        return _quant(self.weights).granularity

    @property
    def input_zero_point(self) -> int:
        """zx, quantized steps."""
        return int(_quant(self.input).zero_point[0])

    @property
    def weights_zero_point(self) -> int:
        """zw, quantized steps. Per-channel kernels take it to be 0 whatever the file says."""
        quant = _quant(self.weights)
        return 0 if quant.per_channel else int(quant.zero_point[0])

    @property
    def input_scale(self) -> np.float32:
        """s_x."""
        return np.float32(_quant(self.input).scale[0])

    @property
    def weights_scale(self) -> npt.NDArray[np.float32]:
        """s_w, `[1]` or `[out]`."""
        return _quant(self.weights).scale

    @property
    def output_scale(self) -> np.float32:
        """s_y."""
        return np.float32(_quant(self.output).scale[0])

    @property
    def output_zero_point(self) -> int:
        """zy, quantized steps."""
        return int(_quant(self.output).zero_point[0])

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The output's shape for an input of this shape."""
        if self.keep_num_dims:
            return (*input_shape[:-1], self.units)
        return (int(np.prod(input_shape)) // self.depth, self.units)

    def rows(self, x: Array) -> Array:
        """The input as a matrix `[rows, depth]`.

        Raises:
            InputError: its size is no multiple of the depth.
        """
        size = int(np.prod(x.shape))
        if size % self.depth or (self.keep_num_dims and x.shape[-1] != self.depth):
            raise InputError(
                f"{self.operator.label}: input of shape {list(x.shape)} does not fit weights of depth {self.depth}"
            )
        return x.reshape(-1, self.depth)

    def reachable_acc(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The smallest and largest accumulator of each unit over all inputs, before any wrap: two int64 `[out]`."""
        w = self.weights_values.astype(np.int64) - self.weights_zero_point
        dtype = self.input.dtype
        assert dtype.qmin is not None
        assert dtype.qmax is not None
        low, high = dtype.qmin - self.input_zero_point, dtype.qmax - self.input_zero_point
        ends = np.stack([w * low, w * high])
        return ends.min(axis=0).sum(axis=1) + self.bias_values, ends.max(axis=0).sum(axis=1) + self.bias_values


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDense(PreparedOperator):
    """A dense layer with its constants folded for one runtime.

    Attributes:
        layer: the layer as the file has it.
        folded_bias: int64 `[out]`: bias - zx * sum(weights) + depth * zx * zw, the part of acc that no input changes.
        requant: the requantization's folded constants.
    """

    layer: DenseLayer
    folded_bias: npt.NDArray[np.int64]
    requant: RequantParams


def dense_variant(model: Model, op: Operator) -> str:
    """The variant that a runtime's rule for this layer is looked up by: element type and granularity."""
    names = [tensor.dtype.name for tensor in (model.operand(op, 0), model.operand(op, 1)) if tensor is not None]
    names.append(model.tensors[op.outputs[0]].dtype.name)
    weights = model.operand(op, 1)
    granularity = weights.quant.granularity if weights is not None and weights.quant is not None else "unquantized"
    types = names[0] if len(set(names)) == 1 else f"{names[0]} x {names[1]} -> {names[-1]}"
    return f"{types} {granularity}"


def dense_layer(model: Model, op: Operator) -> DenseLayer:
    """Read a FULLY_CONNECTED operator and check that it is one LastBit covers.

    Raises:
        UnsupportedError: dtype, activation, weights format or shapes outside what is covered; all reasons at once.
    """
    x = required_operand(model, op, 0, "input")
    weights = constant_operand(model, op, 1, "weights")
    bias = model.operand(op, 2)
    output = model.tensors[op.outputs[0]]
    activation = str(op.options.get("fused_activation_function", "NONE"))
    problems = []
    types = (x.dtype.name, weights.dtype.name, output.dtype.name)
    if types != ("int8", "int8", "int8"):
        problems.append(f"input x weights -> output is {types[0]} x {types[1]} -> {types[2]}; covered: int8 throughout")
    for tensor in (x, weights, output):
        if tensor.quant is None and tensor.dtype.name.startswith(("int", "uint")):
            problems.append(f"{tensor.label} has no quantization parameters")
    if output.quant is not None and output.quant.per_channel:
        problems.append(f"{output.label} has {output.quant.scale.size} scales; an output has one")
    if x.quant is not None and x.quant.per_channel:
        problems.append(f"{x.label} has {x.quant.scale.size} scales; an input has one")
    if len(weights.shape) != 2:
        problems.append(f"weights ({weights.label}) have shape {list(weights.shape)}; wanted [out, in]")
    elif weights.quant is not None and weights.quant.per_channel and weights.quant.axis != 0:
        problems.append(f"weights ({weights.label}) are quantized along axis {weights.quant.axis}; wanted 0")
    if activation not in ACTIVATIONS:
        problems.append(f"fused activation {activation}; covered: {', '.join(ACTIVATIONS)}")
    if op.options.get("weights_format", "DEFAULT") != "DEFAULT":
        problems.append(f"weights format {op.options['weights_format']}; covered: DEFAULT")
    if bias is not None:
        if bias.data is None:
            problems.append(f"bias ({bias.label}) is computed at run time; LastBit covers constant bias only")
        if bias.dtype.name != "int32":
            problems.append(f"bias ({bias.label}) is {bias.dtype.name}; covered: int32")
        if len(weights.shape) == 2 and int(np.prod(bias.shape)) != weights.shape[0]:
            problems.append(f"bias ({bias.label}) has shape {list(bias.shape)} for {weights.shape[0]} units")
    if problems:
        raise refuse(op, "; ".join(problems))
    return DenseLayer(op, x, weights, bias, output, activation, bool(op.options.get("keep_num_dims", False)))


def prepare_fully_connected(model: Model, op: Operator, rule: str) -> PreparedDense:
    """Fold a dense layer's constants for one requantization rule.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a name in `lastbit.arith.requantize.RULES`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.
    """
    layer = dense_layer(model, op)
    params = prepare_requantize(
        REQUANT_RULES[rule],
        input_scale=layer.input_scale,
        weights_scale=layer.weights_scale,
        output_scale=layer.output_scale,
        output_zero_point=layer.output_zero_point,
        activation=layer.activation,
        dtype=layer.output.dtype,
    )
    w = layer.weights_values
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    folded = layer.bias_values - zx * w.astype(np.int64).sum(axis=1) + layer.depth * zx * zw
    packed = pack_weights(w, largest_input=128)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return _trace(layer, packed, folded, params, values[0])

    return PreparedDense(
        operator=op,
        rule=rule,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        layer=layer,
        folded_bias=folded,
        requant=params,
    )


def _trace(
    layer: DenseLayer, packed: ExactWeights, folded: npt.NDArray[np.int64], params: RequantParams, x: Array
) -> dict[str, Array]:
    """Every step of the layer for one input; steps are `[rows, out]`, the output has the tensor's own shape."""
    rows = layer.rows(x)
    dot = packed.dot(rows)
    total = dot + folded
    if layer.weights_zero_point:
        total = total - layer.weights_zero_point * rows.astype(np.int64).sum(axis=1, keepdims=True)
    acc = wrap32(total)
    steps: dict[str, Array] = {"dot": dot, "acc": acc.astype(np.int32), **requantize(acc, params)}
    steps["output"] = steps["output"].reshape(layer.output_shape(x.shape))
    return steps


def _quant(tensor: Tensor) -> QuantParams:
    assert tensor.quant is not None, tensor.label  # dense_layer() has refused anything else
    return tensor.quant
