"""A whole model in one runtime's arithmetic, with mistakes made in some of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...layers.layer_input import blockers_to
from ...layers.mistakes.base import Case, Mistake
from ...layers.mistakes.of_first_layer import OF_FIRST_LAYER, of_first
from ...layers.mistakes.operators import output_of_operator
from ...layers.mistakes.pipeline import PREFIX, Accumulated, accumulate_all, choose, stored_output, wrong_matrix
from ...layers.step_tables import layer_of, layer_operators
from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.prepare import PreparedModel, prepare
from ...runtimes import RUNTIMES, Runtime

__all__ = ["Made", "WholeModel", "one_of_each", "right_tensors", "whole_models"]

Made = Mapping[int, tuple[str, ...]]
"""Operator index -> the mistakes that are made in it."""


@dataclass(frozen=True, eq=False)
class WholeModel:
    """A model up to one tensor, in one runtime's arithmetic.

    Attributes:
        prepared: the model.
        layers: operator index -> dense layer or convolution, in which mistakes can be made.
        tensors: every tensor's right value, by index, for the inputs.
    """

    prepared: PreparedModel
    layers: Mapping[int, PreparedDense]
    tensors: dict[int, Array] = field(default_factory=dict)
    _accumulated: dict[int, tuple[Case, Accumulated]] = field(default_factory=dict, init=False, repr=False)

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return self.prepared.runtime.name

    def on(self, inputs: Mapping[int, Array]) -> WholeModel:
        """The same with the right tensors of these inputs."""
        chain = WholeModel(self.prepared, self.layers, {**self.prepared.constants, **inputs})
        chain.tensors.update(chain.values({}, inputs))
        return chain

    def some(self, samples: npt.NDArray[np.int64]) -> WholeModel:
        """The same for some of the samples."""
        fed = {tensor.index: self.tensors[tensor.index][samples] for tensor in self.prepared.model.inputs}
        return self.on(fed)

    def values(self, made: Made, given: Mapping[int, Array], until: Sequence[int] = ()) -> dict[int, Array]:
        """The tensors that these mistakes, or these given values, change.

        Args:
            made: the mistakes.
            given: values of tensors that are not to be calculated: the inputs, or a user's own.
            until: tensors after which nothing more is needed; all, where none is named.
        """
        changed = dict(given)
        for index, entry in self.prepared.operators.items():
            outputs = entry.operator.outputs
            if index not in made and not any(i in changed for i in entry.inputs):
                continue
            if any(i not in changed and i not in self.tensors for i in entry.inputs) or set(outputs) <= set(given):
                continue
            x = [changed.get(i, self.tensors.get(i, _NONE)) for i in entry.inputs]
            layer = self.layers.get(index)
            if layer is not None and (index in made or x[0].dtype != layer.layer.input.dtype.numpy):
                self._change(changed, outputs[0], self._wrong(index, layer, x[0], made.get(index, ())))
            elif index in made:
                model = self.prepared.model
                operands = [changed.get(i, self.tensors.get(i, _NONE)) for i in entry.operator.inputs]
                shape = (-1, *model.tensors[outputs[0]].shape[1:])
                changed[outputs[0]] = output_of_operator(model, entry.operator, operands, made[index]).reshape(shape)
            else:
                stored = [self._stored(i, v) for i, v in zip(entry.inputs, x, strict=True)]
                for tensor, values in entry.written(entry.evaluate(stored)).items():
                    self._change(changed, tensor, values)
            if until and outputs[0] == until[-1]:
                break
        return changed

    def _change(self, changed: dict[int, Array], tensor: int, values: Array) -> None:
        """Note what a mistake makes of a tensor; what it leaves as it is changes nothing after it either."""
        right = self.tensors.get(tensor)
        if right is None or right.dtype != values.dtype or not np.array_equal(right, values):
            changed[tensor] = values

    def _wrong(self, index: int, layer: PreparedDense, x: Array, names: Sequence[str]) -> Array:
        """A layer's output with these mistakes; the right sums of its right input are calculated once."""
        chosen = self._chosen(names)
        right = self.tensors.get(layer.layer.input.index)
        if x is not right or not chosen or "whole" in chosen or any(slot in PREFIX for slot in chosen):
            case = Case.of(layer, x)
            return stored_output(case, wrong_matrix(case, chosen), chosen)
        if index not in self._accumulated:
            case = Case.of(layer, x)
            start = accumulate_all(case, {})
            if start.acc.size > _KEPT:
                return stored_output(case, wrong_matrix(case, chosen, start), chosen)
            self._accumulated[index] = case, start
        case, start = self._accumulated[index]
        return stored_output(case, wrong_matrix(case, chosen, start), chosen)

    def _chosen(self, names: Sequence[str]) -> dict[str, Mistake]:
        """Slot -> mistake."""
        first = next(iter(self.layers.values())).layer
        of_networks = [of_first(name, first) for name in names if name in OF_FIRST_LAYER]
        return choose([name for name in names if name not in OF_FIRST_LAYER]) | {m.slot: m for m in of_networks}

    def _stored(self, tensor: int, values: Array) -> Array:
        """Values in their tensor's type: what a mistake left beyond it wraps, where an operator after it reads them."""
        dtype = self.prepared.model.tensors[tensor].dtype.numpy
        return values if dtype is None or values.dtype.kind == "f" else values.astype(dtype, copy=False)

    def output(self, made: Made, tensor: int) -> Array:
        """One tensor with these mistakes."""
        values = self.values(made, {}, (tensor,))
        return values.get(tensor, self.tensors[tensor])


_NONE = np.zeros(0)
_KEPT = 1 << 20
"""Accumulators of a layer that are kept, at most."""


def whole_models(model: Model, asked: Runtime | None, needed: int) -> list[WholeModel]:
    """The model in every runtime that runs it as far as a tensor, the asked one alone where there is one.

    Raises:
        UnsupportedError: no runtime does.
    """
    found = []
    reasons: list[str] = []
    for runtime in RUNTIMES.values() if asked is None else (asked,):
        prepared = prepare(model, runtime)
        blockers = blockers_to(prepared, needed)
        if blockers:
            reasons += [f"{runtime.name}: {text}" for text in blockers]
            continue
        layers = {}
        for op in layer_operators(model, None):
            layer = layer_of(prepared, op)
            if isinstance(layer, PreparedDense):
                layers[op.index] = layer
        if layers or not layer_operators(model, None):
            found.append(WholeModel(prepared, layers))
    if not found:
        raise UnsupportedError(f"{model.source} cannot be diagnosed as a whole:", reasons[:6])
    return found


def right_tensors(model: Model, runtime: Runtime, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
    """Every tensor that a runtime makes of these inputs, by index, as far as it is covered."""
    return WholeModel(prepare(model, runtime), {}).on(inputs).tensors


def one_of_each(every: Sequence[WholeModel]) -> list[WholeModel]:
    """Of runtimes that print the same for the inputs the first, the order kept."""
    seen: dict[tuple[bytes, ...], WholeModel] = {}
    for chain in every:
        made: list[Operator] = [entry.operator for entry in chain.prepared.operators.values()]
        key = tuple(chain.tensors[i].tobytes() for op in made for i in op.outputs if i in chain.tensors)
        seen.setdefault(key, chain)
    return list(seen.values())
