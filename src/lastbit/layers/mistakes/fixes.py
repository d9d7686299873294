"""The right line for a mistake, in the rounding of the runtime that is meant."""

from __future__ import annotations

from ...rules.base import IntegerRule
from ...rules.requantize.words import lines
from .base import Mistake

__all__ = ["fixes"]

# A layer that is given by multiplier and shift has no scales to make them from.
_FROM_THE_SCALES = ("channels", "factor", "fixed_point")
_GIVEN = (
    "q, shift = multiplier[unit], shift[unit]  # as given: acc * q * 2**(shift - 31)",
    "q = multiplier[unit]; n = shift[unit];  /* as given: acc * q * 2^(n - 31) */",
)


def fixes(mistake: Mistake, rule: IntegerRule | None) -> tuple[str, str]:
    """The right line in NumPy and in C.

    Args:
        mistake: the mistake.
        rule: the rule that is meant: mistakes in the rounding are put right in its own way. None for an operator
            without weights.

    >>> from lastbit.layers.mistakes import MISTAKES
    >>> from lastbit.rules.requantize.table import RULES
    >>> fixes(MISTAKES["rounding_floor"], RULES["float32-half_even"])[1]
    'y = zy + (int32_t)rintf((float)acc * m[unit]);  /* ties to even */'
    """
    if rule is None:
        return mistake.fix_numpy, mistake.fix_c
    if mistake.slot == "rounding":
        return lines(rule.requantize)
    given = rule.scales.product == "given" and mistake.slot in _FROM_THE_SCALES
    return _GIVEN if given else (mistake.fix_numpy, mistake.fix_c)
