"""What the file says of one dense layer, of any element types: no runtime, nothing folded."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...model.errors import InputError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array, GivenFactor, IntArray, QuantParams, integer_type
from ...rules.base import IntegerRule
from ...rules.requantize.fold import RequantParams, prepare_requantize
from ...rules.requantize.forms import Float
from ...runtimes.variant import INT32_BIAS_TYPE, INT64_BIAS, NO_BIAS, Variant
from ..base import PreparedOperator, constant_operand, refuse, required_operand
from ..moves.before_layer import sample_shape, transposition

__all__ = ["DenseLayer", "PreparedLayer", "check_types", "dense_layer", "dense_variant"]

NEEDS_SCALES = (
    "the layer is given by multiplier and shift, and this runtime multiplies with the real factor s_x*s_w/s_y: "
    "give the scales"
)

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """What the file says of one dense layer. The quantization properties are there where the tensor has a scale.

    Attributes:
        operator: the FULLY_CONNECTED operator.
        input: the activation input's tensor.
        weights: constant, `[out, in]` as stored.
        bias: constant `[out]`, or None.
        output: the output's tensor.
        activation: the fused activation's name.
        keep_num_dims: whether the output keeps the input's leading dimensions.
        sample: one sample's shape before the operators in front of the layer flattened it, without the batch.
        transposed: for each value of a sample its place before TRANSPOSE operators in front of the layer; None where
            there are none that matter.
    """

    operator: Operator
    input: Tensor
    weights: Tensor
    bias: Tensor | None
    output: Tensor
    activation: str
    keep_num_dims: bool
    sample: tuple[int, ...]
    transposed: npt.NDArray[np.intp] | None

    @property
    def units(self) -> int:
        """Output units: rows of the weights."""
        return self.weights.shape[0]

    @property
    def depth(self) -> int:
        """Accumulation depth: columns of the weights."""
        return self.weights.shape[1]

    @property
    def stored_weights(self) -> Tensor:
        """The weights in the shape that the file has."""
        return self.weights

    @property
    def groups(self) -> int:
        """Into how many parts a row is cut, each seen by units of its own: 1 except for some convolutions."""
        return 1

    def group_of(self, unit: int) -> slice:
        """The part of a row that a unit sees."""
        group = unit // (self.units // self.groups)
        return slice(group * self.depth, (group + 1) * self.depth)

    @property
    def weights_values(self) -> IntArray:
        """The weights, `[out, in]` (int4 unpacked to int8)."""
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
    def given(self) -> GivenFactor | None:
        """The multiplier and shift of a layer that has these instead of scales; else None."""
        return _quant(self.weights).given

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
        return (math.prod(input_shape) // self.depth, self.units)

    @property
    def folded_bias(self) -> npt.NDArray[np.int64]:
        """What no input changes of acc, int64 `[out]`, which wraps: bias - zx * sum(weights) + depth * zx * zw."""
        zx, zw = self.input_zero_point, self.weights_zero_point
        sums: npt.NDArray[np.int64] = self.weights_values.sum(axis=1, dtype=np.int64)
        return self.bias_values - zx * sums + self.depth * zx * zw

    def requantization(self, rule: IntegerRule) -> RequantParams:
        """This layer's scales, output zero point and fused activation folded for a rule.

        Raises:
            UnsupportedError: the layer is given by multiplier and shift, and the rule needs the real scales, or is for
                other shifts.
        """
        given = self.given
        if given is not None:
            rule = self._given_rule(rule, given)
        params = prepare_requantize(
            rule,
            input_scale=self.input_scale,
            weights_scale=self.weights_scale,
            output_scale=self.output_scale,
            output_zero_point=self.output_zero_point,
            activation=self.activation,
            dtype=self.output.dtype,
        )
        if given is not None:
            taken = given.first if rule.scales.weights_scale == "first" else given
            params = replace(params, multiplier=taken.multiplier, shift=taken.shift)
        stated = self.operator.options.get("activation_range")
        if isinstance(stated, tuple):
            params = replace(params, activation_min=int(stated[0]), activation_max=int(stated[1]))
        return params

    def _given_rule(self, rule: IntegerRule, given: GivenFactor) -> IntegerRule:
        """The rule for a multiplier and a shift that are handed to it."""
        form = rule.requantize
        if isinstance(form, Float) or rule.scales.weights_scale in ("zero", "one"):
            raise refuse(self.operator, NEEDS_SCALES)
        low, high = int(given.shift.min()), int(given.shift.max())
        if low not in form.shifts or high not in form.shifts:
            found = low if low not in form.shifts else high
            wanted = f"{form.shifts.start} to {form.shifts.stop - 1}"
            raise refuse(self.operator, f"the given shift is {found}; kernels of the rule {rule.name} take {wanted}")
        return replace(rule, scales=replace(rule.scales, product="given"))

    def rows(self, x: Array) -> Array:
        """The input as a matrix `[rows, depth]`.

        Raises:
            InputError: its size is not a multiple of the depth.
        """
        size = x.size
        if size % self.depth or (self.keep_num_dims and x.shape[-1] != self.depth):
            raise InputError(
                f"{self.operator.label}: input of shape {list(x.shape)} does not fit weights of depth {self.depth}"
            )
        return x.reshape(-1, self.depth)

    def reachable_acc(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The smallest and largest accumulator of each unit over all inputs, before any wrap: two int64 `[out]`.

        What lies beyond int64 is limited to it.
        """
        w = self.weights_values.astype(np.int64) - self.weights_zero_point
        dtype = integer_type(self.input.dtype)
        low, high = dtype.qmin - self.input_zero_point, dtype.qmax - self.input_zero_point
        ends = np.stack([w * low, w * high])
        return (
            _add_saturating(ends.min(axis=0).sum(axis=1), self.bias_values),
            _add_saturating(ends.max(axis=0).sum(axis=1), self.bias_values),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedLayer(PreparedOperator):
    """A dense layer of any family with its constants folded for one runtime.

    Attributes:
        layer: the layer as the file has it.
    """

    layer: DenseLayer


def dense_variant(model: Model, op: Operator) -> Variant:
    """The variant that a runtime's rule for this layer is looked up by: element types and granularity.

    Signed weights with one scale whose zero point is not 0 are a variant of their own (`... weights_zero_point`):
    other kernels take them, or none. For uint8 weights a zero point is ordinary. With int16 activations and 8-bit or
    4-bit weights, the variant also says what there is to know of the bias, which decides about the accumulator.
    """
    x, weights = model.operand(op, 0), model.operand(op, 1)
    quant = weights.quant if weights is not None else None
    found = Variant(
        "absent" if x is None else x.dtype.name,
        model.tensors[op.outputs[0]].dtype.name,
        "absent" if weights is None else weights.dtype.name,
        quant.granularity if quant is not None else "unquantized",
    )
    if found.weights not in ("int8", "int4") or found.input != found.output or found.input not in ("int8", "int16"):
        return found
    one = quant is not None and found.granularity == "per_tensor"
    shifted = one and quant is not None and bool(quant.zero_point[0] != 0)
    return replace(found, weights_zero_point=shifted, bias=int16_bias(model, op) if found.input == "int16" else "")


def int16_bias(model: Model, op: Operator, position: int = 2) -> str:
    """What is known of the bias; see `Variant.bias`. quantized_bias_type speaks where there is none."""
    bias = model.operand(op, position)
    stated = op.options.get("quantized_bias_type", "float32")
    found = None if bias is None else bias.dtype.name
    if found == "int64" or (found is None and stated == "int64"):
        return INT64_BIAS
    if stated == "int32":
        return INT32_BIAS_TYPE
    return NO_BIAS if found is None else f"{found}_bias"


def dense_layer(model: Model, op: Operator) -> DenseLayer:
    """Read a FULLY_CONNECTED operator and check its structure; element types are its family's business.

    Raises:
        UnsupportedError: weights or bias computed at run time, shapes, axis or weights format outside what is
            covered; all reasons at once.
    """
    x = required_operand(model, op, 0, "input")
    weights = constant_operand(model, op, 1, "weights")
    bias = model.operand(op, 2)
    output = model.tensors[op.outputs[0]]
    activation = str(op.options.get("fused_activation_function", "NONE"))
    problems = []
    for what, tensor in (("input", x), ("output", output)):
        if tensor.quant is not None and tensor.quant.per_channel:
            problems.append(f"{what} ({tensor.label}) has {tensor.quant.scale.size} scales; wanted one")
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
        if len(weights.shape) == 2 and math.prod(bias.shape) != weights.shape[0]:
            problems.append(f"bias ({bias.label}) has shape {list(bias.shape)} for {weights.shape[0]} units")
    if problems:
        raise refuse(op, "; ".join(problems))
    size = max(weights.shape[1], math.prod(x.shape[1:]))
    return DenseLayer(
        op,
        x,
        weights,
        bias,
        output,
        activation,
        bool(op.options.get("keep_num_dims", False)),
        sample_shape(model, x.index, size),
        transposition(model, x.index, size),
    )


def check_types(layer: DenseLayer, types: Collection[tuple[str, str, str]], bias_types: Collection[str]) -> None:
    """Refuse element types that a family of layers does not cover, and quantized tensors without a scale.

    Args:
        layer: the layer.
        types: the covered triples of input, weights and output dtype.
        bias_types: the covered dtypes of a bias that is there.

    Raises:
        UnsupportedError: all reasons at once.
    """
    problems = []
    found = (layer.input.dtype.name, layer.weights.dtype.name, layer.output.dtype.name)
    if found not in types:
        covered = "; ".join(f"{x} x {w} -> {y}" for x, w, y in types)
        problems.append(f"input x weights -> output is {found[0]} x {found[1]} -> {found[2]}; covered: {covered}")
    for tensor in (layer.input, layer.weights, layer.output):
        if tensor.quant is None and tensor.dtype.name.startswith(("int", "uint")):
            problems.append(f"{tensor.label} has no quantization parameters")
    if layer.bias is not None and layer.bias.dtype.name not in bias_types:
        problems.append(f"bias ({layer.bias.label}) is {layer.bias.dtype.name}; covered: {', '.join(bias_types)}")
    if problems:
        raise refuse(layer.operator, "; ".join(problems))


def _quant(tensor: Tensor) -> QuantParams:
    assert tensor.quant is not None, tensor.label  # check_types() has refused anything else
    return tensor.quant


def _add_saturating(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum, limited to int64."""
    total = a + b  # wraps
    overflow = ((a < 0) == (b < 0)) & ((total < 0) != (a < 0))
    ends = np.iinfo(np.int64)
    return np.where(overflow, np.where(a < 0, ends.min, ends.max), total)
