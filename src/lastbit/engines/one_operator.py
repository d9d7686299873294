"""The outputs of single operators, where nobody asks for steps: compiled functions where there are some."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model.types import Array
from ..ops.base import PreparedOperator, output_values
from ..ops.prepare import PreparedModel
from . import AUTO, choose_engine

__all__ = ["OperatorRunner", "outputs_of"]


class OperatorRunner:
    """Runs operators of a prepared model one at a time; the outputs are those of the reference engine.

    Args:
        prepared: the model.
        work: about how many products all calls together add up; compiled code is loaded where that is worth it.
    """

    def __init__(self, prepared: PreparedModel, work: float) -> None:
        self._model = prepared.model
        self._compiled = choose_engine(AUTO, work) == "jit"
        self._functions: dict[int, Callable[[Sequence[Array], int], Array] | None] = {}

    def outputs(self, entry: PreparedOperator, values: Sequence[Array]) -> list[Array]:
        """What an operator makes of its inputs: its outputs, in order.

        Args:
            entry: one of the model's operators.
            values: of the tensors `entry.inputs`.
        """
        function = self._function(entry)
        if function is not None:
            return [function(values, 1)]
        return outputs_of(entry, values)

    def _function(self, entry: PreparedOperator) -> Callable[[Sequence[Array], int], Array] | None:
        if not self._compiled:
            return None
        index = entry.operator.index
        if index not in self._functions:
            from .jit.backend import JitBackend

            self._functions[index] = JitBackend().alone(entry, self._model)
        return self._functions[index]


def outputs_of(entry: PreparedOperator, values: Sequence[Array]) -> list[Array]:
    """What an operator makes of its inputs by the reference engine: its outputs, in order."""
    return list(output_values(entry.operator, entry.evaluate(values)).values())
