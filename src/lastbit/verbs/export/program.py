"""What is written, in no language yet: tensors with a place in memory, and operators in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...model.graph import Model, Tensor
from ...model.types import Array, DType
from ...ops.base import PreparedOperator
from ...ops.dense.gemv_or_gemm import PreparedByRows, for_rows
from ...ops.moves.before_layer import RESHAPES
from ...ops.prepare import PreparedModel
from ...rules.operators.fold import Constants
from ...rules.operators.rule import Staged
from ...rules.requantize.fold import RequantParams

__all__ = ["ElementFunction", "Piece", "Place", "Plan", "Probed", "Slot", "elements", "plan", "pool_of", "targets"]


@dataclass(frozen=True)
class Place:
    """Where a tensor is while the program runs.

    Attributes:
        kind: given as an `input`, as an `output`, in the `arena`, in the `state`, or a `constant` of the program.
        number: which input, output or variable; in the arena the first element.
    """

    kind: Literal["input", "output", "arena", "state", "constant"]
    number: int


@dataclass(frozen=True, eq=False)
class Slot:
    """A tensor of a program.

    Attributes:
        tensor: the tensor.
        place: where it is.
        elements: how many elements it has.
    """

    tensor: Tensor
    place: Place
    elements: int

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.tensor.dtype


@dataclass(frozen=True, eq=False)
class Probed:
    """Channels whose requantization a self-test asks alone.

    Attributes:
        params: the folded constants.
        start: the first channel.
        stop: the channel after the last.
        function: what requantizes.
        structure: the constants that it is given, and their type.
        names: what the numbers are called that it is given of a channel: its multiplier and shift.
    """

    params: RequantParams
    start: int
    stop: int
    function: str
    structure: tuple[str, str]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ElementFunction:
    """A function of one output element that a self-test asks alone.

    Attributes:
        function: its name.
        leaf: the rule that it follows.
        constants: what the file says of the operator.
        given: what the rule calls its arguments: `input_1`, `input_2`, `total`, `count`, `largest`.
        ranges: the smallest and the largest value of each; none where the argument is a float.
    """

    function: str
    leaf: Staged
    constants: Constants
    given: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]

    @property
    def real(self) -> bool:
        """Whether the argument is a float32."""
        return not self.ranges


@dataclass(frozen=True, eq=False)
class Piece:
    """One operator in a language.

    Attributes:
        entry: the operator.
        function: the function that calculates it.
        leading: arguments before the tensors.
        multiply_adds: of one call.
        probes: its requantization, where it has one.
        asked: its functions of one element, where it has such.
    """

    entry: PreparedOperator
    function: str
    leading: tuple[str, ...] = ()
    multiply_adds: int = 0
    probes: tuple[Probed, ...] = ()
    asked: tuple[ElementFunction, ...] = ()


def elements(tensor: Tensor) -> int:
    """Elements of a tensor as the file has it."""
    return math.prod(tensor.shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """A model's operators in order, and where each of its tensors is.

    Attributes:
        model: the model.
        entries: the operators that are calculated.
        slots: tensor index -> the tensor and its place.
        constants: tensor index -> value, of tensors that no input changes.
        pools: element type -> elements of the arena.
        state: where a variable's value stands -> its first value, of variables that are kept from run to run.
        same: a tensor that only reshapes another one -> that one.
        unwritten: outputs that no operator calculates: constants, and inputs that are outputs too.
    """

    model: Model
    entries: tuple[PreparedOperator, ...]
    slots: Mapping[int, Slot]
    constants: Mapping[int, Array]
    pools: Mapping[str, int]
    state: Mapping[int, Array]
    same: Mapping[int, int]
    unwritten: Sequence[int]


POOLS = {"int8": "int8", "uint8": "int8", "bool": "int8"}
"""Element types that share a pool of another one's name: bytes."""


def plan(prepared: PreparedModel, only: int | None = None) -> Plan:
    """Lay out a model, or one operator of it.

    Args:
        prepared: the model; every operator that is laid out is covered.
        only: this operator.
    """
    model = prepared.model
    # Those that write nothing name a variable, or give it its first value.
    wanted = [entry for index, entry in prepared.operators.items() if only in (None, index) and entry.writes != ()]
    chosen = [_for_its_rows(entry) for entry in wanted]
    constants = dict(prepared.constants) if only is None else {}
    entries: list[PreparedOperator] = []
    for entry in chosen:
        if only is None and _is_constant(entry, constants):
            values = [constants.get(i, _zeros(model.tensors[i])) for i in entry.inputs]
            constants.update(entry.written(entry.evaluate(values)))
        else:
            entries.append(_without_known_shape(entry, constants))
    inputs = [t.index for t in model.inputs] if only is None else list(dict.fromkeys(entries[0].inputs))
    outputs = [t.index for t in model.outputs] if only is None else list(entries[0].operator.outputs)
    written = {index for entry in entries for index in entry.operator.outputs}
    held = _variables(model, entries)
    same = _aliases(entries, set(outputs))
    slots = {index: Place("input", k) for k, index in enumerate(inputs)}
    slots |= {index: Place("state", k) for k, index in enumerate(held)}
    slots |= {index: Place("output", k) for k, index in enumerate(outputs) if index not in slots}
    lives = _lives(entries, same, set(slots) | set(constants))
    placed, pools = _pack(model, lives)
    slots |= placed
    slots |= {index: Place("constant", 0) for index in constants if index not in slots}
    for index, first in same.items():
        slots[index] = slots[first]
    tensors = {index: held.get(index, model.tensors[index]) for index in slots}
    found = {index: Slot(tensors[index], place, elements(tensors[index])) for index, place in slots.items()}
    return Plan(
        model,
        tuple(e for e in entries if same.keys().isdisjoint(e.operator.outputs)),
        found,
        constants,
        pools,
        {index: prepared.state.get(index, _zeros(tensor)) for index, tensor in held.items()},
        same,
        [index for index in outputs if index not in written],
    )


def _variables(model: Model, entries: Sequence[PreparedOperator]) -> dict[int, Tensor]:
    """Where each variable's value stands -> a tensor of its type and shape: what is read from it, or assigned to it."""
    found: dict[int, Tensor] = {}
    for entry in entries:
        if entry.operator.name == "READ_VARIABLE":
            found[entry.inputs[0]] = model.tensors[entry.operator.outputs[0]]
    for entry in entries:
        for place in entry.writes or ():
            found.setdefault(place, model.tensors[entry.inputs[0]])
    return found


def targets(entry: PreparedOperator) -> tuple[int, ...]:
    """The tensors that an operator writes: its outputs, or variables."""
    return tuple(entry.operator.outputs) if entry.writes is None else entry.writes


def _for_its_rows(entry: PreparedOperator) -> PreparedOperator:
    """A dense layer whose rule depends on how many rows it has, with the rule of as many as the file says."""
    if isinstance(entry, PreparedByRows):
        return for_rows(entry, elements(entry.layer.input) // entry.layer.depth)
    return entry


def _without_known_shape(entry: PreparedOperator, constants: Mapping[int, Array]) -> PreparedOperator:
    """A TRANSPOSE_CONV whose output shape is calculated, but from shapes only: nothing that a program need be given."""
    if entry.operator.name != "TRANSPOSE_CONV" or len(entry.inputs) < 2 or entry.inputs[0] not in constants:
        return entry
    shape, evaluate = constants[entry.inputs[0]], entry.evaluate
    return replace(entry, inputs=entry.inputs[1:], evaluate=lambda values: evaluate([shape, *values]))


def _is_constant(entry: PreparedOperator, constants: Mapping[int, Array]) -> bool:
    """Whether no input changes what an operator gives; those that keep state between calls are told apart."""
    if not entry.operator.outputs or entry.writes is not None:
        return False
    known = bool(entry.inputs or entry.operator.inputs) and all(i in constants for i in entry.inputs)
    return known or entry.operator.name == "SHAPE"


def _zeros(tensor: Tensor) -> Array:
    return np.zeros(tensor.shape, tensor.dtype.numpy)


def _aliases(entries: Sequence[PreparedOperator], outputs: set[int]) -> dict[int, int]:
    """Tensors that are another one's elements in the same order: tensor -> the first one."""
    found: dict[int, int] = {}
    for entry in entries:
        op = entry.operator
        if op.name in RESHAPES and entry.inputs and not outputs.intersection(op.outputs):
            source = entry.inputs[0]
            found[op.outputs[0]] = found.get(source, source)
    return found


def _lives(
    entries: Sequence[PreparedOperator], same: Mapping[int, int], elsewhere: set[int]
) -> dict[int, tuple[int, int]]:
    """Tensors of the arena: from the operator that writes one to the last that reads it."""
    lives: dict[int, tuple[int, int]] = {}
    for step, entry in enumerate(entries):
        for index in (*entry.operator.outputs, *entry.inputs):
            first = same.get(index, index)
            if first not in elsewhere:
                lives[first] = (lives.get(first, (step, step))[0], step)
    return lives


def _pack(model: Model, lives: Mapping[int, tuple[int, int]]) -> tuple[dict[int, Place], dict[str, int]]:
    """Large tensors first, each at the lowest place at which it meets no other that lives at the same time."""
    places: dict[int, Place] = {}
    pools: dict[str, int] = {}
    for index in sorted(lives, key=lambda i: (-elements(model.tensors[i]), i)):
        kind, size = pool_of(model.tensors[index]), elements(model.tensors[index])
        begin, end = lives[index]
        taken = sorted(
            (places[other].number, places[other].number + elements(model.tensors[other]))
            for other in places
            if pool_of(model.tensors[other]) == kind and lives[other][0] <= end and begin <= lives[other][1]
        )
        start = 0
        for low, high in taken:
            if start + size <= low:
                break
            start = max(start, high)
        places[index] = Place("arena", start)
        pools[kind] = max(pools.get(kind, 0), start + size)
    return places, pools


def pool_of(tensor: Tensor) -> str:
    """The element type of the arena that holds a tensor."""
    return POOLS.get(tensor.dtype.name, tensor.dtype.name)
