"""Hybrid dense layers: float32 in and out, int8 or int4 weights; every row of the input is quantized at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arith.dynamic_range import (
    QuantizedRows,
    quantize_asymmetric,
    quantize_for_nibbles,
    quantize_qd8,
    quantize_symmetric,
)
from ..arith.fixedpoint import wrap32
from ..arith.floats import (
    clamp_bound_first,
    clamp_value_first,
    convert_int32,
    flush_subnormals,
    fma32,
    multiply32,
)
from ..arith.int4_nibbles import BLOCK, NIBBLE_ZERO_POINT, packed_nibbles
from ..arith.matmul import ExactWeights, pack_weights
from ..arith.sse_sums import sums_in_16_bits, wrong_signs
from ..errors import InputError
from ..model import Model, Operator
from ..types import Array, IntArray
from .base import refuse
from .dense_layer import DenseLayer, PreparedLayer, check_types, dense_layer

__all__ = [
    "HYBRID_RULES",
    "HybridRule",
    "PreparedHybrid",
    "check_hybrid_kernel",
    "finish_fma",
    "finish_fma_bound_first",
    "finish_nibbles",
    "finish_unfused",
    "hybrid_by_rule",
    "prepare_dense_hybrid",
]

# (input, weights, output)
TYPES = (("float32", "int8", "float32"), ("float32", "int4", "float32"))

# The 4-bit kernel is chosen for at least this many units.
_NIBBLE_UNITS = 4

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
    """

    name: str
    symmetric: Quantizer
    asymmetric: Quantizer
    sse: bool
    finish: Finish
    packing: Packing | None
    equation: str


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
    """

    arithmetic: HybridRule
    asymmetric: bool
    nibbles: bool
    weights_used: npt.NDArray[np.int64]
    weights_sum: npt.NDArray[np.int64]
    weights_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None

    @property
    def wrong_signs(self) -> npt.NDArray[np.bool_]:
        """Where the kernel multiplies a negative quantized input with the wrong sign: `[out, depth]`."""
        if not self.arithmetic.sse or self.nibbles:
            return np.zeros(self.layer.weights_values.shape, np.bool_)
        return wrong_signs(self.layer.weights_values)


def prepare_dense_hybrid(model: Model, op: Operator, rule: str) -> PreparedHybrid:
    """Fold a hybrid layer's constants.

    Args:
        model: the model.
        op: one of its FULLY_CONNECTED operators, with float32 input and int8 or int4 weights.
        rule: a key of `HYBRID_RULES`.

    Returns:
        The prepared operator. Its steps: `range_low`, `range_high`, `input_scale`, `input_zero_point`, `input_inverse`
        `[rows]`; `scaled_input`, `quantized_input` `[rows, depth]`; `dot` (the kernel's sum of products), `acc` (less
        the zero point's part), `scaled`, `with_bias` `[rows, out]`; `output`.

    Raises:
        UnsupportedError: the layer is outside what LastBit covers.

    `evaluate` raises InputError for NaN in the input.

    Source: google/XNNPACK src/qs8-gemm/MRx16c8-avx512vnni.c.in @028aae4f5fcf; google-ai-edge/LiteRT
    tflite/kernels/fully_connected.cc @02f540346b50 (EvalHybridDense, EvalHybridDense4Bit) and
    tflite/kernels/internal/optimized/sse_tensor_utils.cc @7d88950ea445. Shown on the running interpreters.
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
    prepared = PreparedHybrid(
        operator=op,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=lambda values: steps(values[0]),
        notes=_notes(layer, rule, nibbles, used, asked),
        layer=layer,
        arithmetic=rule,
        asymmetric=not nibbles and (asked or rule.symmetric is rule.asymmetric),
        nibbles=nibbles,
        weights_used=used,
        weights_sum=sums_in_16_bits(stored) if rule.sse else stored.sum(axis=1),
        weights_scale=layer.weights_scale,
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
    layer, rule = prepared.layer, prepared.arithmetic
    offset = NIBBLE_ZERO_POINT if prepared.nibbles else 0
    packed = pack_weights(prepared.weights_used + offset, largest_input=128)
    fault = None
    if prepared.wrong_signs.any():
        # -|q| * -128 comes out as |q| * -128: what is too much is 2 * 128 * q.
        fault = pack_weights(256 * prepared.wrong_signs.astype(np.int64), largest_input=128)
    quantize = rule.asymmetric if prepared.asymmetric else rule.symmetric
    if prepared.nibbles and quantize is quantize_symmetric:
        quantize = quantize_for_nibbles

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
        dot = wrap32(_dot(packed, fault, quantized.quantized))
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
        finish = finish_nibbles if prepared.nibbles and rule.finish is finish_unfused else rule.finish
        found |= finish(prepared, quantized, dot, bool(rows.any()))
        found["output"] = found["output"].reshape(layer.output_shape(x.shape))
        return found

    return steps


def _dot(packed: ExactWeights, fault: ExactWeights | None, q: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of products, `[rows, out]`, with the wrong sign where the kernel has it."""
    dot = packed.dot(q)
    return dot if fault is None else dot + fault.dot(np.minimum(q, 0))


def _acc(prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The dot products less the zero point's part, in 32 bits that wrap: `[rows, out]`."""
    return wrap32(dot - quantized.zero_point[:, None] * prepared.weights_sum)


def finish_fma(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, Array]:
    """XNNPACK: the row's scale first, then one fused multiply-add; subnormals are read and written as zero."""
    # The kernel for int4 has the operands of its maximum the other way round.
    if prepared.layer.weights.dtype.name == "int4":
        return finish_fma_bound_first(prepared, quantized, dot, any_input)
    steps = _fused_steps(prepared, quantized, dot)
    return {**steps, "output": clamp_value_first(steps["with_bias"], prepared.layer.activation)}


def finish_fma_bound_first(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """The same on AVX2, where a NaN (of an infinite scale) comes out of the clamp as its lower bound."""
    steps = _fused_steps(prepared, quantized, dot)
    return {**steps, "output": clamp_bound_first(steps["with_bias"], prepared.layer.activation, always=True)}


def _fused_steps(prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64]) -> dict[str, Array]:
    """XNNPACK's steps before the clamp."""
    acc = _acc(prepared, quantized, dot)
    if prepared.layer.weights.dtype.name == "int4":
        # The kernel sums 16 times the products and shifts right: 28 bits are left.
        acc = wrap32(acc << 4) >> 4
    bias = np.float32(0) if prepared.bias is None else flush_subnormals(prepared.bias)
    scaled = multiply32(convert_int32(acc), quantized.scale[:, None], flush=True)
    with_bias = fma32(scaled, prepared.weights_scale, bias, flush=True)
    return {"acc": acc.astype(np.int32), "scaled": scaled, "with_bias": with_bias}


def finish_unfused(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], any_input: bool
) -> dict[str, Array]:
    """LiteRT's own kernels: the two scales first, then product and sum, each rounded."""
    layer = prepared.layer
    bias = np.zeros(layer.units, np.float32) if prepared.bias is None else prepared.bias
    acc = _acc(prepared, quantized, dot)
    scaled = multiply32(convert_int32(acc), multiply32(prepared.weights_scale, quantized.scale[:, None]))
    with np.errstate(all="ignore"):
        with_bias = bias + scaled
    if not any_input:
        # An input of nothing but zeros is not multiplied at all: the bias stays as it is, -0.0 included.
        with_bias = np.broadcast_to(bias, scaled.shape).copy()
    output = clamp_bound_first(with_bias, layer.activation)
    return {"acc": acc.astype(np.int32), "scaled": scaled, "with_bias": with_bias, "output": output}


def finish_nibbles(
    prepared: PreparedHybrid, quantized: QuantizedRows, dot: npt.NDArray[np.int64], _: bool
) -> dict[str, Array]:
    """LiteRT's 4-bit kernel: the nibbles' zero point is taken off in float32, together with the bias."""
    layer = prepared.layer
    sums = wrap32(-NIBBLE_ZERO_POINT * quantized.quantized.sum(axis=1))
    scale, w_scale = quantized.scale[:, None], np.broadcast_to(prepared.weights_scale, (layer.units,))
    correction = multiply32(multiply32(convert_int32(sums)[:, None], scale), w_scale)
    scaled = multiply32(multiply32(convert_int32(dot), scale), w_scale)
    with np.errstate(all="ignore"):
        start = correction if prepared.bias is None else correction + prepared.bias
        with_bias = start + scaled
    return {
        "acc": (dot + sums[:, None]).astype(np.int32),
        "correction": correction,
        "scaled": scaled,
        "with_bias": with_bias,
        "output": clamp_bound_first(with_bias, layer.activation),
    }


def _notes(
    layer: DenseLayer, rule: HybridRule, nibbles: bool, used: npt.NDArray[np.int64], asked: bool
) -> tuple[str, ...]:
    """What a user must know of this layer on this kernel."""
    notes = []
    stored = layer.weights_values
    faulty = wrong_signs(stored)
    if rule.sse and not nibbles and faulty.any():
        units = np.flatnonzero(faulty.any(axis=1))
        notes.append(
            f"kernel fault: {int(faulty.sum())} weights are -128 ({_some(units)}); wherever the quantized input is "
            "negative, the x86 kernel adds their product with the wrong sign. Quantize the weights to -127 ... 127"
        )
    if nibbles and (stored == -8).any():
        changed = int((used != stored).sum())
        units = np.flatnonzero((used != stored).any(axis=1))
        notes.append(
            f"kernel fault: {int((stored == -8).sum())} weights are -8, which the 4-bit kernel takes for +8, and "
            f"{changed - int((stored == -8).sum())} more are changed by them ({_some(units)}). Quantize the weights "
            "to -7 ... 7"
        )
    if not nibbles and asked and rule.sse:
        wrong = np.flatnonzero(sums_in_16_bits(stored) != stored.sum(axis=1, dtype=np.int64))
        if wrong.size:
            notes.append(
                f"kernel fault: the sums of the weights of {wrong.size} units overflow 16 bits ({_some(wrong)}), so "
                "that the input's zero point is taken off wrongly. Set asymmetric_quantize_inputs to false"
            )
    assert layer.weights.quant is not None
    if rule.sse and (layer.weights.quant.zero_point != 0).any():
        notes.append("the weights' zero point is not 0, and the kernel ignores it")
    if rule.symmetric is rule.asymmetric and not asked:
        notes.append("the model asks for symmetric input quantization; XNNPACK quantizes asymmetrically all the same")
    if nibbles and asked:
        notes.append("the model sets asymmetric_quantize_inputs; the 4-bit kernel quantizes symmetrically all the same")
    return tuple(notes)


def _some(units: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(u)) for u in units[:5])
    return f"unit{'s' * (len(units) > 1)} {shown}{', ...' if len(units) > 5 else ''}"


_QD8_EQUATION = (
    "q = round_half_even(x * 255/(max-min)) + zp, always asymmetric;  y = fma(float32(acc) * s_row, s_w, bias)"
)

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
    )
}
