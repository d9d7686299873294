"""Dense layers with float32 activations: hybrid where the weights are integers, plain float32 where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from ..types import Array
from .dense_hybrid import prepare_dense_hybrid
from .dense_layer import PreparedLayer, check_types, dense_layer
from .hybrid_rules import HYBRID_RULES

__all__ = ["FLOAT_RULES", "RULES", "FloatRule", "PreparedFloat", "float_by_rule", "prepare_dense_float32"]

Float32Array = npt.NDArray[np.float32]
# (rows [rows, depth], weights [out, depth], bias [out] or None) -> the sums with the bias, [rows, out].
Product = Callable[[Float32Array, Float32Array, Float32Array | None], Float32Array]


@dataclass(frozen=True)
class FloatRule:
    """One way of calculating a float32 layer: an order of operations.

    Attributes:
        name: the key in `FLOAT_RULES`.
        product: the sums with the bias.
        finite: whether the clamp's ends are the largest float32 where the activation has none, not infinities.
        equation: the rule in one line of text.
        clamp: from the sums and the activation's name to the output.
        narrow: the rule for layers of fewer than 16 units, if it is another.
    """

    name: str
    product: Product
    finite: bool
    equation: str
    clamp: Callable[[Float32Array, str], Float32Array] = clamp_value_first
    narrow: FloatRule | None = None


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


# Fewer units than the matrix product's kernel has columns: XNNPACK took one of two columns for them.
_NARROW_UNITS = 16

FLOAT_RULES: dict[str, FloatRule] = {
    rule.name: rule
    for rule in (
        FloatRule(
            "float32-fma-bias_first",
            _fma_from_bias,
            False,
            "t = bias;  t = fma(x_k, w_k, t) for k = 0, 1, ...;  y = clamp(t); subnormals are read and written as zero",
        ),
        FloatRule(
            "float32-in_order-fma_tail-bias_last",
            _fused_tail,
            True,
            "t = 0;  t = t + x_k * w_k for k = 0, 1, ..., each product and sum rounded, but for the last depth % 8: "
            "t = fma(x_k, w_k, t);  y = clamp(t + bias)",
        ),
        FloatRule(
            "float32-in_order-bias_last",
            _bias_last,
            True,
            "t = 0;  t = t + x_k * w_k for k = 0, 1, ..., each product and sum rounded;  y = clamp(t + bias)",
        ),
    )
}
FLOAT_RULES["float32-fma-or-four_lanes"] = replace(
    FLOAT_RULES["float32-fma-bias_first"],
    name="float32-fma-or-four_lanes",
    equation="16 units or more: as float32-fma-bias_first;  fewer: four sums side by side, sum i = x_k * w_k for "
    "k = i, i + 4, ..., each product and sum rounded, sum 0 begins at the bias;  y = clamp((sum 0 + sum 2) + (sum 1 + "
    "sum 3)), NaN becomes the upper bound; subnormals are read and written as zero",
    narrow=FloatRule("float32-four_lanes-bias_first", _four_lanes, False, "four sums side by side", clamp_high_first),
)
FLOAT_RULES["float32-fma-bias_first-bound_first"] = replace(
    FLOAT_RULES["float32-fma-bias_first"],
    name="float32-fma-bias_first-bound_first",
    equation=f"{FLOAT_RULES['float32-fma-bias_first'].equation};  NaN becomes the lower clamp bound",
    clamp=partial(clamp_bound_first, always=True),
)

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

    arithmetic: FloatRule
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
    return float_by_rule(model, op, FLOAT_RULES[rule])


def float_by_rule(model: Model, op: Operator, rule: FloatRule) -> PreparedFloat:
    """The same for a rule that need not be in the table: rivals in tests are made of it."""
    layer = dense_layer(model, op)
    check_types(layer, (("float32", "float32", "float32"),), ("float32",))
    assert layer.weights.data is not None
    weights = np.asarray(layer.weights.data, np.float32)
    chosen = rule.narrow if rule.narrow is not None and layer.units < _NARROW_UNITS else rule
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
