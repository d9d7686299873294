"""From what each operator wants of a tensor to what is done to it: ai-edge-quantizer's second half, tensor by tensor.

What a producer gives as integers and a user takes with the same scale needs nothing between them; another scale needs a
QUANTIZE, a user of float32 a DEQUANTIZE. Users that want the same share it.

Source: google-ai-edge/ai-edge-quantizer (0.10.0) params_generator.py (constants that are wanted in several ways) and
transformation_instruction_generator.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ....model.graph import Subgraph
from .numbers import UseParameters
from .recipe import OPERATORS, ScaleOwner
from .uses import OUTSIDE, GivesUp, TensorUses, Use, Wish

__all__ = ["Action", "Instruction", "instructions"]


class Action(Enum):
    """What is done to a tensor for some of its users."""

    NOTHING = "it stays float32"
    INTEGERS = "the tensor itself is quantized"
    QUANTIZE = "a QUANTIZE stands before the users"
    DEQUANTIZE = "the tensor is quantized and a DEQUANTIZE stands before the users"
    COPY = "the users have a constant of their own"


_ACTIONS = {
    Wish.FLOAT: Action.NOTHING,
    Wish.INTEGERS: Action.INTEGERS,
    Wish.QUANTIZED: Action.QUANTIZE,
    Wish.REAL: Action.DEQUANTIZE,
}


@dataclass(eq=False)
class Instruction:
    """One thing done to a tensor.

    Attributes:
        action: what.
        producer: the operator that gives the tensor, OUTSIDE for none.
        users: the operators for which it is done, OUTSIDE for the graph's output; one twice that reads it twice.
        params: how it is quantized.
    """

    action: Action
    producer: int
    users: list[int]
    params: UseParameters | None


def instructions(graph: Subgraph, index: int, uses: TensorUses) -> list[Instruction]:
    """What is done to one tensor, in order.

    Raises:
        GivesUp: it would have to be quantized and stay float32.
    """
    producer = next((op.index for op in graph.operators if index in op.outputs), OUTSIDE)
    groups = _groups(uses.users)
    if graph.tensors[index].data is not None and not _compatible(uses.users):
        # The last users keep the tensor itself.
        found = [Instruction(Action.COPY, producer, [use.op for use in group], None) for group in groups[:-1]]
        found += [_made(group, producer) for group in groups]
        return found
    wanted = [_made(group, producer) for group in groups]
    if uses.producer is not None:
        everyone = _everyone(graph, index)
        wanted = _joined(Instruction(_ACTIONS[uses.producer.wish], producer, everyone, uses.producer.params), wanted)
    actions = {one.action for one in wanted}
    if Action.NOTHING in actions and actions & {Action.INTEGERS, Action.DEQUANTIZE}:
        raise GivesUp(f"{graph.tensors[index].label} would be quantized and stay float32")
    _take_over(graph, wanted)
    return wanted


def _made(group: Sequence[Use], producer: int) -> Instruction:
    return Instruction(_ACTIONS[group[0].wish], producer, [use.op for use in group], group[0].params)


def _groups(users: Sequence[Use]) -> list[list[Use]]:
    """Users that want the same, in the order of their first ones."""
    groups: list[list[Use]] = []
    for use in users:
        for group in groups:
            if group[0].same(use):
                group.append(use)
                break
        else:
            groups.append([use])
    return groups


def _compatible(users: Sequence[Use]) -> bool:
    """Whether one constant can serve all users."""
    if not users:
        return True
    first = users[0]
    return all(_compatible_two(first, use) for use in users[1:])


def _compatible_two(first: Use, second: Use) -> bool:
    as_float, as_integers = {Wish.QUANTIZED, Wish.FLOAT}, {Wish.INTEGERS, Wish.REAL}
    if first.same(second) or {first.wish, second.wish} <= as_float:
        return True
    if not {first.wish, second.wish} <= as_integers:
        return False
    return first.params is second.params or (first.params is not None and first.params.same(second.params))


def _everyone(graph: Subgraph, index: int) -> list[int]:
    """All users of a tensor: the graph's outputs first."""
    outside = [OUTSIDE for other in graph.outputs if other == index]
    return outside + [op.index for op in graph.operators for other in op.inputs if other == index]


def _joined(given: Instruction, wanted: list[Instruction]) -> list[Instruction]:
    """The producer's and the users' wishes together: what meets is left out."""
    found = []
    for one in wanted:
        if given.action is not Action.DEQUANTIZE or one.action not in (Action.QUANTIZE, Action.NOTHING):
            found.append(one)
            continue
        for user in one.users:
            if user in given.users:
                given.users.remove(user)
        if one.action is Action.NOTHING:
            found.append(Instruction(Action.DEQUANTIZE, one.producer, one.users, given.params))
        elif given.params is not None and given.params.same(one.params):
            found.append(Instruction(Action.INTEGERS, one.producer, one.users, one.params))
        else:
            found.append(Instruction(Action.INTEGERS, one.producer, one.users, given.params))
            found.append(one)
    return [given, *found] if given.users else found


def _take_over(graph: Subgraph, wanted: list[Instruction]) -> None:
    """Where all users want another scale, a producer that is free to choose gives that one."""
    if len(wanted) != 2:
        return
    first, second = wanted
    if (first.action, second.action) != (Action.INTEGERS, Action.QUANTIZE) or first.users != second.users:
        return
    old, new = first.params, second.params
    if old is None or new is None or first.producer == OUTSIDE:
        return
    if (old.bits, old.axis, old.symmetric) != (new.bits, new.axis, new.symmetric):
        return
    if OPERATORS[graph.operators[first.producer].name].scales is ScaleOwner.OWN:
        first.params = UseParameters(old.bits, new.scale, new.zero_point, old.symmetric, old.axis)
        wanted.pop()
