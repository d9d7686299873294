"""Hybrid dense layers: float32 in and out, int8 or int4 weights; every row of the input is quantized at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import wrap32
from ..arith.int4_nibbles import BLOCK, NIBBLE_ZERO_POINT
from ..arith.matmul import ExactWeights, pack_weights
from ..arith.neon import NeonLoop
from ..arith.sse_sums import sums_in_16_bits, wrong_signs
from ..errors import InputError
from ..model import Model, Operator
from ..types import Array
from .dense_layer import PreparedLayer, check_types, dense_layer
from .hybrid_notes import hybrid_notes
from .hybrid_rules import HYBRID_RULES, NIBBLE_FINISHES, NIBBLE_QUANTIZERS, Finish, HybridRule, Quantizer

__all__ = ["PreparedHybrid", "hybrid_by_rule", "prepare_dense_hybrid"]

# (input, weights, output)
TYPES = (("float32", "int8", "float32"), ("float32", "int4", "float32"))

# The 4-bit kernel is chosen for at least this many units.
_NIBBLE_UNITS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedHybrid(PreparedLayer):
    """A hybrid dense layer with its constants folded for one runtime.

    Attributes:
        arithmetic: the rule.
        asymmetric: whether rows are quantized with a zero point.
        nibbles: whether the 4-bit kernel does it.
        weights_used: int64 `[out, depth]`: the weights that the kernel multiplies with.
        weights_sum: int64 `[out]`: sums of the stored weights, for the zero point's part, as the kernel gets them.
        weights_scale: float32 `[1]` or `[out]`.
        bias: float32 `[out]`, or None.
        rows_at_once: how many rows one call of the kernel has; None: as many as the input.
    """

    arithmetic: HybridRule
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
        if self.arithmetic.loop is None:
            return self
        one = replace(self, rows_at_once=1, evaluate=lambda values: steps(values[0]))
        steps = _evaluator(one)
        return one

    @property
    def wrong_signs(self) -> npt.NDArray[np.bool_]:
        """Where the kernel multiplies a negative quantized input with the wrong sign: `[out, depth]`."""
        if not self.arithmetic.sse or self.nibbles:
            return np.zeros(self.layer.weights_values.shape, np.bool_)
        return wrong_signs(self.layer.weights_values)

    @property
    def quantizer(self) -> Quantizer:
        """How rows are quantized."""
        used = self.arithmetic.asymmetric if self.asymmetric else self.arithmetic.symmetric
        return NIBBLE_QUANTIZERS.get(used, used) if self.nibbles else used

    @property
    def finish(self) -> Finish:
        """From the dot products to the output."""
        used = self.arithmetic.finish
        return NIBBLE_FINISHES.get(used, used) if self.nibbles else used

    @cached_property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Where two weights of -128 share a 16-bit sum in the loop that takes one row: `[out, depth]`, the first."""
        weights = self.layer.weights_values
        in_16_bits = self.arithmetic.loop is not None and not self.nibbles
        return self.arithmetic.pairs(weights) if in_16_bits else np.zeros(weights.shape, np.bool_)

    def loop(self, rows: int) -> NeonLoop | None:
        """The kernel's loop for an input of this many rows, where it has several."""
        choose, layer = self.arithmetic.loop, self.layer
        return None if choose is None else choose(self.rows_at_once or rows, layer.units, layer.depth)

    def wrapping_pairs(self, rows: int) -> npt.NDArray[np.bool_]:
        """Those of `pairs` that matter in the kernel's loop for this many rows: `[out, depth]`."""
        return self.pairs if self.loop(rows) is NeonLoop.VECTOR else np.zeros_like(self.pairs)


def prepare_dense_hybrid(model: Model, op: Operator, rule: str) -> PreparedHybrid:
    """Fold a hybrid layer's constants.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators, with float32 input and int8 or int4 weights.
        rule: a key of `HYBRID_RULES`.

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
    tflite/kernels/internal/optimized/sse_tensor_utils.cc @7d88950ea445; for ARM64 see `arith.neon`. Shown on the
    running interpreters.
    """
    return hybrid_by_rule(model, op, HYBRID_RULES[rule])


def hybrid_by_rule(model: Model, op: Operator, rule: HybridRule) -> PreparedHybrid:
    """The same for a rule that need not be in the table: rivals in tests are made of it."""
    layer = dense_layer(model, op)
    check_types(layer, TYPES, ("float32",))
    stored = layer.weights_values.astype(np.int64)
    nibbles = (
        rule.packing is not None
        and layer.weights.dtype.name == "int4"
        and layer.depth % 2 == 0
        and layer.depth >= BLOCK
        and layer.units >= _NIBBLE_UNITS
    )
    used = rule.packing(stored) - NIBBLE_ZERO_POINT if nibbles and rule.packing else stored
    asked = bool(op.options.get("asymmetric_quantize_inputs", False))
    bias = None
    if layer.bias is not None and layer.bias.data is not None:
        bias = layer.bias.data.reshape(-1).astype(np.float32)
    scale = layer.weights_scale
    if rule.loses_scales and not nibbles and scale.size > 1:
        # The tensor's field for one scale and one zero point, which has zeros where there are more.
        scale = np.zeros_like(scale)
    if rule.ignores_scales and not nibbles and not asked and scale.size > 1:
        scale = np.ones_like(scale)
    prepared = PreparedHybrid(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=lambda values: steps(values[0]),
        notes=hybrid_notes(layer, rule, nibbles, used, asked),
        layer=layer,
        arithmetic=rule,
        asymmetric=not nibbles and (asked or rule.symmetric is rule.asymmetric),
        nibbles=nibbles,
        weights_used=used,
        weights_sum=sums_in_16_bits(stored) if rule.sse else stored.sum(axis=1),
        weights_scale=scale,
        bias=bias,
    )
    steps = _evaluator(prepared)
    return prepared


def _evaluator(prepared: PreparedHybrid) -> Callable[[Array], dict[str, Array]]:
    layer = prepared.layer
    offset = NIBBLE_ZERO_POINT if prepared.nibbles else 0
    packed = pack_weights(prepared.weights_used + offset, largest_input=128)
    fault = None
    if prepared.wrong_signs.any():
        # -|q| * -128 comes out as |q| * -128: what is too much is 2 * 128 * q.
        fault = pack_weights(256 * prepared.wrong_signs.astype(np.int64), largest_input=128)
    lossy = bool(prepared.pairs.any())
    quantize, finish = prepared.quantizer, prepared.finish

    def steps(x: Array) -> dict[str, Array]:
        rows = layer.rows(np.asarray(x, np.float32))
        if np.isnan(rows).any():
            row, column = (int(i) for i in np.argwhere(np.isnan(rows))[0])
            raise InputError(
                f"{layer.operator.label}: found NaN in row {row}, column {column} of the input. What a hybrid layer "
                "makes of it depends on the order of comparisons in the kernel's vector code, so LastBit does not "
                "state it; wanted numbers (infinities are covered)."
            )
        quantized = quantize(rows)
        dot = _dot(packed, fault, quantized.quantized)
        dot = wrap32(dot - _lost(prepared, quantized.quantized) if lossy else dot)
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
        found |= finish(prepared, quantized, dot, bool(rows.any()))
        found["output"] = found["output"].reshape(layer.output_shape(x.shape))
        return found

    return steps


def _dot(packed: ExactWeights, fault: ExactWeights | None, q: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of products, `[rows, out]`, with the wrong sign where the kernel has it."""
    dot = packed.dot(q)
    return dot if fault is None else dot + fault.dot(np.minimum(q, 0))


def _lost(prepared: PreparedHybrid, q: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What sums in 16 bits lose where they wrap: `[rows, out]`."""
    pairs = prepared.wrapping_pairs(len(q))
    lowest = q == -128
    # A pair is 8 columns apart; the last columns are never the first of one.
    both = lowest & np.roll(lowest, -8, axis=1)
    lost: npt.NDArray[np.int64] = both.astype(np.int64) @ pairs.T.astype(np.int64) << 16
    return lost
