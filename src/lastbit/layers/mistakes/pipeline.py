"""The layer as a pipeline of slots, each in its right form or with a mistake: what wrong code computes.

`wrong_output` is the definition; the search calls the same parts on a few elements and many candidates at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import INT32_MAX, INT32_MIN, low_bits, reduce_multiplier
from ...arith.floats import sum32
from ...model.errors import InputError
from ...model.types import INT32, Array, Float64Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from ...rules.base import Scales
from ...rules.requantize.fold import RequantParams, prepare_requantize
from ...rules.requantize.forms import Float, OneRounding, TwoRoundings
from ...rules.requantize.vector import outputs_of
from ...rules.requantize.words import last_tie
from .accumulate import product_of
from .base import SLOTS, Case, Mistake, ScaleValues
from .biasing import Accumulated, right_bias
from .catalogue import MISTAKES
from .finishing import RAW, right_range
from .rounding import LIMIT, Unrounded
from .sums import Everything, Grid

__all__ = [
    "BESIDE_WHOLE",
    "PREFIX",
    "WIDE",
    "Accumulated",
    "Scaling",
    "accumulate",
    "accumulate_all",
    "by_rule",
    "centred_input",
    "choose",
    "finish",
    "scale_params",
    "stored_output",
    "wrong_acc",
    "wrong_output",
]

Chosen = Mapping[str, Mistake]
"""Slot -> mistake, at most one for each slot."""

WIDE = ("clamp_missing", "requantization_missing")
"""Mistakes whose output may lie outside the output's type."""

PREFIX = ("input", "windows", "weights", "input_zero_point", "weights_zero_point", "product", "bias")
"""The slots that the accumulator depends on; they know no runtime."""

BESIDE_WHOLE = ("output_zero_point", "activation", "range", "layout")
"""The slots that still matter where a mistake replaces the whole integer arithmetic."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """A rule's constants for some elements, with what mistakes have made of them.

    Attributes:
        params: the rule's folded constants; arrays broadcast to the elements.
        combine: the mistake in how the factor meets the accumulator, or None.
        rounding: the mistake in the rounding, or None.
        zero_point: the output's right zero point, for roundings that see it.
    """

    params: RequantParams
    combine: Mistake | None = None
    rounding: Mistake | None = None
    zero_point: int = 0

    def unrounded(self, acc: Int64Array, real_part: Float64Array | None = None) -> Unrounded:
        """The scaled value before the rounding; with a real part, which is added to acc, in float64."""
        params = self.params
        form, factor = params.rule.requantize, params.effective_scale
        tie = last_tie(form)
        if self.combine is not None or real_part is not None:
            combine = np.multiply if self.combine is None else self.combine.function
            value = acc.astype(np.float64) if real_part is None else acc + real_part
            return Unrounded(tie, combine(value, factor.astype(np.float64)))
        match form:
            case Float():
                return Unrounded(tie, _product(form, acc, params))
            case OneRounding(multiplier_bits=15):
                bits = np.clip(15 - params.shift, 0, 62)
                return Unrounded(tie, None, acc * reduce_multiplier(params.multiplier), bits)
            case TwoRoundings() | OneRounding():
                shifted = acc << np.clip(params.shift, 0, 31)
                if isinstance(form, TwoRoundings) and form.left == "saturate32":
                    shifted = np.clip(shifted, INT32_MIN, INT32_MAX)
                shifted, right = low_bits(shifted, 32), np.clip(-params.shift, 0, 31)
                numerator = shifted * params.multiplier
                return Unrounded(tie, None, numerator, 31 + right, shifted, params.multiplier, right)
            case never:
                assert_never(never)

    def apply(self, acc: Int64Array, real_part: Float64Array | None = None) -> Int64Array:
        """Accumulators to whole output steps, without zero point and clamp."""
        if self.rounding is not None:
            result: Int64Array = self.rounding.function(self.unrounded(acc, real_part), self.zero_point)
            return np.clip(result, -LIMIT, LIMIT)
        if self.combine is not None or real_part is not None:
            return self.unrounded(acc, real_part).round(last_tie(self.params.rule.requantize))
        return outputs_of(acc, self.params).astype(np.int64)

    def with_late_bias(self, acc: Int64Array, start: Accumulated) -> Int64Array:
        """`apply`, and then what belongs before it but comes after."""
        with np.errstate(all="ignore"):
            scaled = self.apply(acc)
            if start.real_part is not None:
                scaled = np.where(np.isnan(start.real_part), scaled, self.apply(acc, start.real_part))
            if not isinstance(start.apart, int):
                scaled = scaled + np.where(start.apart != 0, self.apply(start.apart), 0)
        return scaled + start.after

    def with_late_bias_real(self, acc: Int64Array, start: Accumulated) -> Float64Array:
        """The same before the rounding."""
        with np.errstate(all="ignore"):
            value = self.unrounded(acc).real
            if start.real_part is not None:
                value = np.where(np.isnan(start.real_part), value, self.unrounded(acc, start.real_part).real)
            if not isinstance(start.apart, int):
                value = value + np.where(start.apart != 0, self.unrounded(start.apart).real, 0)
        return value + start.after


def _product(form: Float, acc: Int64Array, params: RequantParams) -> Float64Array:
    """The accumulator times the factor in the form's float, as float64."""
    if form.bits == 64:
        return acc.astype(np.float64) * params.effective_scale
    single = acc.astype(np.float32)
    if params.float_bias is not None and params.bias is not None:
        single = sum32(low_bits(acc - params.bias, 32).astype(np.float32), params.float_bias)
    return (single * params.effective_scale.astype(np.float32)).astype(np.float64)


def choose(mistakes: Sequence[str]) -> dict[str, Mistake]:
    """Names to mistakes by slot.

    Raises:
        InputError: an unknown name, or two of one slot.
    """
    chosen: dict[str, Mistake] = {}
    for name in mistakes:
        if name not in MISTAKES:
            raise InputError(f"there is no mistake {name!r}; wanted one of: {', '.join(MISTAKES)}")
        mistake = MISTAKES[name]
        if mistake.slot in chosen:
            raise InputError(
                f"{name} and {chosen[mistake.slot].name} cannot be made together: both are about {mistake.slot!r}"
            )
        chosen[mistake.slot] = mistake
    return {slot: chosen[slot] for slot in SLOTS if slot in chosen}


def accumulate(case: Case, grid: Grid, chosen: Chosen) -> Accumulated:
    """From the input to the accumulator."""
    x, w = case.x, case.w
    if "input" in chosen:
        x = chosen["input"].function(case, x)
    if "weights" in chosen:
        w = chosen["weights"].function(case, w)
    windows = chosen["windows"].function(case) if "windows" in chosen else None
    padded = grid.padded(x, windows)
    x, zx = centred_input(case, grid.rows(x, windows), padded, chosen.get("input_zero_point"))
    w, zw = grid.units(w), case.zw
    if "weights_zero_point" in chosen:
        w, zw = chosen["weights_zero_point"].function(case, w)
    product = chosen["product"].function if "product" in chosen else product_of(case)
    dot = product(case, grid, x, zx, w, zw)
    return add_bias(case, grid, dot, chosen.get("bias"))


def centred_input(
    case: Case, x: Int64Array, padded: npt.NDArray[np.bool_], mistake: Mistake | None
) -> tuple[Int64Array, int]:
    """The values of rows, and the zero point that is still to be subtracted of them."""
    if mistake is None:
        return x, case.zx
    values, zx = mistake.function(case, x)
    return (np.where(padded, zx, values) if mistake.skips_padding else values), zx


def accumulate_all(case: Case, chosen: Chosen) -> Accumulated:
    """The same for every element, `[rows, out]`; a convolution's a part of its rows at a time."""
    parts = [accumulate(case, grid, chosen) for grid in case.grids]
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part.acc) for part in parts]

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if not isinstance(values[0], np.ndarray) or values[0].ndim < 2:
            return values[0]
        whole = [np.broadcast_to(value, (size, value.shape[1])) for value, size in zip(values, sizes, strict=True)]
        return np.concatenate(whole)

    return Accumulated(*(joined(name) for name in ("acc", "after", "apart", "real_part")))


def add_bias(case: Case, grid: Grid, dot: Int64Array, mistake: Mistake | None) -> Accumulated:
    """The last slot before the accumulator is whole, and its width."""
    bias: Int64Array = grid.unit_values(case.bias)
    function = right_bias if mistake is None else mistake.function
    made: Accumulated = function(case, grid, dot, bias)
    return made if case.acc_bits == 64 else replace(made, acc=low_bits(made.acc, case.acc_bits))


def scale_params(case: Case, grid: Grid, chosen: Chosen) -> RequantParams:
    """The rule's constants from the scales, as whole output steps: no zero point, no clamp.

    The slots `channels`, `members`, `digits`, `factor` and `fixed_point` are taken from `chosen`.
    """
    right = case.prepared.requant
    scales = given = case.scales
    for slot in ("channels", "members", "digits", "factor"):
        if slot in chosen:
            with np.errstate(all="ignore"):
                scales = chosen[slot].function(case, scales)
    folded = right if scales is given else fold_scales(right, scales)
    multiplier, shift = folded.multiplier, folded.shift
    if "fixed_point" in chosen:
        multiplier, shift = chosen["fixed_point"].function(multiplier, shift)
    return replace(
        whole_steps(right, grid),
        effective_scale=_at(grid, folded.effective_scale),
        multiplier=_at(grid, multiplier),
        shift=_at(grid, shift),
    )


def whole_steps(right: RequantParams, grid: Grid) -> RequantParams:
    """A rule's constants that take an accumulator to whole output steps: no zero point, no clamp."""
    return replace(
        right,
        effective_scale=_at(grid, right.effective_scale),
        multiplier=_at(grid, right.multiplier),
        shift=_at(grid, right.shift),
        output_zero_point=0,
        activation_min=-LIMIT,
        activation_max=LIMIT,
        dtype=INT32,
        bias=None if right.bias is None else _at(grid, right.bias),
        float_bias=None if right.float_bias is None else _at(grid, right.float_bias),
    )


def fold_scales(right: RequantParams, scales: ScaleValues) -> RequantParams:
    """A rule's factor, multiplier and shift from scales that may be wrong, `[out]` or `[1]`; stacks of them too."""
    rule = replace(right.rule, scales=Scales(scales.product))
    # A scale that lost all its digits is 0; the factor must stay a number.
    output = np.where(np.asarray(scales.output) > 0, scales.output, np.finfo(np.float32).tiny)
    with np.errstate(all="ignore"):
        folded = prepare_requantize(
            rule,
            input_scale=np.float64(scales.input),  # type: ignore[arg-type]
            weights_scale=scales.weights,  # type: ignore[arg-type]
            output_scale=np.float64(output),  # type: ignore[arg-type]
            output_zero_point=0,
            activation="NONE",
            dtype=INT32,
        )
    return _as_given(right, folded) if right.rule.scales.product == "given" else folded


def _as_given(right: RequantParams, folded: RequantParams) -> RequantParams:
    """A factor that another unit has was taken with that unit's multiplier and shift, which need not be normalized."""
    same = folded.effective_scale[:, None] == right.effective_scale[None]
    taken, found = same.argmax(axis=1), same.any(axis=1)
    return replace(
        folded,
        multiplier=np.where(found, right.multiplier[taken], folded.multiplier),
        shift=np.where(found, right.shift[taken], folded.shift),
    )


def _at(grid: Grid, values: Array) -> Array:
    return grid.unit_values(values)


def finish(case: Case, scaled: Int64Array, chosen: Chosen) -> Int64Array:
    """From whole output steps to the stored output: zero point and clamp."""
    if "combine" in chosen and chosen["combine"].name in RAW:
        return RAW[chosen["combine"].name](case, scaled)
    params = case.prepared.requant
    post = case.zy
    if "output_zero_point" in chosen:
        post = chosen["output_zero_point"].function(case)[1]
    low, high = params.activation_min, params.activation_max
    if "activation" in chosen:
        low, high = chosen["activation"].function(case, low, high)
    stored = chosen["range"].function if "range" in chosen else right_range
    result: Int64Array = stored(case, scaled + post, low, high)
    return result


def wrong_acc(case: Case, chosen: Chosen) -> Int64Array:
    """The accumulator with these mistakes, int64 `[rows, out]`."""
    return accumulate_all(case, chosen).acc


def wrong_matrix(case: Case, chosen: Chosen, accumulated: Accumulated | None = None) -> Int64Array:
    """The output with these mistakes, int64 `[rows, out]`.

    Args:
        case: the layer and its input.
        chosen: slot -> mistake.
        accumulated: what to go on from, instead of the slots up to the bias.
    """
    start = accumulate_all(case, chosen) if accumulated is None else accumulated
    out = by_rule(case, lambda part: _suffix(part, chosen, start))
    return chosen["layout"].function(out, case.sample_rows) if "layout" in chosen else out


def by_rule(case: Case, function: Callable[[Case], Array]) -> Array:
    """What a function `[rows, out]` of a case gives where units follow two rules: each unit's in its own rule."""
    parts = case.prepared.parts
    if len(parts) == 1:
        return function(case)
    return np.concatenate([function(replace(case, prepared=part))[:, units] for units, part in parts], axis=1)


def _suffix(case: Case, chosen: Chosen, start: Accumulated) -> Int64Array:
    if "whole" in chosen:
        return finish(case, chosen["whole"].function(case), chosen)
    later = [slot for slot in chosen if slot not in PREFIX and slot != "layout"]
    plain = isinstance(start.after, int) and isinstance(start.apart, int) and start.real_part is None
    if plain and not later:
        return outputs_of(start.acc, case.prepared.requant).astype(np.int64)
    return finish(case, scaled_matrix(case, chosen, start), chosen)


def scaled_matrix(case: Case, chosen: Chosen, start: Accumulated) -> Int64Array:
    """Whole output steps without zero point and clamp, int64 `[rows, out]`, from accumulators."""
    acc = start.acc
    if "output_zero_point" in chosen:
        acc = acc + chosen["output_zero_point"].function(case)[0]

    def scaled(part: Case) -> Int64Array:
        params = scale_params(part, Everything(), chosen)
        return Scaling(params, chosen.get("combine"), chosen.get("rounding"), case.zy).with_late_bias(acc, start)

    return by_rule(case, scaled)


def unrounded_matrix(case: Case, chosen: Chosen, accumulated: Accumulated | None = None) -> Array:
    """The output before rounding and clamp, with its zero point, float64 `[rows, out]`; else as `wrong_matrix`."""
    start = accumulate_all(case, chosen) if accumulated is None else accumulated
    pre, post = 0, case.zy
    if "output_zero_point" in chosen:
        pre, post = chosen["output_zero_point"].function(case)
    scaling = Scaling(scale_params(case, Everything(), chosen), chosen.get("combine"))
    return scaling.with_late_bias_real(start.acc + pre, start) + post


def stored_output(case: Case, out: Int64Array, chosen: Chosen) -> Array:
    """As the layer stores it: its type, and int32 where values may lie outside it."""
    dtype = case.layer.output.dtype.numpy
    assert dtype is not None
    wide = any(mistake.name in WIDE for mistake in chosen.values())
    return out.astype(np.int32 if wide else dtype).reshape(case.layer.output_shape(case.shape))


def wrong_output(
    prepared: PreparedDense, x: Array, mistakes: Sequence[str] = (), *, real: Array | None = None
) -> Array:
    """What code with these mistakes prints for a dense layer, in one runtime's arithmetic.

    Args:
        prepared: the layer, prepared for the runtime (`lastbit.ops.prepare.prepare_operator`).
        x: the layer's input, in its own dtype and shape.
        mistakes: names in `MISTAKES`, at most one for each slot, in any order. Without any, the right output.
        real: the input before it was quantized, float32 in the shape of x; mistakes in quantizing it need it.

    Returns:
        The output, in the layer's dtype and shape (int32 with `clamp_missing` and
        `requantization_missing`).

    Raises:
        InputError: an unknown name, two mistakes of one slot, an input that does not fit, or no real one.
    """
    chosen = choose(mistakes)
    for name in (m.name for m in chosen.values() if m.needs_images and np.ndim(x) != 4):
        raise InputError(f"{name} is about a convolution's images; found an input of shape {list(x.shape)}")
    for name in (m.name for m in chosen.values() if m.needs_real_input and real is None):
        raise InputError(f"{name} is about quantizing the input, and the input before that was not given (real)")
    case = Case.of(prepared, x, real)
    return stored_output(case, wrong_matrix(case, chosen), chosen)
