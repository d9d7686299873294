"""Rivals of a hybrid dense layer's arithmetic: other runtimes, and common mistakes of re-implementations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...arith.floats import convert_int32, flush_subnormals, fma32, multiply32, round_away32
from ...model.errors import UnsupportedError
from ...model.graph import Model
from ...model.types import Array, Float32Array
from ...ops.dense.hybrid import Finisher, PreparedHybrid, Quantizer, finish_by_rule, prepare_dense_hybrid
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.hybrid_windows import PreparedHybridWindows, hybrid_windows
from ...rules.hybrid.finish import clamp
from ...rules.hybrid.forms import UNITS_AT_ONCE, Clamp, Finish, HybridRule, Rows
from ...rules.hybrid.neon import NeonLoop
from ...rules.hybrid.rows import LANES, quantize_rows
from ...rules.hybrid.rows_x86 import QuantizedRows
from ...rules.hybrid.table import FUSED, QD8, QD8_NEON, SSE_SYMMETRIC
from ...runtimes import RUNTIMES
from .hybrid_windows import window_rivals

__all__ = ["HybridRival", "function_of", "hybrid_rivals", "same_function"]


@dataclass(frozen=True)
class HybridRival:
    """One wrong way to calculate the layer.

    Attributes:
        name: the runtime's or the mistake's name.
        kind: `runtime` or `mistake`.
        what: in one line, what it does.
        prepared: the layer prepared for it.
    """

    name: str
    kind: str
    what: str
    prepared: PreparedHybrid


def hybrid_rivals(model: Model, right: PreparedHybrid, runtime: str) -> list[HybridRival]:
    """Every rival of a hybrid layer in a runtime's arithmetic."""
    windows = window_rivals(right) if isinstance(right, PreparedHybridWindows) else []
    found = [HybridRival(name, "mistake", what, prepared) for name, what, prepared in windows]
    return [*_runtimes(model, right, runtime), *_mistakes(model, right), *found]


def _runtimes(model: Model, right: PreparedHybrid, own: str) -> Iterator[HybridRival]:
    """Every other runtime that takes the layer as a hybrid one."""
    for name, runtime in RUNTIMES.items():
        if name == own:
            continue
        try:
            prepared = as_dense(prepare_operator(model, right.operator, runtime))
        except UnsupportedError:
            continue
        if isinstance(prepared, PreparedHybrid):
            yield HybridRival(name, "runtime", runtime.title, prepared)


def _clamp(prepared: PreparedHybrid) -> Clamp:
    finish = prepared.arithmetic.finish
    return finish.int4_clamp if prepared.int4 else finish.clamp


def _finish(prepared: PreparedHybrid) -> Finish:
    """What finishes the layer, without what only concerns weights of the other type."""
    one, finish = _clamp(prepared), prepared.arithmetic.finish
    return replace(finish, clamp=one, int4_clamp=one, int4=finish.int4 if prepared.int4 else "whole")


# A bias of at least this size hides what underflows: the differences between ways of flushing are below 2^-100.
_HIDES_UNDERFLOW = np.float32(2.0**-60)


def same_function(right: PreparedHybrid, rival: PreparedHybrid) -> str:
    """In words, why two rules with one `function_of` print the same."""
    if right.rows == rival.rows:
        return "the same operations on the same constants"
    return "the same for all finite inputs: they differ in what underflows, which this layer's bias hides"


def function_of(prepared: PreparedHybrid) -> Hashable:
    """All that the output depends on beside the input: equal for two rules that are the same function on this layer.

    Inputs are finite here. So ARM64's kernels without dot products are x86's where a bias hides what underflows and no
    pair of weights wraps.
    """
    rows, finish = prepared.rows, _finish(prepared)
    bias = prepared.bias
    hidden = bias is not None and bool((np.isfinite(bias) & (np.abs(bias) >= _HIDES_UNDERFLOW)).all())
    if rows == QD8_NEON and finish.flush == "arm" and hidden and not prepared.int4:
        rows, finish = QD8, replace(finish, flush="x86", clamp=FUSED.clamp, int4_clamp=FUSED.clamp)
    return (
        rows,
        prepared.arithmetic.nibbles if prepared.nibbles else finish,
        # Those of rivals that no rule describes.
        prepared.quantize,
        prepared.finish,
        prepared.nibbles,
        prepared.weights_used.tobytes(),
        prepared.wrong_signs.tobytes() if prepared.wrong_signs.any() else b"",
        # Taken with the zero point, which symmetric quantization has not.
        b"" if prepared.rows.symmetric else prepared.weights_sum.tobytes(),
        prepared.weights_scale.tobytes(),
        None if prepared.bias is None else prepared.bias.tobytes(),
        # Which loops there are decides where a sum is fused, and where pairs of products wrap.
        () if prepared.nibbles else tuple(prepared.loop(rows) is NeonLoop.FOUR_ROWS for rows in range(1, 17)),
        prepared.pairs.tobytes() if prepared.pairs.any() else b"",
        # Of convolutions: how the last channels end, what is quantized together, and which values windows see.
        prepared.arithmetic.last_units if prepared.layer.units % UNITS_AT_ONCE else None,
        prepared.quantized_together,
        prepared.prepared.windows if isinstance(prepared, PreparedHybridWindows) else None,
    )


# Common mistakes of re-implementations: each changes one thing of the right rule.


def _mistakes(model: Model, right: PreparedHybrid) -> Iterator[HybridRival]:
    rule = right.arithmetic

    def rival(
        name: str,
        what: str,
        changed: HybridRule = rule,
        quantize: Quantizer = quantize_rows,
        finish: Finisher = finish_by_rule,
    ) -> HybridRival:
        named = replace(changed, name=f"{right.rule}/{name}")
        if not isinstance(right, PreparedHybridWindows):
            prepared = prepare_dense_hybrid(model, right.operator, named, quantize=quantize, finish=finish)
            return HybridRival(name, "mistake", what, prepared)
        windows = hybrid_windows(replace(right.prepared.with_rule(named), quantize=quantize), finish)
        assert windows is not None
        return HybridRival(name, "mistake", what, windows)

    def wrong(formula: Formula) -> Finisher:
        return _wrong(right, formula)

    if right.rows.symmetric:
        name, what, other = "rows_asymmetric", "quantizes rows with a zero point", rule.asymmetric
    else:
        name, what = "rows_symmetric", "quantizes rows with zero point 0"
        other = SSE_SYMMETRIC if rule.always_asymmetric else rule.symmetric
    # The 4-bit kernel has no zero point to subtract: asymmetric rows are summed up by the plain formula.
    nibbles = rule.nibbles if other.symmetric else None
    yield rival(name, what, replace(rule, symmetric=other, asymmetric=other, nibbles=nibbles))
    own = _own_tie(right)
    for name, what, tie, rounding in (
        ("rows_half_away", "rounds a quantized input's ties away from zero", "half_away", round_away32),
        ("rows_half_even", "rounds a quantized input's ties to even", "half_even", np.rint),
        ("rows_truncated", "cuts a quantized input's fraction off", "", np.trunc),
    ):
        # SSE code adds one half and truncates, which is not half away at 0.49999997: there it is a mistake too.
        if tie != own:
            yield rival(name, what, quantize=_rounded(rounding))
    match rule.finish.order, rule.finish.fused and not right.nibbles:
        case "row_first", _:
            yield rival("unfused", "rounds the product before the bias is added", finish=wrong(_unfused))
            yield rival("scales_first", "multiplies the two scales first", finish=wrong(_scales_first))
        case "scales_first", True:
            yield rival("unfused", "rounds the product before the bias is added", finish=wrong(_both_rounded))
            yield rival("scale_by_scale", "multiplies by one scale after the other", finish=wrong(_unfused))
        case "scales_first", False:
            yield rival("fused", "adds the bias in a fused multiply-add", finish=wrong(_scales_first))
            yield rival("scale_by_scale", "multiplies by one scale after the other", finish=wrong(_unfused))
        case "weights_first", _:
            yield rival("row_first", "multiplies by the image's scale first", finish=wrong(_unfused))
            yield rival("scales_first", "multiplies the two scales first", finish=wrong(_both_rounded))
    yield rival("float64", "calculates in float64 and rounds once", finish=wrong(_float64))
    if right.bias is not None:
        what = "adds the bias as an int32 in the accumulator's scale"
        yield rival("bias_int32", what, finish=wrong(_bias_int32))


def _own_tie(right: PreparedHybrid) -> str | None:
    """The rounding of all of a row's values; None where there are two, or a zero point is added before it."""
    tail = right.layer.depth % LANES
    parts = [right.rows.head] * (right.layer.depth > tail) + [right.rows.tail] * (tail > 0)
    ties = {part.tie for part in parts if part.add != "before"}
    return ties.pop() if len(ties) == 1 and all(part.add != "before" for part in parts) else None


def _rounded(rounding: Callable[[Float32Array], Float32Array]) -> Quantizer:
    """The right quantization with every value rounded in one way."""

    def rows(how: Rows, x: Float32Array) -> QuantizedRows:
        right, low = quantize_rows(how, x), -127 if how.symmetric else -128
        # Where the inverse of the scale overflows there is nothing to round.
        ordinary = np.isfinite(right.scaled) & np.isfinite(right.inverse)[:, None]
        whole = rounding(np.where(ordinary, right.scaled, np.float32(0)))
        wrong = np.clip(whole + right.zero_point[:, None], low, 127).astype(np.int64)
        return replace(right, quantized=np.where(ordinary, wrong, right.quantized))

    return rows


# (accumulators, the rows' scales, the weights' scales, bias, whether subnormals are flushed) -> before the clamp.
Formula = Callable[[npt.NDArray[np.int64], Float32Array, Float32Array, Float32Array, bool], Float32Array]


def _wrong(right: PreparedHybrid, formula: Formula) -> Finisher:
    """The right rule's accumulators and clamp with another formula between them."""
    finish = right.arithmetic.finish
    flush = finish.flush != "none" and not right.nibbles
    how: Clamp = "bound_first_if_any" if right.nibbles else _clamp(right)

    def wrong(
        prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
    ) -> dict[str, Array]:
        steps = finish_by_rule(prepared, rows, dot, any_input)
        if finish.zeros == "skipped" and not right.nibbles and not any_input:
            return steps  # nothing is multiplied
        bias = np.zeros(prepared.layer.units, np.float32) if prepared.bias is None else prepared.bias
        bias = flush_subnormals(bias) if flush else bias
        with np.errstate(all="ignore"):
            found = formula(steps["acc"].astype(np.int64), rows.scale[:, None], prepared.weights_scale, bias, flush)
        finite = finish.ends == "finite"
        return {**steps, "output": clamp(how, found, prepared.layer.activation, finite=finite)}

    return wrong


def _unfused(
    acc: npt.NDArray[np.int64], row: Float32Array, weights: Float32Array, bias: Float32Array, flush: bool
) -> Float32Array:
    product = multiply32(multiply32(convert_int32(acc), row, flush), weights, flush)
    total: Float32Array = product + bias
    return flush_subnormals(total) if flush else total


def _both_rounded(
    acc: npt.NDArray[np.int64], row: Float32Array, weights: Float32Array, bias: Float32Array, flush: bool
) -> Float32Array:
    product = multiply32(convert_int32(acc), multiply32(weights, row, flush), flush)
    total: Float32Array = product + bias
    return flush_subnormals(total) if flush else total


def _scales_first(
    acc: npt.NDArray[np.int64], row: Float32Array, weights: Float32Array, bias: Float32Array, flush: bool
) -> Float32Array:
    return fma32(convert_int32(acc), multiply32(weights, row, flush), bias, flush)


def _float64(
    acc: npt.NDArray[np.int64], row: Float32Array, weights: Float32Array, bias: Float32Array, flush: bool
) -> Float32Array:
    wide = acc * row.astype(np.float64) * weights.astype(np.float64) + bias.astype(np.float64)
    total = wide.astype(np.float32)
    return flush_subnormals(total) if flush else total


def _bias_int32(
    acc: npt.NDArray[np.int64], row: Float32Array, weights: Float32Array, bias: Float32Array, flush: bool
) -> Float32Array:
    scale = multiply32(weights, row, flush)
    whole = np.clip(np.nan_to_num(np.rint(bias / scale.astype(np.float64))), -(2**31), 2**31 - 1).astype(np.int64)
    return multiply32(convert_int32(np.clip(acc + whole, -(2**31), 2**31 - 1)), scale, flush)
