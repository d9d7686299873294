"""Every mistake there is, by name."""

from __future__ import annotations

from ..ops.dense_8bit import PreparedDense
from .accumulate import ACCUMULATE
from .base import SLOTS, Mistake
from .finishing import FINISHING
from .multiplying import MULTIPLYING
from .reading import READING
from .rounding import ROUNDING
from .scaling import SCALING

__all__ = ["MISTAKES", "applicable"]

_ORDER = list(SLOTS)
_ALL = (*READING, *ACCUMULATE, *SCALING, *MULTIPLYING, *ROUNDING, *FINISHING)

MISTAKES: dict[str, Mistake] = {
    mistake.name: mistake
    for mistake in sorted(
        (*READING, *ACCUMULATE, *SCALING, *MULTIPLYING, *ROUNDING, *FINISHING),
        key=lambda mistake: _ORDER.index(mistake.slot),
    )
}
"""Name -> mistake, in order of calculation."""


def applicable(prepared: PreparedDense) -> list[Mistake]:
    """The mistakes that can make a difference on a layer in a rule, by what the file says."""
    return [mistake for mistake in MISTAKES.values() if mistake.applies(prepared)]
