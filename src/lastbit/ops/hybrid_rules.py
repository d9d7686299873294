"""The ways of calculating a hybrid dense layer: how rows are quantized, weights packed, and sums finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from ..rules.base import Unsupported
from ..rules.hybrid import table as lines
from ..rules.hybrid.forms import Finish as FinishData
from ..rules.hybrid.forms import HybridRule as HybridData
from ..rules.hybrid.forms import Nibbles, Rows
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
    "NIBBLE_FINISHES",
    "NIBBLE_QUANTIZERS",
    "Finish",
    "HybridRule",
    "Loop",
    "Packing",
    "Quantizer",
    "calculation_of",
]

Quantizer = Callable[[npt.NDArray[np.float32]], QuantizedRows]
# (layer, quantized rows, dot products, whether any input is not 0) -> the steps from `acc` to `output`, `[rows, out]`.
Finish = Callable[["PreparedHybrid", QuantizedRows, npt.NDArray[np.int64], bool], dict[str, Array]]
Packing = Callable[[IntArray], npt.NDArray[np.int64]]
# (rows, units, depth) -> the loop that multiplies them.
Loop = Callable[[int, int, int], NeonLoop]


@dataclass(frozen=True)
class HybridRule:
    """A rule's functions. Rivals in tests have other ones.

    Attributes:
        name: the rule's name.
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

_QUANTIZERS: dict[Rows, Quantizer] = {
    lines.SSE_SYMMETRIC: quantize_symmetric,
    lines.SSE_ASYMMETRIC: quantize_asymmetric,
    lines.SSE_ASYMMETRIC_TAIL_32: quantize_asymmetric_tail_32,
    lines.PORTABLE_SYMMETRIC: quantize_symmetric_portable,
    lines.PORTABLE_ASYMMETRIC: quantize_asymmetric_portable,
    lines.QD8: quantize_qd8,
    lines.QD8_INVERTED: quantize_qd8_inverted,
    lines.QD8_NAN_LOW: quantize_qd8_nan_low,
    lines.NEON_SYMMETRIC: quantize_neon_symmetric,
    lines.NEON_ASYMMETRIC: quantize_neon_asymmetric,
    lines.KLEIDIAI: quantize_kleidiai,
    lines.KLEIDIAI_AWAY: quantize_kleidiai_away,
    lines.QD8_NEON: quantize_qd8_neon,
}
_FINISHES: dict[FinishData, Finish] = {
    lines.FUSED: finish_fma,
    lines.FUSED_BOUND_FIRST: finish_fma_bound_first,
    lines.FUSED_NEON: finish_fma_neon,
    lines.UNFUSED: finish_unfused,
    lines.NEON: finish_neon,
    lines.UNFUSED_KLEIDIAI: finish_kleidiai,
}
_PACKINGS: dict[Nibbles, Packing] = {
    lines.NIBBLES: packed_nibbles,
    lines.NIBBLES_PORTABLE: packed_nibbles_portable,
    lines.NIBBLES_NEON: packed_nibbles_neon,
}
_LOOPS: dict[str, Loop] = {"by_size": neon_loop, "by_size_without_dot": plain_neon_loop, "pairs": vector_loop}
_PAIRS = {lines.PAIRS: pairs_beyond_16_bits, lines.PADDED_PAIRS: padded_pairs}


def calculation_of(rule: HybridData) -> HybridRule:
    """The functions that calculate what a rule says.

    Raises:
        Unsupported: there is none for a value.
    """

    def known(table: Mapping[Any, Any], field: str, value: Any) -> Any:
        if value not in table:
            raise Unsupported("hybrid layers", field, value)
        return table[value]

    return HybridRule(
        rule.name,
        known(_QUANTIZERS, "symmetric", rule.symmetric),
        known(_QUANTIZERS, "asymmetric", rule.asymmetric),
        rule.sse_sums,
        known(_FINISHES, "finish", rule.finish),
        None if rule.nibbles is None else known(_PACKINGS, "nibbles", rule.nibbles),
        rule.equation,
        loses_scales=rule.weights_scale == "zero",
        ignores_scales=rule.weights_scale == "one",
        loop=None if rule.loops == "none" else known(_LOOPS, "loops", rule.loops),
        pairs=pairs_beyond_16_bits if rule.pairs is None else known(_PAIRS, "pairs", rule.pairs),
    )


HYBRID_RULES: dict[str, HybridRule] = {name: calculation_of(rule) for name, rule in lines.HYBRID_RULES.items()}
"""The table's rules with their functions."""
