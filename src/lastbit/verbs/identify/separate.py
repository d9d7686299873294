"""Inputs that tell the arithmetics apart that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...layers.separating_inputs import tie_seeking_inputs
from ...model.graph import Model, Operator
from ...model.types import Array, IntegerType
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import dense_layer
from .arithmetics import SharedArithmetic, by_sample, products

__all__ = ["Separation", "separate_layer", "separate_model"]

MOST_INPUTS = 256
"""Inputs tried, at most, to tell the arithmetics apart that are left."""

MOST_PRODUCTS = 2 * 10**10
"""Products that these inputs may add up in all arithmetics together."""

_LEAST_INPUTS = 8
_AT_A_TIME = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Separation:
    """Arithmetics grouped by what they print.

    Attributes:
        groups: indices of arithmetics; those of one group print the same for every input tried.
        value: an input for which each group prints something else, or most of them; None where none was found.
        outputs: each group's output for it.
        tried: inputs tried.
    """

    groups: tuple[tuple[int, ...], ...]
    value: Array | None = None
    outputs: tuple[Array, ...] = ()
    tried: int = 0


@dataclass(eq=False)
class _Groups:
    """What arithmetics printed for the inputs so far."""

    count: int
    signatures: list[list[bytes]] = field(default_factory=list)
    best: tuple[Array, list[Array]] | None = None
    best_count: int = 1
    tried: int = 0

    def __post_init__(self) -> None:
        self.signatures = [[] for _ in range(self.count)]

    def add(self, value: Array, outputs: list[Array]) -> None:
        """What each arithmetic prints for one input."""
        self.tried += 1
        seen = [output.tobytes() for output in outputs]
        for signature, one in zip(self.signatures, seen, strict=True):
            signature.append(one)
        if len(set(seen)) > self.best_count:
            self.best, self.best_count = (value, outputs), len(set(seen))

    @property
    def finished(self) -> bool:
        """Whether one input tells all of them apart: nothing more is to be gained."""
        return self.best_count >= self.count

    def separation(self) -> Separation:
        """The groups as they are now."""
        members: dict[tuple[bytes, ...], list[int]] = {}
        for index, signature in enumerate(self.signatures):
            members.setdefault(tuple(signature), []).append(index)
        groups = tuple(tuple(group) for group in members.values())
        if self.best is None:
            return Separation(groups, tried=self.tried)
        value, outputs = self.best
        return Separation(groups, value, tuple(outputs[group[0]] for group in groups), self.tried)


def separate_layer(model: Model, op: Operator, left: Sequence[PreparedOperator], progress: Progress) -> Separation:
    """Tell layers apart by inputs of their own: solved where random ones would not do.

    Args:
        model: the model.
        op: its dense layer.
        left: the layer in each arithmetic.
        progress: called with (inputs tried, of how many).
    """
    found = _Groups(len(left))
    if found.finished:
        return found.separation()
    layer = dense_layer(model, op)
    params = {str(i): p.requant for i, p in enumerate(left) if isinstance(p, PreparedDense)}
    if len(params) < len(left):
        return found.separation()
    wanted = _inputs_wanted(layer.units * layer.depth, len(left))
    rows, _ = tie_seeking_inputs(layer, params, wanted, np.random.default_rng(0))
    shape = tuple(max(n, 1) for n in layer.input.shape)
    per_input = int(np.prod(shape)) // layer.depth
    for row in rows:
        value = np.resize(row, (per_input, layer.depth)).reshape(shape)
        found.add(value, [p.evaluate([value])["output"] for p in left])
        progress(found.tried, len(rows))
        if found.finished:
            break
    return found.separation()


def separate_model(model: Model, left: Sequence[SharedArithmetic], progress: Progress) -> Separation:
    """Tell arithmetics apart by random inputs of the model.

    Args:
        model: the model.
        left: the arithmetics.
        progress: called with (inputs tried, of how many).
    """
    found = _Groups(len(left))
    if found.finished or len(model.inputs) != 1:
        return found.separation()
    work = products(model)
    wanted = _inputs_wanted(work, len(left))
    batched = by_sample(model)
    for values in _random_inputs(model, wanted, _AT_A_TIME if batched else 1):
        outputs = [side.run([values], float(wanted) * work, one_by_one=batched) for side in left]
        for i in range(len(values) if batched else 1):
            own = slice(i, i + 1) if batched else slice(None)
            found.add(values[own], [output[own] for output in outputs])
        progress(found.tried, wanted)
        if found.finished:
            break
    return found.separation()


def _inputs_wanted(work: int, arithmetics: int) -> int:
    """How many inputs may be tried, by what one costs in all arithmetics."""
    return max(min(MOST_PRODUCTS // max(work * arithmetics, 1), MOST_INPUTS), _LEAST_INPUTS)


def _random_inputs(model: Model, count: int, at_a_time: int) -> Iterator[Array]:
    """Values over the input's whole range, several samples in one array where a batch may be."""
    tensor = model.inputs[0]
    rng = np.random.default_rng(0)
    shape = tuple(max(n, 1) for n in tensor.shape)
    for start in range(0, count, at_a_time):
        size = (min(at_a_time, count - start), *shape[1:]) if at_a_time > 1 else shape
        if isinstance(tensor.dtype, IntegerType):
            yield rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, size, tensor.dtype.numpy, endpoint=True)
        else:
            spread = rng.uniform(0.1, 10, (size[0], *(1 for _ in size[1:]))) if size else rng.uniform(0.1, 10)
            yield (rng.normal(0, 1, size) * spread).astype(np.float32)
