"""The stages with floats of operators around dense layers, in fractions: a part of `exact`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import assert_never

from ...arith.exact import ExactStep, make_step, number_text, round_fraction, round_to_float, saturate
from .exact_numbers import SIGNIFICAND, Worked, exact_factor
from .forms import Affine, FloatRounded, FloatScaled, FusedAffine, Quotient

__all__ = ["float_steps"]

_SMALLEST_NORMAL = Fraction(1, 2**126)
_LARGEST_FLOAT = (2 - Fraction(1, 2**23)) * 2**127


def float_steps(
    worked: Worked, stage: Quotient | FloatScaled | Affine | FusedAffine | FloatRounded
) -> Iterator[ExactStep]:
    """The steps of one stage."""
    constants = worked.constants
    match stage:
        case Quotient():
            yield from _quotient(worked, stage)
        case FloatScaled(step, of, factor):
            yield from worked.factor(factor, step)
            value, _ = exact_factor(factor, constants)
            whole = round_to_float(worked.values[of], 24)
            product = round_to_float(whole * value, 24)
            numbers = f"{number_text(whole)} * {number_text(value)}"
            yield make_step(step, f"float32({of}) * m", numbers, product, worked.values[of] * value, "float32")
        case Affine(step, of, offset, factor):
            moved, text = _offset(worked, offset, exact_factor(factor, constants)[0])
            yield make_step("offset", text, number_text(moved), moved, moved)
            exact = worked.values[of] + moved
            numbers = f"{number_text(worked.values[of])} + ({number_text(moved)})"
            yield make_step(step, f"{of} + offset", numbers, round_to_float(exact, 24), exact, "float32")
        case FusedAffine(step, of, offset, factor):
            yield from worked.factor(factor, step)
            value, _ = exact_factor(factor, constants)
            moved, text = _fused_offset(worked, offset, value)
            yield make_step("offset", text, number_text(moved), moved, moved)
            exact = round_to_float(worked.values[of], 24) * value + moved
            numbers = f"{number_text(worked.values[of])} * {number_text(value)} + ({number_text(moved)})"
            yield make_step(step, f"fma({of}, m, offset)", numbers, round_to_float(exact, 24), exact, "float32")
        case FloatRounded():
            yield _float_rounded(worked, stage)
        case never:
            assert_never(never)


def _offset(worked: Worked, offset: str, m: Fraction) -> tuple[Fraction, str]:
    zero, count = worked.constants.inputs[0].zero_point, worked.constants.count
    if offset == "input":
        first = round_to_float(-zero * m, 24)
        return round_to_float(first * round_to_float(Fraction(count), 24), 24), "-zx * m * count in float32"
    assert worked.constants.output is not None
    worth = round_to_float(round_to_float(Fraction(count * zero), 24) * m, 24)
    return round_to_float(worked.constants.output.zero_point - worth, 24), "zy - (count * zx) * m in float32"


def _fused_offset(worked: Worked, offset: str, m: Fraction) -> tuple[Fraction, str]:
    if offset == "input":
        return _offset(worked, offset, m)
    assert worked.constants.output is not None
    zeros = round_to_float(Fraction(-worked.constants.count * worked.constants.inputs[0].zero_point), 24)
    return round_to_float(zeros * m + worked.constants.output.zero_point, 24), "fma(-count * zx, m, zy)"


def _quotient(worked: Worked, stage: Quotient) -> Iterator[ExactStep]:
    assert worked.constants.output is not None
    x, scale = float(worked.element.values[0]), Fraction(float(worked.constants.output.scale))
    if not math.isfinite(x):
        worked.special[stage.step] = x
        yield make_step(stage.step, "x / s_y", repr(x), 0, 0)
        return
    given = Fraction(x)
    if stage.flush and abs(given) < _SMALLEST_NORMAL:
        given = Fraction(0)
    bits = SIGNIFICAND[stage.bits]
    if stage.by == "division":
        exact, formula, numbers = given / scale, "x / s_y", f"{x!r} / {number_text(scale)}"
        value = round_to_float(exact, bits)
    else:
        inverse = round_to_float(1 / scale, 24)
        yield make_step("inverse", "1 / s_y in float32", f"1 / {number_text(scale)}", inverse, 1 / scale, "float32")
        inverse = Fraction(0) if stage.flush and inverse < _SMALLEST_NORMAL else inverse
        exact, formula, numbers = given * inverse, "x * (1/s_y)", f"{x!r} * {number_text(inverse)}"
        value = round_to_float(round_to_float(exact, 24), bits)
    if stage.bits == 32 and abs(value) > _LARGEST_FLOAT:
        worked.special[stage.step] = math.copysign(math.inf, x)
    yield make_step(stage.step, formula, numbers, value, exact, f"float{stage.bits}")


def _float_rounded(worked: Worked, stage: FloatRounded) -> ExactStep:
    special = worked.special.get(stage.of)
    value = worked.values[stage.of]
    formula, shown = f"round_{stage.tie}({stage.of})", number_text(value) if special is None else repr(special)
    if stage.limit == "int16_max":
        formula = f"round_{stage.tie}(min({stage.of}, 32767))"
        if special is not None and (math.isnan(special) or special > 0):
            special, value = None, Fraction(2**15 - 1)
        value = min(value, Fraction(2**15 - 1))
    if special is not None:
        kept = _of_special(stage, special)
        return make_step(stage.step, formula, shown, kept, kept, stage.out_of_range)
    rounded = round_fraction(value, stage.tie)
    match stage.out_of_range:
        case "int32_min":
            kept = rounded if -(2**31) <= rounded < 2**31 else -(2**31)
        case "saturate16" | "nearest16":
            kept = saturate(rounded, 16)
        case "nearest32":
            kept = saturate(rounded, 32)
        case "never":
            kept = rounded
        case never:
            assert_never(never)
    effect = stage.tie if kept == rounded else f"{stage.tie}, then {stage.out_of_range}"
    return make_step(stage.step, formula, shown, kept, worked.values[stage.of], effect)


def _of_special(stage: FloatRounded, special: float) -> int:
    """What an infinity or a NaN becomes."""
    match stage.out_of_range:
        case "saturate16":
            return -(2**15)
        case "nearest32" | "nearest16":
            bits = 32 if stage.out_of_range == "nearest32" else 16
            return 0 if math.isnan(special) else -(2 ** (bits - 1)) if special < 0 else 2 ** (bits - 1) - 1
        case "int32_min" | "never":
            return -(2**31)
        case never:
            assert_never(never)
