"""What every operator file is written in terms of: a prepared operator, and how a refusal is raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.errors import Refusal, UnsupportedError
from ..model.graph import Model, Operator, Tensor
from ..model.types import Array, DType
from ..rules.operators.fold import Constants
from ..rules.operators.recipes import CurveRecipe, SoftmaxRecipe
from ..rules.operators.vector import Calculator, Given, Holds

__all__ = [
    "Evaluate",
    "PreparedOperator",
    "RecipeOperator",
    "StagedOperator",
    "constant_operand",
    "output_values",
    "refuse",
    "required_operand",
]

Evaluate = Callable[[Sequence[Array]], dict[str, Array]]


@dataclass(frozen=True, eq=False)
class RecipeOperator:
    """A table or a polynomial that LastBit makes, and what it is made from.

    Attributes:
        recipe: the recipe.
        constants: what the file says of the operator.
        beta: SOFTMAX's option.
    """

    recipe: CurveRecipe | SoftmaxRecipe
    constants: Constants
    beta: np.float32 | None = None


@dataclass(frozen=True, eq=False)
class StagedOperator:
    """A rule that is made of stages, with an operator's constants, and how it meets the operator's inputs.

    Attributes:
        calculator: the rule and the constants.
        given: the operator's inputs -> what the rule is applied to, arrays that broadcast to the output's shape.
        holds: the operator's inputs -> where the conditions of the rule's choices are met.
        members: (the operator's inputs, a place in the output) -> the elements that are reduced to the one there; None
            where nothing is reduced.
    """

    calculator: Calculator
    given: Callable[[Sequence[Array]], Given]
    holds: Callable[[Sequence[Array]], Holds]
    members: Callable[[Sequence[Array], tuple[int, ...]], Array] | None = None

    def steps(self, values: Sequence[Array], dtype: DType) -> dict[str, Array]:
        """Every named step for these inputs; the output has this element type."""
        named = dict(self.calculator(self.given(values), self.holds(values)))
        named["output"] = named["output"].astype(dtype.numpy)
        return named


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedOperator:
    """One operator with every constant folded for one runtime.

    Attributes:
        operator: the operator as the file has it.
        rule: the name of the arithmetic rule.
        inputs: indices of the tensors that `evaluate` takes, in order: the operator's non-constant inputs.
        evaluate: the values of those tensors -> every named step in order of calculation. The last step is
            always `output`, with the output tensor's dtype and shape; further outputs are `output_1` and so on.
        notes: warnings about this operator that a user should see.
        kernel: which kernel family of the runtime computes it (`xnnpack`, `builtin`, `reference`, `tflm`); put in by
            `lastbit.prepare`.
        recipe: of LOGISTIC, TANH and SOFTMAX of quantized values: what table or polynomial they follow.
        staged: of an operator whose rule is a list of stages or a choice of such: the rule, and what it is applied to.
        writes: indices of the tensors that `output`, `output_1`, ... go to; None: the operator's outputs.
    """

    operator: Operator
    rule: str
    inputs: tuple[int, ...]
    evaluate: Evaluate
    notes: tuple[str, ...] = ()
    kernel: str = ""
    recipe: RecipeOperator | None = None
    staged: StagedOperator | None = None
    writes: tuple[int, ...] | None = None

    def written(self, steps: Mapping[str, Array]) -> dict[int, Array]:
        """What its steps say of the tensors that it writes: tensor index -> value."""
        return _at(self.operator.outputs if self.writes is None else self.writes, steps)


def output_values(op: Operator, steps: Mapping[str, Array]) -> dict[int, Array]:
    """What an operator's steps say of its output tensors: tensor index -> value."""
    return _at(op.outputs, steps)


def _at(places: Sequence[int], steps: Mapping[str, Array]) -> dict[int, Array]:
    return {index: steps[f"output_{i}" if i else "output"] for i, index in enumerate(places)}


def refuse(op: Operator, reason: str, kind: Refusal = Refusal.NOT_COVERED) -> UnsupportedError:
    """The error for an operator that is refused or not covered: label, reason and kind.

    The caller raises it; `prepare` gathers all of a model's refusals into one.
    """
    return UnsupportedError(f"{op.label}: {reason}", (reason,), kind)


def required_operand(model: Model, op: Operator, position: int, what: str) -> Tensor:
    """The tensor at an input position that this operator cannot do without.

    Raises:
        UnsupportedError: it is absent.
    """
    tensor = model.operand(op, position)
    if tensor is None:
        raise refuse(op, f"has no {what} (input {position} is absent)")
    return tensor


def constant_operand(model: Model, op: Operator, position: int, what: str) -> Tensor:
    """The constant tensor at an input position.

    Raises:
        UnsupportedError: it is absent, or computed at run time.
    """
    tensor = required_operand(model, op, position, what)
    if tensor.data is None:
        raise refuse(op, f"{what} ({tensor.label}) is computed at run time; LastBit covers constant {what} only")
    return tensor
