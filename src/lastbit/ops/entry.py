"""What LastBit knows of a kind of operator: a line of the table in `ops/__init__.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..model.graph import Model, Operator
from ..runtimes.variant import Variant
from .base import PreparedOperator

__all__ = ["OperatorEntry", "Role"]

Role = Literal["input", "weights", "bias", "output shape"]
"""What an operator's input is."""


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
        rules: rule name -> what it calculates, in one line.
        inputs: how many inputs it has: the fewest and the most.
        outputs: the same of its outputs.
        reads_scales: whether it reads any; what only moves values takes every scale.
        roles: what its inputs are, in order; the last word is that of all others. It is read by what checks operands
            (`weights`, `bias`), counts products (`weights`) and makes random inputs (`output shape`).
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    variant: Callable[[Model, Operator], Variant]
    rules: Mapping[str, str]
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    reads_scales: bool = True
    roles: tuple[Role, ...] = ("input",)

    def role(self, position: int) -> Role:
        """What the input at a position is."""
        return self.roles[min(position, len(self.roles) - 1)]
