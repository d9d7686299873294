"""From inputs to outputs of the operators around dense layers, vectorised: the definition that engines are held to.

`exact.py` states the same independently, in Python integers and fractions; neither imports the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from .fold import Constants
from .forms import Centered, Combined, Largest, Product15, Quotient, Stage, Total, Weighted
from .rule import Choice, Condition, NotNegative, Staged, StagedRule
from .vector_stages import Calculate, Given, Holds, Steps, last, one_stage

__all__ = ["Calculator", "Given", "Holds", "Steps"]


class Calculator:
    """A rule with an operator's constants, to be applied to many inputs. Several threads may do so at once.

    Args:
        rule: the rule.
        constants: the operator's.
    """

    def __init__(self, rule: StagedRule, constants: Constants) -> None:
        self.rule, self.constants = rule, constants

    @functools.cached_property
    def _apply(self) -> _Apply:
        """The rule with the constants, made when it is first applied."""
        return _prepared(self.rule, self.constants, {})

    def __call__(self, given: Given, holds: Holds) -> Steps:
        """Apply the rule.

        Args:
            given: the operator's inputs, of shapes that broadcast.
            holds: what is known of the conditions of its choices.

        Returns:
            Every named step in order; the last is `output`, int64 or float32.
        """
        with np.errstate(all="ignore"):
            return self._apply(_Call(given, holds, {}))


class _Call(NamedTuple):
    """What a rule is applied to.

    Attributes:
        given: the operator's inputs.
        holds: what is known of conditions.
        known: what stages wrote so far, by their numbers: one that both rules of a choice have is calculated once.
    """

    given: Given
    holds: Holds
    known: dict[int, Steps]


_Apply = Callable[[_Call], Steps]

_Numbers = dict[tuple[Stage, tuple[int, ...]], int]
"""A stage, and the numbers of those that it reads -> its number; equal stages that read the same have one."""


def _prepared(rule: StagedRule, constants: Constants, numbers: _Numbers) -> _Apply:
    match rule:
        case Staged():
            return _prepared_stages(rule, constants, numbers)
        case Choice():
            then, otherwise = (_prepared(part, constants, numbers) for part in (rule.then, rule.otherwise))
            return lambda call: _chosen(rule.when, then, otherwise, call)
        case never:
            assert_never(never)


def _chosen(when: Condition, first: _Apply, second: _Apply, call: _Call) -> Steps:
    if isinstance(when, NotNegative):
        then = first(call)
        where: bool | npt.NDArray[np.bool_] = np.asarray(then[when.of] >= 0)
    else:
        where = call.holds(when)
        if where is False or (where is not True and not np.any(where)):
            return second(call)
        then = first(call)
        if where is True or np.all(where):
            return then
    rest = second(call)
    return {
        name: value if value is rest[name] else np.where(where, value, rest[name])
        for name, value in then.items()
        if name in rest
    }


def _prepared_stages(rule: Staged, constants: Constants, numbers: _Numbers) -> _Apply:
    written: dict[str, int] = {}
    stages: list[tuple[int, Calculate]] = []
    for stage in rule.stages:
        number = numbers.setdefault((stage, tuple(written[name] for name in _reads(stage))), len(numbers))
        written |= dict.fromkeys((stage.step, stage.total) if isinstance(stage, Weighted) else (stage.step,), number)
        stages.append((number, one_stage(stage, constants)))
    output = last(rule.output, constants)

    def apply(call: _Call) -> Steps:
        steps: Steps = {}
        for number, calculate in stages:
            if number not in call.known:
                call.known[number] = calculate(call.given, steps)
            steps |= call.known[number]
        return steps | output(call.given, steps)

    return apply


def _reads(stage: Stage) -> tuple[str, ...]:
    """The names of the values that a stage reads."""
    match stage:
        case Centered() | Total() | Largest() | Quotient():
            return ()
        case Combined(of=names) | Weighted(of=names) | Product15(of=names):
            return names
        case _:
            return (stage.of,)
