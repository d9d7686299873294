"""Convolutions in groups of channels: one copy of an image, and a dense layer over its windows for each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.types import Array
from .fields import Fields
from .memory import address
from .pack import PackedDense
from .windows import Windows

if TYPE_CHECKING:
    from .vectors import Isa

__all__ = ["PackedGroups", "join_groups"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedGroups:
    """A convolution in groups, for a chain.

    Attributes:
        isa: the kernels.
        windows: its windows, those of the first group.
        units: output channels of all groups.
        depth: products of one output.
        input: the type of the images.
        output: the type of the outputs.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    isa: Isa
    windows: Windows
    units: int
    depth: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)


def join_groups(layers: Sequence[PackedDense], windows: Windows) -> PackedGroups:
    """One convolution of the layers of its groups, which see equally many channels each, in order."""
    from . import kernels
    from .compile import function_address

    first, units = layers[0], sum(layer.units for layer in layers)
    rows, begin = [], 0
    for layer in layers:
        # All have the same windows. What a tile writes beyond its group, the next one writes again.
        own = {"first_unit": begin, "units": units, "starts": first.fields["starts"], "taps": first.fields["taps"]}
        fields = layer.fields | layer.tiles(one_row=False) | own
        rows.append([fields.get(name, 0) for name in Fields._fields])
        begin += layer.units
    table = np.asarray(rows, np.int64)
    size = 4 // first.isa.group
    fields = windows.copied(first.isa, first.input) | {
        "function": function_address(kernels.convolve),
        "tiles": first.fields["tiles"],
        "units": units,
        "output_bytes": first.output.itemsize,
        "layers": address(table),
        "layer_count": len(layers),
        "layer_bytes": windows.channels // len(layers) * size,
    }
    return PackedGroups(
        isa=first.isa,
        windows=windows,
        units=units,
        depth=first.depth,
        input=first.input,
        output=first.output,
        fields=fields,
        kept=(table, *(array for layer in layers for array in (layer.kept if layer is first else layer.kept[:-2]))),
    )
