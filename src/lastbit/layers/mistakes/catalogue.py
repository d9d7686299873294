"""Every mistake there is, by name."""

from __future__ import annotations

from functools import lru_cache

from ...ops.dense.eight_bit import PreparedDense
from .accumulate import ACCUMULATE
from .base import SLOTS, Mistake
from .biasing import BIASING
from .families import FAMILIES
from .finishing import FINISHING
from .multiplying import MULTIPLYING
from .quantizing import QUANTIZING
from .reading import READING
from .rounding import ROUNDING
from .scaling import SCALING
from .whole_layer import WHOLE
from .windows import WINDOWS
from .zero_point_sums import ZERO_POINT_SUMS
from .zero_points import ZERO_POINTS

__all__ = ["MISTAKES", "WHOLE", "applicable"]

_ORDER = list(SLOTS)

MISTAKES: dict[str, Mistake] = {
    mistake.name: mistake
    for mistake in sorted(
        (
            *(*READING, *WINDOWS, *ZERO_POINTS, *QUANTIZING, *ACCUMULATE, *ZERO_POINT_SUMS, *BIASING),
            *(*SCALING, *MULTIPLYING, *FAMILIES, *ROUNDING, *FINISHING, *WHOLE),
        ),
        key=lambda mistake: _ORDER.index(mistake.slot),
    )
}
"""Name -> mistake, in order of calculation."""


def applicable(
    prepared: PreparedDense, *, real_input: bool = False, images: bool = False, families: bool = False
) -> list[Mistake]:
    """The mistakes that can make a difference on a layer in a rule, by what the file says.

    Args:
        prepared: the layer in a rule.
        real_input: whether the input is known before it was quantized: mistakes in quantizing it are among them then.
        images: whether the input is images: mistakes in the windows of a convolution are among them then.
        families: whether those that are searched alone are among them.

    Returns:
        Those that change one step. The ones of slot `whole`, which replace the integer arithmetic altogether, are not
        among them: `WHOLE` has them.
    """
    return list(_applicable(prepared, real_input, images, families))


@lru_cache(maxsize=32)  # a search asks for the same few layers again and again
def _applicable(prepared: PreparedDense, real_input: bool, images: bool, families: bool) -> tuple[Mistake, ...]:
    return tuple(
        mistake
        for mistake in MISTAKES.values()
        if mistake.slot != "whole"
        and (families or not mistake.alone)
        and mistake.applies(prepared)
        and (real_input or not mistake.needs_real_input)
        and (images or not mistake.needs_images)
    )
