"""A constant with too few digits or bits, where an array does not say which constant, or how many: one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...layers.mistakes import MISTAKES, Mistake
from ...layers.mistakes.base import Case
from .target import Reproduction

__all__ = ["one_of", "same_number", "shortened_lines"]


def one_of(explanations: Sequence[Reproduction], case: Case) -> tuple[Mistake, ...]:
    """Mistakes of which one was made: constants that are kept with too few digits or bits.

    Args:
        explanations: what reproduces every element.
        case: the layer in the first one's arithmetic.

    Returns:
        The first explanation's mistake of this kind, then those that fit in its place, the rest being the same. Empty
        where there is no such other, or they all make the same number of the constant.
    """
    pairs = [pair for other in explanations[1:] for pair in _exchanged(explanations[0], other)]
    if not pairs:
        return ()
    own = pairs[0][0]
    others = dict.fromkeys(other for mistake, other in pairs if mistake is own)
    return (own, *others) if any(not same_number(case, own, other) for other in others) else ()


def same_number(case: Case, one: Mistake, other: Mistake) -> bool:
    """Whether two mistakes make the same factor of the scales: 0.0745 has three digits and four decimals."""
    if not {one.slot, other.slot} <= {"digits", "factor"}:
        return False
    with np.errstate(all="ignore"):
        first, second = (mistake.function(case, case.scales).factor for mistake in (one, other))
    return bool(np.array_equal(first, second))


def _exchanged(first: Reproduction, other: Reproduction) -> Iterator[tuple[Mistake, Mistake]]:
    """The two constants in which two explanations differ, where that is all."""
    own, others = set(first.mistakes) - set(other.mistakes), set(other.mistakes) - set(first.mistakes)
    if len(own) == len(others) == 1:
        pair = MISTAKES[own.pop()], MISTAKES[others.pop()]
        if all(mistake.shortened is not None for mistake in pair):
            yield pair


def shortened_lines(mistakes: Sequence[Mistake]) -> list[str]:
    """A line for each constant, and with how many digits or bits it fits.

    >>> names = ("scales_six_digits", "weights_scale_five_digits", "weights_scale_six_digits", "factor_six_digits")
    >>> shortened_lines([MISTAKES[name] for name in names])
    ['all scales: 6 digits', "the weights' scale: 5 or 6 digits", 'the factor: 6 digits']
    """
    counts: dict[str, dict[str, list[int]]] = {}
    for mistake in mistakes:
        kept = mistake.shortened
        assert kept is not None
        counts.setdefault(kept.constant, {}).setdefault(kept.unit, []).append(kept.count)
    return [
        f"{constant}: " + ", or ".join(f"{_numbers(sorted(some))} {unit}" for unit, some in units.items())
        for constant, units in counts.items()
    ]


def _numbers(counts: Sequence[int]) -> str:
    """Numbers in order: 6; 5 or 6; 17 to 20; 3, 5 or 7."""
    if len(counts) > 2 and counts[-1] - counts[0] == len(counts) - 1:
        return f"{counts[0]} to {counts[-1]}"
    first, last = ", ".join(map(str, counts[:-1])), str(counts[-1])
    return f"{first} or {last}" if first else last
