"""A model of several layers: a mistake made in every layer of a kind or in one of them, or the first that differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...engines.inputs import as_inputs, check_input, match_inputs
from ...layers.mistakes.of_first_layer import OF_FIRST_LAYER
from ...layers.mistakes.operators import OPERATOR_TIES, operator_mistakes, output_of_operator
from ...layers.step_tables import layer_operators
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.work import products_of_sample
from .function import takes_input_alone
from .layer import How, diagnose_layer, shown_first
from .network_given import NetworkGiven, assigned, called, model_inputs
from .network_report import NetworkDiagnosis, Set, Step
from .network_sets import Candidates, mistakes_of
from .operator_function import with_numbers
from .telling_samples import TellingSamples, telling_samples
from .whole_model import Made, WholeModel, one_of_each, whole_models

__all__ = ["diagnose_network", "diagnose_operators", "is_network"]

_FEW = 6
"""Samples on which every set of mistakes is tried."""
_FEWER = 2
"""The same for pairs."""
_WORK = 2.5e9
"""Products of all sets of one size, about: the likeliest pairs first, and single mistakes on fewer samples."""
_PROMISING = 0.7
"""Share of a few samples' elements from which a set is tried in the other runtimes' arithmetic."""
_KEPT = 8
"""Sets that come nearest, which are tried in every runtime's arithmetic."""
_ELSEWHERE = 96
"""Sets that come next, which are tried on a few samples in each way to requantize, where none of the nearest fits."""
_WORK_ELSEWHERE = 5e8
"""Products of these, at most."""


def is_network(model: Model, x: Any, mine: Any) -> bool:
    """Whether this is about several layers of a model: by what is given, where no operator is named."""
    layers = layer_operators(model, None)
    if len(layers) < 2:
        return False
    if callable(mine):
        return takes_input_alone(mine)
    if isinstance(mine, Mapping):
        return True
    return _is_the_models(model, layers, x, np.asarray(mine))


def _is_the_models(model: Model, layers: Sequence[Operator], x: Any, mine: Array) -> bool:
    """Whether an array can be another operator's output than the first layer's, with x the model's input."""
    try:
        fed = {tensor.index: check_input(tensor, value) for tensor, value in match_inputs(model, as_inputs(model, x))}
    except InputError:
        return False
    samples = len(next(iter(fed.values()))) // max(model.inputs[0].shape[0], 1)
    sizes = {op.index: _size(model, op) for op in model.operators}
    fitting = [index for index, size in sizes.items() if size * samples == mine.size]
    return bool(fitting) and fitting != [layers[0].index]


def _size(model: Model, op: Operator) -> int:
    return int(np.prod(model.tensors[op.outputs[0]].shape)) if op.outputs else 0


def diagnose_network(model: Model, x: Any, mine: Any, how: How) -> NetworkDiagnosis:
    """Name the mistakes in a model's output, in a function, or in intermediate arrays; see `lastbit.diagnose`.

    Raises:
        InputError: the arrays fit no operator, or the function cannot be called.
        UnsupportedError: no runtime runs the model so far.
    """
    whole, every, groups = _prepared(model, x, mine, how)
    if len(whole.arrays) > 1:
        return _Steps(whole, every, groups).run()
    return _Whole(whole, every, groups).run()


def diagnose_operators(model: Model, x: Any, mine: Any, how: How) -> NetworkDiagnosis | None:
    """Name mistakes in the operators without weights of a model with one layer or none.

    Returns:
        The diagnosis; None where no mistake in such operators makes the output what it is. Of a model without layers
        that has such an operator always a diagnosis.

    Raises:
        InputError: of a model without layers: the arrays fit no operator, or the function cannot be called.
        UnsupportedError: of a model without layers: no runtime runs it so far.
    """
    layers = layer_operators(model, None)
    if len(layers) > 1 or not any(operator_mistakes(model, op) for op in model.operators):
        return None
    if not layers:
        function = with_numbers(model, mine, how.params) if callable(mine) else mine
        whole, every, groups = _prepared(model, x, function, how)
        return _Steps(whole, every, groups).run() if len(whole.arrays) > 1 else _Whole(whole, every, groups).run()
    if isinstance(mine, Mapping) or (callable(mine) and not takes_input_alone(mine)):
        return None
    try:
        whole, every, groups = _prepared(model, x, mine, how)
    except (InputError, UnsupportedError):
        return None  # what is wrong is said of the layer
    return _Whole(whole, every, groups).operators_alone(asked=callable(mine))


def _prepared(model: Model, x: Any, mine: Any, how: How) -> tuple[NetworkGiven, list[WholeModel], list[WholeModel]]:
    """What is given, the model in every runtime, and one of each that print the same."""
    needed = (layer_operators(model, None) or model.operators)[0].outputs[0]
    every = whole_models(model, how.runtime, needed)
    first = how.runtime.name if how.runtime is not None else shown_first({c.runtime: c for c in every})
    inputs, source = model_inputs(model, x, how, every[0])
    arrays: Mapping[Any, Array]
    if callable(mine):
        arrays, text = called(model, mine, inputs)
        source += f"; given to {text}"
    else:
        arrays = mine if isinstance(mine, Mapping) else {"output": np.asarray(mine)}
    every = sorted((chain.on(inputs) for chain in every), key=lambda chain: chain.runtime != first)
    groups = one_of_each(every)
    return NetworkGiven(model, source, inputs, assigned(model, groups[0], arrays), first, how), every, groups


@dataclass(frozen=True, eq=False)
class _Whole:
    """Only one array is known, which comes through several layers."""

    given: NetworkGiven
    every: Sequence[WholeModel]
    groups: Sequence[WholeModel]

    def run(self) -> NetworkDiagnosis:
        """Right, one mistake or two in all layers of a kind or in one of them; else what comes nearest."""
        given = self.given
        ((tensor, wanted),) = given.arrays.items()
        names = _runtimes(self.every, {}, tensor, wanted)
        if names:
            return NetworkDiagnosis(given, (Set({}, names),))
        nearest: list[Made] = [{}]
        most = max(int(_WORK // max(products_of_sample(given.model) * _FEWER, 1)), 1)
        sets = self._candidates(tensor)
        levels = (
            (1, sets.singles, _FEW),
            (2, sets.pairs_of_operators, _FEW),
            (2, lambda: itertools.islice(sets.pairs(), most), _FEWER),
        )
        for size, level, few in levels:
            if size > given.how.most:
                break
            tried = list(level())
            few = max(1, min(few, int(_WORK // max(products_of_sample(given.model) * len(tried), 1))))
            chains = telling_samples(self.every, tensor, wanted, few)
            if size > 1:  # first in the arithmetic in which one mistake comes nearest
                chains.sort(key=lambda chain: -chain.share(nearest[-1]))
            found, best = self._tried(tried, chains, every_sum=size == 1)
            if found:
                return NetworkDiagnosis(given, tuple(found))
            nearest += best
        alone = self._last_layer(tensor)
        if alone is not None:
            return alone
        with np.errstate(all="ignore"):  # of all samples, not of those that were tried
            shares = [float((self.every[0].output(made, tensor) == wanted).mean()) for made in nearest]
        return NetworkDiagnosis(given, (), nearest=(max(shares), nearest[shares.index(max(shares))]))

    def operators_alone(self, *, asked: bool) -> NetworkDiagnosis | None:
        """Mistakes in the operators without weights alone; None where none of them fits every element.

        Args:
            asked: whether a right output of a later operator than the layer is an answer.
        """
        given = self.given
        ((tensor, wanted),) = given.arrays.items()
        later = all(tensor not in layer.operator.outputs for layer in self.every[0].layers.values())
        names = _runtimes(self.every, {}, tensor, wanted) if asked and later else ()
        if names:
            return NetworkDiagnosis(given, (Set({}, names),))
        sets = self._candidates(tensor)
        chains = telling_samples(self.every, tensor, wanted, _FEW)
        for tried in (sets.singles_of_operators(), sets.pairs_of_operators()):
            found, _ = self._tried(list(tried), chains)
            if found:
                return NetworkDiagnosis(given, tuple(found))
        return None

    def _candidates(self, tensor: int) -> Candidates:
        return Candidates(self.given.model, self.every, tensor)

    def _tried(
        self, sets: Sequence[Made], chains: Sequence[TellingSamples], *, every_sum: bool = False
    ) -> tuple[list[Set], list[Made]]:
        """The sets that reproduce every element, and the one that comes nearest on a few samples, if there is any.

        Args:
            sets: the sets.
            chains: the samples in several arithmetics; each set is tried in the first that can have it.
            every_sum: whether it is tried in the first of each way to add products: sums that saturate in pairs change
                many elements, where another rounding changes few.
        """
        tensor, wanted = chains[0].tensor, chains[0].wanted
        kept: list[tuple[float, int, Made]] = []
        for number, made in enumerate(sets):
            self.given.how.progress(number, len(sets), "sets of mistakes")
            share = max(chain.share(made) for chain in _able(chains, made, every_sum))
            kept.append((-share, number, made))
        kept.sort(key=lambda entry: entry[:2])
        exact = [made for share, _, made in kept if share == -1]
        promising = [made for share, _, made in kept if -share >= _PROMISING]
        found = self._verified(exact[: 4 * _KEPT] or promising[:_KEPT], tensor, wanted)
        if not found:
            # The runtime may be another one, in whose arithmetic other sets come nearest.
            work = max(products_of_sample(self.given.model) * len(chains[0].part) * len(chains), 1)
            left = promising[4 * _KEPT if exact else _KEPT :][: min(_ELSEWHERE, int(_WORK_ELSEWHERE // work))]
            fitting = [made for made in left if any(chain.share(made) == 1 for chain in chains)]
            found = self._verified(fitting[: 4 * _KEPT], tensor, wanted)
        return found, [made for _, _, made in kept[:1]]

    def _verified(self, sets: Sequence[Made], tensor: int, wanted: Array) -> list[Set]:
        """Those that reproduce every element in some runtime's arithmetic, the likeliest first."""
        # In every runtime: what prints the same without a mistake need not do so with one.
        runtimes = [(made, _runtimes(self.every, made, tensor, wanted)) for made in sets]
        found = [Set(_without_ties(made), names) for made, names in runtimes if names]
        found.sort(key=lambda one: (self.given.first not in one.runtimes, one.rarity, -len(one.made)))
        return found

    def _last_layer(self, tensor: int) -> NetworkDiagnosis | None:
        """Up to three mistakes in the last layer alone, whose input is then right."""
        given = self.given
        maker = next(op for op in given.model.operators if tensor in op.outputs)
        if maker.index not in self.groups[0].layers or not self._candidates(tensor).before():
            return None
        x = self.groups[0].tensors[maker.inputs[0]]
        report = diagnose_layer(
            given.model, maker, {maker.inputs[0]: x}, given.arrays[tensor], replace(given.how, params=None)
        )
        if report.explanation is None:
            return None
        made = {maker.index: report.explanation.mistakes}
        return NetworkDiagnosis(given, (Set(made, report.explanation.runtimes),), detail=report)


def _able(chains: Sequence[TellingSamples], made: Made, every_sum: bool) -> list[TellingSamples]:
    """The first arithmetic that can have these mistakes, or the first of each way to add products; never none."""
    able = (chain for chain in chains if chain.can(made))
    if not every_sum:
        return [next(able, chains[0])]
    return list({chain.sums: chain for chain in reversed(list(able))}.values()) or [chains[0]]


def _without_ties(made: Made) -> Made:
    """Of two mistakes in an operator without weights, how ties are rounded is none: its runtimes differ in that."""
    return {index: tuple(n for n in names if len(names) < 2 or n not in OPERATOR_TIES) for index, names in made.items()}


def _runtimes(every: Sequence[WholeModel], made: Made, tensor: int, wanted: Array) -> tuple[str, ...]:
    """The runtimes in whose arithmetic these mistakes reproduce every element."""
    names = []
    for chain in every:
        if tensor not in chain.tensors:
            continue
        with np.errstate(all="ignore"):
            if np.array_equal(chain.output(made, tensor).reshape(-1), wanted.reshape(-1)):
                names.append(chain.runtime)
    return tuple(names)


@dataclass(frozen=True, eq=False)
class _Steps:
    """Arrays of several layers are known: each is compared with what the one before it should give."""

    given: NetworkGiven
    every: Sequence[WholeModel]
    groups: Sequence[WholeModel]

    def run(self) -> NetworkDiagnosis:
        """The first operator that differs, its mistakes, and where else they are made."""
        given, chain = self.given, self._follows()
        steps: list[Step] = []
        made: dict[int, tuple[str, ...]] = {}
        runtimes: tuple[str, ...] = (chain.runtime,)
        detail = None
        written = dict(given.arrays)
        for number, (tensor, mine) in enumerate(given.arrays.items()):
            given.how.progress(number, len(given.arrays), "the arrays in order")
            op = next(op for op in given.model.operators if tensor in op.outputs)
            values = chain.values({}, {i: a for i, a in written.items() if i != tensor})
            right = values.get(tensor, chain.tensors[tensor])
            share = float((right.reshape(-1) == mine.reshape(-1)).mean())
            names = None if share == 1 else self._known(chain, op, values, mine, made.values())
            if share < 1 and names is None and op.index not in chain.layers:
                names = self._of_operator(op, [values.get(i, chain.tensors.get(i)) for i in op.inputs], mine)
            constant = bool(mine.min() == mine.max() and right.min() != right.max())
            if constant:
                names = None
                del written[tensor]
            if share < 1 and not constant and names is None and (detail is None or detail.explanation is not None):
                x = values.get(op.inputs[0], chain.tensors.get(op.inputs[0]))
                names = self._known(chain, op, values, mine, [(name,) for name in OF_FIRST_LAYER])
                report = self._diagnosed(op, x, mine, given.how.most if names is None else 1)
                if report is not None and (names is None or report.explanation is not None):
                    detail = detail or report
                    names = None if report.explanation is None else report.explanation.mistakes
                    runtimes = runtimes if report.explanation is None else report.explanation.runtimes
            if names:
                made[op.index] = names
            steps.append(Step(op.index, op.label, share, names, constant))
        explained = all(step.share == 1 or step.mistakes is not None for step in steps)
        return NetworkDiagnosis(
            given, (Set(made, runtimes),) if explained else (), steps=tuple(steps), detail=detail, partial=made
        )

    def _follows(self) -> WholeModel:
        """The arithmetic in which most steps are right, each from the arrays before it."""

        def right(chain: WholeModel) -> float:
            total = 0.0
            for tensor, mine in self.given.arrays.items():
                values = chain.values({}, {i: a for i, a in self.given.arrays.items() if i != tensor}, (tensor,))
                total += float((values.get(tensor, chain.tensors[tensor]).reshape(-1) == mine.reshape(-1)).mean())
            return total

        return max(self.groups, key=right)

    def _known(
        self,
        chain: WholeModel,
        op: Operator,
        values: Mapping[int, Array],
        mine: Array,
        known: Iterable[tuple[str, ...]],
    ) -> tuple[str, ...] | None:
        """The first of some sets of mistakes, such as a layer's before, that is this one's too."""
        for names in dict.fromkeys(known):
            layer = chain.layers.get(op.index)
            if layer is None or any(name not in mistakes_of(layer) for name in names):
                continue
            with np.errstate(all="ignore"):
                own = WholeModel(chain.prepared, chain.layers, {**chain.tensors, **values})
                if np.array_equal(own.output({op.index: names}, op.outputs[0]).reshape(-1), mine.reshape(-1)):
                    return names
        return None

    def _of_operator(self, op: Operator, inputs: Sequence[Array | None], mine: Array) -> tuple[str, ...] | None:
        """One mistake or two in an operator without weights; None where none fits."""
        model = self.given.model
        known = [m.name for m in operator_mistakes(model, op)]
        read = [values for values in inputs if values is not None]
        if not known or len(read) < len(inputs):
            return None
        for size in (1, 2):
            for names in itertools.combinations(known, size):
                if np.array_equal(output_of_operator(model, op, read, names).reshape(-1), mine.reshape(-1)):
                    return names
        return None

    def _diagnosed(self, op: Operator, x: Array | None, mine: Array, most: int) -> Any:
        layer = self.groups[0].layers.get(op.index)
        if layer is None or x is None or x.dtype != layer.layer.input.dtype.numpy:
            return None
        how = replace(self.given.how, params=None, quantize_input=False, most=most)
        return diagnose_layer(self.given.model, op, {op.inputs[0]: x}, mine, how)
