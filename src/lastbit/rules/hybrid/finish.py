"""The reader of `Finish` and `Nibbles` that calculates: from integer sums of products to float32 outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ...arith.fixedpoint import low_bits
from ...arith.floats import (
    clamp_bound_first,
    clamp_maximum,
    clamp_value_first,
    convert_int32,
    flush_subnormals,
    fma32,
    multiply32,
)
from ...model.types import Array, Float32Array, Int64Array
from .forms import UNITS_AT_ONCE, Clamp, Finish, HybridRule, Nibbles
from .int4_nibbles import NIBBLE_ZERO_POINT
from .neon import nibble_row_sums
from .rows_x86 import QuantizedRows

__all__ = ["LayerConstants", "clamp", "finish_nibbles", "finish_sums", "finish_units"]


@dataclass(frozen=True, eq=False)
class LayerConstants:
    """What finishing a hybrid layer needs of it.

    Attributes:
        int4: whether its weights are int4.
        activation: the fused activation's name.
        weights_sum: int64 `[out]`: sums of the weights, for the zero point's part.
        weights_scale: float32 `[1]` or `[out]`, as the kernel takes it.
        bias: float32 `[out]`, or None.
    """

    int4: bool
    activation: str
    weights_sum: Int64Array
    weights_scale: Float32Array
    bias: Float32Array | None

    @property
    def units(self) -> int:
        """Output units."""
        return len(self.weights_sum)


def finish_sums(
    finish: Finish, layer: LayerConstants, rows: QuantizedRows, dot: Int64Array, *, any_input: bool, four_rows: bool
) -> dict[str, Array]:
    """Outputs of the sums of products.

    Args:
        finish: how.
        layer: the layer's constants.
        rows: the quantized rows.
        dot: the sums, int64 `[rows, out]`.
        any_input: whether any input is not 0.
        four_rows: whether the kernel's loop takes four rows at once.

    Returns:
        The steps `acc` (int32, less the zero point's part), `scaled` (where the sum is rounded between the scales or
        before the bias), `with_bias` and `output`: `[rows, out]`.
    """
    flush, arm = _flushes(finish)
    acc, units, scale = _units(finish, layer, low_bits(dot - rows.zero_point[:, None] * layer.weights_sum, 32))
    scale = flush_subnormals(scale) if flush else scale
    bias = np.zeros(layer.units, np.float32) if layer.bias is None else layer.bias
    bias = flush_subnormals(bias) if flush else bias
    skipped, fused = _at_once(finish, any_input, four_rows)
    row = rows.scale[:, None]
    steps: dict[str, Array] = {"acc": acc.astype(np.int32)}
    match finish.order:
        case "row_first":
            factor, value = np.broadcast_to(scale, (layer.units,)), multiply32(convert_int32(units), row, flush, arm)
            steps["scaled"] = value
            product = value if fused else multiply32(value, factor, flush, arm)
        case "weights_first":
            factor, value = row, multiply32(convert_int32(units), scale, flush, arm)
            steps["scaled"] = value
            product = value if fused else multiply32(value, factor, flush, arm)
        case "scales_first":
            factor, value = multiply32(scale, row, flush, arm), convert_int32(units)
            product = value if fused else multiply32(value, factor, flush, arm)
            if not fused:
                steps["scaled"] = product
        case never:
            assert_never(never)
    if fused:
        with_bias = fma32(value, factor, bias, flush, arm)
    elif skipped:
        with_bias = np.broadcast_to(bias, product.shape).copy()  # the bias stays as it is, -0.0 included
    else:
        with np.errstate(all="ignore"):
            total = bias + product
        with_bias = flush_subnormals(total) if flush else total
    how = finish.int4_clamp if layer.int4 else finish.clamp
    output = clamp(how, with_bias, layer.activation, finite=_finite(finish))
    return {**steps, "with_bias": with_bias, "output": output}


def finish_units(
    rule: HybridRule, layer: LayerConstants, rows: QuantizedRows, dot: Int64Array, *, any_input: bool, four_rows: bool
) -> dict[str, Array]:
    """The same where the last units may end in another way than the others.

    Steps that one of the two ways does not have are left out.
    """
    steps = finish_sums(rule.finish, layer, rows, dot, any_input=any_input, four_rows=four_rows)
    last = layer.units % UNITS_AT_ONCE
    if rule.last_units is None or not last:
        return steps
    rest = finish_sums(rule.last_units, layer, rows, dot, any_input=any_input, four_rows=four_rows)
    shared = [name for name in steps if name in rest]
    return {name: np.concatenate([steps[name][:, :-last], rest[name][:, -last:]], axis=1) for name in shared}


def _flushes(finish: Finish) -> tuple[bool, bool]:
    """Whether subnormals become zero, and whether before the rounding."""
    match finish.flush:
        case "none":
            return False, False
        case "x86":
            return True, False
        case "arm":
            return True, True
        case never:
            assert_never(never)


def _finite(finish: Finish) -> bool:
    """Whether outputs without an activation end at the largest float32."""
    match finish.ends:
        case "infinite":
            return False
        case "finite":
            return True
        case never:
            assert_never(never)


def _at_once(finish: Finish, any_input: bool, four_rows: bool) -> tuple[bool, bool]:
    """Whether nothing is multiplied, and whether the last product and the bias are one operation."""
    match finish.zeros:
        case "multiplied":
            skipped = False
        case "skipped":
            skipped = not any_input
        case never:
            assert_never(never)
    match finish.four_rows:
        case "same":
            fused = finish.fused
        case "unfused":
            fused = finish.fused and not four_rows
        case never_four:
            assert_never(never_four)
    return skipped, fused and not skipped


def _units(finish: Finish, layer: LayerConstants, acc: Int64Array) -> tuple[Int64Array, Int64Array, Float32Array]:
    """The accumulator, what the kernel converts to float32, and the scale that goes with it."""
    if not layer.int4:
        return acc, acc, layer.weights_scale
    match finish.int4:
        case "whole":
            return acc, acc, layer.weights_scale
        case "upper_28":
            # The kernel sums 16 times the products and shifts right.
            acc = low_bits(acc << 4, 32) >> 4
            return acc, acc, layer.weights_scale
        case "sixteenfold":
            units = low_bits(acc << 4, 32)
            return units >> 4, units, multiply32(layer.weights_scale, np.float32(0.0625))
        case never:
            assert_never(never)


def clamp(how: Clamp, value: Float32Array, activation: str, *, finite: bool = False) -> Float32Array:
    """A fused activation's bounds applied to float32 of any shape; `finite` ones where it has none."""
    match how:
        case "value_first":
            return clamp_value_first(value, activation, finite=finite)
        case "bound_first":
            return clamp_bound_first(value, activation, always=True, finite=finite)
        case "bound_first_if_any":
            return clamp_bound_first(value, activation, always=finite, finite=finite)
        case "maximum":
            return clamp_maximum(value, activation, finite=finite)
        case never:
            assert_never(never)


def finish_nibbles(
    nibbles: Nibbles, layer: LayerConstants, rows: QuantizedRows, dot: Int64Array, *, one_row: bool
) -> dict[str, Array]:
    """The same in the 4-bit kernel, which subtracts the nibbles' zero point in float32, together with the bias.

    Args:
        nibbles: how.
        layer: the layer's constants.
        rows: the quantized rows.
        dot: the sums of products with nibbles, int64 `[rows, out]`.
        one_row: whether the kernel is called with one row.

    Returns:
        The steps `acc`, `correction` (with the bias where that is fused), `scaled`, `with_bias` and `output`.
    """
    match nibbles.row_sums:
        case "quantized":
            row_sums = rows.quantized.sum(axis=1)
        case "lanes_of_16_bits":
            row_sums = nibble_row_sums(rows)
        case never:
            assert_never(never)
    sums = low_bits(-NIBBLE_ZERO_POINT * row_sums, 32)[:, None]
    row, scale = rows.scale[:, None], np.broadcast_to(layer.weights_scale, (layer.units,))
    start, part = multiply32(convert_int32(sums), row), multiply32(convert_int32(dot), row)
    scaled = multiply32(part, scale)
    if nibbles.fused and layer.bias is not None:
        correction = begin = fma32(start, scale, layer.bias)
    else:
        correction = begin = multiply32(start, scale)
        if layer.bias is not None:
            with np.errstate(all="ignore"):
                begin = correction + layer.bias
    with np.errstate(all="ignore"):
        with_bias = begin + scaled
    if nibbles.fused:
        whole = 0 if one_row else layer.units - layer.units % 4
        with_bias[:, whole:] = fma32(part, scale, begin)[:, whole:]
    return {
        "acc": low_bits(dot + sums, 32).astype(np.int32),
        "correction": correction,
        "scaled": scaled,
        "with_bias": with_bias,
        "output": clamp("bound_first_if_any", with_bias, layer.activation),
    }
