"""What a user is warned of where a kernel calculates a hybrid dense layer: its known faults, and what it ignores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...rules.hybrid.forms import HybridRule, Nibbles
from ...rules.hybrid.int4_nibbles import lost_weights
from ...rules.hybrid.sse_sums import faulty_signs, sums_of_weights
from ...rules.hybrid.sums import overflowing_pairs
from .layer import DenseLayer

__all__ = ["hybrid_notes"]


def hybrid_notes(
    layer: DenseLayer, rule: HybridRule, nibbles: Nibbles | None, used: npt.NDArray[np.int64], asked: bool
) -> tuple[str, ...]:
    """What a user must know of a hybrid layer on a kernel.

    Args:
        layer: the layer.
        rule: the kernel's rule.
        nibbles: its 4-bit kernel, where that takes the layer.
        used: the weights that it multiplies with.
        asked: whether the model sets asymmetric_quantize_inputs.
    """
    notes = []
    stored = layer.weights_values
    faulty = faulty_signs("none" if nibbles else rule.sse_sums, stored)
    if faulty.any():
        units = np.flatnonzero(faulty.any(axis=1))
        notes.append(
            f"kernel fault: {int(faulty.sum())} weights are -128 ({_some(units)}); wherever the quantized input is "
            "negative, the x86 kernel adds their product with the wrong sign. Quantize the weights to -127 ... 127"
        )
    lost = lost_weights(layer.depth) if nibbles is not None and nibbles.last == "first_16" else 0
    if lost:
        notes.append(
            f"kernel fault: this version's 4-bit kernel takes the last {lost} weights of every unit for 0. Make the "
            "depth a multiple of 32, or use a later version"
        )
    kept = stored[:, : layer.depth - lost]
    if nibbles and (kept == -8).any():
        lowest, changed = int((kept == -8).sum()), used[:, : kept.shape[1]] != kept
        notes.append(
            f"kernel fault: {lowest} weights are -8, which the 4-bit kernel takes for +8, and "
            f"{int(changed.sum()) - lowest} more are changed by them ({_some(np.flatnonzero(changed.any(axis=1)))}). "
            "Quantize the weights to -7 ... 7"
        )
    if not nibbles and asked:
        wrong = np.flatnonzero(sums_of_weights(rule.sse_sums, stored) != stored.sum(axis=1, dtype=np.int64))
        if wrong.size:
            notes.append(
                f"kernel fault: the sums of the weights of {wrong.size} units overflow 16 bits ({_some(wrong)}), so "
                "that the input's zero point is subtracted wrongly. Set asymmetric_quantize_inputs to false"
            )
    always = rule.always_asymmetric
    pairs = None if rule.pairs is None or nibbles else overflowing_pairs(rule.pairs, stored)
    if pairs is not None and (asked or always) and pairs.any():
        notes.append(
            f"kernel fault: {int(pairs.sum())} pairs of weights are -128, eight columns apart "
            f"({_some(np.flatnonzero(pairs.any(axis=1)))}); where both quantized inputs are -128 too"
            f"{'' if always else ', and the kernel takes one row at a time'}, their sum wraps in 16 bits. Quantize the "
            "weights to -127 ... 127"
        )
    assert layer.weights.quant is not None
    if not always and layer.weights.quant.shifted:
        notes.append("the weights' zero point is not 0, and the kernel ignores it")
    if always and not asked:
        notes.append("the model asks for symmetric input quantization; XNNPACK quantizes asymmetrically all the same")
    if rule.weights_scale == "zero" and not nibbles and layer.weights_scale.size > 1:
        notes.append(
            "kernel fault: this version multiplies weights that have more than one scale with the scale 0, so that the "
            "output is the bias whatever the input is. Use one scale for all units, or a later version"
        )
    if rule.weights_scale == "one" and not nibbles and not asked and layer.weights_scale.size > 1:
        notes.append(
            "kernel fault: this version leaves out the weights' scales where there are more than one and the input is "
            "quantized symmetrically: wrong results. Set asymmetric_quantize_inputs, or use a later version"
        )
    if nibbles and asked:
        notes.append("the model sets asymmetric_quantize_inputs; the 4-bit kernel quantizes symmetrically all the same")
    return tuple(notes)


def _some(units: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(u)) for u in units[:5])
    return f"unit{'s' * (len(units) > 1)} {shown}{', ...' if len(units) > 5 else ''}"
