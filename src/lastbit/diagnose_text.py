"""Pieces of text that a diagnosis is told in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .mistakes import Mistake
from .report import Block, Code, Text
from .types import Array

__all__ = ["mistake_blocks", "names_text", "rest_text"]

_MOST_NAMES = 4


def names_text(names: Sequence[str]) -> str:
    """Some names in words.

    >>> names_text(["a", "b"]), names_text(list("abcdef"))
    ('a and b', 'a, b, c and 3 more')
    """
    shown = list(names) if len(names) <= _MOST_NAMES else [*names[: _MOST_NAMES - 1], f"{len(names) - 3} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def rest_text(ours: Array, mine: Array) -> str:
    """What the elements look like that an explanation does not reproduce."""
    if mine.dtype.kind == "f":
        return f"the largest difference is {float(np.nanmax(np.abs(ours - mine))):.6g}"
    bad = ours != mine
    if not bad.any():
        return ""
    said = []
    gap = np.unique((mine - ours)[bad])
    if len(gap) == 1:
        said.append(f"yours is {int(gap[0]):+d} everywhere there")
    elif np.abs(gap).max() == 1:
        said.append("off by one, in both directions")
    else:
        said.append(f"off by {int(gap.min())} .. {int(gap.max())}")
    units, rows = np.flatnonzero(bad.any(axis=0)), np.flatnonzero(bad.any(axis=1))
    if len(units) <= max(bad.shape[1] // 4, 1) and bad.shape[1] > 1:
        said.append(
            f"only in unit{'s' * (len(units) != 1)} {', '.join(map(str, units[:8]))}{', ...' * (len(units) > 8)}"
        )
    if len(rows) <= max(bad.shape[0] // 4, 1) and bad.shape[0] > 1:
        said.append(f"only in row{'s' * (len(rows) != 1)} {', '.join(map(str, rows[:8]))}{', ...' * (len(rows) > 8)}")
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    said.append(f"first at {list(first)}: {ours[first]} expected, yours {mine[first]}")
    return "; ".join(said)


def mistake_blocks(number: int, mistake: Mistake) -> list[Block]:
    """One mistake with its fixes, for people."""
    lines = [f"NumPy: {mistake.fix_numpy}", f"C:     {mistake.fix_c}"]
    if mistake.seen:
        lines.append("seen:  " + ", ".join(mistake.seen))
    return [Text(f"{number}. {mistake.name} ({mistake.stage}): {mistake.why}."), Code("\n".join(lines))]
