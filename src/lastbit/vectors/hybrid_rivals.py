"""Rivals of a hybrid dense layer's arithmetic: other runtimes, and common mistakes of re-implementations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arith.dynamic_range import (
    QuantizedRows,
    quantize_asymmetric,
    quantize_for_nibbles,
    quantize_qd8,
    quantize_qd8_inverted,
    quantize_qd8_nan_low,
    quantize_symmetric,
    quantize_symmetric_portable,
)
from ..arith.floats import (
    clamp_bound_first,
    clamp_maximum,
    clamp_value_first,
    convert_int32,
    flush_subnormals,
    fma32,
    multiply32,
    round_away32,
)
from ..arith.neon import (
    NeonLoop,
    quantize_kleidiai,
    quantize_kleidiai_away,
    quantize_neon_asymmetric,
    quantize_neon_nibbles,
    quantize_neon_symmetric,
    quantize_qd8_neon,
)
from ..errors import UnsupportedError
from ..model import Model
from ..ops.dense_hybrid import PreparedHybrid, hybrid_by_rule
from ..ops.hybrid_finish import (
    finish_fma,
    finish_fma_bound_first,
    finish_fma_neon,
    finish_kleidiai,
    finish_neon,
    finish_unfused,
)
from ..ops.hybrid_rules import Finish, Quantizer
from ..prepare import prepare_operator
from ..runtimes import RUNTIMES
from ..types import Array

__all__ = ["HybridRival", "function_of", "hybrid_rivals", "same_function"]

Float32Array = npt.NDArray[np.float32]

_SYMMETRIC = (
    *(quantize_symmetric, quantize_symmetric_portable, quantize_for_nibbles),
    *(quantize_neon_symmetric, quantize_neon_nibbles),
)
_QD8 = (quantize_qd8, quantize_qd8_inverted, quantize_qd8_nan_low, quantize_qd8_neon)
_NEON = (quantize_neon_symmetric, quantize_neon_asymmetric, quantize_neon_nibbles)


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
    return [*_runtimes(model, right, runtime), *_mistakes(model, right)]


def _runtimes(model: Model, right: PreparedHybrid, own: str) -> Iterator[HybridRival]:
    """Every other runtime that takes the layer as a hybrid one."""
    for name, runtime in RUNTIMES.items():
        if name == own:
            continue
        try:
            prepared = prepare_operator(model, right.operator, runtime)
        except UnsupportedError:
            continue
        if isinstance(prepared, PreparedHybrid):
            yield HybridRival(name, "runtime", runtime.title, prepared)


def _finish(prepared: PreparedHybrid) -> Finish:
    finish = prepared.finish
    # For int4 weights the two clamp alike.
    return finish_fma_bound_first if finish is finish_fma and _int4(prepared) else finish


def _int4(prepared: PreparedHybrid) -> bool:
    return prepared.layer.weights.dtype.name == "int4"


# A bias of at least this size hides what underflows: the differences between ways of flushing are below 2^-100.
_HIDES_UNDERFLOW = np.float32(2.0**-60)


def same_function(right: PreparedHybrid, rival: PreparedHybrid) -> str:
    """In words, why two rules with one `function_of` print the same."""
    if right.quantizer is rival.quantizer:
        return "the same operations on the same constants"
    return "the same for all finite inputs: they differ in what underflows, which this layer's bias hides"


def function_of(prepared: PreparedHybrid) -> Hashable:
    """All that the output depends on beside the input: equal for two rules that are the same function on this layer.

    Inputs are finite here. So ARM64's kernels without dot products are x86's where a bias hides what underflows and no
    pair of weights wraps.
    """
    quantizer, finish = prepared.quantizer, _finish(prepared)
    bias = prepared.bias
    hidden = bias is not None and bool((np.isfinite(bias) & (np.abs(bias) >= _HIDES_UNDERFLOW)).all())
    if finish is finish_fma_neon and hidden and not _int4(prepared):
        quantizer, finish = quantize_qd8, finish_fma
    return (
        quantizer,
        finish,
        prepared.nibbles,
        prepared.weights_used.tobytes(),
        prepared.wrong_signs.tobytes() if prepared.wrong_signs.any() else b"",
        # Taken with the zero point, which symmetric quantization has not.
        b"" if prepared.quantizer in _SYMMETRIC else prepared.weights_sum.tobytes(),
        prepared.weights_scale.tobytes(),
        None if prepared.bias is None else prepared.bias.tobytes(),
        # Which loops there are decides where a sum is fused, and where pairs of products wrap.
        () if prepared.nibbles else tuple(prepared.loop(rows) is NeonLoop.FOUR_ROWS for rows in range(1, 17)),
        prepared.pairs.tobytes() if prepared.pairs.any() else b"",
    )


# Common mistakes of re-implementations: each changes one thing of the right rule.


def _mistakes(model: Model, right: PreparedHybrid) -> Iterator[HybridRival]:
    def rival(name: str, what: str, **changes: Any) -> HybridRival:
        rule = replace(right.arithmetic, name=f"{right.rule}/{name}", **changes)
        return HybridRival(name, "mistake", what, hybrid_by_rule(model, right.operator, rule))

    quantize = right.quantizer
    neon = quantize in _NEON
    if quantize not in _SYMMETRIC:
        other, name = quantize_neon_symmetric if neon else quantize_symmetric, "rows_symmetric"
        what = "quantizes rows with zero point 0"
    else:
        other, name = quantize_neon_asymmetric if neon else quantize_asymmetric, "rows_asymmetric"
        what = "quantizes rows with a zero point"
    own = _own_rounding(right)
    # The 4-bit kernel has no zero point to take off: asymmetric rows are summed up by the plain formula.
    plain = {"packing": None} if other not in _SYMMETRIC else {}
    yield rival(name, what, symmetric=other, asymmetric=other, **plain)
    for name, what, rounding in (
        ("rows_half_away", "rounds a quantized input's ties away from zero", round_away32),
        ("rows_half_even", "rounds a quantized input's ties to even", np.rint),
        ("rows_truncated", "cuts a quantized input's fraction off", np.trunc),
    ):
        # SSE code adds one half and truncates, which is not half away at 0.49999997: there it is a mistake too.
        if rounding is not own:
            changed = _rounded(quantize, rounding)
            yield rival(name, what, symmetric=changed, asymmetric=changed)
    if quantize in _QD8:
        yield rival("unfused", "rounds the product before the bias is added", finish=_wrong(right, _unfused))
        yield rival("scales_first", "multiplies the two scales first", finish=_wrong(right, _scales_first))
    elif right.finish is finish_neon:
        yield rival("unfused", "rounds the product before the bias is added", finish=_wrong(right, _both_rounded))
        yield rival("scale_by_scale", "multiplies by one scale after the other", finish=_wrong(right, _unfused))
    else:
        yield rival("fused", "adds the bias in a fused multiply-add", finish=_wrong(right, _scales_first))
        yield rival("scale_by_scale", "multiplies by one scale after the other", finish=_wrong(right, _unfused))
    yield rival("float64", "calculates in float64 and rounds once", finish=_wrong(right, _float64))
    if right.bias is not None:
        what = "adds the bias as an int32 in the accumulator's scale"
        yield rival("bias_int32", what, finish=_wrong(right, _bias_int32))


def _own_rounding(right: PreparedHybrid) -> Callable[[Float32Array], Float32Array] | None:
    """The rounding of all of a row's values, or None where it is another one than those held against it."""
    quantize, rest = right.quantizer, right.layer.depth % 8
    if quantize in _QD8 or (quantize is quantize_kleidiai and not rest):
        return np.rint
    if quantize in (quantize_for_nibbles, quantize_kleidiai_away, *_NEON):
        return round_away32
    return round_away32 if quantize is quantize_kleidiai and rest == right.layer.depth else None


def _rounded(quantize: Quantizer, rounding: Callable[[Float32Array], Float32Array]) -> Quantizer:
    """The same quantization with every value rounded in one way."""
    low = -127 if quantize in _SYMMETRIC else -128

    def rows(x: Float32Array) -> QuantizedRows:
        right = quantize(x)
        # Where the inverse of the scale overflows there is nothing to round.
        ordinary = np.isfinite(right.scaled) & np.isfinite(right.inverse)[:, None]
        whole = rounding(np.where(ordinary, right.scaled, np.float32(0)))
        wrong = np.clip(whole + right.zero_point[:, None], low, 127).astype(np.int64)
        return replace(right, quantized=np.where(ordinary, wrong, right.quantized))

    return rows


# (accumulators, the rows' scales, the weights' scales, bias, whether subnormals are flushed) -> before the clamp.
Formula = Callable[[npt.NDArray[np.int64], Float32Array, Float32Array, Float32Array, bool], Float32Array]


def _wrong(right: PreparedHybrid, formula: Formula) -> Finish:
    """The right rule's accumulators and clamp with another formula between them."""
    finish = _finish(right)
    xnnpack = finish in (finish_fma, finish_fma_bound_first, finish_fma_neon, finish_kleidiai)

    def wrong(
        prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
    ) -> dict[str, Array]:
        steps = finish(prepared, rows, dot, any_input)
        if finish in (finish_unfused, finish_neon) and not any_input:
            return steps  # nothing is multiplied
        bias = np.zeros(prepared.layer.units, np.float32) if prepared.bias is None else prepared.bias
        bias = flush_subnormals(bias) if xnnpack else bias
        with np.errstate(all="ignore"):
            found = formula(steps["acc"].astype(np.int64), rows.scale[:, None], prepared.weights_scale, bias, xnnpack)
        activation = prepared.layer.activation
        clamped = clamp_value_first(found, activation)
        if finish in (finish_kleidiai, finish_fma_neon):
            clamped = clamp_maximum(found, activation)
        elif finish is not finish_fma:
            clamped = clamp_bound_first(found, activation, always=xnnpack)
        return {**steps, "output": clamped}

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
