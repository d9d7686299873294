"""What the quantization specification wants of a model, and where a file says something else.

Each check is one function and one line of `CHECKS`; it says what is found and how the tensor would look that is right.
Who refuses, ignores or follows it is asked of the runtimes themselves (`lastbit.verbs.inspect.specification`).

Source: the 8-bit quantization specification (tensorflow/tensorflow, tensorflow/lite/g3doc/performance,
quantization_spec.md); fixed output ranges as in `lastbit.quantize`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from ...model.graph import Model, Operator, Tensor
from ...model.types import IntegerType, QuantParams, integer_type
from ..quantize.older import PROPERTIES
from ..quantize.operators import TRAITS

__all__ = ["CHECKS", "Breach", "Kind", "breaches"]

_Channels = npt.NDArray[np.bool_]
# The narrowest range that TensorFlow's converter makes, 1e-6, in 254 steps; less is no result of a calibration.
_SMALLEST = 3.9e-9
# Channels that training has brought to almost nothing are usual; these do not count beside any bias.
_SMALLEST_WEIGHTS = 1e-20
_LARGEST = 2.0**16
# A product of two scales is rounded to float32 once or twice, and the scales themselves may be.
_PRODUCT_TOLERANCE = 1e-6
_SHOWN = 4
# One more than what the converter writes; -127 is the least weight that has an opposite.
_LEAST_WEIGHT = {"int8": -128}


# Fixed outputs of operators that `lastbit.quantize` has no form of.
_FIXED = {"L2_NORMALIZATION": {"int8": (1 / 128, 0)}, "LOG_SOFTMAX": {"int8": (16 / 256, 127)}}


class Kind(Enum):
    """What a breach is about."""

    BIAS_SCALE = "bias_scale"
    BIAS_LIMIT = "bias_limit"
    BIAS_ZERO_POINT = "bias_zero_point"
    ZERO_SCALE = "zero_scale"
    ABSURD_SCALE = "absurd_scale"
    WEIGHTS_LEAST = "weights_least"
    WEIGHTS_ZERO_POINT = "weights_zero_point"
    INT16_ZERO_POINT = "int16_zero_point"
    FIXED_OUTPUT = "fixed_output"
    SAME_SCALE = "same_scale"


@dataclass(frozen=True, eq=False)
class Breach:
    """One place where a file and the specification differ.

    Attributes:
        kind: what it is about.
        operator: the operator.
        tensor: the tensor.
        text: what was found, what is wanted and what follows.
        repaired: the tensor as the specification wants it; None where no tensor can be said that repairs it.
        channels: the channels that it is about; () where the tensor has one.
        factor: how many times as large as wanted a scale is, where that is the question.
    """

    kind: Kind
    operator: Operator
    tensor: Tensor
    text: str
    repaired: Tensor | None = None
    channels: tuple[int, ...] = ()
    factor: float | None = field(default=None)


Check = Callable[[Model, Operator], Iterator[Breach]]


def breaches(model: Model, operators: Sequence[Operator] | None = None) -> list[Breach]:
    """Everything in which a model differs from the quantization specification, in the operators' order.

    Args:
        model: the model.
        operators: the operators to check; all of them by default.
    """
    found: dict[tuple[Kind, int], Breach] = {}
    with np.errstate(all="ignore"):  # a file may hold any scales; what they make is compared, never assumed finite
        for op in model.operators if operators is None else operators:
            for check in CHECKS:
                for breach in check(model, op):
                    found.setdefault((breach.kind, breach.tensor.index), breach)
    return list(found.values())


def _weights(model: Model, op: Operator) -> Tensor | None:
    """The constant quantized weights of an operator that has one tensor of them."""
    weights = TRAITS[op.name].weights if op.name in TRAITS else ()
    tensor = model.operand(op, weights[0][0]) if len(weights) == 1 else None
    return tensor if tensor is not None and tensor.quant is not None and tensor.data is not None else None


def _bias(model: Model, op: Operator) -> Tensor | None:
    """The constant integer bias of an operator that has one."""
    biases = TRAITS[op.name].biases if op.name in TRAITS else ()
    tensor = model.operand(op, biases[0][0]) if len(biases) == 1 else None
    integer = tensor is not None and tensor.dtype.name in ("int16", "int32", "int64") and tensor.data is not None
    return tensor if integer else None


def _quantized(model: Model, op: Operator) -> Iterator[Tensor]:
    """The tensors of an operator that have scales, once each."""
    for index in dict.fromkeys((*op.inputs, *op.outputs)):
        if (
            index >= 0
            and model.tensors[index].quant is not None
            and isinstance(model.tensors[index].dtype, IntegerType)
        ):
            yield model.tensors[index]


def _one_type(model: Model, op: Operator) -> bool:
    """Whether an operator takes and gives one type: other forms have rules of their own (TensorFlow Lite Micro)."""
    return bool(op.outputs) and {model.tensors[op.outputs[0]].dtype} == {
        tensor.dtype for tensor in (model.operand(op, 0),) if tensor is not None
    }


def _units(channels: _Channels, noun: str = "unit") -> str:
    """`unit 1`, `units 0, 2 and 7`, `units 0, 1, 2, 3 and 9 more`; one channel has no number."""
    indices = np.flatnonzero(channels).tolist()
    if len(indices) == 1:
        return f"{noun} {indices[0]}"
    if len(indices) <= _SHOWN:
        return f"{noun}s {', '.join(map(str, indices[:-1]))} and {indices[-1]}"
    return f"{noun}s {', '.join(map(str, indices[:_SHOWN]))} and {len(indices) - _SHOWN} more"


def _where(channels: _Channels) -> tuple[int, ...]:
    return tuple(np.flatnonzero(channels).tolist()) if channels.size > 1 else ()


def _with_quant(tensor: Tensor, scale: npt.ArrayLike | None = None, zero_point: int | None = None) -> Tensor:
    """The tensor with other scales or another zero point."""
    old = tensor.quant
    assert old is not None
    new = old.scale if scale is None else np.asarray(scale, np.float32).reshape(-1)
    if zero_point is not None:
        zeros = np.full(new.shape, zero_point, np.int64)
    elif old.zero_point.shape == new.shape:
        zeros = old.zero_point
    else:
        zeros = np.zeros(new.shape, np.int64)
    return replace(tensor, quant=QuantParams(new, zeros, old.axis))


def check_bias_scale(model: Model, op: Operator) -> Iterator[Breach]:
    """A bias counts in steps of s_x * s_w, for it is added to the sum of products of such steps."""
    x, weights, bias = model.operand(op, 0), _weights(model, op), _bias(model, op)
    if bias is None or weights is None or x is None or x.quant is None or weights.quant is None:
        return
    if x.quant.scale.size != 1 or not (x.quant.known and weights.quant.known):
        return
    if bias.quant is None:
        yield Breach(
            Kind.BIAS_SCALE, op, bias, f"the bias has no scale; it should be s_x*s_w = {_product(x, weights)[0]:.9g}"
        )
        return
    wanted, stored = _product(x, weights), bias.quant.scale.astype(np.float64)
    if stored.size not in (1, wanted.size):
        yield Breach(Kind.BIAS_SCALE, op, bias, f"the bias has {stored.size} scales, s_x*s_w has {wanted.size}")
        return
    factors = stored / wanted
    wrong = ~(np.abs(factors - 1) <= _PRODUCT_TOLERANCE) & (stored != wanted)
    # Where the product is no normal float32, no file can hold it.
    wrong &= (wanted >= np.finfo(np.float32).tiny) & (wanted <= np.finfo(np.float32).max)
    if not wrong.any():
        return
    first = int(np.argmax(wrong))
    own = np.broadcast_to(stored, wrong.shape)
    of_unit = f" of {_units(wrong)}" if wrong.size > 1 else ""
    each = factors[wrong]
    spread = f"{each.min():.4g} to {each.max():.4g}" if each.max() > 1.001 * each.min() else f"{each[0]:.6g}"
    text = (
        f"the bias scale{of_unit} is {own[first]:.9g}, not s_x*s_w = {wanted[first]:.9g}: {spread} times as large. "
        "A kernel that does not check it adds the bias's integers as they are, in steps of s_x*s_w"
    )
    yield Breach(
        Kind.BIAS_SCALE, op, bias, text, _with_quant(bias, wanted.astype(np.float32)), _where(wrong), float(each[0])
    )


def _product(x: Tensor, weights: Tensor) -> npt.NDArray[np.float64]:
    assert x.quant is not None
    assert weights.quant is not None
    return np.asarray(float(x.quant.scale[0]) * weights.quant.scale.astype(np.float64))


def check_bias_limit(model: Model, op: Operator) -> Iterator[Breach]:
    """A bias at the end of its type is one that did not fit."""
    bias = _bias(model, op)
    if bias is None or bias.data is None:
        return
    ends = np.iinfo(bias.data.dtype)
    values = bias.data.reshape(-1)
    at_limit = (values <= ends.min + 1) | (values == ends.max)
    if not at_limit.any():
        return
    first = int(np.argmax(at_limit))
    one = np.count_nonzero(at_limit) == 1
    text = (
        f"the bias of {_units(at_limit)} is at its type's limit: the converter saturated it, "
        f"the real bias{'' if one else 'es'} {'is' if one else 'are'} lost (found {int(values[first])})"
    )
    scale = bias.quant.scale if bias.quant is not None else None
    if scale is not None and scale.size in (1, values.size):
        reach = abs(float(values[first])) * float(scale[first if scale.size > 1 else 0])
        text += f". With its scale no bias beyond +-{reach:.3g} can be stored; the unit's weights are almost zero"
    # The real bias is lost: half of the limit, which converters of today keep to, stands for it.
    repaired = replace(bias, data=np.where(at_limit, bias.data // 2, bias.data).astype(bias.data.dtype))
    yield Breach(Kind.BIAS_LIMIT, op, bias, text, repaired, _where(at_limit))


def check_bias_zero_point(model: Model, op: Operator) -> Iterator[Breach]:
    """A bias has the zero point 0: it is added to the sum as it is."""
    bias = _bias(model, op)
    if bias is None or bias.quant is None or not bias.quant.shifted:
        return
    bad = bias.quant.zero_point != 0
    found = f"{int(bias.quant.zero_point[int(np.argmax(bad))])}" + (f" (in {_units(bad)})" if bad.size > 1 else "")
    text = f"the bias's zero point is {found}; the specification wants 0. Kernels add the bias's integers as they are"
    yield Breach(Kind.BIAS_ZERO_POINT, op, bias, text, _with_quant(bias, zero_point=0), _where(bad))


def check_zero_scale(model: Model, op: Operator) -> Iterator[Breach]:
    """A scale is a positive number. A bias's may be 0 where the weights' is."""
    bias, weights = _bias(model, op), _weights(model, op)
    for tensor in _quantized(model, op):
        assert tensor.quant is not None
        scale = tensor.quant.scale
        bad = ~(np.isfinite(scale) & (scale > 0))
        if tensor is bias and weights is not None and weights.quant is not None:
            bad &= ~((scale == 0) & (weights.quant.scale == 0)) if weights.quant.scale.shape == scale.shape else True
        if not bad.any():
            continue
        first = scale[int(np.argmax(bad))]
        of_unit = f" of {_units(bad, 'channel')}" if bad.size > 1 else ""
        text = f"{tensor.label}: the scale{of_unit} is {float(first)!r}; wanted a positive number"
        if first == 0:
            text += ". Every value of it stands for 0, whatever the integers are"
        repaired = _with_quant(tensor, np.where(bad, np.float32(1), scale))
        yield Breach(Kind.ZERO_SCALE, op, tensor, text, repaired, _where(bad))


def check_absurd_scale(model: Model, op: Operator) -> Iterator[Breach]:
    """A scale beyond what any calibration gives."""
    bias = _bias(model, op)
    for tensor in _quantized(model, op):
        assert tensor.quant is not None
        scale = tensor.quant.scale
        smallest = _SMALLEST if tensor.data is None else _SMALLEST_WEIGHTS
        bad = ((scale > 0) & (scale < smallest)) | (np.isfinite(scale) & (scale > _LARGEST))
        if not bad.any() or tensor is bias or not tensor.quant.known:
            continue
        first = float(scale[int(np.argmax(bad))])
        of_unit = f" of {_units(bad, 'channel')}" if bad.size > 1 else ""
        kind = integer_type(tensor.dtype)
        reach = first * (kind.qmax - kind.qmin)
        text = f"{tensor.label}: the scale{of_unit} is {first:.9g}, so all values lie in a range of {reach:.3g}"
        if first < 1 and tensor.data is None:
            text += ": it was almost zero in all of the calibration data"
        repaired = _with_quant(tensor, np.clip(scale, np.float32(2.0**-20), np.float32(1)))
        yield Breach(Kind.ABSURD_SCALE, op, tensor, text, repaired, _where(bad))


def check_weights_least(model: Model, op: Operator) -> Iterator[Breach]:
    """Symmetric int8 weights lie in -127 to 127."""
    weights = _weights(model, op)
    least = _LEAST_WEIGHT.get(weights.dtype.name) if weights is not None else None
    if weights is None or weights.data is None or least is None:
        return
    assert weights.quant is not None
    count = int(np.count_nonzero(weights.data == least))
    if not count or weights.quant.shifted:
        return
    text = (
        f"{count} of {weights.data.size} weights are {least}; the specification has {least + 1} to {-least - 1}, and "
        "TensorFlow's converter writes no others"
    )
    repaired = replace(weights, data=np.maximum(weights.data, least + 1))
    yield Breach(Kind.WEIGHTS_LEAST, op, weights, text, repaired)


def check_weights_zero_point(model: Model, op: Operator) -> Iterator[Breach]:
    """Signed weights have the zero point 0."""
    weights = _weights(model, op)
    if weights is None or weights.quant is None or weights.dtype.name == "uint8":
        return
    zeros = weights.quant.zero_point
    if not (zeros != 0).any():
        return
    bad = zeros != 0
    found = f"{int(zeros[int(np.argmax(bad))])}" + (f" (in {_units(bad)})" if bad.size > 1 else "")
    text = f"the weights' zero point is {found}; the specification wants 0 for {weights.dtype.name} weights"
    yield Breach(Kind.WEIGHTS_ZERO_POINT, op, weights, text, _with_quant(weights, zero_point=0), _where(bad))


def check_int16_zero_point(model: Model, op: Operator) -> Iterator[Breach]:
    """int16 activations are symmetric."""
    known = PROPERTIES.get(op.name)
    if known is None or not known.int16 or not _one_type(model, op):
        return
    for tensor in _quantized(model, op):
        assert tensor.quant is not None
        if tensor.dtype.name == "int16" and tensor.quant.shifted:
            text = f"{tensor.label}: the zero point is {int(tensor.quant.zero_point[0])}; int16 activations want 0"
            yield Breach(Kind.INT16_ZERO_POINT, op, tensor, text, _with_quant(tensor, zero_point=0))


def check_fixed_output(model: Model, op: Operator) -> Iterator[Breach]:
    """Some outputs have one scale and zero point in every file."""
    known = PROPERTIES.get(op.name)
    output = model.tensors[op.outputs[0]] if op.outputs else None
    fixed = _FIXED.get(op.name) if known is None else known.fixed
    if fixed is None or output is None or output.quant is None or output.quant.scale.size != 1:
        return
    if not _one_type(model, op):
        return
    # uint8 is int8 with the zero point moved.
    moved = 128 if output.dtype.name == "uint8" else 0
    wanted = fixed.get("int8" if moved else output.dtype.name)
    if wanted is None:
        return
    scale, zero = wanted[0], wanted[1] + moved
    found = float(output.quant.scale[0]), int(output.quant.zero_point[0])
    if found == (scale, zero):
        return
    text = (
        f"{op.name} has the output scale {found[0]:.9g} and zero point {found[1]}; fixed for {output.dtype.name}: "
        f"1/{round(1 / scale)} and {zero}"
    )
    repaired = _with_quant(output, [scale], zero)
    yield Breach(Kind.FIXED_OUTPUT, op, output, text, repaired, (), found[0] / scale)


def check_same_scale(model: Model, op: Operator) -> Iterator[Breach]:
    """Operators that move values have one scale and zero point for inputs and outputs."""
    if op.name not in TRAITS or not TRAITS[op.name].same_scale:
        return
    tensors = [tensor for tensor in _quantized(model, op) if tensor.dtype.name in ("int8", "int16")]
    outputs = [tensor for tensor in tensors if tensor.index in op.outputs]
    if not outputs:
        return
    first = outputs[0]
    for tensor in tensors:
        if _one(tensor) is None or _one(first) is None or _one(tensor) == _one(first) or tensor.dtype != first.dtype:
            continue
        text = (
            f"{tensor.label} has the scale and zero point {_pair(tensor)}, {first.label} {_pair(first)}; "
            f"{op.name} wants the same for both"
        )
        scale, zero = _one(first) or (1.0, 0)
        yield Breach(Kind.SAME_SCALE, op, tensor, text, _with_quant(tensor, [scale], zero))


def _one(tensor: Tensor) -> tuple[float, int] | None:
    quant = tensor.quant
    if quant is None or quant.scale.size != 1 or not math.isfinite(float(quant.scale[0])):
        return None
    return float(quant.scale[0]), int(quant.zero_point[0])


def _pair(tensor: Tensor) -> str:
    scale, zero = _one(tensor) or (math.nan, 0)
    return f"{scale:.9g} and {zero}"


CHECKS: tuple[Check, ...] = (
    check_bias_scale,
    check_bias_limit,
    check_bias_zero_point,
    check_zero_scale,
    check_absurd_scale,
    check_weights_least,
    check_weights_zero_point,
    check_int16_zero_point,
    check_fixed_output,
    check_same_scale,
)
