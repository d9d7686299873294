"""The right line for a mistake, in the rounding of the runtime that is meant."""

from __future__ import annotations

from .base import Mistake

__all__ = ["fixes"]

# Beginning of a rule's form -> the line in NumPy and in C. The first that fits counts. L and R are the left and the
# right shift, max(shift, 0) and max(-shift, 0); `1 << R >> 1` is half of 2^R, and 0 where R is 0.
_ROUNDINGS: tuple[tuple[str, str, str], ...] = (
    (
        "float32",
        "y = zy + np.rint(acc.astype(np.float32) * m)  # m is float32; ties to even",
        "y = zy + (int32_t)rintf((float)acc * m[unit]);  /* ties to even */",
    ),
    (
        "float64",
        "v = acc * m; y = zy + np.trunc(v + np.copysign(0.5, v))  # float64; ties away from zero",
        "y = zy + (int32_t)round((double)acc * m[unit]);  /* ties away from zero */",
    ),
    (
        "q31_up_up",
        "v = ((acc << L) * q + (1 << 30)) >> 31; y = zy + ((v + (1 << R >> 1)) >> R)  # int64; both steps half up",
        "v = (int32_t)(((int64_t)(acc << L) * q + (1LL << 30)) >> 31); y = zy + ((v + (1 << R >> 1)) >> R);",
    ),
    (
        "q31_up_away",
        "v = ((acc << L) * q + (1 << 30)) >> 31; y = zy + np.sign(v) * ((np.abs(v) + (1 << R >> 1)) >> R)  # int64",
        "h = 1 << R >> 1; y = zy + (v < 0 ? -((h - v) >> R) : (v + h) >> R);  /* v: the high half, rounded half up */",
    ),
    (
        "q31",
        "y = zy + ((acc * q + (1 << (30 - shift))) >> (31 - shift))  # int64; one rounding, half up",
        "y = zy + (int32_t)(((int64_t)acc * q + (1LL << (30 - shift))) >> (31 - shift));",
    ),
    (
        "q15",
        "q16 = (q + 2**15) >> 16; y = zy + ((acc * q16 + (1 << (14 - shift))) >> (15 - shift))  # int64",
        "y = zy + (int32_t)((acc * q16 + (1LL << (14 - shift))) >> (15 - shift));  /* int64_t acc */",
    ),
)


def fixes(mistake: Mistake, form: str) -> tuple[str, str]:
    """The right line in NumPy and in C.

    Args:
        mistake: the mistake.
        form: of the rule that is meant, `RequantRule.form`: mistakes in the rounding are put right in its own way.

    >>> from lastbit.mistakes import MISTAKES
    >>> fixes(MISTAKES["rounding_floor"], "float32")[1]
    'y = zy + (int32_t)rintf((float)acc * m[unit]);  /* ties to even */'
    """
    if mistake.slot == "rounding":
        for beginning, numpy_line, c_line in _ROUNDINGS:
            if form.startswith(beginning):
                return numpy_line, c_line
    return mistake.fix_numpy, mistake.fix_c
