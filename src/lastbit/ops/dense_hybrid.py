"""Hybrid dense layers: float32 in and out, int8 or int4 weights; every row of the input is quantized at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..arith.dynamic_range import (
    QuantizedRows,
    quantize_asymmetric,
    quantize_for_nibbles,
    quantize_qd8,
    quantize_qd8_inverted,
    quantize_symmetric,
)
from ..arith.fixedpoint import wrap32
from ..arith.int4_nibbles import BLOCK, NIBBLE_ZERO_POINT, packed_nibbles, packed_nibbles_neon
from ..arith.matmul import ExactWeights, pack_weights
from ..arith.neon import (
    NeonLoop,
    neon_loop,
    pairs_beyond_16_bits,
    quantize_kleidiai,
    quantize_neon_asymmetric,
    quantize_neon_nibbles,
    quantize_neon_symmetric,
)
from ..arith.sse_sums import sums_in_16_bits, wrong_signs
from ..errors import InputError
from ..model import Model, Operator
from ..types import Array, IntArray
from .base import refuse
from .dense_layer import PreparedLayer, check_types, dense_layer
from .hybrid_finish import (
    finish_fma,
    finish_fma_bound_first,
    finish_kleidiai,
    finish_neon,
    finish_neon_nibbles,
    finish_nibbles,
    finish_unfused,
)
from .hybrid_notes import hybrid_notes

__all__ = [
    "HYBRID_RULES",
    "LOST_SCALES",
    "HybridRule",
    "PreparedHybrid",
    "check_hybrid_kernel",
    "hybrid_by_rule",
    "prepare_dense_hybrid",
]

# (input, weights, output)
TYPES = (("float32", "int8", "float32"), ("float32", "int4", "float32"))

# The 4-bit kernel is chosen for at least this many units.
_NIBBLE_UNITS = 4

# At the end of a rule's name: kernels that read the scale of weights where there is none if they have more than one.
LOST_SCALES = "/channel_scales_lost"

Quantizer = Callable[[npt.NDArray[np.float32]], QuantizedRows]
# (layer, quantized rows, dot products, whether any input is not 0) -> the steps from `acc` to `output`, `[rows, out]`.
Finish = Callable[["PreparedHybrid", QuantizedRows, npt.NDArray[np.int64], bool], dict[str, Array]]
Packing = Callable[[IntArray], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class HybridRule:
    """One way of calculating a hybrid layer.

    Attributes:
        name: the key in `HYBRID_RULES`.
        symmetric: how rows are quantized where the model says nothing else.
        asymmetric: how they are quantized where it sets asymmetric_quantize_inputs.
        sse: whether the sums are the SSE code's: a weight of -128 meets a negative input with the wrong sign, and sums
            of weights have 16 bits.
        finish: from the dot products to the output.
        packing: the 4-bit kernel's packing of int4 weights, used where its conditions hold; None for the others.
        equation: the rule in one line of text.
        neon: whether the sums are the NEON code's: where `arith.neon.neon_loop` says so, pairs of products are added in
            16 bits.
        loses_scales: whether weights with more than one scale are multiplied with the scale 0, but by the 4-bit kernel.
    """

    name: str
    symmetric: Quantizer
    asymmetric: Quantizer
    sse: bool
    finish: Finish
    packing: Packing | None
    equation: str
    loses_scales: bool = False
    neon: bool = False


# What the 4-bit kernels do instead of the plain ones of the same CPU.
_NIBBLE_QUANTIZERS: dict[Quantizer, Quantizer] = {
    quantize_symmetric: quantize_for_nibbles,
    quantize_neon_symmetric: quantize_neon_nibbles,
}
_NIBBLE_FINISHES: dict[Finish, Finish] = {finish_unfused: finish_nibbles, finish_neon: finish_neon_nibbles}


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
        if not self.arithmetic.neon:
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
        return _NIBBLE_QUANTIZERS.get(used, used) if self.nibbles else used

    @property
    def finish(self) -> Finish:
        """From the dot products to the output."""
        used = self.arithmetic.finish
        return _NIBBLE_FINISHES.get(used, used) if self.nibbles else used

    @cached_property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Where two weights of -128 share a 16-bit sum in the loop that takes one row: `[out, depth]`, the first."""
        weights = self.layer.weights_values
        in_16_bits = self.arithmetic.neon and not self.nibbles
        return pairs_beyond_16_bits(weights) if in_16_bits else np.zeros(weights.shape, np.bool_)

    def wrapping_pairs(self, rows: int) -> npt.NDArray[np.bool_]:
        """Those of `pairs` that matter in the kernel's loop for this many rows: `[out, depth]`."""
        loop = neon_loop(self.rows_at_once or rows, self.layer.units, self.layer.depth)
        return self.pairs if loop is NeonLoop.VECTOR else np.zeros_like(self.pairs)


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


def check_hybrid_kernel(prepared: PreparedHybrid, kernel: str, ignores: frozenset[str] = frozenset()) -> None:
    """Refuse what the real kernel refuses when it prepares a hybrid layer.

    Args:
        prepared: the layer.
        kernel: `xnnpack`, `builtin`, `reference` or `tflm`.
        ignores: see `Runtime.ignores`.

    Raises:
        UnsupportedError: with the kernel's reason.
    """
    layer = prepared.layer
    assert layer.weights.quant is not None
    shifted = bool((layer.weights.quant.zero_point != 0).any())
    if shifted and layer.weights.dtype.name == "int4":
        raise refuse(layer.operator, "the runtime takes int4 weights with zero point 0 only")
    if kernel != "xnnpack":
        return
    if shifted and not ("hybrid_zero_point" in ignores and layer.granularity == "per_tensor"):
        raise refuse(
            layer.operator,
            "XNNPACK fails to prepare a hybrid layer whose weights have a zero point that is not 0, and LiteRT does "
            "not fall back to another kernel",
        )
    scales = layer.weights_scale
    if not (np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny)).all():
        bad = scales[~(np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny))][0]
        raise refuse(
            layer.operator,
            f"XNNPACK fails to prepare a layer with the weights scale {float(bad)!r} (it wants positive normal "
            "numbers), and LiteRT does not fall back to another kernel",
        )


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


_QD8_FINISH = "always asymmetric;  y = fma(float32(acc) * s_row, s_w, bias)"
_QD8_EQUATION = f"q = round_half_even(x * 255/(max-min)) + zp, {_QD8_FINISH}"


HYBRID_RULES: dict[str, HybridRule] = {
    rule.name: rule
    for rule in (
        HybridRule("hybrid-qd8-fma", quantize_qd8, quantize_qd8, False, finish_fma, None, _QD8_EQUATION),
        HybridRule(
            "hybrid-qd8-fma-bound_first",
            quantize_qd8,
            quantize_qd8,
            False,
            finish_fma_bound_first,
            None,
            f"{_QD8_EQUATION};  NaN becomes the lower clamp bound",
        ),
        HybridRule(
            "hybrid-qd8-scale_inverted-fma-bound_first",
            quantize_qd8_inverted,
            quantize_qd8_inverted,
            False,
            finish_fma_bound_first,
            None,
            f"s_row = 1/(255/(max-min)), and q = round_half_even(x * (1/s_row)) + zp;  {_QD8_FINISH};  NaN becomes the "
            "lower clamp bound",
        ),
        HybridRule(
            "hybrid-int8-unfused",
            quantize_symmetric,
            quantize_asymmetric,
            True,
            finish_unfused,
            None,
            "q = trunc(x * 127/max|x| +- 0.5), last depth % 8 half_away (or asymmetric, as the model says);  "
            "y = bias + float32(acc) * (s_row * s_w)",
        ),
        HybridRule(
            "hybrid-int4-nibbles",
            quantize_symmetric,
            quantize_asymmetric,
            True,
            finish_unfused,
            packed_nibbles,
            "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  "
            "y = (float32(-7 * sum q) * s_row * s_w + bias) + float32(sum n*q) * s_row * s_w;  "
            "depth odd or < 32, or < 4 units: as hybrid-int8-unfused",
        ),
        HybridRule(
            "hybrid-int8-neon",
            quantize_neon_symmetric,
            quantize_neon_asymmetric,
            False,
            finish_neon,
            None,
            "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says);  "
            "y = fma(float32(acc), s_row * s_w, bias), but bias + float32(acc) * (s_row * s_w) where four rows are "
            "taken at once",
            neon=True,
        ),
        HybridRule(
            "hybrid-int4-nibbles-neon",
            quantize_neon_symmetric,
            quantize_neon_asymmetric,
            False,
            finish_neon,
            packed_nibbles_neon,
            "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  "
            "t = fma(float32(-7 * sum q) * s_row, s_w, bias);  y = fma(float32(sum n*q) * s_row, s_w, t), of several "
            "rows t + float32(sum n*q) * s_row * s_w but in the last units % 4;  "
            "depth odd or < 32, or < 4 units: as hybrid-int8-neon",
            neon=True,
        ),
        HybridRule(
            "hybrid-kleidiai-unfused",
            quantize_kleidiai,
            quantize_kleidiai,
            False,
            finish_kleidiai,
            None,
            "q = round_half_even(x * 255/(max-min)) + zp, last depth % 8 half_away, always asymmetric;  "
            "y = float32(acc) * (s_w * s_row) + bias",
        ),
    )
}
HYBRID_RULES |= {
    f"{name}{LOST_SCALES}": replace(
        HYBRID_RULES[name],
        name=f"{name}{LOST_SCALES}",
        equation=f"s_w = 0 where weights have more than one scale{but}, so y = bias;  {HYBRID_RULES[name].equation}",
        loses_scales=True,
    )
    for name, but in (("hybrid-int8-unfused", ""), ("hybrid-int4-nibbles", ", but in the 4-bit kernel"))
}
