"""What was to be diagnosed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense

__all__ = ["Given"]


@dataclass(frozen=True, eq=False)
class Given:
    """What was to be diagnosed.

    Attributes:
        source: the model's path.
        layer: the operator's label.
        prepared: the layer in the first runtime's arithmetic.
        x: its input.
        input_source: where the input came from.
        mine: the array.
        asked: the runtime that was asked for, or None.
        first: the runtime that comes first among equals.
        real: the input before it was quantized, where it is known.
        most: sets of up to this many mistakes were searched.
        input_asked: whether the input was to be quantized, so that this is in question too.
        faults: runtime -> what its kernel is known to get wrong about this layer; those without a fault are left out.
    """

    source: str
    layer: str
    prepared: PreparedDense
    x: Array
    input_source: str
    mine: Array
    asked: str | None
    first: str
    real: Array | None = None
    most: int = 3
    input_asked: bool = False
    faults: Mapping[str, str] = field(default_factory=dict)
