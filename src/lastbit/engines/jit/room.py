"""The memory that the operators of a chain need: inputs, outputs, and what they work with between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..blas import Elementwise, QuantizeStep, Softmax
from .depthwise import PackedDepthwise
from .groups import PackedGroups
from .moves import PackedMove
from .pack import PackedDense
from .pairs import PackedPairs
from .pools import PackedPool
from .windows import SLACK, Windows

__all__ = ["Operator", "Room", "Wiring", "arena", "images"]

Operator = PackedDense | PackedGroups | PackedDepthwise | PackedPairs | PackedPool | PackedMove | Elementwise
"""What a chain runs."""

Wiring = Sequence[tuple[int, ...]]
"""What each operator of a chain reads: 0 is the chain's input, k + 1 what operator k gives."""

_LINE = 128
# Sums of a pool that are worked on at once.
_POOLED = 256


@dataclass(frozen=True)
class Room:
    """Bytes that an operator needs.

    Attributes:
        given: of each of its inputs, for one row of the chain.
        made: of its output, for one row of the chain.
        converted: of its input in the type that products take, for each row.
        copy: the same, whatever the rows are.
        sums: numbers of one row: sums or records.
        spare: numbers for one tile, or for one row of exponentials.
        products: about how many products a row takes.
    """

    given: tuple[int, ...]
    made: int
    converted: int = 0
    copy: int = 0
    sums: int = 0
    spare: int = 0
    products: int = 0

    @classmethod
    def of(cls, op: Operator) -> Room:
        """Of an operator."""
        match op:
            case PackedDense():
                windows = op.rows
                return _of_windows(op, windows) if isinstance(windows, Windows) else _of_rows(op, windows)
            case PackedGroups():
                return _of_windows(op, op.windows)
            case PackedDepthwise():
                windows = op.windows
                return cls(
                    (windows.height * windows.width * windows.channels * op.input.itemsize,),
                    windows.pixels * op.channels * op.output.itemsize,
                    copy=windows.values * (4 // op.isa.group) + SLACK,
                    spare=op.isa.lanes * op.isa.group,
                    products=windows.pixels * op.channels * len(windows.runs),
                )
            case PackedPairs():
                return cls((op.given, op.given), op.elements, products=op.given)
            case PackedPool():
                return cls((op.given,), op.elements, spare=_POOLED, products=op.given)
            case PackedMove():
                return cls(op.given, op.elements * op.output.itemsize)
            case Softmax():
                return cls((op.elements * op.output.itemsize,), op.elements * op.output.itemsize, spare=op.classes)
            case _:
                size = 4 if isinstance(op, QuantizeStep) else 1
                return cls((op.elements * size,), op.elements * op.output.itemsize)


def _of_windows(op: PackedDense | PackedGroups, windows: Windows) -> Room:
    from .tile import MOST_ROWS

    return Room(
        (windows.height * windows.width * windows.channels * op.input.itemsize,),
        windows.pixels * op.units * op.output.itemsize,
        copy=windows.values * (4 // op.isa.group) + SLACK,
        sums=windows.pixels,
        spare=MOST_ROWS * op.isa.lanes * op.isa.vectors,
        products=windows.pixels * op.units * op.depth,
    )


def _of_rows(op: PackedDense, rows: int) -> Room:
    from .tile import MOST_ROWS

    row_bytes = op.fields["row_bytes"]
    return Room(
        (rows * op.depth * op.input.itemsize,),
        rows * op.units * op.output.itemsize,
        converted=rows * row_bytes,
        copy=MOST_ROWS * row_bytes,
        sums=rows,
        spare=MOST_ROWS * op.isa.lanes * op.isa.vectors,
        products=rows * op.units * op.depth,
    )


def images(rooms: Sequence[Room]) -> bool:
    """Whether a row of the chain is an image, or another thing of several rows."""
    return any((room.copy and not room.converted) or room.sums > 1 for room in rooms)


def arena(rooms: Sequence[Room], wiring: Wiring, block: int) -> tuple[list[int], int]:
    """Where each operator's output lies for a block of rows, and how many bytes all take.

    The last one lies outside. A place is used again once all readers of what was there have run.
    """
    last_read = [max((at for at, read in enumerate(wiring) if k + 1 in read), default=k) for k in range(len(rooms))]
    places: list[int] = []
    ends: list[tuple[int, int, int]] = []  # begin, end, last reader
    for k, room in enumerate(rooms[:-1]):
        size = -(-(room.made * block + SLACK) // _LINE) * _LINE
        taken = sorted((begin, end) for begin, end, reader in ends if reader >= k)
        place = 0
        for begin, end in taken:
            if place + size <= begin:
                break
            place = max(place, end)
        places.append(place)
        ends.append((place, place + size, last_read[k]))
    return places, max((end for _, end, _ in ends), default=0)
