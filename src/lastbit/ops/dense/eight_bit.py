"""Dense layers with 8-bit input and a 32-bit accumulator: acc = sum_k (x - zx)(w - zw) + bias, then requantize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...arith.matmul import ExactWeights, pack_weights
from ...model.graph import Model, Operator
from ...model.types import Array, IntArray, integer_type
from ...rules.base import WHOLE, IntegerRule, Pairs, Whole
from ...rules.requantize.fold import RequantParams, with_float_bias
from ...rules.requantize.table import COMMON
from ...rules.requantize.vector import outputs_of, requantize
from ...rules.requantize.words import equation
from ...rules.sums.pairs16 import OverflowingPairs, kernel_shifts, overflowing_pairs
from ...rules.sums.words import pairs_words
from .layer import DenseLayer, PreparedLayer, check_types, dense_layer

__all__ = ["PreparedDense", "prepare_dense_8bit"]

# (input, weights, output)
TYPES = (
    ("int8", "int8", "int8"),
    ("uint8", "uint8", "uint8"),
    ("int8", "int4", "int8"),
    ("uint8", "int8", "uint8"),  # of ONNX Runtime and PyTorch; LiteRT has no such kernel
)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDense(PreparedLayer):
    """A dense layer with an integer accumulator that is requantized, with its constants folded for one runtime.

    Attributes:
        folded_bias: int64 `[out]`: bias - zx * sum(weights) + depth * zx * zw, the part of acc that no input changes.
        requant: the requantization's folded constants.
        acc_bits: bits of the accumulator; it wraps.
        pairs: where the kernel adds two products in 16 bits, those whose sum can leave them. None where none can: then
            the accumulator is the sum of the products, as everywhere else.
        choice: the name of the choice of two rules of which `rule` is one, else empty.
    """

    folded_bias: npt.NDArray[np.int64]
    requant: RequantParams
    acc_bits: int = 32
    pairs: OverflowingPairs | None = None
    choice: str = ""

    @property
    def equation(self) -> str:
        """The rule in one line; that products are added in pairs is told where it matters to this layer."""
        rule = self.requant.rule
        return equation(replace(rule, sums=replace(rule.sums, products=self.products)))

    @property
    def products(self) -> Whole | Pairs:
        """How products are added as far as it matters to this layer: whole too where every pair's sum fits."""
        return WHOLE if self.pairs is None else self.requant.rule.sums.products

    @property
    def rivals(self) -> Mapping[str, IntegerRule]:
        """Every requantization rule that could be thought to be this layer's."""
        return COMMON

    @property
    def parts(self) -> tuple[tuple[slice, PreparedDense], ...]:
        """The units by the rule that they follow, each with the layer as if all units followed it; mostly one part."""
        return ((slice(None), self),)

    def for_unit(self, unit: int) -> PreparedDense:
        """The layer with the rule that a unit follows."""
        return next(part for units, part in self.parts if unit in range(self.layer.units)[units])

    def following(self, params: RequantParams, acc_bits: int) -> PreparedDense:
        """The same layer, with all its units requantized by other constants."""
        return replace(self, requant=params, acc_bits=acc_bits)

    def requantized(self, acc: IntArray) -> dict[str, Array]:
        """Every step of the requantization of accumulators `[..., out]`, each unit's in its own rule."""
        if len(self.parts) == 1:
            return requantize(acc, self.requant)
        done = [(units, requantize(acc, part.requant)) for units, part in self.parts]
        return {name: np.concatenate([steps[name][..., at] for at, steps in done], -1) for name in done[0][1]}

    def outputs_of(self, acc: IntArray) -> Array:
        """The outputs of accumulators `[n, out]`, each unit's in its own rule."""
        if len(self.parts) == 1:
            return outputs_of(acc, self.requant)
        return np.concatenate([outputs_of(acc, part.requant)[..., units] for units, part in self.parts], -1)


def prepare_dense_8bit(model: Model, op: Operator, rule: IntegerRule) -> PreparedDense:
    """Fold a dense layer's constants for one rule.

    Covered are int8 x int8 -> int8, int8 x int4 -> int8 and uint8 x int8 -> uint8, per-tensor and per-channel, and
    uint8 x uint8 -> uint8; bias int32 or none.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators.
        rule: the rule; of its sums the bits and the products are read here.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    Source: for 28 bits google/XNNPACK, src/qs8-qc4w-gemm/gen/qs8-qc4w-gemm-1x16c8-minmax-fp32-avx512vnnigfni.c,
    commit e1c0479a: weights in the upper nibbles, the sum shifted right by 4 before it is converted to float32. Shown
    on the running interpreter with biases around 2^27. For pairs pytorch/FBGEMM,
    src/GenerateKernelU8S8S32ACC32.cc, commit 0055968f; microsoft/onnxruntime,
    onnxruntime/core/mlas/lib/x86_64/QgemmU8X8KernelAvx2.S, commit 04c3d924; pairs and their order shown on the running
    libraries.
    """
    layer = dense_layer(model, op)
    check_types(layer, TYPES, ("int32",))
    acc_bits = rule.sums.bits
    params = layer.requantization(rule)
    params = with_float_bias(params, layer.bias_values, layer.input_scale, layer.weights_scale)
    folded = layer.folded_bias
    dtype = integer_type(layer.input.dtype)
    packed = pack_weights(layer.weights_values, largest_input=max(-dtype.qmin, dtype.qmax))
    pairs = _pairs_of(layer, rule)

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return _trace(layer, packed, folded, params, acc_bits, pairs, values[0])

    return PreparedDense(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=evaluate,
        layer=layer,
        folded_bias=folded,
        requant=params,
        acc_bits=acc_bits,
        pairs=pairs,
    )


def _pairs_of(layer: DenseLayer, rule: IntegerRule) -> OverflowingPairs | None:
    """The layer's pairs as a kernel for uint8 inputs and int8 weights meets them, where it has pairs."""
    match rule.sums.products:
        case Whole():
            return None
        case Pairs(partner, overflow, last_group):
            shifts = kernel_shifts(layer.input.dtype.name, layer.weights.dtype.name)
            fill = last_group == "paired"
            return overflowing_pairs(layer.weights_values, *shifts, partner=partner, overflow=overflow, fill=fill)
        case never:
            assert_never(never)


def _trace(
    layer: DenseLayer,
    packed: ExactWeights,
    folded: npt.NDArray[np.int64],
    params: RequantParams,
    acc_bits: int,
    pairs: OverflowingPairs | None,
    x: Array,
) -> dict[str, Array]:
    """Every step of the layer for one input; steps are `[rows, out]`, the output has the tensor's own shape."""
    rows = layer.rows(x)
    dot = packed.dot(rows)
    total = dot + folded
    if layer.weights_zero_point:
        total = total - layer.weights_zero_point * rows.astype(np.int64).sum(axis=1, keepdims=True)
    steps: dict[str, Array] = {"dot": dot}
    products = params.rule.sums.products
    if pairs is not None and isinstance(products, Pairs):
        words, (lost, count) = pairs_words(products), pairs.lost(rows)
        steps |= {words.lost_step: lost, words.count_step: count}
        total = total + lost
    acc = low_bits(total, acc_bits)
    steps |= {"acc": acc if acc_bits == 64 else acc.astype(np.int32), **requantize(acc, params)}
    steps["output"] = steps["output"].reshape(layer.output_shape(x.shape))
    return steps
