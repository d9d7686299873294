"""Which rule decided a tensor's scale and zero point, as far as the quantized file tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...model.graph import Model, Operator, Tensor
from ..quantize.dynamic_range import HYBRID
from ..quantize.lstm import CELL, HIDDEN, LSTM
from ..quantize.older import PROPERTIES
from ..quantize.operators import TRAITS
from ..quantize.requests import is_static

__all__ = ["Decided", "ScaleRule", "decided"]


class ScaleRule(Enum):
    """What decides a scale; the value is its name in JSON."""

    RANGE = "range"
    FIXED = "fixed range"
    SHARED = "same scale as"
    BIAS = "bias"
    CELL = "cell state"
    WEIGHTS = "weights"
    CONSTANT = "constant"


@dataclass(frozen=True, eq=False)
class Decided:
    """The rule that decided a tensor's scale.

    Attributes:
        rule: the rule.
        tensor: the tensor.
        operator: the operator by which it is decided: the producer, or the user of a constant. None for a graph input.
        through: for a shared scale the tensors and operators on the way to `root`.
        root: the tensor whose scale it is in the end; `tensor` itself where it shares none.
        position: the input position of a constant in `operator`.
        base: the rule that decided the scale of `root`.
    """

    rule: ScaleRule
    tensor: Tensor
    operator: Operator | None
    through: tuple[Operator, ...] = ()
    root: Tensor | None = None
    position: int = 0
    base: ScaleRule = ScaleRule.RANGE


def decided(model: Model, tensor: Tensor) -> Decided:
    """The rule that decided a tensor's scale; shared scales are followed to the tensor that they come from."""
    if (inside := _inside_lstm(model, tensor)) is not None:
        return inside
    if tensor.data is not None:
        return _constant(model, tensor)
    through: list[Operator] = []
    current = tensor
    while True:
        producer = next((op for op in model.operators if current.index in op.outputs), None)
        source = _shared_with(model, producer, current) if producer is not None else None
        if producer is None or source is None or producer in through:
            break
        through.append(producer)
        current = source
        if current.data is not None:
            constant = _constant(model, current)
            way = tuple(through)
            return Decided(ScaleRule.SHARED, tensor, constant.operator, way, current, constant.position, constant.base)
    fixed = producer is not None and _fixed(model, producer, current)
    base = ScaleRule.FIXED if fixed else ScaleRule.RANGE
    return Decided(ScaleRule.SHARED if through else base, tensor, producer, tuple(through), current, base=base)


def _inside_lstm(model: Model, tensor: Tensor) -> Decided | None:
    """The rule of what an LSTM keeps from step to step or notes of its inside; None for any other tensor."""
    for op in model.operators:
        if op.name != LSTM:
            continue
        if tensor.index in op.intermediates:
            return Decided(ScaleRule.RANGE, tensor, op, (), tensor)
        if tensor.index == op.inputs[HIDDEN]:
            return Decided(ScaleRule.SHARED, tensor, op, (op,), model.tensors[op.outputs[0]])
        if tensor.index == op.inputs[CELL]:
            return Decided(ScaleRule.CELL, tensor, op, (), tensor, CELL, ScaleRule.CELL)
    return None


def _shared_with(model: Model, producer: Operator, tensor: Tensor) -> Tensor | None:
    """The input whose scale an output has; None where the operator shares none, or the file says another."""
    traits = TRAITS.get(producer.name)
    table = producer.name == "GATHER"
    if tensor.quant is None or not (table or (traits is not None and traits.same_scale)):
        return None
    for index in producer.inputs:
        given = model.tensors[index] if index >= 0 else None
        if given is None or given.quant is None or given.dtype != tensor.dtype:
            continue
        if given.data is None or table:
            same = given.quant.scale.tolist() == tensor.quant.scale.tolist()
            return given if same and given.quant.zero_point.tolist() == tensor.quant.zero_point.tolist() else None
    return None


def _fixed(model: Model, producer: Operator, tensor: Tensor) -> bool:
    known = PROPERTIES.get(producer.name)
    wanted = known.fixed.get(tensor.dtype.name) if known is not None else None
    if wanted is None or tensor.quant is None:
        return False
    return (float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0])) == wanted


def _constant(model: Model, tensor: Tensor) -> Decided:
    user = next((op for op in model.operators if tensor.index in op.inputs), None)
    if user is None:
        return Decided(ScaleRule.CONSTANT, tensor, None, (), tensor, base=ScaleRule.CONSTANT)
    position = user.inputs.index(tensor.index)
    if user.name == "DEQUANTIZE":  # weights only: the operator behind it
        behind = next((op for op in model.operators if user.outputs[0] in op.inputs), None)
        if behind is not None:
            position, user = behind.inputs.index(user.outputs[0]), behind
    traits = TRAITS.get(user.name)
    hybrid = HYBRID.get(user.name)
    if hybrid is not None and hybrid.position == position and not is_static(model):
        return Decided(ScaleRule.WEIGHTS, tensor, user, (), tensor, position, ScaleRule.WEIGHTS)
    if traits is not None and traits.is_bias(position):
        return Decided(ScaleRule.BIAS, tensor, user, (), tensor, position, ScaleRule.BIAS)
    if traits is not None and traits.is_weights(position):
        return Decided(ScaleRule.WEIGHTS, tensor, user, (), tensor, position, ScaleRule.WEIGHTS)
    return Decided(ScaleRule.CONSTANT, tensor, user, (), tensor, position, ScaleRule.CONSTANT)
