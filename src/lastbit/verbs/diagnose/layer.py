"""One layer's output, or code for it: which mistakes make it what it is?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...engines.inputs import with_batch
from ...layers.differences import compare_arrays
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import unrounded_matrix
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array, Int64Array, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...runtimes import Runtime, get_runtime, interpreter_here
from .arithmetics import arithmetics, grouped, prepare_everywhere, right_output, that_follow
from .calculated import Calculated
from .calling import Shapes, call, filled, unsteady_text
from .fitted import fitted
from .function import Function, dense_values
from .given import Given
from .given_input import chosen_input, dense_shapes, elsewhere, layer_rows, real_input
from .given_steps import Part, explain_acc, explain_finish, explain_scaled
from .kernels import fault_of
from .report import Diagnosis, Tie
from .samples import first_rows, output_shape, samples_of, size_of_sample
from .search import Search
from .separate import Separator, outputs
from .shape_mistakes import Reading, readings, step_matrix
from .target import Arithmetic, Nearest, Reproduction, Target
from .text import tie_distance
from .unwritten import Unwritten, unwritten

__all__ = ["MOST_MISTAKES", "How", "diagnose_layer", "shown_first"]

MOST_MISTAKES = 3
"""Sets of up to this many mistakes are searched."""

_ROUNDS = 6
"""A function is asked again at most this often, to tell explanations apart."""

_TIES_TRIED = 12
"""Explanations of one length that an input is sought for, to tell them from the first."""


Progress = Callable[[int, int, str], None]


def nothing(_done: int, _total: int, _what: str) -> None:
    """Nobody is told how far a diagnosis is."""


@dataclass(frozen=True, eq=False)
class How:
    """How a layer is to be diagnosed, as `lastbit.diagnose` takes it.

    Attributes:
        runtime: whose output it should be; None for any runtime's.
        acc: the accumulators, where they are known.
        scaled: the scaled values before the output zero point, where they are known.
        quantize_input: whether a real-valued x is quantized first, which is then in question too.
        params: what a function's parameters mean where their names do not say it.
        most: sets of up to this many mistakes are searched.
        seed: of the inputs that are chosen.
        progress: called with (steps done, steps in total, what is done next).
    """

    runtime: Runtime | None = None
    acc: Any = None
    scaled: Any = None
    quantize_input: bool = False
    params: Mapping[str, str] | None = None
    most: int = MOST_MISTAKES
    seed: int = 0
    progress: Progress = nothing


def diagnose_layer(loaded: Model, operator: Operator, x: Any, mine: Any, how: How) -> Diagnosis:
    """Name the mistakes in one layer's output, or in a function; see `lastbit.diagnose`."""
    layers, refused = prepare_everywhere(loaded, operator, how.runtime)
    first = how.runtime.name if how.runtime is not None else shown_first(layers)
    shown = get_runtime(first) if how.runtime is None else how.runtime
    prepared = layers[first]
    function, shapes = None, dense_shapes(loaded, prepared.layer)
    if callable(mine):
        tried = layer_rows(prepared.layer, shapes, how.seed)
        probe = shapes, tried, right_output(prepared, tried).reshape(len(tried), -1)
        function = Function.bind(mine, dense_values(prepared), how.params, probe)
    values, source = chosen_input(
        loaded, prepared.layer, x, shown, function=function, quantize_input=how.quantize_input, seed=how.seed
    )
    if function is not None:
        samples, size = samples_of(prepared.layer, values), size_of_sample(prepared.layer, values)
        matrix, own_acc, own_scaled = call(function, shapes, samples, size)
        how = replace(
            how, acc=own_acc if how.acc is None else how.acc, scaled=own_scaled if how.scaled is None else how.scaled
        )
        source += f"; given to {function.text}{unsteady_text(function, shapes, samples, size)}"
        real = None  # a function is given the quantized input
    else:
        matrix = with_batch(np.asarray(mine), prepared.layer.output.shape)
        real = real_input(loaded, prepared.layer, x, values)
    followed = that_follow(layers, values)
    odd = {name: entry for name, entry in layers.items() if name not in followed}
    refused |= {name: f"its rule {entry.rule} is not one that mistakes can be made in" for name, entry in odd.items()}
    if not followed:
        raise UnsupportedError(f"{operator.label} cannot be diagnosed:", grouped(refused))
    given = Given(
        loaded.source,
        operator.label,
        prepared,
        values,
        source,
        matrix,
        how.runtime.name if how.runtime else None,
        first,
        real,
        how.most,
        how.quantize_input,
        {name: fault for name, entry in layers.items() if (fault := fault_of(loaded, operator, entry))},
    )
    maker = _Diagnoser(given, arithmetics(followed, first), odd, refused, how.most, how.seed, function, shapes)
    maker.progress = how.progress
    report = maker.run(how.acc, how.scaled)
    if report.verdict not in ("unreadable", "unexplained"):
        return report
    return replace(report, elsewhere=elsewhere(loaded, x, shown, matrix, operator, how.quantize_input))


def shown_first(layers: Mapping[str, Any]) -> str:
    """Of the runtimes that take the layer the one that this CPU's interpreter follows, or the first of all."""
    try:
        here = interpreter_here()
    except UnsupportedError:
        here = ""
    return here if here in layers else next(iter(layers))


@dataclass(frozen=True, eq=False)
class _Found:
    """The shortest explanations of one reading."""

    reading: Reading
    explanations: list[Reproduction]


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What a search ends with: explanations, or what comes nearest; and rows or units that were never written."""

    found: _Found | None = None
    nearest: Nearest | None = None
    unwritten: Unwritten | None = None


@dataclass(eq=False)
class _Diagnoser:
    """One diagnosis in the making."""

    given: Given
    arithmetics: Sequence[Arithmetic]
    odd: dict[str, PreparedDense]
    refused: dict[str, str]
    most: int
    seed: int
    function: Function | None
    shapes: Shapes = ()
    outputs: dict[str, Array] = field(default_factory=dict)
    kept: Calculated | None = None
    progress: Progress = nothing

    def run(self, acc: Any, scaled: Any) -> Diagnosis:
        """Read the array, search, tell ties apart."""
        given, layer = self.given, self.given.prepared.layer
        made, problem = readings(given.prepared, given.x.shape, given.mine)
        if problem:
            return Diagnosis(given, (), None, (), problem=problem, refused=self.refused)
        rows = made[0].rows
        if rows * layer.units < math.prod(layer.output_shape(given.x.shape)):
            x, real = first_rows(layer, given.x, given.real, rows)
            self.given = given = replace(given, x=x, real=real)
        right = right_output(given.prepared, given.x)
        matrices = []
        for name, values in (("acc", acc), ("scaled", scaled)):
            matrix, problem = (None, "") if values is None else step_matrix(layer, rows, name, np.asarray(values))
            if problem:
                raise InputError(problem)
            matrices.append(matrix)
        acc_matrix, scaled_matrix = matrices
        if acc_matrix is not None and acc_matrix.dtype.kind == "f":
            raise InputError(
                "acc has values that are not whole numbers; an accumulator is an integer. "
                "Leave acc out, and what made it so is searched for in the output"
            )
        if acc_matrix is not None or scaled_matrix is not None:
            return self._with_steps(made[0], right, acc_matrix, scaled_matrix)
        return self._finished(self._search(made, None, right), made, right, ())

    def _search(self, made: Sequence[Reading], acc: Int64Array | None, right: Array) -> _Outcome:
        """The shortest explanations over all readings, or what comes nearest; of what was written where not all is."""
        searches = [(reading, self._search_in(reading, acc)) for reading in made]
        gap = unwritten(made[0].values, right) if acc is None and made[0].values.dtype.kind != "f" else None
        rest = [] if gap is None else [(made[0], self._search_in(made[0], None, gap.rest))]
        ends = gap is not None and gap.value in _ends(self.given.prepared)
        for count in range(self.most + 1):
            self.progress(count, self.most + 1, f"sets of {count} mistakes" if count > 1 else "single mistakes")
            found = self._level(searches, count)
            if found is not None:
                return _Outcome(found)
            for fewer in _beside_unwritten(count, self.most, ends):
                found = self._level(rest, fewer)
                if found is not None:
                    return _Outcome(found, unwritten=gap)
        if gap is not None and not gap.block:
            # Nothing explains the rest, so these rows may be of the same unknown mistake: small inputs without a bias.
            gap, rest = None, []
        _, nearest = max((search.nearest() for _, search in rest or searches), key=lambda pair: pair[0])
        return _Outcome(None, nearest, gap)

    def _search_in(self, reading: Reading, acc: Int64Array | None, counted: Any = None) -> Search:
        given = self.given
        target = Target(reading.values, acc, reading.layout, reading.wide, counted=counted)
        return Search(self._calculated(), self.arithmetics, target, given.first, given.input_asked)

    def _calculated(self) -> Calculated:
        """What the input gives with mistakes, kept for every reading; the input may have been cut to what is given."""
        if self.kept is None or self.kept.x is not self.given.x:
            self.kept = Calculated(self.given.x, self.given.real)
        return self.kept

    def _level(self, searches: Sequence[tuple[Reading, Search]], count: int) -> _Found | None:
        """The likeliest explanations with this many mistakes."""
        best: tuple[Reading, list[Reproduction], Search] | None = None
        for reading, search in searches:
            found = self._right_answers(search.target) if count == 0 else []
            found = found or search.level(count)
            if found and (best is None or found[0].rarity < best[1][0].rarity - 0.5):
                best = reading, found, search
        if best is None:
            return None
        reading, found, search = best
        return _Found(reading, search.longer(found, count, self.most))

    def _right_answers(self, target: Target) -> list[Reproduction]:
        """The runtimes whose own output this is: whatever else it could be, it is right."""
        layers = self.odd | {name: entry for a in self.arithmetics for name, entry in a.members.items()}
        names = [
            name
            for name in sorted(layers, key=lambda name: name != self.given.first)
            if np.array_equal(target.of(self._own(name, layers[name])), target.of(target.values))
        ]
        if target.layout is not None or not names:
            return []
        return [Reproduction((), tuple(names), layers[names[0]])]

    def _own(self, name: str, prepared: PreparedDense) -> Array:
        """A runtime's own output on the input, calculated once."""
        if name not in self.outputs:
            self.outputs[name] = right_output(prepared, self.given.x)
        return self.outputs[name]

    def _with_steps(self, reading: Reading, right: Array, acc: Int64Array | None, scaled: Array | None) -> Diagnosis:
        """Part by part, each from the array before it that was given."""
        given, most = self.given, self.most
        parts: list[Part] = []
        if acc is not None:
            parts.append(explain_acc(Case.of(given.prepared, given.x, given.real), self.arithmetics[0], acc, most))
        if scaled is not None:
            parts.append(explain_scaled(given.x, self.arithmetics, scaled, acc, given.first, most))
        if scaled is not None and scaled.dtype.kind != "f" and reading.values.dtype.kind != "f":
            parts.append(explain_finish(given.x, self.arithmetics, scaled, reading.values, reading.wide, most))
            outcome = _Outcome()
        else:
            outcome = self._search([reading], acc, right)
            explanations = () if outcome.found is None else tuple(outcome.found.explanations)
            matching = int((right == reading.values).sum())
            parts.append(Part("output", explanations, matching, right.size))
        whole = _joined(parts)
        outcome = _Outcome(None, outcome.nearest) if whole is None else _Outcome(_Found(reading, [whole]))
        return self._finished(outcome, [reading], right, tuple(parts))

    def _finished(self, outcome: _Outcome, made: Sequence[Reading], right: Array, parts: tuple[Part, ...]) -> Diagnosis:
        given, found = self.given, outcome.found
        reading = made[0] if found is None else found.reading
        difference, distance = None, None
        if reading.values.dtype.kind != "f":
            shown = reading.written
            shape = output_shape(given.prepared.layer, given.x, len(right))
            difference = compare_arrays(right.astype(np.int64).reshape(shape), shown.reshape(shape))
            unrounded = unrounded_matrix(Case.of(given.prepared, given.x), {})
            distance = tie_distance(shown, right.astype(np.int64), unrounded)
        ties: tuple[Tie, ...] = ()
        explanations: tuple[Reproduction, ...] = ()
        fit = None
        if found is not None:
            explanations, ties = self._told_apart(found)
        elif not parts and reading.values.dtype.kind != "f" and distance is None:
            counted = None if outcome.unwritten is None else outcome.unwritten.rest
            fit = fitted(Case.of(given.prepared, given.x), reading.values, counted)
        return Diagnosis(
            given,
            explanations,
            outcome.nearest,
            ties,
            reading=reading,
            difference=difference,
            right_output=right,
            parts=parts,
            refused=self.refused,
            unwritten=outcome.unwritten,
            tie_distance=distance,
            fit=fit,
        )

    def _told_apart(self, found: _Found) -> tuple[tuple[Reproduction, ...], tuple[Tie, ...]]:
        """The explanations that are left, the first with what tells the others from it."""
        layer = self.given.prepared.layer
        real = found.reading.values.dtype.kind == "f"
        separator = Separator(layer, real, self.seed, real_inputs=self.given.real is not None)
        left = list(found.explanations)
        for _ in range(_ROUNDS if self.function is not None and not real else 0):
            ties = _ties(left, separator)
            rows = [tie.separation.x for tie in ties if tie.separation is not None]
            if not rows:
                break
            assert self.function is not None
            kept = _agreeing(left, np.concatenate(rows), self.function, self.shapes, self.given)
            if not kept or len(kept) == len(left):
                break
            left = kept
        return tuple(left), tuple(_ties(left, separator))


def _beside_unwritten(count: int, most: int, ends: bool) -> range:
    """How many mistakes are sought beside what was never written, after sets of `count` mistakes in all elements.

    Two mistakes in all elements, or fewer in those that were written: the fewer are likelier. But what holds an end of
    the range may have been written and clamped; as many mistakes in all elements are likelier then.
    """
    last = count - 1 if ends and count < most else count
    return range(0 if count < 2 else count - ends, last + 1) if count else range(0)


def _ends(prepared: PreparedDense) -> set[int]:
    """Where a layer's outputs are clamped, and the ends of their type."""
    dtype, requant = integer_type(prepared.layer.output.dtype), prepared.requant
    return {requant.activation_min, requant.activation_max, dtype.qmin, dtype.qmax}


def _ties(explanations: Sequence[Reproduction], separator: Separator) -> list[Tie]:
    first = explanations[0]
    ties = []
    for other in explanations[1 : 1 + _TIES_TRIED]:
        ties.append(Tie(other, separator.between(first, other)))
    return ties


def _agreeing(
    left: Sequence[Reproduction], rows: Array, function: Function, shapes: Shapes, given: Given
) -> list[Reproduction]:
    """The explanations that print what the function does for more rows; all where that cannot be read the same way."""
    size, more = size_of_sample(given.prepared.layer, rows), filled(shapes, rows)
    answer, _, _ = call(function, shapes, more, size)
    if len(more) > len(rows) and answer.size == len(more) * size:
        answer = answer.reshape(-1, size)[: len(rows)]
    made, problem = readings(given.prepared, rows.shape, answer)
    same = [r for r in made if r.layout is None and r.values.dtype.kind != "f"]
    if problem or not same:
        return list(left)
    values = same[0].values
    return [e for e in left if np.array_equal(outputs(rows, e, False), values)]


def _joined(parts: Sequence[Part]) -> Reproduction | None:
    """The first explanations of all parts as one, or None where a part has none."""
    if any(not part.explanations for part in parts):
        return None
    chosen = [part.explanations[0] for part in parts]
    names = tuple(dict.fromkeys(name for e in chosen for name in e.mistakes))
    last = chosen[-1] if len(chosen) == 1 else chosen[-1 if parts[-1].name != "output" or len(parts) == 1 else -2]
    runtimes = [name for name in last.runtimes if all(name in e.runtimes for e in chosen)] or list(last.runtimes)
    return Reproduction(names, tuple(runtimes), last.prepared)
