"""What is checked of every operator before its own file reads it: operands, the file's faults, scales, sizes.

The reader lets through whatever some runtime runs (`lastbit.model.faults`). Here each operator is held to what its
runtime and LastBit can work with, so that no operator's file meets an operand that is not there or a scale without
meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..arith.floats import SMALLEST_NORMAL
from ..arith.windows import WindowAxis
from ..model.faults import LITERT_REFUSES, UNRUNNABLE, Fault, FaultKind
from ..model.graph import Model, Operator, Tensor
from ..model.types import DTYPES
from ..rules.requantize.fold import RequantParams
from .base import refuse
from .entry import OperatorEntry

__all__ = [
    "FileLimits",
    "check_factor",
    "check_growth",
    "check_operands",
    "check_structure",
    "check_windows",
    "usable_scale",
]

LARGEST_RESULT = 1 << 24
"""Elements that a result may have whatever its input has, where its size follows from numbers of the file."""

LARGEST_WINDOW = 1 << 12
"""Elements that a window may have whatever its input has."""

# Between these no product of two scales by a third leaves float32.
_SMALLEST_SCALE, _LARGEST_SCALE = 2.0**-40, 2.0**40
# How many times as large as the input a result, or a window, may be.
_LARGER_BY = 64

_QUANTIZED = ("int4", "int8", "uint8", "int16")
_TYPES = tuple(dtype.name for dtype in DTYPES.values())
# Options that are words, and what they may be.
_KNOWN: dict[str, tuple[str, ...]] = {
    "fused_activation_function": ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"),
    "padding": ("SAME", "VALID"),
    "weights_format": ("DEFAULT", "SHUFFLED4x16INT8"),
    "quantized_bias_type": _TYPES,
    "output_type": _TYPES,
    "out_type": _TYPES,
}
# Faults of a quantization that no kernel reads of a bias.
_QUANTIZATION_FAULTS = frozenset(
    {
        FaultKind.SCALE_COUNT,
        FaultKind.ZERO_POINT_COUNT,
        FaultKind.ZERO_POINT_RANGE,
        FaultKind.QUANTIZED_DIMENSION,
    }
)


@dataclass(frozen=True)
class FileLimits:
    """What a kernel's runtime refuses of a file, and what it reads otherwise than the file means.

    Attributes:
        of_litert: whether it is LiteRT, which refuses some files before any kernel sees them.
        misreads: faults that it reads as something else.
        normal_scales: whether the kernel fails on scales that are not positive, finite and normal.
    """

    of_litert: bool = False
    misreads: frozenset[FaultKind] = frozenset()
    normal_scales: bool = False


def check_structure(model: Model, op: Operator, kind: OperatorEntry) -> None:
    """Refuse an operator without the operands that its kind has, and one that cannot run where it stands.

    Args:
        model: the model.
        op: the operator.
        kind: its kind; one that only moves values takes arrays without an element too.

    Raises:
        UnsupportedError: with the reason.
    """
    for what, found, (fewest, most) in (
        ("inputs", len(op.inputs), kind.inputs),
        ("outputs", len(op.outputs), kind.outputs),
    ):
        if not fewest <= found <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} or more" if most > 99 else f"{fewest} to {most}"
            raise refuse(op, f"has {found} {what}; every runtime wants {wanted}")
    for fault in model.faults_of_operators.get(op.index, ()):
        raise refuse(op, fault.text + _advice(fault))
    for role, tensor in _operands(model, op, kind):
        if tensor.data is None and tensor.index not in model.fed_or_computed:
            raise refuse(op, f"{tensor.label} {_no_values(tensor)}")
        if 0 in tensor.shape and kind.reads_scales:
            raise refuse(op, f"{tensor.label} has the shape {list(tensor.shape)}, without an element; not covered")
        for fault in model.faults_of_tensors.get(tensor.index, ()):
            unread = role == "bias" and fault.kind in _QUANTIZATION_FAULTS
            if fault.kind in UNRUNNABLE and not unread:
                raise refuse(op, fault.text + _advice(fault))
    for option, value in op.options.items():
        if isinstance(value, str) and option in _KNOWN and value not in _KNOWN[option]:
            raise refuse(op, f"the option {option} is {value}, which LastBit does not know")


def check_operands(model: Model, op: Operator, limits: FileLimits, kind: OperatorEntry) -> None:
    """Refuse what this kernel's runtime refuses of the file, and scales that it cannot work with.

    Args:
        model: the model.
        op: the operator; `check_structure` has accepted it.
        limits: of the kernel that would compute it.
        kind: the operator's.

    Raises:
        UnsupportedError: with the reason.
    """
    if limits.of_litert:
        for found, fault in model.first_faults.items():
            if found in LITERT_REFUSES:
                raise refuse(op, f"LiteRT refuses the file: {fault.text}")
    for role, tensor in _operands(model, op, kind):
        for fault in model.faults_of_tensors.get(tensor.index, ()):
            if fault.kind in limits.misreads:
                raise refuse(op, f"{fault.text}; TensorFlow Lite Micro does not read this as the file means it")
            channels = tensor.quant is not None and tensor.quant.per_channel and role != "bias"
            if channels and fault.kind in (FaultKind.SCALE_COUNT, FaultKind.QUANTIZED_DIMENSION):
                raise refuse(op, fault.text)
        if tensor.quant is not None and tensor.dtype.name in _QUANTIZED and role != "bias":
            _check_normal(op, tensor, limits)
            if kind.reads_scales:
                _check_scales(op, role, tensor, limits, "weights" in kind.roles)


def check_factor(op: Operator, params: RequantParams) -> None:
    """Refuse scales whose product and quotient no float32 or float64 holds.

    Raises:
        UnsupportedError: the effective scale is infinite or no number.
    """
    if not np.isfinite(params.effective_scale).all():
        raise refuse(op, "input scale x weights scale / output scale is beyond what a float holds")


def check_growth(op: Operator, shape: Sequence[int], given: Sequence[int]) -> None:
    """Refuse a result that is out of proportion to its input: numbers of the file ask for it, and may be damaged.

    Args:
        op: the operator.
        shape: the result's shape.
        given: the input's.

    Raises:
        UnsupportedError: it has more than `LARGEST_RESULT` elements, and more than 64 times the input's.
    """
    # A dimension of 0 leaves no elements, but NumPy multiplies the others, too.
    count, before = (math.prod(max(size, 1) for size in sizes) for sizes in (shape, given))
    if count > max(LARGEST_RESULT, _LARGER_BY * before):
        raise refuse(op, f"its options or constants ask for a result {list(shape)}; not covered")


def check_windows(op: Operator, shape: Sequence[int], rows: WindowAxis, columns: WindowAxis) -> None:
    """Refuse windows and padding that are out of proportion to the images `[n, h, w, c]` that they slide over.

    Raises:
        UnsupportedError: with the reason.
    """
    n, height, width, channels = shape
    padded = (n, height + sum(rows.padding(height)), width + sum(columns.padding(width)), channels)
    check_growth(op, padded, shape)
    if rows.size * columns.size > max(LARGEST_WINDOW, _LARGER_BY * height * width):
        raise refuse(op, f"a window of {rows.size} x {columns.size} for images of {height} x {width}; not covered")


def usable_scale(tensor: Tensor | None) -> bool:
    """Whether every scale of a tensor is one that XNNPACK takes: positive, finite and normal."""
    if tensor is None or tensor.quant is None:
        return False
    smallest, largest = tensor.quant.scale_range
    return smallest >= SMALLEST_NORMAL and largest < math.inf


def _check_normal(op: Operator, tensor: Tensor, limits: FileLimits) -> None:
    if limits.normal_scales and not usable_scale(tensor):
        raise refuse(
            op,
            f"{tensor.label} has the scale {_worst(tensor)!r}; XNNPACK takes positive normal scales, and fails to "
            "prepare the operator",
        )


def _check_scales(op: Operator, role: str, tensor: Tensor, limits: FileLimits, has_weights: bool) -> None:
    assert tensor.quant is not None
    scale, (smallest, largest) = tensor.quant.scale, tensor.quant.scale_range
    if not has_weights and not (smallest >= _SMALLEST_SCALE and largest <= _LARGEST_SCALE):
        beyond = float(scale[int(np.argmin((scale >= _SMALLEST_SCALE) & (scale <= _LARGEST_SCALE)))])
        raise refuse(op, f"{tensor.label} has the scale {beyond!r}; covered in {op.name}: 2^-40 to 2^40")
    positive = smallest >= 0 if role == "weights" else smallest > 0
    if not (positive and largest < math.inf):
        wanted = "0 or a positive finite number" if role == "weights" else "a positive finite number"
        raise refuse(op, f"{tensor.label} has the scale {_worst(tensor)!r}; covered: {wanted}")
    if role == "output" and limits.of_litert and op.name == "FULLY_CONNECTED" and not usable_scale(tensor):
        raise refuse(op, f"{tensor.label} has the subnormal scale {_worst(tensor)!r}, which LiteRT reads as 0")


def _worst(tensor: Tensor) -> float:
    """The first scale that is not positive, finite and normal."""
    assert tensor.quant is not None
    scale = tensor.quant.scale
    good = np.isfinite(scale) & (scale >= SMALLEST_NORMAL)
    return float(scale[int(np.argmin(good))])


def _operands(model: Model, op: Operator, kind: OperatorEntry) -> Iterator[tuple[str, Tensor]]:
    """The tensors that an operator reads and writes, each with its role."""
    tensors = model.tensors
    for position, index in enumerate(op.inputs):
        if index >= 0:
            yield kind.role(position), tensors[index]
    for index in op.outputs:
        yield "output", tensors[index]


def _no_values(tensor: Tensor) -> str:
    if tensor.is_variable:
        return "is a variable; LastBit keeps no state between calls"
    return f"has no values that LastBit reads ({tensor.dtype.name})"


def _advice(fault: Fault) -> str:
    if fault.kind is FaultKind.READ_UNWRITTEN:
        return "; what it reads is whatever the memory holds"
    if fault.kind is FaultKind.WRITTEN_TWICE:
        return "; LastBit covers one writer for each tensor"
    return ""
