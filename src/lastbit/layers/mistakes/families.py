"""Mistakes that differ by a number alone: how many digits or bits a constant has, by how much a shift is wrong.

There are many of them, so each is searched alone or with one mistake in the rounding or the output zero point; the
plainest of each family stand in the catalogue's other files, and are searched in every set.

Functions: as of the slot that each is about; see `scaling` and `multiplying`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.types import Float64Array, Int64Array
from .base import Case, Mistake, ScaleValues, Shortened, is_q31
from .multiplying import THE_MULTIPLIER
from .rounding import to_int
from .scaling import (
    ALL_DIGITS,
    ALL_DIGITS_C,
    FACTOR,
    FACTOR_C,
    QUANTIZE,
    QUANTIZE_C,
    SCALES,
    THE_FACTOR,
    factor_changed,
    has_scales,
    scales_changed,
    to_digits,
)
from .threads import CMSIS_184, CMSIS_214

__all__ = ["FAMILIES"]

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_RARITY = 2.6

Cut = Callable[[Float64Array], Float64Array]


def _cuts(constant: str, counts: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, str, Cut, Shortened]]:
    """Ways to copy a constant: (the name's end, words, function, which constant and how many digits)."""
    for count in counts["digits"]:
        name = f"{_WORDS[count]}_digit{'s' * (count > 1)}"
        words = f"{_WORDS[count]} significant digit{'s' * (count > 1)}"
        yield name, words, partial(to_digits, count=count), Shortened(constant, count, "digits")
    for count in counts["decimals"]:
        name = f"{_WORDS[count]}_decimal{'s' * (count > 1)}"
        cut = partial(_to_decimals, count=count)
        yield name, name.replace("_", " "), cut, Shortened(constant, count, "decimals")


def _to_decimals(value: Float64Array, count: int) -> Float64Array:
    return np.round(value, count)


def _copied(name: str, why: str, function: Callable[..., ScaleValues], shortened: Shortened) -> Mistake:
    fixes = ALL_DIGITS, ALL_DIGITS_C
    return Mistake(name, "digits", why, *fixes, function, has_scales, rarity=_RARITY, alone=True, shortened=shortened)


def _one_scale(member: str, cut: Cut) -> Callable[[Case, ScaleValues], ScaleValues]:
    def change(_case: Case, scales: ScaleValues) -> ScaleValues:
        if member == "weights":
            return replace(scales, weights=cut(scales.weights))
        if member == "input":
            return replace(scales, input=float(cut(np.asarray([scales.input]))[0]))
        return replace(scales, output=float(cut(np.asarray([scales.output]))[0]))

    return change


def _scales() -> Iterator[Mistake]:
    """All three scales, then each of them alone, with few digits."""
    for end, words, cut, short in _cuts(SCALES, {"digits": (1, 2, 3, 5, 7), "decimals": (1, 2, 3, 5, 7, 8)}):
        yield _copied(f"scales_{end}", f"the scales are copied with {words}", scales_changed(cut), short)
    for member, whose in (("input", "input's"), ("weights", "weights'"), ("output", "output's")):
        counts = {"digits": (1, 2, 3, 4, 5, 6), "decimals": (1, 2, 3, 4, 5, 6, 7)}
        for end, words, cut, short in _cuts(f"the {whose} scale", counts):
            why = f"the {whose} scale is copied with {words}; the others are right"
            yield _copied(f"{member}_scale_{end}", why, _one_scale(member, cut), short)


def _factors() -> Iterator[Mistake]:
    """The product of the scales over the output's scale: in few digits, few bits, or as a division by an integer."""
    rare = partial(Mistake, rarity=_RARITY, alone=True)
    for end, words, cut, short in _cuts(THE_FACTOR, {"digits": (1, 2, 3, 4, 5, 7), "decimals": (2, 3, 4, 5, 7, 8)}):
        why = f"the factor s_x * s_w / s_y is copied with {words}"
        yield rare(f"factor_{end}", "factor", why, FACTOR, FACTOR_C, factor_changed(cut), shortened=short)
    for bits in (*range(7, 8), *range(9, 16), *range(17, 25)):
        yield rare(
            f"factor_{bits}_fraction_bits",
            "factor",
            f"the factor is rounded to {bits} fraction bits",
            QUANTIZE,
            QUANTIZE_C,
            factor_changed(lambda m, bits=bits: np.rint(m * 2.0**bits) / 2.0**bits),  # type: ignore[misc]
            seen=(CMSIS_184,),
            shortened=Shortened(THE_FACTOR, bits, "fraction bits"),
        )
    why = "the sum is divided by 1 / factor, rounded to an integer"
    whole = Shortened("1 / the factor", 0, "decimals")
    change = factor_changed(_one_over_integer)
    yield rare("factor_one_over_integer", "factor", why, FACTOR, FACTOR_C, change, shortened=whole)


def _one_over_integer(m: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(1 / np.rint(1 / m), posinf=0.0)


def _fixed(
    name: str,
    why: str,
    function: Callable[[Int64Array, Int64Array], tuple[Int64Array, Int64Array]],
    shortened: Shortened | None = None,
) -> Mistake:
    fixes = QUANTIZE, QUANTIZE_C
    return Mistake(name, "fixed_point", why, *fixes, function, is_q31, rarity=_RARITY, alone=True, shortened=shortened)


def _multipliers() -> Iterator[Mistake]:
    """A multiplier of few bits, and a shift that is wrong by some places."""
    for bits in (8, 12, 15, 24):
        dropped = 31 - bits + 1

        def kept(q: Int64Array, shift: Int64Array, dropped: int = dropped) -> tuple[Int64Array, Int64Array]:
            return ((q + (1 << (dropped - 1))) >> dropped) << dropped, shift

        why = f"the multiplier is kept with {bits} bits; this runtime has 32"
        yield _fixed(f"multiplier_{bits}_bits", why, kept, Shortened(THE_MULTIPLIER, bits, "bits"))
    for places in (2, 3, 4, 7, 8, 15, 16):
        for sign, way, effect in ((1, "left", "times"), (-1, "right", "divided by")):
            yield _fixed(
                f"shift_{places}_too_far_{way}",
                f"the shift is {places} places too far to the {way}: the factor is {effect} {1 << places}",
                lambda q, shift, by=sign * places: (q, shift + by),  # type: ignore[misc]
            )


def _wraps(bits: int) -> Callable[[Float64Array, Float64Array], Float64Array]:
    """Acc times the factor in fixed point, both of 32 bits, and so is their product."""

    def combine(acc: Float64Array, factor: Float64Array) -> Float64Array:
        multiplier = np.rint(np.clip(factor * 2.0**bits, 0, 2.0**31)).astype(np.int64)
        half = 1 << (bits - 1)  # it is added before the shift, in the same 32 bits
        held = low_bits(to_int(np.rint(acc), 2**31) * multiplier + half, 32) - half
        return held.astype(np.float64) / 2.0**bits

    return combine


def _narrow_products() -> Iterator[Mistake]:
    for bits in range(12, 32):
        yield Mistake(
            f"multiplication_wraps_int32_q{bits}",
            "combine",
            f"acc times the multiplier (of {bits} fraction bits) is calculated in int32, and wraps",
            "y = (acc.astype(np.int64) * q + half) >> n",
            "y = (int32_t)(((int64_t)acc * q + half) >> n);",
            _wraps(bits),
            rarity=_RARITY,
            seen=(CMSIS_214,),
            alone=True,
            shortened=Shortened("the factor in a product of 32 bits", bits, "fraction bits"),
        )


FAMILIES: tuple[Mistake, ...] = (*_scales(), *_factors(), *_multipliers(), *_narrow_products())
