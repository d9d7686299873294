"""The ways of calculating a hybrid dense layer: how rows are quantized, weights packed, and sums finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arith.dynamic_range import (
    QuantizedRows,
    quantize_asymmetric,
    quantize_asymmetric_portable,
    quantize_asymmetric_tail_32,
    quantize_for_nibbles,
    quantize_qd8,
    quantize_qd8_inverted,
    quantize_qd8_nan_low,
    quantize_symmetric,
    quantize_symmetric_portable,
)
from ..arith.int4_nibbles import packed_nibbles, packed_nibbles_neon, packed_nibbles_portable
from ..arith.neon import (
    NeonLoop,
    neon_loop,
    padded_pairs,
    pairs_beyond_16_bits,
    plain_neon_loop,
    quantize_kleidiai,
    quantize_kleidiai_away,
    quantize_neon_asymmetric,
    quantize_neon_nibbles,
    quantize_neon_symmetric,
    quantize_qd8_neon,
    vector_loop,
)
from ..types import Array, IntArray
from .hybrid_finish import (
    finish_fma,
    finish_fma_bound_first,
    finish_fma_neon,
    finish_kleidiai,
    finish_neon,
    finish_neon_nibbles,
    finish_nibbles,
    finish_unfused,
)

if TYPE_CHECKING:
    from .dense_hybrid import PreparedHybrid

__all__ = [
    "HYBRID_RULES",
    "IGNORED_SCALES",
    "LOST_SCALES",
    "NIBBLE_FINISHES",
    "NIBBLE_QUANTIZERS",
    "WITHOUT_DOT",
    "Finish",
    "HybridRule",
    "Loop",
    "Packing",
    "Quantizer",
]

# At the end of a rule's name: kernels that read the scale of weights where there is none if they have more than one.
LOST_SCALES = "/channel_scales_lost"
# Kernels that leave the scales of weights out if there are more than one.
IGNORED_SCALES = "/channel_scales_ignored"
# Likewise: CPUs without dot product instructions.
WITHOUT_DOT = "/never_four_rows"

Quantizer = Callable[[npt.NDArray[np.float32]], QuantizedRows]
# (layer, quantized rows, dot products, whether any input is not 0) -> the steps from `acc` to `output`, `[rows, out]`.
Finish = Callable[["PreparedHybrid", QuantizedRows, npt.NDArray[np.int64], bool], dict[str, Array]]
Packing = Callable[[IntArray], npt.NDArray[np.int64]]
# (rows, units, depth) -> the loop that multiplies them.
Loop = Callable[[int, int, int], NeonLoop]


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
        loop: which of NEON code's loops runs: in one, pairs of products are added in 16 bits. None: no such loops.
        pairs: weights -> where two of -128 share such a sum (see `arith.neon.pairs_beyond_16_bits`).
        loses_scales: whether weights with more than one scale are multiplied with the scale 0, but by the 4-bit kernel.
        ignores_scales: whether they are multiplied with the scale 1 where rows are quantized symmetrically, but by the
            4-bit kernel.
    """

    name: str
    symmetric: Quantizer
    asymmetric: Quantizer
    sse: bool
    finish: Finish
    packing: Packing | None
    equation: str
    loses_scales: bool = False
    ignores_scales: bool = False
    loop: Loop | None = None
    pairs: Callable[[IntArray], npt.NDArray[np.bool_]] = pairs_beyond_16_bits


# What the 4-bit kernels do instead of the plain ones of the same CPU.
NIBBLE_QUANTIZERS: dict[Quantizer, Quantizer] = {
    quantize_symmetric: quantize_for_nibbles,
    quantize_symmetric_portable: quantize_for_nibbles,
    quantize_neon_symmetric: quantize_neon_nibbles,
}
NIBBLE_FINISHES: dict[Finish, Finish] = {finish_unfused: finish_nibbles, finish_neon: finish_neon_nibbles}


_FOUR_ROWS = ", but bias + float32(acc) * (s_row * s_w) where four rows are taken at once"
_QD8_FINISH = "always asymmetric;  y = fma(float32(acc) * s_row, s_w, bias)"
_QD8_EQUATION = f"q = round_half_even(x * 255/(max-min)) + zp, {_QD8_FINISH}"

_NIBBLES = (
    "4-bit kernel: q = round_half_away(x * 127/max|x|), n = w + 7;  "
    "y = (float32(-7 * sum q) * s_row * s_w + bias) + float32(sum n*q) * s_row * s_w"
)
_PORTABLE = (
    "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says: the range in float64, "
    "q = round_half_away(x/s_row + zp))"
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
            "hybrid-qd8-nan_takes_low-fma-bound_first",
            quantize_qd8_nan_low,
            quantize_qd8_nan_low,
            False,
            finish_fma_bound_first,
            None,
            f"{_QD8_EQUATION};  zp = -128 where the row has an infinity;  NaN becomes the lower clamp bound",
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
            f"{_NIBBLES};  depth odd or < 32, or < 4 units: as hybrid-int8-unfused",
        ),
        HybridRule(
            "hybrid-int8-tail_32-unfused",
            quantize_symmetric,
            quantize_asymmetric_tail_32,
            True,
            finish_unfused,
            None,
            "as hybrid-int8-unfused, but if asymmetric, of the last depth % 8, q = -128 where x/s_row is beyond int32",
        ),
        HybridRule(
            "hybrid-int8-portable",
            quantize_symmetric_portable,
            quantize_asymmetric_portable,
            False,
            finish_unfused,
            None,
            f"{_PORTABLE};  y = bias + float32(acc) * (s_row * s_w)",
        ),
        HybridRule(
            "hybrid-int4-nibbles-portable",
            quantize_symmetric_portable,
            quantize_asymmetric_portable,
            False,
            finish_unfused,
            packed_nibbles_portable,
            f"{_PORTABLE};  {_NIBBLES}, but n = 7 for the weights after the last depth % 32's first 16;  "
            "depth odd or < 32, or < 4 units: as hybrid-int8-portable",
        ),
        HybridRule(
            "hybrid-int8-neon",
            quantize_neon_symmetric,
            quantize_neon_asymmetric,
            False,
            finish_neon,
            None,
            "q = round_half_away(x * 127/max|x|) (or asymmetric, as the model says);  "
            f"y = fma(float32(acc), s_row * s_w, bias){_FOUR_ROWS}",
            loop=neon_loop,
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
            loop=neon_loop,
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
        HybridRule(
            "hybrid-kleidiai_away-unfused",
            quantize_kleidiai_away,
            quantize_kleidiai_away,
            False,
            finish_kleidiai,
            None,
            "q = round_half_away(x * 255/(max-min)) + zp, always asymmetric;  y = float32(acc) * (s_w * s_row) + bias",
        ),
        HybridRule(
            "hybrid-qd8-fma-pairs_of_16_bits",
            quantize_qd8_neon,
            quantize_qd8_neon,
            False,
            finish_fma_neon,
            None,
            f"{_QD8_EQUATION};  columns k and k + 8 of every sixteen are added in 16 bits, which wrap; what is below "
            "2^-126 before it is rounded becomes zero",
            loop=vector_loop,
            pairs=padded_pairs,
        ),
    )
}
HYBRID_RULES |= {
    f"{name}{WITHOUT_DOT}": replace(
        HYBRID_RULES[name],
        name=f"{name}{WITHOUT_DOT}",
        equation=HYBRID_RULES[name].equation.replace(_FOUR_ROWS, ""),
        loop=plain_neon_loop,
    )
    for name in ("hybrid-int8-neon", "hybrid-int4-nibbles-neon")
}
HYBRID_RULES |= {
    f"{name}{LOST_SCALES}": replace(
        HYBRID_RULES[name],
        name=f"{name}{LOST_SCALES}",
        equation=f"s_w = 0 where weights have more than one scale{but}, so y = bias;  {HYBRID_RULES[name].equation}",
        loses_scales=True,
    )
    for name, but in (
        ("hybrid-int8-unfused", ""),
        ("hybrid-int4-nibbles", ", but in the 4-bit kernel"),
        ("hybrid-int8-portable", ""),
        ("hybrid-int4-nibbles-portable", ", but in the 4-bit kernel"),
    )
}
HYBRID_RULES |= {
    f"{name}{IGNORED_SCALES}": replace(
        HYBRID_RULES[name],
        name=f"{name}{IGNORED_SCALES}",
        equation=f"s_w = 1 where weights have more than one scale and rows are symmetric{but};  "
        f"{HYBRID_RULES[name].equation}",
        ignores_scales=True,
    )
    for name, but in (("hybrid-int8-neon", ""), ("hybrid-int4-nibbles-neon", ", but in the 4-bit kernel"))
}
