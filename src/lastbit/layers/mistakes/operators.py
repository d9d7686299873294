"""Mistakes in operators without weights: ADD, SUB, MUL, pools, MEAN, SOFTMAX, LOGISTIC, TANH, as plain code has them.

A mistake changes an `OperatorReading`: which scales and zero points the code takes, how it rounds and stores.
What is calculated from it is real-valued code with one rounding, as people write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...arith.windows import WindowAxis
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array, Float64Array, IntegerType
from ...ops.elements.pool_2d import pool_windows
from ...rules.requantize.fold import activation_bounds
from .base import Mistake
from .threads import PYTORCH_76390, TF_38781

__all__ = ["OPERATOR_MISTAKES", "OPERATOR_NAMES", "OPERATOR_TIES", "operator_mistakes", "output_of_operator"]

_SUMS = ("ADD", "SUB", "MUL")
_AVERAGES = ("AVERAGE_POOL_2D", "MEAN")
_CURVES = ("SOFTMAX", "LOGISTIC", "TANH")
_SCALED = (*_SUMS, *_CURVES)
_ROUNDED = (*_SCALED, *_AVERAGES)
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


@dataclass(frozen=True)
class OperatorReading:
    """What code takes an operator for.

    Attributes:
        scales: of its inputs.
        zeros: zero points of its inputs.
        output_scale: of its output.
        output_zero: zero point of its output.
        low: the smallest output.
        high: the largest.
        ends: of the output's type.
        rounding: of real values, in output steps before the zero point is added; a pool's are in the input's own steps.
        wraps: whether outputs beyond the type wrap.
        each_rounded: whether both operands are rounded before they meet.
        full_window: whether an average divides by the whole window, the padding counted as 0.
        padding: what a maximum sees in the padding; None: nothing.
        behind: whether the larger part of SAME's padding is in front.
        beta: of SOFTMAX.
    """

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    output_scale: float
    output_zero: int
    low: int
    high: int
    ends: tuple[int, int]
    rounding: Callable[[Float64Array], Float64Array]
    wraps: bool = False
    each_rounded: bool = False
    full_window: bool = False
    padding: int | None = None
    behind: bool = False
    beta: float = 1.0


def half_away(value: Float64Array) -> Float64Array:
    """Ties away from zero."""
    return np.asarray(np.trunc(value + np.copysign(0.5, value)))


def _half_up(value: Float64Array) -> Float64Array:
    return np.asarray(np.floor(value + 0.5))


def _half_added(value: Float64Array) -> Float64Array:
    return np.asarray(np.trunc(value + 0.5))


def reading(model: Model, op: Operator) -> OperatorReading | None:
    """An operator as it should be read; None where it is no such operator of quantized integers of one scale each."""
    if op.name not in {*_ROUNDED, *_POOLS}:
        return None
    read = [model.tensors[i] for i in op.inputs if i >= 0 and model.tensors[i].quant is not None]
    made = model.tensors[op.outputs[0]]
    known = [_plain(tensor) for tensor in (*read, made)]
    if len(read) != (2 if op.name in _SUMS else 1) or not all(known) or not isinstance(made.dtype, IntegerType):
        return None
    pairs = [(float(t.quant.scale[0]), int(t.quant.zero_point[0])) for t in (*read, made) if t.quant is not None]
    activation = str(op.options.get("fused_activation_function", "NONE"))
    low, high = activation_bounds(activation, np.float32(pairs[-1][0]), pairs[-1][1], made.dtype, "half_away")
    beta = op.options.get("beta", 1.0)
    return OperatorReading(
        tuple(scale for scale, _ in pairs[:-1]), tuple(zero for _, zero in pairs[:-1]), *pairs[-1], low, high,
        (made.dtype.qmin, made.dtype.qmax), half_away, beta=float(beta) if isinstance(beta, int | float) else 1.0,
    )  # fmt: skip


def _plain(tensor: Tensor) -> bool:
    """Whether a tensor has one scale, and the values of at most 16 bits."""
    quant, dtype = tensor.quant, tensor.dtype
    return isinstance(dtype, IntegerType) and dtype.bits <= 16 and quant is not None and quant.scale.size == 1


def output_of_operator(model: Model, op: Operator, inputs: Sequence[Array], names: Sequence[str]) -> Array:
    """What code with these mistakes gives.

    Args:
        model: the model.
        op: the operator, one that `operator_mistakes` has mistakes for.
        inputs: the values of the operator's inputs, in its order.
        names: of mistakes, keys of `OPERATOR_MISTAKES`.

    Returns:
        The output, in the output's type and the shape of the calculation.
    """
    right = reading(model, op)
    assert right is not None
    read = right
    for name in names:
        read = OPERATOR_MISTAKES[name].mistake.function(read)
    with np.errstate(all="ignore"):
        value, zero = _value(model, op, read, inputs)
        steps = np.nan_to_num(read.rounding(value), nan=-(2.0**40), posinf=2.0**40, neginf=-(2.0**40)) + zero
    dtype = model.tensors[op.outputs[0]].dtype.numpy
    assert dtype is not None
    whole = steps.astype(np.int64)
    return (whole if read.wraps else np.clip(whole, read.low, read.high)).astype(dtype)


def _value(model: Model, op: Operator, read: OperatorReading, inputs: Sequence[Array]) -> tuple[Float64Array, int]:
    """The value before the rounding, and the zero point that is added after it."""
    values = [inputs[number].astype(np.float64) for number in range(len(read.scales))]
    if op.name in _POOLS:
        return _pooled(op, read, values[0]), 0
    if op.name == "MEAN":
        axes = tuple(int(a) for a in np.ravel(inputs[1]))
        mean = values[0].mean(axis=axes, keepdims=bool(op.options.get("keep_dims", False)))
        if read.scales[0] == read.output_scale and read.zeros[0] == read.output_zero:
            return mean, 0
        return (mean - read.zeros[0]) * read.scales[0] / read.output_scale, read.output_zero
    real = [(v - zero) * scale for v, zero, scale in zip(values, read.zeros, read.scales, strict=True)]
    if read.each_rounded:
        real = [read.rounding(part / read.output_scale) * read.output_scale for part in real]
    match op.name:
        case "ADD":
            result = real[0] + real[1]
        case "SUB":
            result = real[0] - real[1]
        case "MUL":
            result = real[0] * real[1]
        case "SOFTMAX":
            powers = np.exp(read.beta * (real[0] - real[0].max(axis=-1, keepdims=True)))
            result = powers / powers.sum(axis=-1, keepdims=True)
        case "LOGISTIC":
            result = 1 / (1 + np.exp(-real[0]))
        case _:
            result = np.tanh(real[0])
    return result / read.output_scale, read.output_zero


def _pooled(op: Operator, read: OperatorReading, images: Float64Array) -> Float64Array:
    """The average or the maximum of each window, in the input's own steps."""
    rows, columns = pool_windows(op)
    padded = np.pad(images, [(0, 0), *_ends(rows, columns, images, read), (0, 0)], constant_values=np.nan)
    height, width = rows.outputs(images.shape[1]), columns.outputs(images.shape[2])
    seen = np.stack(
        [
            padded[
                :,
                i : i + (height - 1) * rows.stride + 1 : rows.stride,
                j : j + (width - 1) * columns.stride + 1 : columns.stride,
            ]
            for i in range(rows.size)
            for j in range(columns.size)
        ]
    )
    inside = ~np.isnan(seen)
    if op.name == "MAX_POOL_2D":
        return np.asarray(np.where(inside, seen, -np.inf if read.padding is None else read.padding).max(axis=0))
    total = np.where(inside, seen, 0).sum(axis=0)
    return np.asarray(total / (len(seen) if read.full_window else inside.sum(axis=0)))


def _ends(rows: WindowAxis, columns: WindowAxis, images: Array, read: OperatorReading) -> list[tuple[int, int]]:
    """Padding in front of and behind the height and the width."""
    found = []
    for axis, length in zip((rows, columns), images.shape[1:3], strict=True):
        front, back = axis.padding(length)
        found.append((back, front) if read.behind else (front, back))
    return found


@dataclass(frozen=True)
class OperatorMistake:
    """A mistake, and the operators in which it can be made."""

    mistake: Mistake
    operators: tuple[str, ...]


def _of(
    name: str,
    slot: str,
    why: str,
    fix: tuple[str, str],
    change: Callable[[OperatorReading], OperatorReading],
    operators: tuple[str, ...],
    rarity: float = 2.0,
    seen: tuple[str, ...] = (),
) -> OperatorMistake:
    return OperatorMistake(Mistake(name, slot, why, *fix, change, rarity=rarity, seen=seen), operators)


_ROUND = ("y = zy + np.rint(value / s_y)", "y = zy + (int32_t)lround(value / s_y);")
_READ = ("real = (x.astype(np.int32) - zx) * s_x  # for each input", "double real = ((int32_t)x[i] - zx) * s_x;")
_WRITE = ("y = np.clip(zy + np.rint(real / s_y), -128, 127)", "y = zy + (int32_t)lround(real / s_y);  /* then clamp */")
_MEAN = ("np.rint(window.sum() / window.size)  # of the elements inside the image", "mean = round(sum / count);")


def _rounded(read: OperatorReading, how: Callable[[Float64Array], Float64Array]) -> OperatorReading:
    return replace(read, rounding=how)


def _without_activation(read: OperatorReading) -> OperatorReading:
    """The bounds of the type; of what has no activation they are that already."""
    return replace(read, low=read.ends[0], high=read.ends[1])


_ROUNDINGS: tuple[tuple[str, str, Callable[[Float64Array], Float64Array], float], ...] = (
    (
        "rounding_truncated",
        "the value is truncated towards zero (a cast to int); it must be rounded",
        np.trunc,
        1.2,
    ),
    ("rounding_floor", "the value is rounded down (//, or a plain shift); it must be rounded", np.floor, 1.2),
    ("rounding_ceil", "the value is rounded up", np.ceil, 3.0),
    (
        "half_added_then_truncated",
        "0.5 is added and the sum truncated: wrong for negative values",
        _half_added,
        2.0,
    ),
    ("ties_half_even", "ties are rounded to even (np.round)", np.rint, 1.6),
    ("ties_half_up", "ties are rounded up", _half_up, 1.8),
)

# fmt: off
_MADE: tuple[OperatorMistake, ...] = (
    *(
        _of(name, "rounding", why, _ROUND, partial(_rounded, how=how), _ROUNDED, rarity)
        for name, why, how, rarity in _ROUNDINGS
    ),
    _of(
        "input_zero_point_missing", "input_zero_point", "the inputs' zero points are not subtracted", _READ,
        lambda r: replace(r, zeros=(0,) * len(r.zeros)), (*_SUMS, "LOGISTIC", "TANH"), 1.2,
    ),
    _of(
        "second_zero_point_missing", "input_zero_point", "the second input's zero point is not subtracted", _READ,
        lambda r: replace(r, zeros=(r.zeros[0], 0)), _SUMS,
    ),
    _of(
        "second_zero_point_is_firsts", "input_zero_point", "the first input's zero point is used for both", _READ,
        lambda r: replace(r, zeros=(r.zeros[0],) * 2), _SUMS,
    ),
    _of(
        "input_scale_missing", "members", "the input is not multiplied by its scale", _READ,
        lambda r: replace(r, scales=(1.0,) * len(r.scales)), _SCALED, 1.5,
    ),
    _of(
        "second_scale_is_firsts", "members", "the first input's scale is used for both", _READ,
        lambda r: replace(r, scales=(r.scales[0],) * 2), _SUMS, 2.0,
    ),
    _of(
        "add_without_rescaling", "combine", "the integers themselves are added, without scales and zero points",
        _READ, lambda r: replace(r, scales=(1.0, 1.0), zeros=(0, 0), output_scale=1.0, output_zero=0), ("ADD", "SUB"),
        1.5, (PYTORCH_76390,),
    ),
    _of(
        "scales_ignored", "combine", "zero points are subtracted and added; the scales are treated as equal", _READ,
        lambda r: replace(r, scales=(1.0,) * len(r.scales), output_scale=1.0), _SUMS, 1.8,
    ),
    _of(
        "each_operand_rounded", "combine", "both operands are scaled and rounded before they meet",
        _WRITE, lambda r: replace(r, each_rounded=True), ("ADD", "SUB"), 2.0,
    ),
    _of(
        "output_zero_point_missing", "output_zero_point", "the output's zero point is not added", _WRITE,
        lambda r: replace(r, output_zero=0), _SCALED, 1.2,
    ),
    _of(
        "output_zero_point_subtracted", "output_zero_point", "the output's zero point is subtracted", _WRITE,
        lambda r: replace(r, output_zero=-r.output_zero), _SCALED,
    ),
    _of(
        "output_scale_missing", "members", "the result is not divided by the output's scale", _WRITE,
        lambda r: replace(r, output_scale=1.0), _SCALED,
    ),
    _of(
        "softmax_times_255", "digits", "the probability is multiplied by 255; the output's scale is 1 / 256", _WRITE,
        lambda r: replace(r, output_scale=1 / 255), ("SOFTMAX", "LOGISTIC"), 1.8, (TF_38781,),
    ),
    _of(
        "softmax_beta_missing", "members", "beta is not in the exponent", _READ,
        lambda r: replace(r, beta=1.0), ("SOFTMAX",),
    ),
    _of(
        "output_wraps", "range", "the output is cast to its type without clamping, and wraps", _WRITE,
        lambda r: replace(r, wraps=True), (*_SCALED,), 1.2,
    ),
    _of(
        "activation_missing", "activation", "the fused activation is not applied", _WRITE, _without_activation,
        (*_SUMS, *_POOLS), 1.5,
    ),
    _of(
        "divided_by_full_window", "windows", "the average divides by the whole window where a part of it is padding",
        _MEAN, lambda r: replace(r, full_window=True), ("AVERAGE_POOL_2D",), 1.2,
    ),
    _of(
        "padding_zero", "windows", "the padding holds 0; it takes no part in a maximum", _MEAN,
        lambda r: replace(r, padding=0), ("MAX_POOL_2D",), 1.2,
    ),
    _of(
        "padding_same_wrong_side", "windows", "the odd row or column of SAME's padding is in front", _MEAN,
        lambda r: replace(r, behind=True), _POOLS, 1.5,
    ),
)
# fmt: on

OPERATOR_MISTAKES: dict[str, OperatorMistake] = {made.mistake.name: made for made in _MADE}
"""Name -> mistake of an operator without weights; names that dense layers have too say the same there."""


OPERATOR_TIES = frozenset(("ties_half_even", "ties_half_up"))
"""Mistakes in how ties alone are rounded, in which runtimes differ too."""

OPERATOR_NAMES: tuple[str, ...] = (*_ROUNDED, "MAX_POOL_2D")
"""Operators in which these mistakes can be made."""


def operator_mistakes(model: Model, op: Operator) -> list[Mistake]:
    """The mistakes that can be made in an operator without weights; none where it is another, or has real values."""
    if reading(model, op) is None:
        return []
    return [made.mistake for made in OPERATOR_MISTAKES.values() if op.name in made.operators]
