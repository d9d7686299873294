"""Hybrid dense layers: float32 in and out, int8 or int4 weights; every row of the input is quantized at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...arith.matmul import ExactWeights, pack_weights
from ...model.errors import InputError
from ...model.graph import Model, Operator
from ...model.types import Array, IntArray
from ...rules.hybrid.finish import LayerConstants, finish_nibbles, finish_units
from ...rules.hybrid.forms import HybridRule, Nibbles, Rows
from ...rules.hybrid.int4_nibbles import BLOCK, NIBBLE_ZERO_POINT, packed_nibbles
from ...rules.hybrid.neon import NeonLoop
from ...rules.hybrid.rows import quantize_rows
from ...rules.hybrid.rows_x86 import QuantizedRows
from ...rules.hybrid.sse_sums import faulty_signs, sums_of_weights
from ...rules.hybrid.sums import choose_loop, lost_to_overflow, overflowing_pairs
from .hybrid_notes import hybrid_notes
from .layer import PreparedLayer, check_types, dense_layer

__all__ = ["Finisher", "PreparedHybrid", "Quantizer", "Steps", "finish_by_rule", "prepare_dense_hybrid"]

Steps = dict[str, Array]
Quantizer = Callable[[Rows, npt.NDArray[np.float32]], QuantizedRows]
# (layer, quantized rows, dot products, whether any input is not 0) -> the steps from `acc` to `output`, `[rows, out]`.
Finisher = Callable[["PreparedHybrid", QuantizedRows, npt.NDArray[np.int64], bool], Steps]
Packing = Callable[[Nibbles, IntArray], npt.NDArray[np.int64]]

# (input, weights, output)
TYPES = (("float32", "int8", "float32"), ("float32", "int4", "float32"))

# The 4-bit kernel is chosen for at least this many units.
_NIBBLE_UNITS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedHybrid(PreparedLayer):
    """A hybrid dense layer with its constants folded for one runtime.

    Attributes:
        arithmetic: the rule.
        quantize: what reads the rule's `Rows`.
        finish: what reads its `Finish` and `Nibbles`.
        asymmetric: whether rows are quantized with a zero point.
        nibbles: whether the 4-bit kernel does it.
        weights_used: int64 `[out, depth]`: the weights that the kernel multiplies with.
        weights_sum: int64 `[out]`: sums of the stored weights, for the zero point's part, as the kernel gets them.
        weights_scale: float32 `[1]` or `[out]`.
        bias: float32 `[out]`, or None.
        rows_at_once: how many rows one call of the kernel has; None: as many as the input.
    """

    arithmetic: HybridRule
    quantize: Quantizer
    finish: Finisher
    asymmetric: bool
    nibbles: bool
    weights_used: npt.NDArray[np.int64]
    weights_sum: npt.NDArray[np.int64]
    weights_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None
    rows_at_once: int | None = None

    @property
    def alone(self) -> PreparedHybrid:
        """The layer where every row is an input of its own; some kernels calculate several rows in another way."""
        if self.arithmetic.loops == "none":
            return self
        one = replace(self, rows_at_once=1, evaluate=lambda values: steps(values[0]))
        steps = _evaluator(one)
        return one

    @property
    def quantized_together(self) -> str:
        """What has one scale, in a word."""
        return "row"

    @property
    def wrong_signs(self) -> npt.NDArray[np.bool_]:
        """Where the kernel multiplies a negative quantized input with the wrong sign: `[out, depth]`."""
        return faulty_signs("none" if self.nibbles else self.arithmetic.sse_sums, self.layer.weights_values)

    @property
    def rows(self) -> Rows:
        """How rows are quantized."""
        if self.nibbles and self.arithmetic.nibbles is not None:
            return self.arithmetic.nibbles.rows
        return self.arithmetic.asymmetric if self.asymmetric else self.arithmetic.symmetric

    @property
    def int4(self) -> bool:
        """Whether the weights are int4."""
        return self.layer.weights.dtype.name == "int4"

    @cached_property
    def constants(self) -> LayerConstants:
        """What finishing needs."""
        return LayerConstants(self.int4, self.layer.activation, self.weights_sum, self.weights_scale, self.bias)

    @cached_property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Where two weights of -128 share a 16-bit sum in the loop that takes one row: `[out, depth]`, the first."""
        weights, pairs = self.layer.weights_values, self.arithmetic.pairs
        if pairs is None or self.nibbles:
            return np.zeros(weights.shape, np.bool_)
        return overflowing_pairs(pairs, weights)

    def loop(self, rows: int) -> NeonLoop | None:
        """The kernel's loop for an input of this many rows, where it has several."""
        return choose_loop(self.arithmetic.loops, self.rows_at_once or rows, self.layer.units, self.layer.depth)

    def wrapping_pairs(self, rows: int) -> npt.NDArray[np.bool_]:
        """Those of `pairs` that matter in the kernel's loop for this many rows: `[out, depth]`."""
        return self.pairs if self.loop(rows) is NeonLoop.VECTOR else np.zeros_like(self.pairs)


def finish_by_rule(prepared: PreparedHybrid, rows: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool) -> Steps:
    """The steps that the layer's rule has from the sums of products on; see `finish_units`."""
    rule, layer = prepared.arithmetic, prepared.constants
    if prepared.nibbles and rule.nibbles is not None:
        return finish_nibbles(rule.nibbles, layer, rows, dot, one_row=(prepared.rows_at_once or len(dot)) == 1)
    four_rows = prepared.loop(len(dot)) is NeonLoop.FOUR_ROWS
    return finish_units(rule, layer, rows, dot, any_input=any_input, four_rows=four_rows)


def _packed(nibbles: Nibbles, weights: IntArray) -> npt.NDArray[np.int64]:
    return packed_nibbles(weights, nibbles.full, nibbles.last)


def prepare_dense_hybrid(
    model: Model,
    op: Operator,
    rule: HybridRule,
    *,
    quantize: Quantizer = quantize_rows,
    finish: Finisher = finish_by_rule,
    packing: Packing = _packed,
) -> PreparedHybrid:
    """Fold a hybrid layer's constants.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators, with float32 input and int8 or int4 weights.
        rule: the rule, which needs no line in a table.
        quantize: what reads its `Rows`. A rival that no rule describes has another one, here and in the next two.
        finish: what reads its `Finish` and `Nibbles`.
        packing: what packs int4 weights for the 4-bit kernel.

    Returns:
        The prepared operator. Its steps: `range_low`, `range_high`, `input_scale`, `input_zero_point`, `input_inverse`
        `[rows]`; `scaled_input`, `quantized_input` `[rows, depth]`; `dot` (the kernel's sum of products), `acc` (less
        the zero point's part), `scaled` (but where one fused multiply-add follows), `with_bias` `[rows, out]`;
        `output`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    `evaluate` raises InputError for NaN in the input.

    Source: google/XNNPACK src/qs8-gemm/MRx16c8-avx512vnni.c.in @028aae4f5fcf; google-ai-edge/LiteRT
    tflite/kernels/fully_connected.cc @02f540346b50 (EvalHybridDense, EvalHybridDense4Bit) and
    tflite/kernels/internal/optimized/sse_tensor_utils.cc @7d88950ea445; for ARM64 see `rules.hybrid.neon`. Shown on the
    running interpreters.
    """
    layer = dense_layer(model, op)
    check_types(layer, TYPES, ("float32",))
    stored = layer.weights_values.astype(np.int64)
    whole_blocks = layer.depth % 2 == 0 and layer.depth >= BLOCK and layer.units >= _NIBBLE_UNITS
    nibbles = rule.nibbles if layer.weights.dtype.name == "int4" and whole_blocks else None
    used = stored if nibbles is None else packing(nibbles, stored) - NIBBLE_ZERO_POINT
    asked = bool(op.options.get("asymmetric_quantize_inputs", False))
    bias = None
    if layer.bias is not None and layer.bias.data is not None:
        bias = layer.bias.data.reshape(-1).astype(np.float32)
    prepared = PreparedHybrid(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=lambda values: steps(values[0]),
        notes=hybrid_notes(layer, rule, nibbles, used, asked),
        layer=layer,
        arithmetic=rule,
        quantize=quantize,
        finish=finish,
        asymmetric=nibbles is None and (asked or rule.always_asymmetric),
        nibbles=nibbles is not None,
        weights_used=used,
        weights_sum=sums_of_weights(rule.sse_sums, stored),
        weights_scale=layer.weights_scale if nibbles is not None else _taken_scale(rule, layer.weights_scale, asked),
        bias=bias,
    )
    steps = _evaluator(prepared)
    return prepared


def _taken_scale(rule: HybridRule, scale: npt.NDArray[np.float32], asked: bool) -> npt.NDArray[np.float32]:
    """What the kernel takes for the weights' scales."""
    if scale.size == 1:
        return scale
    match rule.weights_scale:
        case "own":
            return scale
        case "zero":
            # The tensor's field for one scale and one zero point, which has zeros where there are more.
            return np.zeros_like(scale)
        case "one":
            return scale if asked else np.ones_like(scale)
        case never:
            assert_never(never)


def _evaluator(prepared: PreparedHybrid) -> Callable[[Array], dict[str, Array]]:
    layer = prepared.layer
    offset = NIBBLE_ZERO_POINT if prepared.nibbles else 0
    packed = pack_weights(prepared.weights_used + offset, largest_input=128)
    fault = None
    if prepared.wrong_signs.any():
        # -|q| * -128 comes out as |q| * -128: what is too much is 2 * 128 * q.
        fault = pack_weights(256 * prepared.wrong_signs.astype(np.int64), largest_input=128)
    lossy = bool(prepared.pairs.any())

    def steps(x: Array) -> dict[str, Array]:
        rows = layer.rows(np.asarray(x, np.float32))
        if np.isnan(rows).any():
            row, column = (int(i) for i in np.argwhere(np.isnan(rows))[0])
            raise InputError(
                f"{layer.operator.label}: found NaN in row {row}, column {column} of the input. What a hybrid layer "
                "makes of it depends on the order of comparisons in the kernel's vector code, so LastBit does not "
                "state it; wanted numbers (infinities are covered)."
            )
        quantized = prepared.quantize(prepared.rows, rows)
        dot = _dot(packed, fault, quantized.quantized)
        dot = low_bits(dot - _lost(prepared, quantized.quantized) if lossy else dot, 32)
        found: dict[str, Array] = {
            "range_low": quantized.low,
            "range_high": quantized.high,
            "input_scale": quantized.scale,
            "input_zero_point": quantized.zero_point.astype(np.int32),
            "input_inverse": quantized.inverse,
            "scaled_input": quantized.scaled,
            "quantized_input": quantized.quantized.astype(np.int8),
            "dot": dot.astype(np.int32),
        }
        found |= prepared.finish(prepared, quantized, dot, bool(rows.any()))
        found["output"] = found["output"].reshape(layer.output_shape(x.shape))
        return found

    return steps


def _dot(packed: ExactWeights, fault: ExactWeights | None, q: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of products, `[rows, out]`, with the wrong sign where the kernel has it."""
    dot = packed.dot(q)
    return dot if fault is None else dot + fault.dot(np.minimum(q, 0))


def _lost(prepared: PreparedHybrid, q: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | int:
    """What sums in 16 bits lose where they overflow: `[rows, out]`."""
    pairs = prepared.arithmetic.pairs
    return 0 if pairs is None else lost_to_overflow(pairs, prepared.wrapping_pairs(len(q)), q)
