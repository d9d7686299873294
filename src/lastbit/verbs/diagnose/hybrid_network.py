"""A model of several hybrid or float32 layers of which the output is known: one mistake in all of them, or in one.

A value next to a rounding tie of a layer's quantized input may go either way, as the order of summation before it has
it. So most elements must be near what a set of mistakes gives, and the others within a step or so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...engines.inputs import as_inputs, check_input, match_inputs
from ...layers.layer_input import blockers_to
from ...layers.mistakes.hybrid import OTHER_ORDERS
from ...layers.mistakes.hybrid_case import calculate
from ...layers.step_tables import layer_of, layer_operators
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model
from ...model.types import Array
from ...ops.prepare import PreparedModel, prepare
from ...runtimes import RUNTIMES
from .hybrid_cases import FloatLayer, case_of, known_mistakes
from .hybrid_report import HybridAnswer, HybridDiagnosis
from .layer import How, shown_first
from .network_given import called
from .samples import samples_of

__all__ = ["diagnose_hybrid_network"]

_ROWS, _IMAGES = 24, 4
_TRIED = 4
"""Rows or images that are chosen; and samples on which every set is tried."""
_NEAR, _STEP = 1e-4, 0.05
"""Shares of a sample's largest output: what float32 may lose, and what values on the other side of ties may change."""
_MOST_NEAR, _FEW = 0.8, 0.03
"""Shares of the elements: that are near, at least; and that may be farther off, where a sum wraps for instance."""
_PROMISING = 0.5
"""Share of a few samples' elements from which a set is tried on all."""

Made = Mapping[int, str]
"""Operator index -> the mistake in it."""


@dataclass(frozen=True, eq=False)
class _Chain:
    """The model in one runtime's arithmetic.

    Attributes:
        prepared: the model.
        layers: operator index -> layer, in which mistakes can be made.
        inputs: tensor index -> the model's input.
    """

    prepared: PreparedModel
    layers: Mapping[int, FloatLayer]
    inputs: Mapping[int, Array]

    @cached_property
    def usable(self) -> dict[int, list[str]]:
        """The mistakes that make a difference in each layer, on a few samples."""
        found: dict[int, list[str]] = {}
        for index, layer in self.layers.items():
            x = samples_of(layer.layer, self.right[layer.layer.input.index]).astype(np.float32)
            case = case_of(layer, x[:_TRIED])
            right = calculate(case, {}).y
            known = [m for m in known_mistakes(layer).values() if m.name not in OTHER_ORDERS]
            can = [m for m in known if case.windows is None or m.applies(case)]
            with np.errstate(all="ignore"):
                made = {m.name: calculate(case, {m.slot: m}).y for m in can}
            assert right is not None
            found[index] = [name for name, y in made.items() if y is not None and not np.array_equal(y, right)]
        return found

    @cached_property
    def right(self) -> dict[int, Array]:
        """Every tensor that can be calculated, by index."""
        values = {**self.prepared.constants, **self.inputs}
        for entry in self.prepared.operators.values():
            if all(i in values for i in entry.inputs):
                values |= entry.written(entry.evaluate([values[i] for i in entry.inputs]))
        return values

    def some(self, count: int) -> _Chain:
        """The same for the first samples."""
        return replace(self, inputs={index: values[:count] for index, values in self.inputs.items()})

    def output(self, made: Made, tensor: int) -> Array:
        """A tensor with these mistakes, at most one in a layer."""
        values = dict(self.right)
        for index, entry in self.prepared.operators.items():
            if not made or index < min(made) or any(i not in values for i in entry.inputs):
                continue
            if index in made:
                layer, name = self.layers[index], made[index]
                mistake = known_mistakes(layer)[name]
                x = samples_of(layer.layer, values[layer.layer.input.index]).astype(np.float32)
                y = calculate(case_of(layer, x), {mistake.slot: mistake}).y
                assert y is not None
                shape = (-1, *self.prepared.model.tensors[entry.operator.outputs[0]].shape[1:])
                values[entry.operator.outputs[0]] = y.astype(np.float32).reshape(shape)
            else:
                values |= entry.written(entry.evaluate([values[i] for i in entry.inputs]))
            if tensor in entry.operator.outputs:
                break
        return values[tensor]


def diagnose_hybrid_network(model: Model, x: Any, mine: Any, how: How) -> HybridDiagnosis:
    """Name one mistake that is made in every hybrid or float32 layer of a model, or in one of them.

    Args:
        model: a model of several layers that print float32.
        x: its input; None with a function: inputs are chosen.
        mine: the output of the model or of an operator, or a function of the model's input alone.
        how: how it was asked.

    Raises:
        InputError: the input or the output does not fit, or the function cannot be called.
        UnsupportedError: arrays between the layers are given, or no runtime runs the whole model.
    """
    inputs, source = _inputs(model, x, how, callable(mine))
    if callable(mine):
        arrays, name = called(model, mine, inputs)
        source += f"; given to {name}"
    else:
        arrays = dict(mine) if isinstance(mine, Mapping) else {"output": np.asarray(mine)}
    if len(arrays) != 1:
        raise UnsupportedError(f"{model.source}: arrays between layers that print float32 are diagnosed one by one")
    (array,) = arrays.values()
    samples = len(next(iter(inputs.values())))
    fitting = _tensors_of(model, array, samples)
    wanted = array.reshape(samples, -1)
    chains = _chains(model, how, inputs, fitting[0])
    first = how.runtime.name if how.runtime is not None else shown_first(chains)
    chains = {name: chains[name] for name in sorted(chains, key=lambda name: name != first)}
    values = chains[first].right
    shares = {tensor: _near(values[tensor].reshape(wanted.shape), wanted) for tensor in fitting if tensor in values}
    tensor = max(shares, key=lambda tensor: shares[tensor])  # the last one, where none is near
    right = {name: chain.output({}, tensor).reshape(samples, -1) for name, chain in chains.items()}
    same = tuple(name for name, output in right.items() if np.array_equal(output, wanted))
    answers = [HybridAnswer((), same, exact=True)] if same else _answers(chains, how, tensor, wanted, right)
    maker = next(op for op in model.operators if tensor in op.outputs)
    known = {name: m for layer in chains[first].layers.values() for name, m in known_mistakes(layer).items()}
    largest = None if answers else float(np.abs(right[first] - wanted).max())
    return HybridDiagnosis(
        model.source, maker.label, wanted, right[first], source, first, tuple(answers), largest, known=known,
        layers=len(chains[first].layers),
    )  # fmt: skip


def _inputs(model: Model, x: Any, how: How, chosen: bool) -> tuple[dict[int, Array], str]:
    if x is not None:
        given = match_inputs(model, as_inputs(model, x))
        return {tensor.index: check_input(tensor, value) for tensor, value in given}, "given at the model's input"
    if not chosen:
        raise InputError("there is no input; give the x that the output was calculated from")
    rng = np.random.default_rng(how.seed)
    found = {}
    for tensor in model.inputs:
        count = _IMAGES if len(tensor.shape) == 4 else _ROWS
        sizes = rng.choice([0.5, 3.0], (count, *[1] * (len(tensor.shape) - 1)))
        found[tensor.index] = (rng.normal(size=(count, *tensor.shape[1:])) * sizes).astype(np.float32)
    return found, f"samples chosen to tell mistakes apart (seed {how.seed})"


def _tensors_of(model: Model, array: Array, samples: int) -> list[int]:
    """The outputs that have as many elements, the last operator's first."""
    sizes = {int(op.outputs[0]): int(np.prod(model.tensors[op.outputs[0]].shape[1:])) for op in model.operators}
    found = [tensor for tensor, size in sizes.items() if array.dtype.kind in "iuf" and size * samples == array.size]
    if found:
        return found[::-1]
    raise InputError(
        f"the array is {array.dtype}{list(array.shape)}, which no operator prints for {samples} samples; "
        f"the model's output is {list(model.outputs[0].shape[1:])} for each"
    )


def _chains(model: Model, how: How, inputs: Mapping[int, Array], tensor: int) -> dict[str, _Chain]:
    """The model in every runtime that runs it so far."""
    found, reasons = {}, []
    for name, runtime in (RUNTIMES if how.runtime is None else {how.runtime.name: how.runtime}).items():
        prepared = prepare(model, runtime)
        blockers = blockers_to(prepared, tensor)
        reasons += [f"{name}: {text}" for text in blockers]
        layers = {op.index: layer_of(prepared, op) for op in layer_operators(model, None)}
        own = {index: layer for index, layer in layers.items() if isinstance(layer, FloatLayer)}
        if not blockers and own:
            found[name] = _Chain(prepared, own, inputs)
    if not found:
        raise UnsupportedError(f"{model.source} cannot be diagnosed as a whole:", reasons[:6])
    return found


def _answers(
    chains: Mapping[str, _Chain], how: How, tensor: int, wanted: Array, right: Mapping[str, Array]
) -> list[HybridAnswer]:
    """Sets that fit, the nearest first: nothing wrong, a mistake in every layer, a mistake in one."""
    distinct: dict[str, _Chain] = {}
    for name, chain in chains.items():
        if all(_near(right[name], right[other]) < _MOST_NEAR for other in distinct):
            distinct[name] = chain
    few = {name: chain.some(_TRIED) for name, chain in distinct.items()}
    levels: tuple[Callable[[_Chain], Iterator[Made]], ...] = (lambda chain: iter([{}]), _in_all, _in_one)
    for sets in levels[: 1 if how.most == 0 else None]:
        tried = [(name, made) for name, chain in distinct.items() for made in sets(chain)]
        found: dict[tuple[str, tuple[int, ...]], list[tuple[str, float]]] = {}
        for number, (name, made) in enumerate(tried):
            how.progress(number, len(tried), "sets of mistakes")
            of_all = "hybrid_scale_of_whole_batch" in made.values()  # which a few samples do not have
            if not of_all and _share(few[name], made, tensor, wanted[:_TRIED]) < _PROMISING:
                continue
            share = _share(distinct[name], made, tensor, wanted)
            if share >= _MOST_NEAR:
                found.setdefault((next(iter(made.values()), ""), tuple(made)), []).append((name, share))
        if found:
            best = {key: max(share for _, share in shares) for key, shares in found.items()}
            return [
                HybridAnswer((name,) if name else (), tuple(one for one, _ in found[name, ops]), operators=ops)
                for name, ops in sorted(best, key=lambda key: (-round(best[key], 2), _rarity(chains, key)))
            ]
    return []


def _share(chain: _Chain, made: Made, tensor: int, wanted: Array) -> float:
    """The share of the elements that are near with these mistakes."""
    with np.errstate(all="ignore"):
        return _near(chain.output(made, tensor).reshape(wanted.shape), wanted)


def _rarity(chains: Mapping[str, _Chain], key: tuple[str, tuple[int, ...]]) -> float:
    """How unlikely a mistake is, among those that fit as well."""
    name, operators = key
    if not operators:
        return 0.0
    return known_mistakes(next(iter(chains.values())).layers[operators[0]])[name].rarity


def _in_all(chain: _Chain) -> Iterator[Made]:
    """A mistake in every layer that can have it."""
    for name in dict.fromkeys(itertools.chain.from_iterable(chain.usable.values())):
        can = [index for index, names in chain.usable.items() if name in names]
        if len(can) > 1:
            yield dict.fromkeys(can, name)


def _in_one(chain: _Chain) -> Iterator[Made]:
    for index, names in chain.usable.items():
        yield from ({index: name} for name in names)


def _near(made: Array, wanted: Array) -> float:
    """The share of the elements that are near; 0 where more than a few are off by more than ties may change."""
    largest = np.abs(made).max(axis=1, keepdims=True) + 1e-30  # of each sample
    with np.errstate(all="ignore"):
        off = np.abs(made.astype(np.float64) - wanted) / largest
    return float((off <= _NEAR).mean()) if float((off <= _STEP).mean()) >= 1 - _FEW else 0.0
