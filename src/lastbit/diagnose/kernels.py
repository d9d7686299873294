"""What is known of the kernels that a layer is searched in: their faults, and where two of them differ at all."""

from __future__ import annotations

from ..model import Model, Operator
from ..ops.dense_8bit import PreparedDense

__all__ = ["apart_text", "fault_of", "plain_form"]

# Forms that differ at most where values leave an int32: searched as one, verified each for itself.
_SAME_FORM = {
    "float32_clip": "float32",
    "float32_saturate": "float32",
    "float64_saturate": "float64",
    "q31_single_wrap": "q31_single",
    "q31_floor_up_wrap": "q31_single",
    "q31_floor_up_saturate": "q31_single",
    "q31_up_away_saturate": "q31_up_away",
}


def plain_form(prepared: PreparedDense) -> str:
    """The rule's form without what it does where values leave an int32."""
    form = prepared.requant.rule.form
    return _SAME_FORM.get(form, form)


def fault_of(model: Model, op: Operator, prepared: PreparedDense) -> str:
    """What a kernel is known to get wrong about this layer, as a part of a sentence; else empty.

    Args:
        model: the model.
        op: the dense layer.
        prepared: the layer as the kernel reads it.
    """
    layer, weights = prepared.layer, model.operand(op, 1)
    faults = []
    if prepared.pairs is not None and prepared.pairs.units.any():
        faults.append("neighbouring products are added in 16 bits, which saturate")
    if prepared.acc_bits < 32:
        faults.append(f"the accumulator has {prepared.acc_bits} bits and wraps")
    if weights is not None and weights.quant is not None:
        stored = weights.quant.zero_point
        if (stored != layer.weights_zero_point).any():
            what = f"zero point {int(stored[0])}" if stored.size == 1 else "zero points"
            faults.append(f"the weights' {what} {'is' if stored.size == 1 else 'are'} ignored")
        if weights.quant.scale.size > layer.weights_scale.size:
            faults.append("the first unit's weights scale is taken for every unit")
    return ", and ".join(faults)


def apart_text(one: PreparedDense, other: PreparedDense) -> str:
    """How two calculations without a fault differ, as a sentence."""
    same_product = one.requant.rule.scale_product == other.requant.rule.scale_product
    if plain_form(one) == plain_form(other) and same_product and one.acc_bits == other.acc_bits:
        return "The two differ only where a value leaves the range of int32."
    return "The two round differently."
