"""Operators whose rule is made of stages: how the rule meets one input, and what kernels of a rule do not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...model.graph import Operator, Tensor
from ...model.types import Array
from ...rules.base import ElementGroups
from ...rules.operators.fold import Constants, leaves
from ...rules.operators.forms import Quotient
from ...rules.operators.rule import (
    Condition,
    RealOutput,
    StagedRule,
)
from ...rules.operators.vector import Calculator, Given, Holds
from ..base import PreparedOperator, StagedOperator, refuse
from .unary import split_vector

__all__ = ["check_types", "gives_reals", "prepared_unary", "reads_reals"]


def reads_reals(rule: StagedRule) -> bool:
    """Whether the rule is applied to float32."""
    return any(isinstance(stage, Quotient) for stage in leaves(rule)[0].stages)


def gives_reals(rule: StagedRule) -> bool:
    """Whether the rule's output is float32."""
    return isinstance(leaves(rule)[0].output, RealOutput)


def check_types(op: Operator, rule: StagedRule, dtype: str) -> None:
    """Refuse an element type that no kernel of this rule has."""
    if rule.types and dtype not in rule.types:
        raise refuse(op, f"the rule {rule.name} is for {' and '.join(rule.types)}, not {dtype}")


def prepared_unary(
    op: Operator,
    rule: StagedRule,
    constants: Constants,
    tensors: tuple[Tensor, Tensor],
    *,
    notes: Sequence[str] = (),
) -> PreparedOperator:
    """A prepared operator of one input, element by element. A constant input is taken from the file.

    Args:
        op: the operator.
        rule: its rule.
        constants: what the file says of it.
        tensors: its input and its output.
        notes: warnings for the user.
    """
    source, output = tensors

    def array(values: Sequence[Array]) -> Array:
        return np.asarray(source.data if source.data is not None else values[0])

    def given(values: Sequence[Array]) -> Given:
        return {"input_1": array(values)}

    def holds(values: Sequence[Array]) -> Holds:
        return _groups(array(values), source)

    staged = StagedOperator(Calculator(rule, constants), given, holds)
    return PreparedOperator(
        operator=op,
        rule=rule.name,
        inputs=() if source.data is not None else (source.index,),
        evaluate=lambda values: staged.steps(values, output.dtype),
        notes=tuple(notes),
        staged=staged,
    )


def _groups(x: Array, source: Tensor) -> Callable[[Condition], bool | npt.NDArray[np.bool_]]:
    def holds(when: Condition) -> bool | npt.NDArray[np.bool_]:
        if not isinstance(when, ElementGroups):
            raise TypeError(f"an operator of one input has no {when}")
        return split_vector(x, source, when.elements)

    return holds
