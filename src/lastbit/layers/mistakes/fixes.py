"""The right line for a mistake, in the rounding of the runtime that is meant."""

from __future__ import annotations

from ...rules.requantize.forms import Requantize
from ...rules.requantize.words import lines
from .base import Mistake

__all__ = ["fixes"]


def fixes(mistake: Mistake, form: Requantize) -> tuple[str, str]:
    """The right line in NumPy and in C.

    Args:
        mistake: the mistake.
        form: of the rule that is meant: mistakes in the rounding are put right in its own way.

    >>> from lastbit.layers.mistakes import MISTAKES
    >>> from lastbit.rules.requantize.table import RULES
    >>> fixes(MISTAKES["rounding_floor"], RULES["float32-half_even"].requantize)[1]
    'y = zy + (int32_t)rintf((float)acc * m[unit]);  /* ties to even */'
    """
    return lines(form) if mistake.slot == "rounding" else (mistake.fix_numpy, mistake.fix_c)
