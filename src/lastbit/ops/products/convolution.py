"""What CONV_2D and DEPTHWISE_CONV_2D share: operands, windows, checks, and the steps after the accumulator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...arith.windows import WindowAxis
from ...model.graph import Model, Operator
from ...model.types import Array
from ...rules.base import ChannelGroups, ElementGroups, IntegerRule, OneRow, ThreeByThree, Window
from ...rules.hybrid.convolutions import HYBRID_CONVOLUTIONS
from ...rules.operators.float_convolutions import CONVOLUTIONS
from ...rules.requantize.fold import RequantParams, prepare_requantize
from ...rules.requantize.table import AROUND_DENSE, CHOICES_AROUND_DENSE
from ...rules.requantize.vector import requantize
from ...rules.requantize.words import choice_equation, equation
from ...runtimes.variant import Variant
from ..base import PreparedOperator, constant_operand, refuse, required_operand
from ..dense.layer import int16_bias
from ..elements.unary import split_vector
from ..validity import check_factor, check_windows
from .convolution_layer import Convolution

__all__ = [
    "RULES",
    "Convolution",
    "OutputPart",
    "PreparedConvolution",
    "check_activation",
    "check_types",
    "convolution",
    "convolution_variant",
    "finish",
    "folded",
]

RULES: dict[str, str] = {
    **{name: equation(rule) for name, rule in AROUND_DENSE.items()},
    **{name: choice_equation(choice) for name, choice in CHOICES_AROUND_DENSE.items()},
}

# (input, weights, output)
TYPES = (("int8", "int8", "int8"), ("uint8", "uint8", "uint8"), ("int16", "int8", "int16"))


Outputs = Literal["all", "groups", "last"]


@dataclass(frozen=True, eq=False)
class OutputPart:
    """Outputs of a convolution that are requantized in one way.

    Attributes:
        first: the first channel.
        end: the channel after the last.
        params: the requantization's folded constants.
        outputs: which outputs of these channels: `all`; of a sample, in flat order, those that fill whole `groups`; or
            the `last` ones, which do not.
        group: outputs of one group; 1 where `all` are meant.
    """

    first: int
    end: int
    params: RequantParams
    outputs: Outputs = "all"
    group: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedConvolution(PreparedOperator):
    """A convolution with its constants folded for one runtime.

    Attributes:
        convolution: the convolution as the file has it.
        parts: how its outputs are requantized. One part, or two where the runtime's vector loop and its remainder round
            differently: two parts of the channels, or two parts of the outputs of all channels.
    """

    convolution: Convolution
    parts: tuple[OutputPart, ...]

    def part_at(self, index: tuple[int, ...]) -> OutputPart:
        """The part of the output at a place (n, row, column, channel); n counts samples of the file's batch."""
        if len(self.parts) == 1:
            return self.parts[0]
        shape = self.convolution.output.shape
        size = math.prod(shape)
        place = int(np.ravel_multi_index((index[0] % shape[0], *index[1:]), shape))
        whole = place < size - size % self.parts[0].group
        return next(
            part
            for part in self.parts
            if part.first <= index[-1] < part.end and (part.outputs == "all" or whole == (part.outputs == "groups"))
        )


def convolution_variant(model: Model, op: Operator) -> Variant:
    """The variant that a runtime's rule for this convolution is looked up by.

    Signed weights with a zero point that is not 0 are a variant of their own, and so are groups of CONV_2D; with int16
    input the variant also says what the bias is.
    """
    x, weights = model.operand(op, 0), model.operand(op, 1)
    quant = weights.quant if weights is not None else None
    found = Variant(
        "absent" if x is None else x.dtype.name,
        model.tensors[op.outputs[0]].dtype.name,
        "absent" if weights is None else weights.dtype.name,
        quant.granularity if quant is not None and quant.scale.size else "unquantized",
    )
    if x is None or weights is None:
        return found
    shifted = quant is not None and found.weights in ("int8", "int4") and quant.shifted
    grouped = op.name == "CONV_2D" and len(weights.shape) == len(x.shape) == 4 and weights.shape[3] != x.shape[3]
    bias = int16_bias(model, op) if found.input == "int16" else ""
    return replace(found, weights_zero_point=shifted, grouped=grouped, bias=bias)


def convolution(model: Model, op: Operator, rule: str) -> Convolution:
    """Read a convolution and check it.

    Raises:
        UnsupportedError: operands computed at run time, shapes, types or options outside of what is covered; all
            reasons at once.
    """
    floating = rule in CONVOLUTIONS or rule in HYBRID_CONVOLUTIONS
    if rule not in RULES and not floating:
        raise refuse(op, f"has no arithmetic rule named {rule!r}; it has {', '.join(sorted(RULES))}")
    x = required_operand(model, op, 0, "input")
    weights = constant_operand(model, op, 1, "weights")
    bias = model.operand(op, 2)
    output = model.tensors[op.outputs[0]]
    problems = []
    if len(x.shape) != 4 or len(weights.shape) != 4 or 0 in (*x.shape, *weights.shape):
        raise refuse(op, f"input {list(x.shape)} and weights {list(weights.shape)} must have four dimensions each")
    if x.data is not None:
        problems.append(f"the input ({x.label}) is a constant; LastBit covers computed input only")
    if bias is not None and bias.data is None:
        problems.append(f"the bias ({bias.label}) is computed at run time; LastBit covers constant bias only")
    options = op.options
    rows, columns = (
        WindowAxis(
            weights.shape[position],
            int(options.get(f"stride_{axis}", 0)),  # type: ignore[arg-type]
            int(options.get(f"dilation_{axis}_factor", 1)),  # type: ignore[arg-type]
            options.get("padding", "SAME") == "SAME",
        )
        for position, axis in ((1, "h"), (2, "w"))
    )
    layer = Convolution(op, x, weights, bias, output, rows, columns)
    problems += _check_shapes(layer)
    problems += [] if floating else check_types(layer)
    problems += check_activation(op)
    if problems:
        raise refuse(op, "; ".join(problems))
    check_windows(op, x.shape, rows, columns)
    return layer


def _check_shapes(layer: Convolution) -> list[str]:
    x, weights, rows, columns = layer.input.shape, layer.weights.shape, layer.rows, layer.columns
    if min(rows.stride, columns.stride, rows.dilation, columns.dilation) < 1:
        return ["strides and dilations must be 1 or more"]
    problems = []
    if not rows.outputs(x[1]) or not columns.outputs(x[2]):
        problems.append(f"the window does not fit into the input {list(x)}")
    if layer.operator.name == "CONV_2D":
        if x[3] % weights[3] or weights[0] % (x[3] // weights[3]):
            problems.append(f"{x[3]} input channels and weights {list(weights)} give no whole groups")
    elif weights[0] != 1 or weights[3] % x[3]:
        problems.append(f"weights {list(weights)} do not fit {x[3]} input channels")
    if layer.bias is not None and layer.bias.shape != (layer.channels,):
        problems.append(f"the bias ({layer.bias.label}) has the shape {list(layer.bias.shape)}, wanted [out]")
    return problems


def check_activation(op: Operator) -> list[str]:
    """What is wrong with the fused activation."""
    activation = op.options.get("fused_activation_function", "NONE")
    known = activation in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
    return [] if known else [f"fused activation {activation} is not covered"]


def check_types(layer: Convolution) -> list[str]:
    """What is wrong with the element types, the number of scales, their axis and the zero points."""
    problems = []
    found = (layer.input.dtype.name, layer.weights.dtype.name, layer.output.dtype.name)
    if found not in TYPES:
        return [
            f"input x weights -> output is {found[0]} x {found[1]} -> {found[2]}; covered: int8, uint8, int16 x int8"
        ]
    for tensor in (layer.input, layer.output, layer.weights):
        scales = 0 if tensor.quant is None else tensor.quant.scale.size
        allowed = (1, layer.channels) if tensor is layer.weights and found[1] == "int8" else (1,)
        if scales not in allowed:
            problems.append(f"{tensor.label} has {scales} scales, wanted {' or '.join(map(str, allowed))}")
    quant = layer.weights.quant
    axis = 3 if layer.operator.name == "DEPTHWISE_CONV_2D" else 0
    if quant is not None and quant.per_channel and quant.axis != axis:
        problems.append(f"{layer.weights.label} is quantized along axis {quant.axis}, wanted {axis}")
    wanted = ("int64", "int32") if found[0] == "int16" else ("int32",)
    if layer.bias is not None and layer.bias.dtype.name not in wanted:
        problems.append(f"the bias ({layer.bias.label}) is {layer.bias.dtype.name}, wanted {' or '.join(wanted)}")
    if found[0] == "int16" and any(t.quant is not None and t.quant.shifted for t in (layer.input, layer.output)):
        problems.append("int16 input or output has a zero point that is not 0, which no runtime takes")
    return problems


def _parts(layer: Convolution, rule: str) -> list[OutputPart]:
    """Which outputs are requantized how."""

    def part(
        rule: IntegerRule, first: int = 0, end: int = layer.channels, outputs: Outputs = "all", group: int = 1
    ) -> OutputPart:
        return OutputPart(first, end, folded(layer, rule, first, end), outputs, group)

    if rule in AROUND_DENSE:
        return [part(AROUND_DENSE[rule])]
    choice = CHOICES_AROUND_DENSE[rule]
    match choice.when:
        case ChannelGroups(channels):
            whole = layer.channels - layer.channels % channels
            parts = [part(choice.then, 0, whole), part(choice.otherwise, whole)]
            return [found for found in parts if found.end > found.first]
        case ElementGroups(elements):
            return [
                part(choice.then, outputs="groups", group=elements),
                part(choice.otherwise, outputs="last", group=elements),
            ]
        case Window(most_taps, or_pixels):
            first = layer.depthwise(most_taps) or (or_pixels and layer.over_pixels)
            return [part(choice.then if first else choice.otherwise)]
        case OneRow(units, depth):
            one = layer.pixels == 1 and layer.channels >= units and layer.depth >= depth
            return [part(choice.then if one else choice.otherwise)]
        case ThreeByThree(channels):
            return [part(choice.then if layer.three_by_three(channels) else choice.otherwise)]
        case never:
            assert_never(never)


def folded(layer: Convolution, rule: IntegerRule, first: int, end: int) -> RequantParams:
    """The requantization's constants of some channels."""
    assert layer.input.quant is not None
    assert layer.weights.quant is not None
    assert layer.output.quant is not None
    scales = layer.weights.quant.scale
    params = prepare_requantize(
        rule,
        input_scale=np.float32(layer.input.quant.scale[0]),
        weights_scale=scales[first:end] if scales.size > 1 else scales,
        output_scale=np.float32(layer.output.quant.scale[0]),
        output_zero_point=int(layer.output.quant.zero_point[0]),
        activation=str(layer.operator.options.get("fused_activation_function", "NONE")),
        dtype=layer.output.dtype,
    )
    check_factor(layer.operator, params)
    return params


def _requantized(acc: Array, layer: Convolution, parts: Sequence[OutputPart]) -> dict[str, Array]:
    """Every step of the requantization of whole arrays, put together from the parts."""
    done = [requantize(acc[..., part.first : part.end], part.params) for part in parts]
    if len(done) == 1:
        return done[0]
    if parts[0].outputs == "all":
        return {name: np.concatenate([steps[name] for steps in done], -1) for name in done[0]}
    grouped = split_vector(acc, layer.output, parts[0].group)
    return {name: np.where(grouped, value, done[1][name]) for name, value in done[0].items()}


def finish(layer: Convolution, rule: str, accumulate: Callable[[Array], npt.NDArray[np.int64]]) -> PreparedConvolution:
    """The prepared operator, from a function that makes the accumulators.

    Args:
        layer: the convolution.
        rule: a key of `RULES`.
        accumulate: input `[n, h, w, c]` -> sums `[n, out_h, out_w, out]` without the bias, not wrapped.
    """
    parts = _parts(layer, rule)
    bias = layer.bias_values
    narrow = parts[0].params.rule.sums.bits == 32

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        layer.check(values[0])
        acc = accumulate(values[0]) + bias
        acc = low_bits(acc, 32).astype(np.int32) if narrow else acc
        return {"acc": acc, **_requantized(acc, layer, parts)}

    return PreparedConvolution(
        operator=layer.operator,
        rule=rule,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        convolution=layer,
        parts=tuple(parts),
    )
