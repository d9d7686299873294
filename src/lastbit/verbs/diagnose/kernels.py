"""What is known of the kernels that a layer is searched in: their faults, and where two of them differ at all."""

from __future__ import annotations

from dataclasses import replace

from ...model.graph import Model, Operator
from ...ops.dense.eight_bit import PreparedDense
from ...rules.base import Pairs
from ...rules.requantize.forms import Float, Requantize
from ...rules.requantize.overflow import without_overflow
from ...rules.sums.words import pairs_words

__all__ = ["apart_text", "fault_of", "forms_of", "plain_form"]


def plain_form(prepared: PreparedDense) -> Requantize:
    """The form without what it does where values leave a register: searched as one, verified each for itself.

    A bias that is added as a real value is an ordinary one where the layer has none.
    """
    form = without_overflow(prepared.requant.rule.requantize)
    if isinstance(form, Float) and not prepared.layer.bias_values.any():
        return replace(form, bias="in_acc")
    return form


def forms_of(prepared: PreparedDense) -> tuple[tuple[int | None, Requantize], ...]:
    """The plain form of every unit: where each of the layer's parts begins, with its form."""
    return tuple((units.start, plain_form(part)) for units, part in prepared.parts)


def fault_of(model: Model, op: Operator, prepared: PreparedDense) -> str:
    """What a kernel is known to get wrong about this layer, as a part of a sentence; else empty.

    Args:
        model: the model.
        op: the dense layer.
        prepared: the layer as the kernel reads it.
    """
    layer, weights = prepared.layer, model.operand(op, 1)
    faults = []
    if isinstance(prepared.products, Pairs):
        words = pairs_words(prepared.products)
        faults.append(f"{words.products} are added in 16 bits, which {words.overflow}")
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
    same_product = one.requant.rule.scales.product == other.requant.rule.scales.product
    if forms_of(one) == forms_of(other) and same_product and one.acc_bits == other.acc_bits:
        return "The two differ only where a value leaves the range of int32."
    return "The two round differently."
