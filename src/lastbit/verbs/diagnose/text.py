"""Pieces of text that a diagnosis is told in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import Mistake
from ...layers.mistakes.base import Case
from ...layers.mistakes.fixes import fixes
from ...layers.mistakes.threads import TF_23384
from ...model.types import Array
from ...report.blocks import Block, Code, Text
from ...rules.base import IntegerRule

__all__ = [
    "FEW_WRONG",
    "caution_blocks",
    "constants_text",
    "mistake_blocks",
    "percent",
    "rest_text",
    "tie_distance",
    "tie_text",
]

FEW_WRONG = 4
"""Wrong elements for each mistake and one more, below which an explanation may be chance."""
_FEW_VALUES = 2
"""Different values, up to which an array is said to tell little."""
_NEAR_TIE = 1 / 64
"""Values this near to a tie, in output steps, are called near."""
_NEAR_TIE_FEW = 1 / 1024
"""The same for fewer than three values, which may lie there by chance."""
_LEAST_ROWS = 3
"""Rows of each unit that have to be seen, to say that all differ by the same number."""
_LEAST_SPAN = 8
_DENSE = 0.8
"""Wrong elements side by side: at least so many, and this share of them wrong."""


def percent(part: int, whole: int) -> str:
    """A share in words, never rounded up to all.

    >>> percent(359, 360), percent(99999, 100000), percent(4, 4), percent(0, 7)
    ('99.7 %', 'more than 99.9 %', '100 %', '0 %')
    """
    share = 100 * part / max(whole, 1)
    if part == whole or part == 0:
        return f"{share:.0f} %"
    return "more than 99.9 %" if share >= 99.95 else f"{share:.3g} %"


def tie_distance(mine: Array, right: Array, unrounded: Array) -> float | None:
    """How far from a rounding tie the wrong elements are at most, in output steps; None where that is not all of it.

    Args:
        mine: the array, `[rows, out]`.
        right: the right output.
        unrounded: the right calculation before its rounding.

    Returns:
        The distance where every wrong element is off by one and next to a tie of the right calculation; else None.
    """
    bad = mine != right
    if not bad.any() or np.abs(mine - right).max() != 1:
        return None
    values = unrounded[bad]
    far = float(np.abs(values - np.floor(values) - 0.5).max())
    return far if far < (_NEAR_TIE if bad.sum() >= _LEAST_ROWS else _NEAR_TIE_FEW) else None


def tie_text(wrong: int, distance: float) -> str:
    """What it means that every difference is next to a tie."""
    what = f"Each of the {wrong} wrong elements is" if wrong != 1 else "The one wrong element is"
    near = "at a rounding tie" if distance == 0 else f"within {distance:.2g} of a rounding tie"
    return (
        f"{what} off by one and lies {near} of the right calculation. A calculation with real numbers in another order "
        "does this, such as a loop over dequantized values: only its rounding differs. Integers give every bit."
    )


def rest_text(
    ours: Array,
    mine: Array,
    unrounded: Array | None = None,
    place: Callable[[int, int], str] = "row {}, unit {}".format,
    places: Callable[[npt.NDArray[np.bool_]], list[str]] | None = None,
) -> str:
    """What the elements look like that an explanation does not reproduce.

    Args:
        ours: what it prints, `[rows, out]`.
        mine: what should be reproduced.
        unrounded: its values before the rounding, where they are known.
        place: says where (row, unit) is.
        places: says where the wrong elements lie, `[rows, out]`; default: in which units and rows.
    """
    if mine.dtype.kind == "f":
        return f"the largest difference is {float(np.nanmax(np.abs(ours - mine))):.6g}"
    bad = ours != mine
    if not bad.any():
        return ""
    gap = np.unique((mine - ours)[bad])
    said = [_gap_text(gap)]
    if unrounded is not None and np.abs(gap).max() == 1:
        values = unrounded[bad]
        far = float(np.abs(values - np.floor(values) - 0.5).max())
        if far < _NEAR_TIE:
            said.append(
                f"all of them lie within {far:.2g} of a rounding tie, as a calculation of less precision or another "
                "rounding would do it"
            )
    if _constant_per_unit(ours, mine):
        said.append(
            "by the same number in all rows of a unit, where nothing is at its range's ends, as a wrong bias does"
        )
    said += (places or _places_text)(bad) + _side_by_side_text(bad)
    first = (int(np.argwhere(bad)[0][0]), int(np.argwhere(bad)[0][1]))
    said.append(f"first at {place(*first)}: {ours[first]} expected, yours {mine[first]}")
    return "; ".join(said)


def _gap_text(gap: Array) -> str:
    if len(gap) == 1:
        return f"yours is {int(gap[0]):+d} everywhere there"
    if np.abs(gap).max() == 1:
        return "off by one, in both directions"
    return f"off by {int(gap.min())} .. {int(gap.max())}"


def _constant_per_unit(ours: Array, mine: Array) -> bool:
    """Whether the arrays differ by one number for each unit, several for all, away from the ends of both ranges."""
    inside = (ours > ours.min()) & (ours < ours.max()) & (mine > mine.min()) & (mine < mine.max())
    if (inside.sum(axis=0) < _LEAST_ROWS).any():
        return False
    gap = np.where(inside, (mine - ours).astype(np.float64), np.nan)
    low, high = np.nanmin(gap, axis=0), np.nanmax(gap, axis=0)
    # Rounding may part by one step what a constant before it has moved.
    return bool((high - low <= 1).all() and np.unique(low).size > 1)


def _places_text(bad: npt.NDArray[np.bool_]) -> list[str]:
    """Where they are: in few units, or in few rows."""
    said = []
    units, rows = np.flatnonzero(bad.any(axis=0)), np.flatnonzero(bad.any(axis=1))
    right = np.setdiff1d(np.arange(bad.shape[1]), units)
    if 0 < len(right) <= bad.shape[1] // 8:
        said.append(f"right only in unit{'s' * (len(right) != 1)} {', '.join(map(str, right[:8]))}")
    if _few_units(bad):
        said.append(
            f"only in unit{'s' * (len(units) != 1)} {', '.join(map(str, units[:8]))}{', ...' * (len(units) > 8)}"
        )
    if len(rows) <= max(bad.shape[0] // 4, 1) and bad.shape[0] > 1:
        said.append(f"only in row{'s' * (len(rows) != 1)} {', '.join(map(str, rows[:8]))}{', ...' * (len(rows) > 8)}")
    return said


def _few_units(bad: npt.NDArray[np.bool_]) -> bool:
    return bool(bad.any(axis=0).sum() <= max(bad.shape[1] // 4, 1) and bad.shape[1] > 1)


def _side_by_side_text(bad: npt.NDArray[np.bool_]) -> list[str]:
    """That they are one piece of memory, where they are."""
    places = np.flatnonzero(bad)
    span = int(places[-1] - places[0]) + 1
    if _few_units(bad) or span < _LEAST_SPAN or len(places) < _DENSE * span or span >= 0.9 * bad.size:
        return []
    return [
        f"they lie side by side, elements {places[0]} to {places[-1]} of {bad.size} in memory: was the array read "
        "after the interpreter had used its memory again? experimental_preserve_all_tensors=True keeps it "
        f"(seen: {TF_23384})"
    ]


def caution_blocks(wrong: int, mistakes: int, different: int) -> list[Block]:
    """What to say where an explanation may be chance.

    Args:
        wrong: elements that are wrong.
        mistakes: how many mistakes reproduce them.
        different: how many different values the array has.
    """
    blocks: list[Block] = []
    if wrong < FEW_WRONG * (mistakes + 1):
        blocks.append(
            Text(
                f"Only {wrong} element{'s are' if wrong != 1 else ' is'} wrong, which many mistakes can make by "
                "chance: diagnose an output of more inputs before you trust this.",
                "warning",
            )
        )
    if different <= _FEW_VALUES:
        blocks.append(
            Text(
                f"Your array has only {different} different value{'s' * (different != 1)}, and so tells little: many "
                "mistakes could make it, and one that is not known here as well.",
                "warning",
            )
        )
    return blocks


def mistake_blocks(number: int, mistake: Mistake, rule: IntegerRule | None, seen: bool = True) -> list[Block]:
    """One mistake with its fixes, in the arithmetic of the rule that is meant, and where it was seen, for people."""
    fix_numpy, fix_c = fixes(mistake, rule)
    lines = [f"NumPy: {fix_numpy}", f"C:     {fix_c}"]
    if mistake.seen and seen:
        lines.append("seen:  " + ", ".join(mistake.seen))
    return [Text(f"{number}. {mistake.name} ({mistake.stage}): {mistake.why}."), Code("\n".join(lines))]


def constants_text(case: Case, mistake: Mistake) -> str:
    """The scales or the factor that a mistake makes, beside the right ones; empty where it is about something else."""
    right = case.scales
    if mistake.slot not in ("digits", "factor") or case.layer.given is not None:
        return ""
    with np.errstate(all="ignore"):
        wrong = mistake.function(case, right)
    several = right.weights.size > 1
    members = (
        [("m of unit 0" if several else "m", wrong.factor[0], right.factor[0])]
        if mistake.slot == "factor"
        else [
            ("s_x", wrong.input, right.input),
            ("s_w of unit 0" if several else "s_w", wrong.weights[0], right.weights[0]),
            ("s_y", wrong.output, right.output),
        ]
    )
    told = [f"{name} = {yours:.9g} (right: {own:.9g})" for name, yours, own in members if yours != own]
    return "Yours: " + "; ".join(told) if told else ""
