"""What a float32 layer's rule is made of, as data. Two rules are equal if their fields are; names are never read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..requantize.forms import no_meaning

__all__ = ["FUSED_BLOCK", "ByUnits", "FloatRule"]

FUSED_BLOCK = 8
"""Products of a row after which those begin that `tail` fuses: the last `depth % 8`."""


@dataclass(frozen=True)
class FloatRule:
    """One way of calculating a float32 layer.

    Attributes:
        name: what users know it by. It is printed and never read.
        order: whether products are added one by one, or in four sums side by side.
        fused: whether a product and its addition are rounded once: in all places, in the last `depth % 8`, or in none.
        bias: whether the sum begins with it, or it is added at last.
        flush: whether subnormals are read and written as zero.
        ends: what an activation without ends limits to: `infinite`, or the largest `finite` float32.
        clamp: which operand wins where a comparison with NaN fails: the value, the bound, or the bound with the upper
            one first.
    """

    name: str = field(compare=False)
    order: Literal["one_by_one", "four_lanes"]
    fused: Literal["all", "tail", "none"]
    bias: Literal["first", "last"]
    flush: bool
    ends: Literal["infinite", "finite"]
    clamp: Literal["value_first", "bound_first", "high_first"]

    def __post_init__(self) -> None:
        if self.order == "four_lanes" and (self.fused, self.bias, self.flush) != ("none", "first", True):
            raise no_meaning(self, "the four sums are those of one kernel, which begins with the bias and flushes")


@dataclass(frozen=True)
class ByUnits:
    """A choice of two rules by a layer's units.

    Attributes:
        name: what users know the choice by. It is printed and never read.
        least: the units from which on a layer is wide.
        wide: what wide layers follow.
        narrow: what all others follow.
    """

    name: str = field(compare=False)
    least: int
    wide: FloatRule
    narrow: FloatRule
