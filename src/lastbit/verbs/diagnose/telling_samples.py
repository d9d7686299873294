"""A few samples that tell sets of mistakes apart, in every way to requantize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import MISTAKES
from ...model.types import Array
from ...rules.base import Pairs, Whole
from .network_sets import mistakes_of
from .whole_model import Made, WholeModel

__all__ = ["TellingSamples", "telling_samples"]


@dataclass(frozen=True, eq=False)
class TellingSamples:
    """A few samples in one runtime's arithmetic, with what is wanted of them.

    Attributes:
        some: the model on these samples.
        part: the wanted values of one tensor there.
        whole: the model on all samples.
        wanted: the wanted values of all.
        tensor: the tensor.
    """

    some: WholeModel
    part: Array
    whole: WholeModel
    wanted: Array
    tensor: int

    @property
    def sums(self) -> tuple[Whole | Pairs, ...]:
        """How each layer adds its products."""
        return tuple(layer.products for layer in self.whole.layers.values())

    def can(self, made: Made) -> bool:
        """Whether these mistakes can be made in this arithmetic."""
        layers = self.whole.layers
        return all(index not in layers or set(names) <= mistakes_of(layers[index]) for index, names in made.items())

    def share(self, made: Made) -> float:
        """The share of elements that these mistakes reproduce; of all samples where a mistake mixes samples."""
        mixed = any(name in MISTAKES and MISTAKES[name].across_rows for names in made.values() for name in names)
        chain, wanted = (self.whole, self.wanted) if mixed else (self.some, self.part)
        with np.errstate(all="ignore"):
            return float((chain.output(made, self.tensor) == wanted).mean())


def telling_samples(every: Sequence[WholeModel], tensor: int, wanted: Array, count: int) -> list[TellingSamples]:
    """A few samples of the first runtime with each way to requantize: some mistakes exist in one of them alone.

    Args:
        every: the model in every runtime's arithmetic, on all samples.
        tensor: the tensor whose values are known.
        wanted: these values.
        count: how many samples; in half of them or more something is wrong, where there are so many.
    """
    found: dict[tuple[str, ...], WholeModel] = {}
    for chain in (chain for chain in every if tensor in chain.tensors):
        found.setdefault(tuple(layer.requant.rule.name for layer in chain.layers.values()), chain)
    telling = []
    for chain in found.values():
        chosen = _chosen(chain, tensor, wanted, count)
        some = chain.some(chosen)
        one_each = len(some.tensors[tensor]) == len(chosen)
        part = wanted[chosen] if one_each else wanted[: len(some.tensors[tensor])]
        telling.append(TellingSamples(some, part, chain, wanted, tensor))
    return telling


def _chosen(chain: WholeModel, tensor: int, wanted: Array, count: int) -> npt.NDArray[np.int64]:
    """Which samples; the first ones where a sample is several entries of an array."""
    inputs = chain.prepared.model.inputs
    if any(one.shape[0] != 1 or len(chain.tensors[one.index]) != len(wanted) for one in inputs):
        return np.arange(min(count, *(len(chain.tensors[one.index]) for one in inputs)))
    wrong = (chain.tensors[tensor] != wanted).reshape(len(wanted), -1).any(axis=1)
    # Not wrong ones alone: some of those may show another runtime's rounding and not the mistake.
    first = np.flatnonzero(wrong)[: (count + 1) // 2]
    return np.append(first, np.setdiff1d(np.arange(len(wanted)), first))[:count]
