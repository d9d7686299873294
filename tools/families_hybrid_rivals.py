"""Rival rules of hybrid dense layers: each changes one thing of a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lastbit.arith.dynamic_range import (
    QuantizedRows,
    quantize_asymmetric,
    quantize_for_nibbles,
    quantize_qd8,
    quantize_symmetric,
)
from lastbit.arith.floats import clamp_value_first, convert_int32, flush_subnormals, fma32, multiply32, round_away32
from lastbit.model import Model, Operator
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense_hybrid import PreparedHybrid, hybrid_by_rule
from lastbit.ops.hybrid_finish import finish_fma, finish_unfused
from lastbit.ops.hybrid_rules import HYBRID_RULES, HybridRule

Float32Array = npt.NDArray[np.float32]


def rounded(quantize: Callable[[Float32Array], QuantizedRows], how: str) -> Callable[[Float32Array], QuantizedRows]:
    """The same quantization with every value rounded in one way, whatever its place in the row."""

    def rival(x: Float32Array) -> QuantizedRows:
        rows = quantize(x)
        with np.errstate(all="ignore"):
            scaled = x / rows.scale[:, None] if how == "division" else rows.scaled
            whole = np.rint(scaled) if how in ("half_even", "division") else round_away32(scaled)
            if how == "nudged":
                whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
        low = -127 if quantize is quantize_symmetric else -128
        steps = np.where(np.isfinite(whole), whole, 0) + rows.zero_point[:, None]
        return replace(rows, quantized=np.clip(steps, low, 127).astype(np.int64))

    return rival


def _zero_point_in_float64(x: Float32Array) -> QuantizedRows:
    """LiteRT's zero point with XNNPACK's rounding."""
    rows, other = quantize_qd8(x), quantize_asymmetric(x)
    steps = np.nan_to_num(np.rint(rows.scaled)) + other.zero_point[:, None]
    return replace(rows, zero_point=other.zero_point, quantized=np.clip(steps, -128, 127).astype(np.int64))


def _unfused_in_xnnpack(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, npt.NDArray]:
    """XNNPACK's order without the fused multiply-add."""
    steps = finish_fma(prepared, rows, dot, any_input)
    bias = np.float32(0) if prepared.bias is None else flush_subnormals(prepared.bias)
    product = multiply32(steps["scaled"], prepared.weights_scale, flush=True)
    with np.errstate(all="ignore"):
        output = flush_subnormals(product + bias)
    return {**steps, "output": clamp_value_first(output, prepared.layer.activation)}


def _no_flush(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, npt.NDArray]:
    """XNNPACK's formula with subnormals kept."""
    steps = finish_fma(prepared, rows, dot, any_input)
    scaled = multiply32(convert_int32(steps["acc"].astype(np.int64)), rows.scale[:, None])
    bias = np.float32(0) if prepared.bias is None else prepared.bias
    output = fma32(scaled, prepared.weights_scale, bias)
    return {**steps, "output": clamp_value_first(output, prepared.layer.activation)}


def _scale_by_scale(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, npt.NDArray]:
    """LiteRT's formula with the accumulator multiplied by one scale after the other."""
    steps = finish_unfused(prepared, rows, dot, any_input)
    scaled = multiply32(convert_int32(steps["acc"].astype(np.int64)), rows.scale[:, None])
    product = multiply32(scaled, prepared.weights_scale)
    bias = np.float32(0) if prepared.bias is None else prepared.bias
    with np.errstate(all="ignore"):
        return {**steps, "output": clamp_value_first(product + bias, prepared.layer.activation)}


def _fused(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, npt.NDArray]:
    """LiteRT's formula with a fused multiply-add."""
    steps = finish_unfused(prepared, rows, dot, any_input)
    scale = multiply32(prepared.weights_scale, rows.scale[:, None])
    bias = np.float32(0) if prepared.bias is None else prepared.bias
    output = fma32(convert_int32(steps["acc"].astype(np.int64)), scale, bias)
    return {**steps, "output": clamp_value_first(output, prepared.layer.activation)}


def _always(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, npt.NDArray]:
    """LiteRT's formula without the short cut for an input of nothing but zeros."""
    return finish_unfused(prepared, rows, dot, True)


def _unspilt(weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Nibbles as they were meant: -8 becomes -1."""
    return weights.astype(np.int64) + 7


def _rival_rules(int4: bool, one_scale: bool) -> Iterator[HybridRule]:
    qd8, own, nibbles = (HYBRID_RULES[f"hybrid-{name}"] for name in ("qd8-fma", "int8-unfused", "int4-nibbles"))
    portable = HYBRID_RULES["hybrid-int8-portable"]
    yield qd8
    yield HYBRID_RULES["hybrid-qd8-scale_inverted-fma-bound_first"]
    yield HYBRID_RULES["hybrid-qd8-nan_takes_low-fma-bound_first"]
    if not int4:  # for int4 they are one
        yield HYBRID_RULES["hybrid-qd8-fma-bound_first"]
    yield own
    for how in ("half_away", "division"):
        rows = rounded(quantize_qd8, how)
        yield replace(qd8, name=f"{qd8.name}/{how}", symmetric=rows, asymmetric=rows)
    yield replace(
        qd8, name=f"{qd8.name}/float64_zero_point", symmetric=_zero_point_in_float64, asymmetric=_zero_point_in_float64
    )
    yield replace(qd8, name=f"{qd8.name}/unfused", finish=_unfused_in_xnnpack)
    yield replace(qd8, name=f"{qd8.name}/no_flush", finish=_no_flush)
    for how in ("half_away", "half_even", "nudged"):
        yield replace(
            own,
            name=f"{own.name}/{how}",
            symmetric=rounded(quantize_symmetric, how),
            asymmetric=rounded(quantize_asymmetric, how),
        )
    yield replace(own, name=f"{own.name}/scale_by_scale", finish=_scale_by_scale)
    yield replace(own, name=f"{own.name}/fused", finish=_fused)
    yield replace(own, name=f"{own.name}/no_short_cut", finish=_always)
    yield replace(own, name=f"{own.name}/without_faults", sse=False)
    yield HYBRID_RULES["hybrid-int8-tail_32-unfused"]
    yield portable
    if not one_scale:
        yield HYBRID_RULES[f"{own.name}/channel_scales_lost"]
        yield HYBRID_RULES[f"{portable.name}/channel_scales_lost"]
    if int4:
        yield nibbles
        yield HYBRID_RULES[f"{nibbles.name}-portable"]
        if not one_scale:
            yield HYBRID_RULES[f"{nibbles.name}/channel_scales_lost"]
            yield HYBRID_RULES[f"{nibbles.name}-portable/channel_scales_lost"]
        yield replace(nibbles, name=f"{nibbles.name}/without_spill", packing=_unspilt)
        yield replace(
            nibbles,
            name=f"{nibbles.name}/one_formula",
            symmetric=quantize_for_nibbles,
            asymmetric=quantize_for_nibbles,
            packing=None,
        )


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule that could be thought to be a hybrid layer's, prepared for it."""
    weights = model.operand(op, 1)
    assert weights is not None
    one_scale = weights.quant is None or weights.quant.scale.size == 1
    return {
        rule.name: hybrid_by_rule(model, op, rule) for rule in _rival_rules(weights.dtype.name == "int4", one_scale)
    }
