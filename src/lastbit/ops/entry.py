"""What LastBit knows of a kind of operator; each operator's file states it in its ENTRIES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from ..model.graph import Model, Operator
from ..runtimes.variant import Variant
from .base import PreparedOperator

__all__ = ["ANY_NUMBER", "LAYER_ROLES", "OperatorEntry", "OperatorGroup", "Role", "no_variant", "types_variant"]

Role = Literal["input", "weights", "bias", "output shape"]
"""What an operator's input is."""

LAYER_ROLES: tuple[Role, ...] = ("input", "weights", "bias")

ANY_NUMBER = (1, 2**31 - 1)
"""Of inputs or outputs."""


class OperatorGroup(Enum):
    """Where an operator stands in docs/operators.md, in the order of that page."""

    DENSE = "Dense layers"
    PRODUCTS = "Convolutions, products and pools"
    ELEMENTS = "Element by element"
    ACTIVATIONS = "Activations"
    TYPES = "Between types"
    STATE = "State between calls"
    MOVES = "Shapes, copies and positions"


def types_variant(model: Model, op: Operator) -> Variant:
    """The element types of the first input and the output."""
    x = model.operand(op, 0)
    return Variant("absent" if x is None else x.dtype.name, model.tensors[op.outputs[0]].dtype.name)


def no_variant(model: Model, op: Operator) -> Variant:
    """That of an operator without tensors."""
    return Variant("absent", "absent")


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        rules: rule name -> what it calculates, in one line.
        group: where it stands among the others.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
        inputs: how many inputs it has: the fewest and the most.
        outputs: the same of its outputs.
        reads_scales: whether it reads any; what only moves values takes every scale.
        roles: what its inputs are, in order; the last word is that of all others. It is read by what checks operands
            (`weights`, `bias`), counts products (`weights`) and makes random inputs (`output shape`).
        delegate_declines: (model, operator) -> why its options or operands let XNNPACK leave it to the builtin
            kernels; None: it takes it. What depends on scales stands in `kernels/xnnpack.py`.
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    rules: Mapping[str, str]
    group: OperatorGroup
    variant: Callable[[Model, Operator], Variant] = types_variant
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    reads_scales: bool = True
    roles: tuple[Role, ...] = ("input",)
    delegate_declines: Callable[[Model, Operator], str | None] = lambda _model, _op: None

    def role(self, position: int) -> Role:
        """What the input at a position is."""
        return self.roles[min(position, len(self.roles) - 1)]
