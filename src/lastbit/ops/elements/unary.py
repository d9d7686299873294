"""What the operators with one input and one output share: operands, refusals, the prepared form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ...arith.fixed_functions import input_radius, multiply_by_quantized_multiplier
from ...arith.fixedpoint import quantize_multiplier
from ...arith.floats import SMALLEST_NORMAL
from ...model.errors import Refusal, UnsupportedError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array, IntegerType
from ...rules.operators.fold import Scale
from ..base import PreparedOperator, RecipeOperator, refuse, required_operand

__all__ = [
    "Scale",
    "int16_input",
    "int16_numbers",
    "libm_refusal",
    "operands",
    "per_tensor",
    "pick_rule",
    "prepared",
    "q4_input",
    "split_vector",
]

T = TypeVar("T")


def pick_rule(op: Operator, rule: str, rules: Mapping[str, T]) -> T:
    """The rule of this name; UnsupportedError unless this operator's file has it."""
    if rule not in rules:
        raise refuse(op, f"has no arithmetic rule named {rule!r}; it has {', '.join(sorted(rules))}")
    return rules[rule]


def operands(model: Model, op: Operator) -> tuple[Tensor, Tensor]:
    """The one input and the one output tensor.

    Raises:
        UnsupportedError: the operator does not have exactly one of each.
    """
    source = required_operand(model, op, 0, "input")
    if len(op.inputs) != 1 or len(op.outputs) != 1:
        raise refuse(op, f"has {len(op.inputs)} inputs and {len(op.outputs)} outputs; every runtime wants 1 and 1")
    return source, model.tensors[op.outputs[0]]


def per_tensor(op: Operator, tensor: Tensor, *, zero: bool = False) -> Scale:
    """A tensor's quantization, which must be per-tensor and usable.

    Args:
        op: the operator.
        tensor: one of its tensors.
        zero: whether a scale of 0 is usable.

    Raises:
        UnsupportedError: it has none, or more than one scale, or a scale or zero point no runtime can work
            with.
    """
    quant, dtype = tensor.quant, tensor.dtype
    if quant is None or quant.scale.size == 0 or not isinstance(dtype, IntegerType):
        raise refuse(op, f"{tensor.label} ({dtype.name}) is not quantized")
    if quant.scale.size != 1 or quant.zero_point.size != 1:
        raise refuse(op, f"{tensor.label} has {quant.scale.size} scales; LastBit covers one scale here")
    scale, zero_point = np.float32(quant.scale[0]), int(quant.zero_point[0])
    # XNNPACK crashes the process on a scale that is not positive and normal; the others divide by it.
    if not SMALLEST_NORMAL <= scale < np.inf and not (zero and scale == 0):
        raise refuse(op, f"{tensor.label} has the scale {float(scale)!r}; wanted: positive, finite and normal")
    if not dtype.qmin <= zero_point <= dtype.qmax:
        raise refuse(op, f"{tensor.label} has the zero point {zero_point}, outside of {dtype.name}")
    return Scale(scale, zero_point, dtype.qmin, dtype.qmax)


def prepared(
    op: Operator,
    rule: str,
    source: Tensor,
    output: Tensor,
    steps: Callable[[Array], dict[str, Array]],
    *,
    notes: Sequence[str] = (),
    recipe: RecipeOperator | None = None,
) -> PreparedOperator:
    """A prepared operator that calculates its steps from one array.

    The last step is cast to the output's element type. A constant input is taken from the file.

    Args:
        op: the operator.
        rule: the name of its arithmetic rule.
        source: the input tensor.
        output: the output tensor.
        steps: from the input array to every step in order; the last is `output`.
        notes: warnings for the user.
        recipe: what the steps follow, where it is a table or a polynomial.
    """
    constant = source.data

    def evaluate(inputs: Sequence[Array]) -> dict[str, Array]:
        x = constant if constant is not None else inputs[0]
        named = steps(np.asarray(x))
        named["output"] = named.pop("output").astype(output.dtype.numpy)
        return named

    return PreparedOperator(
        operator=op,
        rule=rule,
        kernel="",  # whoever chose the rule knows the kernel and puts it in
        inputs=() if constant is not None else (source.index,),
        evaluate=evaluate,
        notes=tuple(notes),
        recipe=recipe,
    )


def split_vector(x: Array, tensor: Tensor, lanes: int) -> Array:
    """Which elements a vector loop takes: True for whole groups of `lanes` in flat order, False for the rest.

    The groups start anew with every sample: an array that holds N times the file's number of elements stands
    for N runs of the file's shape, and the remainder of each run is calculated by the scalar loop.

    Args:
        x: the input array.
        tensor: the input tensor as the file has it.
        lanes: elements per step of the vector loop.

    Returns:
        bool, the shape of `x`.
    """
    size = math.prod(tensor.shape)
    if size <= 0 or x.size % size:
        size = max(x.size, 1)
    inside = np.arange(x.size) % size < size - size % lanes
    return inside.reshape(x.shape)


def libm_refusal(op: Operator, function: str, unsafe: Sequence[int]) -> UnsupportedError:
    """The refusal of a table with entries that hang on the last bits of a C library's function."""
    shown = ", ".join(map(str, unsafe[:5])) + (", ..." if len(unsafe) > 5 else "")
    return refuse(
        op,
        f"not exact: the output for the input {shown} lies on a rounding boundary that the last bits of the "
        f"machine's {function} decide",
        Refusal.NOT_EXACT,
    )


def q4_input(op: Operator, given: Scale) -> Callable[[Array], tuple[Array, Array, Array]]:
    """How the 8-bit fixed-point kernels take inputs to Q4: (saturates low, saturates high, value).

    Source: tensorflow/tflite-micro, tensorflow/lite/micro/kernels/logistic_common.cc, commit 1a3dcaf6 (the
    same in tanh.cc).
    """
    multiplier, shift = (int(part) for part in quantize_multiplier(float(given.scale) * 2.0**27))
    if shift < 0:
        raise refuse(op, f"has the input scale {float(given.scale)!r}; below 2^-28 the kernel's shift is undefined")
    radius = input_radius(4, shift)

    def to_q4(x: Array) -> tuple[Array, Array, Array]:
        centered = x.astype(np.int64) - given.zero_point
        low, high = centered <= -radius, centered >= radius
        inside = np.where(low | high, 0, centered)
        return low, high, multiply_by_quantized_multiplier(inside, multiplier, min(shift, 31))

    return to_q4


def int16_numbers(
    op: Operator, given: Scale, to: Scale, power_of_two_shifts: tuple[int, ...], refuse_power_of_two: bool
) -> tuple[int, int]:
    """How the int16 kernels scale inputs to 1/(3 * 4096), the step of the table's input: multiplier and right shift.

    Args:
        op: the operator.
        given: the input's quantization.
        to: the output's quantization.
        power_of_two_shifts: the k for which a scale of 2^(k-12) is "a power of two" to this operator.
        refuse_power_of_two: whether such a scale goes to another kernel.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/activations.cc (TanhPrepare, SigmoidPrepare) and
    .../internal/quantization_util.cc (CheckedLog2, which accepts a logarithm within 0.001 of an integer).
    """
    if given.zero_point or to.zero_point:
        raise refuse(op, "int16 wants both zero points 0; the runtimes refuse anything else")
    if float(to.scale) != 1 / 32768:
        raise refuse(op, f"has the int16 output scale {float(to.scale)!r}; LastBit covers 1/32768 as the runtimes want")
    exponent = math.log2(float(given.scale))
    distance = abs(exponent - round(exponent))
    if 0.0009 < distance < 0.0011:
        raise refuse(
            op,
            "not exact: the input scale's logarithm is 0.001 from an integer, where the kernels branch",
            Refusal.NOT_EXACT,
        )
    left = 12 + round(exponent)
    if distance < 0.001 and left in power_of_two_shifts:
        if refuse_power_of_two:
            raise refuse(
                op,
                f"not exact: the input scale {float(given.scale)!r} goes to a 16-bit fixed-point kernel that "
                "LastBit does not cover yet",
                Refusal.NOT_EXACT,
            )
        multiplier, shift = 3 << left, 0
    else:
        factor, shift = float(given.scale) * 4096.0 * 3.0, 0
        while factor <= 32767.0 / 2.0 and shift <= 30:
            factor, shift = factor * 2.0, shift + 1
        if factor >= 2.0**16:
            raise refuse(op, f"has the input scale {float(given.scale)!r}: the product leaves an int32")
        multiplier = int(factor)
    return multiplier, shift


def int16_input(
    op: Operator, given: Scale, to: Scale, power_of_two_shifts: tuple[int, ...], refuse_power_of_two: bool
) -> Callable[[Array], Array]:
    """Inputs as the int16 kernels scale them; see `int16_numbers`."""
    multiplier, shift = int16_numbers(op, given, to, power_of_two_shifts, refuse_power_of_two)
    nudge = 1 << (shift - 1) if shift else 0

    def scaled(x: Array) -> Array:
        return (x.astype(np.int64) * multiplier + nudge) >> shift

    return scaled
