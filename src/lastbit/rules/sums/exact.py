"""Pairs of products that are added in 16 bits, one pair at a time in Python integers: the twin of the vector code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from ..base import Pairs

__all__ = ["PairSum", "pair_count", "pair_sums"]


@dataclass(frozen=True)
class PairSum:
    """Two products that are added in 16 bits.

    Attributes:
        place: the first one's k.
        x: both inputs as the kernel has them: uint8.
        w: both weights as the kernel has them: int8.
        total: the sum of the two products.
        kept: what 16 bits hold of it.
    """

    place: int
    x: tuple[int, int]
    w: tuple[int, int]
    total: int
    kept: int


def pair_sums(pairs: Pairs, x: Sequence[int], w: Sequence[int]) -> Iterator[PairSum]:
    """Every pair of one unit's products.

    Args:
        pairs: which are added, and what becomes of sums that do not fit.
        x: inputs as the kernel has them.
        w: the unit's weights, in the same way.

    >>> [(p.place, p.total, p.kept) for p in pair_sums(Pairs(2, "wrap16"), [255] * 4, [127, 1, 127, 0])]
    [(0, 64770, -766), (1, 255, 255)]
    """
    for first, second in _places(pairs, len(x)):
        total = x[first] * w[first] + x[second] * w[second]
        yield PairSum(first, (x[first], x[second]), (w[first], w[second]), total, _kept(pairs, total))


def pair_count(pairs: Pairs, depth: int) -> int:
    """How many pairs so many products have."""
    return sum(1 for _ in _places(pairs, depth))


def _places(pairs: Pairs, depth: int) -> Iterator[tuple[int, int]]:
    size = 2 * pairs.partner
    for start in range(0, depth, size):
        if pairs.last_group == "alone" and start + size > depth:
            return
        for first in range(start, start + pairs.partner):
            if first + pairs.partner < depth:
                yield first, first + pairs.partner


def _kept(pairs: Pairs, total: int) -> int:
    match pairs.overflow:
        case "saturate16":
            return min(max(total, -(2**15)), 2**15 - 1)
        case "wrap16":
            return (total + 2**15) % 2**16 - 2**15
        case never:
            assert_never(never)
