"""The stages with 16 bits of operators around dense layers, in integers: a part of `exact`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import assert_never

from ...arith.exact import ExactStep, make_step, round_fraction, round_multiplier, saturate
from .exact_numbers import Worked, exact_factor, high_part
from .forms import Fixed16, Halved, Product15, ScaledBack, Shifted

__all__ = ["fixed16_steps"]


def fixed16_steps(worked: Worked, stage: Shifted | Fixed16 | Halved | Product15 | ScaledBack) -> Iterator[ExactStep]:
    """The steps of one stage."""
    match stage:
        case Shifted(step, of, bits):
            value = worked.whole(of) * 2**bits
            yield make_step(step, f"{of} << {bits}", f"{worked.whole(of)} << {bits}", value, value)
        case Fixed16():
            yield from _fixed16(worked, stage)
        case Halved(step, of):
            exact = Fraction(worked.whole(of) + 2**15, 2)
            yield make_step(
                step,
                f"({of} + 2^15) >> 1",
                f"({worked.whole(of)} + 32768) / 2",
                math.floor(exact),
                exact,
                "floor",
            )
        case Product15(step, (first, second), rounding):
            a, b = worked.whole(first), worked.whole(second)
            exact = Fraction(a * b, 2**15)
            word, whole = ("trunc", math.trunc(exact)) if rounding == "truncated" else ("floor", math.floor(exact))
            text = f"{word}({first} * {second} / 2^15)"
            yield make_step(step, text, f"{a} * {b} / 2^15", whole, exact, rounding)
        case ScaledBack(step, of, factor, tie):
            right = -round_multiplier(exact_factor(factor, worked.constants)[0])[1]
            exact = Fraction(worked.whole(of), 2**right)
            numbers = f"{worked.whole(of)} / 2^{right}"
            yield make_step(step, f"round_{tie}({of} / 2^R)", numbers, round_fraction(exact, tie), exact, tie)
        case never:
            assert_never(never)


def _fixed16(worked: Worked, stage: Fixed16) -> Iterator[ExactStep]:
    yield from worked.factor(stage.factor, stage.step)
    q, shift = round_multiplier(exact_factor(stage.factor, worked.constants)[0])
    multiplier = min(round_fraction(Fraction(q, 2**16), "half_up"), 2**15 - 1)
    yield make_step(
        f"multiplier_of_{stage.step}",
        "q15 = min(round_half_up(q / 2^16), 0x7fff)",
        f"{q} / 2^16",
        multiplier,
        Fraction(q, 2**16),
        "half_up",
    )
    yield make_step(f"shift_of_{stage.step}", "positive = left", f"{shift}", shift, shift)
    value, applied = worked.whole(stage.of), shift if stage.shift == "applied" else 0
    exact = Fraction(value * multiplier, 2**15) * Fraction(2) ** applied
    if applied > 0:
        value = saturate(value * 2 ** (applied - 1), 16)
    high = high_part(value, multiplier, 15)
    if applied > 0:
        result, effect = saturate(2 * high, 16), "half_up, saturate16"
    else:
        result, effect = round_fraction(Fraction(high, 2**-applied), "half_away"), "half_up"
        effect = "half_up, then half_away" if applied else effect
    numbers = f"{value} * {multiplier} / 2^15"
    yield make_step(stage.step, f"({stage.of} * q15 + 2^14) >> 15", numbers, result, exact, effect)
