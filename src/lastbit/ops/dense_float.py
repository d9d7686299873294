"""Dense layers with float32 activations: hybrid where the weights are integers, plain float32 where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ..arith.floats import (
    clamp_bound_first,
    clamp_high_first,
    clamp_value_first,
    flush_subnormals,
    fma_in_order,
    sum_in_four_lanes,
    sum_in_order,
)
from ..model import Model, Operator
from ..rules.base import Unsupported
from ..rules.floats import FLOAT_RULES, FloatRule
from ..types import Array
from .dense_hybrid import prepare_dense_hybrid
from .dense_layer import PreparedLayer, check_types, dense_layer
from .hybrid_rules import HYBRID_RULES

__all__ = ["RULES", "Calculation", "PreparedFloat", "calculation_of", "float_by_rule", "prepare_dense_float32"]

Float32Array = npt.NDArray[np.float32]
# (rows [rows, depth], weights [out, depth], bias [out] or None) -> the sums with the bias, [rows, out].
Product = Callable[[Float32Array, Float32Array, Float32Array | None], Float32Array]


@dataclass(frozen=True)
class Calculation:
    """A rule's functions. Rivals in tests have other ones.

    Attributes:
        name: the rule's name.
        product: the sums with the bias.
        finite: whether the clamp's ends are the largest float32 where the activation has none, not infinities.
        clamp: from the sums and the activation's name to the output.
        narrow: those of layers of fewer than `narrow_units` units, where they are other ones.
        narrow_units: see `narrow`.
    """

    name: str
    product: Product
    finite: bool
    clamp: Callable[[Float32Array, str], Float32Array] = clamp_value_first
    narrow: Calculation | None = None
    narrow_units: int = 0


def _fma_from_bias(rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    start = np.zeros(len(weights), np.float32) if bias is None else flush_subnormals(bias)
    return fma_in_order(flush_subnormals(rows), flush_subnormals(weights), start, flush=True)


def _fused_tail(rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    whole = rows.shape[1] - rows.shape[1] % 8
    total = sum_in_order(rows[:, :whole], weights[:, :whole])
    total = fma_in_order(rows[:, whole:], weights[:, whole:], total)
    with np.errstate(all="ignore"):
        return total + (np.float32(0) if bias is None else bias)


def _bias_last(rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    total = sum_in_order(rows, weights)
    with np.errstate(all="ignore"):
        return total + (np.float32(0) if bias is None else bias)


def _four_lanes(rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    return sum_in_four_lanes(rows, weights, np.zeros(len(weights), np.float32) if bias is None else bias)


def _product(rule: FloatRule) -> Product:
    match rule.order, rule.fused:
        case "four_lanes", _:
            return _four_lanes
        case _, "tail":
            return _fused_tail
        case _, "none":
            return _bias_last
        case _, "all" if rule.bias == "first" and rule.flush:
            return _fma_from_bias
    raise Unsupported("float32 layers", "bias", rule.bias)


def _clamp(rule: FloatRule) -> Callable[[Float32Array, str], Float32Array]:
    match rule.clamp:
        case "value_first":
            return clamp_value_first
        case "bound_first":
            return partial(clamp_bound_first, always=True)
        case "high_first":
            return clamp_high_first
        case never:
            assert_never(never)


def calculation_of(rule: FloatRule) -> Calculation:
    """The functions that calculate what a rule says."""
    narrow = None if rule.narrow is None else calculation_of(rule.narrow)
    finite = rule.ends == "finite"
    return Calculation(rule.name, _product(rule), finite, _clamp(rule), narrow, rule.narrow_units)


RULES: dict[str, str] = {
    **{name: rule.equation for name, rule in HYBRID_RULES.items()},
    **{name: rule.equation for name, rule in FLOAT_RULES.items()},
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedFloat(PreparedLayer):
    """A float32 dense layer, for one runtime.

    Attributes:
        arithmetic: the rule.
        weights: float32 `[out, depth]`.
        bias: float32 `[out]`, or None.
    """

    arithmetic: Calculation
    weights: Float32Array
    bias: Float32Array | None


def prepare_dense_float32(model: Model, op: Operator, rule: str) -> PreparedLayer:
    """Fold the constants of a dense layer with float32 input.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: a key of `RULES`.

    Returns:
        A PreparedHybrid for integer weights (see `prepare_dense_hybrid`), a PreparedFloat for float32 ones, whose
        steps are `with_bias` `[rows, out]` and `output`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    Source: google/XNNPACK src/f32-gemm/avx512-broadcast.c.in, src/f32-gemm/MRx2c4-sse.c.in @028aae4f5fcf;
    tensorflow/tensorflow tensorflow/lite/kernels/internal/reference/fully_connected.h, which tensorflow/tflite-micro
    has too; what a compiler made of it for ARM64, from the disassembled wheel. Shown on the running interpreters.
    """
    if rule in HYBRID_RULES:
        return prepare_dense_hybrid(model, op, rule)
    return float_by_rule(model, op, calculation_of(FLOAT_RULES[rule]))


def float_by_rule(model: Model, op: Operator, rule: Calculation) -> PreparedFloat:
    """The same for functions that no rule has: rivals in tests are made of it."""
    layer = dense_layer(model, op)
    check_types(layer, (("float32", "float32", "float32"),), ("float32",))
    assert layer.weights.data is not None
    weights = np.asarray(layer.weights.data, np.float32)
    chosen = rule.narrow if rule.narrow is not None and layer.units < rule.narrow_units else rule
    bias = None
    if layer.bias is not None and layer.bias.data is not None:
        bias = np.asarray(layer.bias.data, np.float32).reshape(-1)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        rows = layer.rows(np.asarray(values[0], np.float32))
        with_bias = chosen.product(rows, weights, bias)
        limited = with_bias
        if chosen.finite:
            # NaN passes both comparisons.
            largest = np.finfo(np.float32).max
            limited = np.where(with_bias < -largest, -largest, np.where(with_bias > largest, largest, with_bias))
        output = chosen.clamp(limited, layer.activation)
        return {"with_bias": with_bias, "output": output.reshape(layer.output_shape(values[0].shape))}

    return PreparedFloat(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        layer=layer,
        arithmetic=rule,
        weights=weights,
        bias=bias,
    )
