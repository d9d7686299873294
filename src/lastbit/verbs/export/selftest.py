"""A self-test: inputs that separate the rule of each operator from its rivals, and everything that must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.batch_matmul import PreparedProduct
from ...ops.products.convolution import PreparedConvolution
from ...rules.requantize.fold import RequantParams
from .element_probes import ElementProbe, element_probes
from .program import Piece, Plan, Slot
from .rivals import Kills, Probe, differing, layer_rivals, probes_of, staged_rivals
from .vectors import MODES, Vector, checksum, float_exponent

__all__ = ["Expected", "SelfTest", "run_plan", "self_test"]

Progress = Callable[[int, int, str], None]

MOST_OUTPUTS = 1024
"""Elements of one output that are kept whole for each vector; its checksum is of all."""

_TRIED = 6
_MOST_VECTORS = 4
_LARGE = 4_000_000
_MANY = 100


@dataclass(frozen=True, eq=False)
class Expected:
    """What one vector must give.

    Attributes:
        vector: the input.
        inputs: its values, which the code makes itself.
        outputs: the program's outputs.
        checksums: for each operator of the program, in order: of its outputs' elements.
    """

    vector: Vector
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    checksums: Sequence[int]


@dataclass(frozen=True, eq=False)
class SelfTest:
    """A self-test.

    Attributes:
        vectors: whole runs.
        exponents: of each input: see `vectors.float_exponent`.
        probes: the number of a piece -> accumulators asked alone.
        elements: the function of one element -> what it is asked alone.
        kills: operator -> rivals and those caught.
    """

    vectors: Sequence[Expected]
    exponents: Sequence[int]
    probes: Mapping[int, Sequence[Probe]]
    elements: Mapping[str, Sequence[ElementProbe]] = field(default_factory=dict)
    kills: Mapping[int, Kills] = field(default_factory=dict)

    @property
    def single_checks(self) -> int:
        """Requantizations and functions of one element, each asked once."""
        return sum(map(len, self.probes.values())) + sum(map(len, self.elements.values()))

    @property
    def rivals(self) -> int:
        """Pairs of an operator and another rule."""
        return sum(len(kills.rivals) for kills in self.kills.values())

    @property
    def caught(self) -> int:
        """Those caught."""
        return sum(len(kills.caught) for kills in self.kills.values())


def run_plan(
    plan: Plan, inputs: Sequence[Slot], values: Sequence[Array], state: Mapping[int, Array]
) -> tuple[dict[int, Array], dict[int, Mapping[str, Array]]]:
    """Every tensor of a program, and every operator's steps, as the rules say; variables begin with this state."""
    tensors: dict[int, Array] = {**plan.constants, **state}
    tensors.update({slot.tensor.index: value for slot, value in zip(inputs, values, strict=True)})
    steps: dict[int, Mapping[str, Array]] = {}
    for entry in plan.entries:
        for index in entry.inputs:
            if index not in tensors:
                tensors[index] = _alias(plan, index, tensors)
        found = entry.evaluate([tensors[i].reshape(_shape(plan, i)) for i in entry.inputs])
        steps[entry.operator.index] = found
        tensors.update(entry.written(found))
    for index, slot in plan.slots.items():
        if slot.place.kind == "output" and index not in tensors:
            tensors[index] = _alias(plan, index, tensors)
    return tensors, steps


def _shape(plan: Plan, index: int) -> tuple[int, ...]:
    """A tensor's own shape; a variable's is that of its value."""
    return plan.slots[index].tensor.shape if index in plan.state else plan.model.tensors[index].shape


def _alias(plan: Plan, index: int, tensors: Mapping[int, Array]) -> Array:
    """A tensor that has another one's values in a shape of its own."""
    return tensors[plan.same[index]].reshape(plan.model.tensors[index].shape)


def self_test(
    plan: Plan,
    pieces: Sequence[Piece],
    inputs: Sequence[Slot],
    outputs: Sequence[Slot],
    progress: Progress | None = None,
) -> SelfTest:
    """Choose the vectors of a program that catch most, and probes that catch the rest.

    Args:
        plan: the program.
        pieces: its operators in a language, which say what can be asked alone.
        inputs: what it is given.
        outputs: what it returns.
        progress: called with (runs done, runs in all, what is done next).
    """
    exponents = [float_exponent(plan.entries, plan.model, slot.tensor) for slot in inputs]
    kills = {entry.operator.index: Kills() for entry in plan.entries}
    rng = np.random.default_rng(20)
    probes = {
        number: probes_of(piece.entry, params, stop - start, kills[piece.entry.operator.index], rng)
        for number, piece in enumerate(pieces)
        for params, start, stop in _asked(piece)
    }
    singles = {
        asked.function: element_probes(piece.entry, asked, kills[piece.entry.operator.index], rng)
        for piece in pieces
        for asked in piece.asked
    }
    work = sum(piece.multiply_adds for piece in pieces)
    small = work < _LARGE and len(plan.entries) <= _MANY
    tried = _MOST_VECTORS if plan.state else _TRIED if small else 3
    others = {entry.operator.index: list(staged_rivals(entry, plan.model)) if small else [] for entry in plan.entries}
    runs: list[tuple[Expected, set[tuple[int, str]]]] = []
    state = plan.state
    for number in range(tried):
        vector = Vector(number + 1, MODES[number % len(MODES)])
        if progress is not None:
            progress(number, tried, "self-test")
        values = vector.values(inputs, exponents)
        tensors, steps = run_plan(plan, inputs, values, state)
        state = {index: tensors[index] for index in plan.state}
        sums = [_sum_of(entry, steps) for entry in plan.entries]
        results = [tensors[slot.tensor.index] for slot in outputs]
        runs.append((Expected(vector, values, results, sums), _caught(plan, tensors, steps, kills, others)))
    # The runs of a stream depend on those before them, so all are kept.
    chosen = runs if plan.state else _fewest(runs)
    for _, caught in chosen:
        for index, name in caught:
            kills[index].caught.add(name)
    return SelfTest([expected for expected, _ in chosen], exponents, probes, singles, kills)


def _asked(piece: Piece) -> list[tuple[RequantParams, int, int]]:
    return [(probed.params, probed.start, probed.stop) for probed in piece.probes]


def _sum_of(entry: PreparedOperator, steps: Mapping[int, Mapping[str, Array]]) -> int:
    written = entry.written(steps[entry.operator.index])
    return sum(checksum(value) for value in written.values()) & 0xFFFFFFFF


def _caught(
    plan: Plan,
    tensors: Mapping[int, Array],
    steps: Mapping[int, Mapping[str, Array]],
    kills: Mapping[int, Kills],
    others: Mapping[int, Sequence[tuple[str, PreparedOperator]]],
) -> set[tuple[int, str]]:
    """(operator, rival) for every rival that prints something else for this vector."""
    found: set[tuple[int, str]] = set()
    for entry in plan.entries:
        index = entry.operator.index
        named = steps[index]
        if isinstance(entry, PreparedConvolution | PreparedDense | PreparedProduct):
            for params, acc in _accumulators(entry, named):
                found |= {(index, name) for name in differing(layer_rivals(entry, params), params, acc)}
        else:
            values = [tensors[i] for i in entry.inputs]
            for name, rival in others[index]:
                kills[index].rivals.add(name)
                if rival.inputs == entry.inputs and (rival.evaluate(values)["output"] != named["output"]).any():
                    found.add((index, name))
    return found


def _accumulators(
    entry: PreparedConvolution | PreparedDense | PreparedProduct, steps: Mapping[str, Array]
) -> list[tuple[RequantParams, Array]]:
    if isinstance(entry, PreparedConvolution):
        return [(part.params, steps["acc"][..., part.first : part.end]) for part in entry.parts]
    return [(entry.requant, steps["acc"])]


def _fewest(
    runs: Sequence[tuple[Expected, set[tuple[int, str]]]],
) -> list[tuple[Expected, set[tuple[int, str]]]]:
    """At most four vectors: each time the one that catches most of what is left, and three at least."""
    left, caught = list(runs), set[tuple[int, str]]()
    chosen: list[tuple[Expected, set[tuple[int, str]]]] = []
    while left and len(chosen) < _MOST_VECTORS:
        best = max(left, key=lambda run: len(run[1] - caught))
        if len(chosen) >= 3 and not best[1] - caught:
            break
        left.remove(best)
        chosen.append(best)
        caught |= best[1]
    return chosen
