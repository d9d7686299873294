"""What the code of a requantization form is given: the constants of one vector of units, and the layer's scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .vectors import F32, I32, Vectors

__all__ = ["SCALARS", "Unit"]

# Scalars, each an int32 or the bits of a float32.
SCALARS = (
    "zero_point",
    "low",
    "high",
    "type_max",
    "limit_float",
    "type_low_float",
    "type_high_float",
    "unused_bits",
    "least_scale_float",
)


class Unit:
    """What a form's code may ask for: its slots for one vector of units, and the scalars."""

    def __init__(
        self,
        v: Vectors,
        columns: Any,
        scalars: Any,
        offsets: Mapping[str, int],
        *,
        narrow: bool = False,
        packs: bool = False,
    ) -> None:
        self.v = v
        self._columns = columns
        self._scalars = scalars
        self._offsets = offsets
        self.narrow = narrow  # whether accumulators have fewer than 32 bits
        self.row: Any = None  # the record of the row that is finished, of forms that have one
        self.usual = False  # whether no result of these rows is subnormal
        # Where several vectors are packed into one of bytes, the bounds are applied to that.
        self.bounds: tuple[str, str] | None = None
        self._packs = packs

    def bounded(self, total: Any, low: str = "low", high: str = "high") -> Any:
        """A form's last step: an int32 limited to two scalars, or left to be limited when it is packed."""
        self.bounds = low, high
        return total if self._packs else self.v.clamp(total, self.scalar(low), self.scalar(high))

    def row_i32(self, offset: int) -> Any:
        """An int32 of the row's record in every lane."""
        return self.v.splat(self.v.b.load(self.v.at(self.row, offset), typ=I32), self.v.lanes)

    def row_f32(self, offset: int) -> Any:
        """A float32 of the row's record in every lane."""
        return self.v.splat(self.v.b.load(self.v.at(self.row, offset), typ=F32), self.v.lanes)

    def i32(self, name: str) -> Any:
        """An int32 slot."""
        return self.v.load(self.v.i32, self._columns, self._offsets[name])

    def f32(self, name: str) -> Any:
        """A float32 slot."""
        return self.v.load(self.v.f32, self._columns, self._offsets[name])

    def f64(self, name: str) -> Any:
        """A float64 slot."""
        return self.v.load(self.v.f64, self._columns, self._offsets[name])

    def i64(self, name: str) -> Any:
        """An int64 slot."""
        return self.v.load(self.v.i64, self._columns, self._offsets[name])

    def i64_halves(self, name: str) -> tuple[Any, Any]:
        """An int64 slot: its even and its odd units."""
        whole = self.i64(name)
        lanes = self.v.lanes
        even, odd = (self.v.shuffle(whole, whole, list(range(start, lanes, 2))) for start in (0, 1))
        return even, odd

    def scalar(self, name: str) -> Any:
        """A scalar in every lane."""
        kind = F32 if name.endswith("_float") else I32
        pointer = self.v.at(self._scalars, 4 * SCALARS.index(name))
        return self.v.splat(self.v.b.load(pointer, typ=kind), self.v.lanes)
