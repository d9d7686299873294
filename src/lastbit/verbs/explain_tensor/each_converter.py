"""What each converter would have written for one tensor: LastBit quantizes the float model as each of them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...model.errors import LastBitError
from ...model.graph import Model, Tensor
from ...model.tflite import load
from ..diff.canonical import pair_graphs
from ..diff.why import MIN_AND_MAX, MOVING_AVERAGE, NO_RANGES, converters_text
from ..quantize.converters import Quantizer
from ..quantize.ranges import Ranges
from ..quantize.requests import Request, requests_of
from ..quantize.verb import CONVERTERS, Converter, quantize

__all__ = ["Other", "label_of", "others"]


@dataclass(frozen=True, eq=False)
class Other:
    """What one group of converters writes.

    Attributes:
        converters: the converters.
        tensor: the tensor in their file; None where it is not there, or where they cannot quantize the model.
        ranges: what the ranges are by.
        method: what is quantized, where it is not weights and activations.
        made: the whole file.
    """

    converters: tuple[Converter, ...]
    tensor: Tensor | None
    ranges: str
    method: str = ""
    made: Model | None = None

    @property
    def label(self) -> str:
        """The converters in words."""
        return label_of(self.converters, self.ranges, self.method)


def label_of(converters: Sequence[Converter], ranges: str, method: str) -> str:
    """Converters in words, such as `tflite@2.17 to 2.21`, with what is not the usual."""
    apart = [text for text in (method, ranges if ranges == MOVING_AVERAGE else "") if text]
    return converters_text([(one, False) for one in converters]) + "".join(f", {text}" for text in apart)


def others(model: Model, tensor: Tensor, source: Model, limits: Ranges | None, averaged: Ranges | None) -> list[Other]:
    """Each group of converters that write the same; ai-edge-quantizer with a moving average where it is known."""
    groups: dict[object, list[Converter]] = {}
    for converter in CONVERTERS:
        groups.setdefault(converter.way, []).append(converter)
    found = []
    for members in groups.values():
        average = averaged is not None and members[0].int8 is Quantizer.AI_EDGE
        for request in requests_of(model):
            ranges = (averaged if average else limits) if request.ranged else None
            by = (MOVING_AVERAGE if average else MIN_AND_MAX) if request.ranged else NO_RANGES
            made = _made(source, members[0], ranges, request)
            if made is not None:
                place = _same_place(model, tensor, made)
                found.append(Other(tuple(members), place, by, request.method, made))
            elif request.ranged:
                found.append(Other(tuple(members), None, by))
    return found


def _made(source: Model, converter: Converter, ranges: Ranges | None, request: Request) -> Model | None:
    """The converter's file; None where it makes none."""
    try:
        with np.errstate(all="ignore"):
            made = quantize(source, ranges=ranges, like=converter.label, **request.arguments)
    except LastBitError:
        return None
    return load(bytes(made.content))


def _same_place(model: Model, tensor: Tensor, made: Model) -> Tensor | None:
    """The tensor of another file that stands where this one does."""
    for pair in pair_graphs(model.subgraphs[0], made.subgraphs[0]).tensors:
        if pair.first is not None and pair.first.index == tensor.index and pair.second is not None:
            return pair.second
    return None
