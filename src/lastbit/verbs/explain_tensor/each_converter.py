"""What each converter would have written for one tensor: LastBit quantizes the float model as each of them does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...model.errors import LastBitError
from ...model.graph import Model, Tensor
from ...model.tflite import load
from ..diff.canonical import pair_graphs
from ..diff.why import converters_text, io_types
from ..quantize.names import float_tensor
from ..quantize.numbers import activation
from ..quantize.ranges import Ranges
from ..quantize.verb import CONVERTERS, Converter, quantize

__all__ = ["Other", "label_of", "others"]


@dataclass(frozen=True, eq=False)
class Other:
    """What one group of converters writes.

    Attributes:
        converters: the converters; none for a moving average of ranges, which ai-edge-quantizer takes.
        tensor: the tensor in their file; None where it is not there, or where they cannot quantize the model.
        ranges: what the ranges are by.
        made: the whole file; None where only this tensor is known.
    """

    converters: tuple[Converter, ...]
    tensor: Tensor | None
    ranges: str
    made: Model | None = None

    @property
    def label(self) -> str:
        """The converters in words."""
        return label_of(self.converters)


def label_of(converters: Sequence[Converter]) -> str:
    """Converters in words, such as `tflite@2.17 to 2.21`."""
    return converters_text([(one, False) for one in converters]) or "moving average (ai-edge-quantizer)"


def others(model: Model, tensor: Tensor, source: Model, limits: Ranges, averaged: Ranges | None) -> list[Other]:
    """Each group of converters that write the same, and a moving average of the ranges where it is known."""
    types = {t.dtype.name for t in model.tensors if t.data is None}
    activations = "int16" if "int16" in types else "int8"
    io = io_types(model)
    groups: dict[object, list[Converter]] = {}
    for converter in CONVERTERS:
        groups.setdefault(converter.way, []).append(converter)
    found = []
    for members in groups.values():
        try:
            with np.errstate(all="ignore"):
                made = quantize(source, ranges=limits, like=members[0].label, activations=activations, io=io)
        except LastBitError:
            found.append(Other(tuple(members), None, "min and max"))
            continue
        made = load(bytes(made.content))
        found.append(Other(tuple(members), _same_place(model, tensor, made), "min and max", made))
    if averaged is not None and activations == "int8":
        found += _average(found, source, averaged)
    return found


def _same_place(model: Model, tensor: Tensor, made: Model) -> Tensor | None:
    """The tensor of another file that stands where this one does."""
    for pair in pair_graphs(model.subgraphs[0], made.subgraphs[0]).tensors:
        if pair.first is not None and pair.first.index == tensor.index and pair.second is not None:
            return pair.second
    return None


def _average(known: list[Other], source: Model, averaged: Ranges) -> Iterator[Other]:
    """The scale of a moving average, for an activation of the converter's own range."""
    for other in known:
        index = float_tensor(other.tensor, source) if other.tensor is not None and other.tensor.data is None else None
        if other.tensor is None or index is None or index not in averaged or other.tensor.quant is None:
            continue
        params = activation(*averaged[index])
        old = other.tensor.quant
        quant = replace(old, scale=np.array(params.scale, np.float32), zero_point=np.array(params.zero_point, np.int64))
        yield Other((), replace(other.tensor, quant=quant), "moving average")
        return
