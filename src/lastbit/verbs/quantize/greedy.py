"""In which order the converter's optimizer looks at the operators of a graph.

It takes operators from a stack, the last one of the model first. What nobody uses goes. A change pushes the new
operators, then the users of what was replaced, then what fed the operator that is gone, if at most one other operator
uses that. Rounds follow until nothing changes.

Source: llvm/llvm-project mlir/lib/Transforms/Utils/GreedyPatternRewriteDriver.cpp (0287f6dbe200).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...model.graph import Tensor
from ...model.types import Array
from .ir import CONSTANT, RETURN, Graph, Op, Value
from .numbers import Parameters

__all__ = ["Optimizer", "Step"]

_ROUNDS = 10
Step = Callable[[Graph, Op], bool]


class Optimizer(Graph):
    """A graph while steps change it; each step changes it at one operator and returns True, or returns False."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.arguments, self.ops = graph.arguments, graph.ops
        self._stack: list[Op] = []
        self._waiting: set[Op] = set()

    def apply(self, *steps: Step) -> None:
        """Apply steps until none fits; at each operator the first one that fits."""
        for _ in range(_ROUNDS):
            self._stack, self._waiting = [], set()
            for op in self.ops:
                self._push(op)
            changed = False
            while self._stack:
                op = self._stack.pop()
                if op not in self._waiting:
                    continue
                self._waiting.discard(op)
                if _is_dead(op):
                    self.erase(op)
                    changed = True
                else:
                    changed |= any(step(self, op) for step in steps)
            if not changed:
                return

    def add(
        self,
        name: str,
        operands: Sequence[Value | None],
        results: Sequence[tuple[Tensor, Parameters | None]],
        options: Mapping[str, Any] | None = None,
        *,
        data: Array | None = None,
        at: int | None = None,
    ) -> Op:
        """A new operation, which is looked at next."""
        op = super().add(name, operands, results, options, data=data, at=at)
        self._push(op)
        return op

    def replace(self, op: Op, value: Value) -> None:
        """Let the users of an operation's only result use another value, and remove the operation."""
        for user, _ in op.results[0].uses:
            self._push(user)
        super().replace(op, value)

    def erase(self, op: Op) -> None:
        """Remove an operation; what fed it is looked at again, where at most one other operation uses it."""
        for value in op.operands:
            others = {user for user, _ in value.uses if user is not op} if value is not None else set()
            if value is not None and value.producer is not None and len(others) <= 1:
                self._push(value.producer)
        self._waiting.discard(op)
        super().erase(op)

    def _push(self, op: Op) -> None:
        if op.name != CONSTANT and op not in self._waiting:
            self._waiting.add(op)
            self._stack.append(op)


def _is_dead(op: Op) -> bool:
    return op.name != RETURN and not any(result.uses for result in op.results)
