"""Cases of the operators around dense layers (QUANTIZE ... TANH), as evidence families."""

from __future__ import annotations

from collections.abc import Iterator

from lab.cases.dense import Case
from lab.record import activations
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Model, Operator
from lastbit.ops import OPERATORS
from lastbit.ops.base import PreparedOperator


def cases(seed: int, rounds: int) -> Iterator[Case]:
    """`rounds` of each of the recorder's families: random and adversarial scales, ties, both ends of every type."""
    for case in activations.cases(seed, rounds):
        yield Case("random and adversarial scales, ties, all 8-bit values", case.graph(), (case.values,))


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of the operator that fits its element types."""
    prepared = {}
    for name in OPERATORS[op.name].rules:
        try:
            prepared[name] = OPERATORS[op.name].prepare(model, op, name)
        except UnsupportedError:
            continue
    return prepared
