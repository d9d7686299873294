"""Rival rules of hybrid dense layers: each changes one thing of a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lastbit.arith.floats import convert_int32, fma32, multiply32, round_away32
from lastbit.model.graph import Model, Operator
from lastbit.model.types import Float32Array
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.hybrid import PreparedHybrid, Quantizer, Steps, finish_by_rule, prepare_dense_hybrid
from lastbit.rules.hybrid.finish import clamp
from lastbit.rules.hybrid.forms import HybridRule, Nibbles, Rows
from lastbit.rules.hybrid.rows import quantize_rows
from lastbit.rules.hybrid.rows_x86 import QuantizedRows
from lastbit.rules.hybrid.table import FOR_NIBBLES, HYBRID_RULES, SSE_ASYMMETRIC

# A rule, and the readers that a rival has instead of its own.
Rival = tuple[HybridRule, dict[str, Callable[..., object]]]


def rounded(how: str) -> Quantizer:
    """A rule's quantization with every value rounded in one way, whatever its place in the row."""

    def rival(right: Rows, x: Float32Array) -> QuantizedRows:
        rows = quantize_rows(right, x)
        with np.errstate(all="ignore"):
            scaled = x / rows.scale[:, None] if how == "division" else rows.scaled
            whole = np.rint(scaled) if how in ("half_even", "division") else round_away32(scaled)
            if how == "nudged":
                whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
        steps = np.where(np.isfinite(whole), whole, 0) + rows.zero_point[:, None]
        return replace(rows, quantized=np.clip(steps, -127 if right.symmetric else -128, 127).astype(np.int64))

    return rival


def _zero_point_in_float64(right: Rows, x: Float32Array) -> QuantizedRows:
    """LiteRT's zero point with XNNPACK's rounding."""
    rows, other = quantize_rows(right, x), quantize_rows(SSE_ASYMMETRIC, x)
    steps = np.nan_to_num(np.rint(rows.scaled)) + other.zero_point[:, None]
    return replace(rows, zero_point=other.zero_point, quantized=np.clip(steps, -128, 127).astype(np.int64))


def _scale_by_scale(
    prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> Steps:
    """LiteRT's formula with the accumulator multiplied by one scale after the other."""
    steps = finish_by_rule(prepared, rows, dot, any_input)
    scaled = multiply32(convert_int32(steps["acc"].astype(np.int64)), rows.scale[:, None])
    product = multiply32(scaled, prepared.weights_scale)
    bias = np.float32(0) if prepared.bias is None else prepared.bias
    with np.errstate(all="ignore"):
        return {**steps, "output": clamp("value_first", product + bias, prepared.layer.activation)}


def _fused(prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool) -> Steps:
    """LiteRT's formula with a fused multiply-add."""
    steps = finish_by_rule(prepared, rows, dot, any_input)
    scale = multiply32(prepared.weights_scale, rows.scale[:, None])
    bias = np.float32(0) if prepared.bias is None else prepared.bias
    output = fma32(convert_int32(steps["acc"].astype(np.int64)), scale, bias)
    return {**steps, "output": clamp("value_first", output, prepared.layer.activation)}


def _unspilt(_: Nibbles, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Nibbles as they were meant: -8 becomes -1."""
    return weights.astype(np.int64) + 7


def changed(rule: HybridRule, name: str, **fields: object) -> Rival:
    """A rule with other fields."""
    return replace(rule, name=f"{rule.name}/{name}", **fields), {}  # type: ignore[arg-type]


def read(rule: HybridRule, name: str, **readers: Callable[..., object]) -> Rival:
    """A rule with other readers: what no field says."""
    return replace(rule, name=f"{rule.name}/{name}"), readers


def _rival_rules(int4: bool, one_scale: bool) -> Iterator[Rival]:
    qd8, own, nibbles = (HYBRID_RULES[f"hybrid-{name}"] for name in ("qd8-fma", "int8-unfused", "int4-nibbles"))
    portable = HYBRID_RULES["hybrid-int8-portable"]
    yield qd8, {}
    yield HYBRID_RULES["hybrid-qd8-scale_inverted-fma-bound_first"], {}
    yield HYBRID_RULES["hybrid-qd8-nan_takes_low-fma-bound_first"], {}
    if not int4:  # for int4 they are one
        yield HYBRID_RULES["hybrid-qd8-fma-bound_first"], {}
    yield own, {}
    for how in ("half_away", "division"):
        yield read(qd8, how, quantize=rounded(how))
    yield read(qd8, "float64_zero_point", quantize=_zero_point_in_float64)
    yield changed(qd8, "unfused", finish=replace(qd8.finish, fused=False, int4_clamp="value_first"))
    yield changed(qd8, "no_flush", finish=replace(qd8.finish, flush="none", int4_clamp="value_first"))
    for how in ("half_away", "half_even", "nudged"):
        yield read(own, how, quantize=rounded(how))
    yield read(own, "scale_by_scale", finish=_scale_by_scale)
    yield read(own, "fused", finish=_fused)
    yield changed(own, "no_short_cut", finish=replace(own.finish, zeros="multiplied"))
    yield changed(own, "without_faults", sse_sums="none")
    yield HYBRID_RULES["hybrid-int8-tail_32-unfused"], {}
    yield portable, {}
    if not one_scale:
        yield HYBRID_RULES[f"{own.name}/channel_scales_lost"], {}
        yield HYBRID_RULES[f"{portable.name}/channel_scales_lost"], {}
    if int4:
        yield nibbles, {}
        yield HYBRID_RULES[f"{nibbles.name}-portable"], {}
        if not one_scale:
            yield HYBRID_RULES[f"{nibbles.name}/channel_scales_lost"], {}
            yield HYBRID_RULES[f"{nibbles.name}-portable/channel_scales_lost"], {}
        yield read(nibbles, "without_spill", packing=_unspilt)
        yield changed(nibbles, "one_formula", symmetric=FOR_NIBBLES, asymmetric=FOR_NIBBLES, nibbles=None)


def prepared_for(model: Model, op: Operator, found: Iterator[Rival]) -> dict[str, PreparedOperator]:
    """Rivals by their names, prepared for a layer."""
    return {rule.name: prepare_dense_hybrid(model, op, rule, **readers) for rule, readers in found}  # type: ignore[arg-type]


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule that could be thought to be a hybrid layer's, prepared for it."""
    weights = model.operand(op, 1)
    assert weights is not None
    one_scale = weights.quant is None or weights.quant.scale.size == 1
    return prepared_for(model, op, _rival_rules(weights.dtype.name == "int4", one_scale))
