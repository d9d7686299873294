"""Rules that are lists of stages as C: one statement for each stage, in 64 bits unless the rule has a register.

Where a rule calculates in float32, each result goes through a volatile variable: no compiler may fuse or widen it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from ....rules.base import Unsupported
from ....rules.operators.fold import (
    Constants,
    added_offset,
    affine_offset,
    factor_value,
    fused_offset,
    numbers_of,
    weighted_numbers,
)
from ....rules.operators.forms import (
    Affine,
    Centered,
    Combined,
    CountDivision,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    FusedAffine,
    Halved,
    HighProduct,
    Largest,
    Product15,
    Quotient,
    Register,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Stage,
    Total,
    Weighted,
)
from ....rules.operators.rule import Output, RealOutput, Staged
from ....rules.requantize.forms import Tie, TwoRoundings
from .library import Library
from .requantize import READER
from .text import decimal, integer

__all__ = ["statements"]

_TIES: dict[Tie, str] = {"half_up": "round_half_up", "half_away": "round_half_away", "half_even": "round_half_even"}


def statements(rule: Staged, constants: Constants, library: Library) -> list[str]:
    """A rule as statements of C.

    They read `input_1`, `input_2`, or of reductions `sum_of_inputs`, `count` and `largest`, and end in a return.

    Args:
        rule: the rule.
        constants: what the file says of the operator.
        library: where helpers go.

    Raises:
        Unsupported: a stage that C does not have.
    """
    lines = [line for stage in rule.stages for line in _stage(stage, constants, library)]
    match rule.output:
        case Output():
            return _read_ones([*lines, *_output(rule.output, constants, library)])
        case RealOutput():
            return _read_ones([*lines, *_real(rule.output, constants, library)])
        case never:
            assert_never(never)


def _read_ones(lines: Sequence[str]) -> list[str]:
    """Without the values that no later line reads: some steps are for users only."""
    kept: list[str] = []
    for line in reversed(lines):
        found = re.match(r"(?:const int64_t|volatile float|volatile double) (\w+) =", line)
        if found is None or any(re.search(rf"\b{found[1]}\b", later) for later in kept):
            kept.insert(0, line)
    return kept


def _kept(register: Register, value: str, library: Library) -> str:
    match register:
        case "wrap32":
            library.helper("wrap32")
            return f"wrap32((uint32_t)({value}))"
        case "wrap16":
            library.helper("wrap16")
            return f"wrap16({value})"
        case "saturate16":
            library.helper("clamp")
            return f"clamp({value}, -32768, 32767)"
        case "wide":
            return value
        case never:
            assert_never(never)


def _plus(value: str, number: int) -> str:
    return value if not number else f"{value} + {number}" if number > 0 else f"{value} - {-number}"


def _int64(name: str, value: str) -> list[str]:
    return [f"const int64_t {name} = {value};"]


def _stage(stage: Stage, constants: Constants, library: Library) -> list[str]:
    match stage:
        case Centered(step, operand, register):
            value = _plus(f"input_{operand}", -constants.inputs[operand - 1].zero_point)
            return _int64(step, _kept(register, value, library))
        case Rescaled():
            return _rescaled(stage, constants, library)
        case Combined(step, (first, second), how, register):
            sign = "*" if how == "product" else "-" if constants.subtract else "+"
            return _int64(step, _kept(register, f"{first} {sign} {second}", library))
        case Weighted(step, total, (first, second)):
            library.helper("wrap32", "shift_right")
            one, two, shift = weighted_numbers(stage, constants)
            return [
                *_int64(total, f"{first} * {integer(one, 64)} + {second} * {integer(two, 64)}"),
                *_int64(step, f"shift_right(wrap32((uint32_t)({total} + {1 << (shift - 1)})), {shift})"),
            ]
        case Total(step, centered):
            zero = constants.inputs[0].zero_point if centered else 0
            return _int64(step, f"sum_of_inputs - count * ({zero})" if zero else "sum_of_inputs")
        case CountDivision(step, of, tie):
            assert tie == "half_away"
            return _int64(step, f"({of} < 0 ? -((count / 2 - {of}) / count) : ({of} + count / 2) / count)")
        case Largest(step):
            return _int64(step, "largest")
        case Quotient() | FloatScaled() | Affine() | FusedAffine() | FloatRounded():
            return _float_stage(stage, constants, library)
        case Shifted() | Fixed16() | Halved() | Product15() | ScaledBack():
            raise Unsupported(READER, "stage", type(stage).__name__)
        case never:
            assert_never(never)


def _rescaled(stage: Rescaled, constants: Constants, library: Library) -> list[str]:
    multiplier, shift = numbers_of(stage, constants)
    value = f"{stage.of} * {1 << constants.headroom}" if stage.headroom else stage.of
    negated = multiplier < 0 and stage.negative == "result" and isinstance(stage.form, TwoRoundings | HighProduct)
    multiplier = -multiplier if negated else multiplier
    left, right = max(shift, 0), max(-shift, 0)
    match stage.form:
        case TwoRoundings(high=how, tie=tie, least_right=least):
            left, right = left + max(least - right, 0), max(right, least)
            moved = f"({value}) * {integer(1 << left, 64)}" if left else value
            shifted = f"wrap32((uint32_t)({moved}))"
            match how:
                case "half_up":
                    library.helper("wrap32", "high_product", _TIES[tie])
                    high = f"high_product({shifted}, {integer(multiplier)} /* multiplier */)"
                case "floor":
                    library.helper("wrap32", "shift_right", _TIES[tie])
                    high = f"shift_right((int64_t){shifted} * {integer(multiplier)} /* multiplier */, 31)"
                case never_high:
                    assert_never(never_high)
            result = f"{_TIES[tie]}({high}, {right} /* shift */)"
        case HighProduct(order):
            library.helper("wrap32", "high_product", "shift_right")
            first, last = (right, 0) if order == "before" else (0, right)
            moved = f"shift_right({value}, {first} /* shift */)" if first else value
            high = f"high_product(wrap32((uint32_t)({moved})), {integer(multiplier)} /* multiplier */)"
            result = f"shift_right({high}, {last} /* shift */)" if last else high
        case FixedBits(bits):
            library.helper("round_half_up")
            result = f"round_half_up(({value}) * {integer(multiplier)} /* multiplier */, {bits})"
        case ShiftedRight(tie):
            library.helper(_TIES[tie])
            result = f"{_TIES[tie]}({value}, {right} /* shift */)"
        case never:
            assert_never(never)
    return _int64(stage.step, f"-{result}" if negated else result)


def _volatile(kind: str, name: str, value: str) -> list[str]:
    return [f"volatile {kind} {name} = {value};"]


def _float_stage(
    stage: Quotient | FloatScaled | Affine | FusedAffine | FloatRounded, constants: Constants, library: Library
) -> list[str]:
    library.floats = True
    match stage:
        case Quotient():
            return _quotient(stage, constants, library)
        case FloatScaled(step, of):
            factor = np.float32(factor_value(stage.factor, constants))
            return _volatile("float", step, f"(float){of} * {decimal(factor)}")
        case Affine(step, of):
            return _volatile("float", step, f"{of} + {decimal(affine_offset(stage, constants))}")
        case FusedAffine(step, of):
            library.helper("fused_multiply_add")
            factor, offset = np.float32(factor_value(stage.factor, constants)), fused_offset(stage, constants)
            return _volatile("float", step, f"fused_multiply_add((float){of}, {decimal(factor)}, {decimal(offset)})")
        case FloatRounded(step, of, tie, limit, out_of_range):
            # A float32 is a float64, so one helper does for both.
            library.helper("round_float", "clamp")
            ties: dict[Tie, int] = {"half_even": 0, "half_away": 1, "half_up": 2}
            value = of if limit == "none" else f"({of} < 32767.0f ? {of} : 32767.0f)"
            lines = _int64(f"{step}_rounded", f"round_float({value}, {ties[tie]})")
            match out_of_range:
                case "int32_min" | "never":
                    return [*lines, *_int64(step, f"{step}_rounded")]
                case "saturate16":
                    if limit == "none":
                        raise Unsupported(READER, "limit", limit)
                    return [*lines, *_int64(step, f"clamp({step}_rounded, -32768, 32767)")]
                case "nearest32" | "nearest16":
                    raise Unsupported(READER, "out_of_range", out_of_range)
                case never_range:
                    assert_never(never_range)
        case never:
            assert_never(never)


def _quotient(stage: Quotient, constants: Constants, library: Library) -> list[str]:
    assert constants.output is not None
    scale = constants.output.scale
    if stage.by == "division":
        if stage.bits == 32:
            return _volatile("float", stage.step, f"input_1 / {decimal(scale)}")
        return _volatile("double", stage.step, f"(double)input_1 / {decimal(np.float64(scale))}")
    with np.errstate(all="ignore"):
        inverse = np.float32(1) / scale
    if not np.isfinite(inverse):
        raise Unsupported(READER, "scale", "so small that its inverse is infinite")
    value = "input_1"
    if stage.flush:
        library.helper("flush")
        value = "flush(input_1)"
        inverse = np.float32(0) if abs(inverse) < np.finfo(np.float32).tiny else inverse
    kind = "float" if stage.bits == 32 else "double"
    return _volatile(kind, stage.step, f"{value} * {decimal(inverse)}")


def _output(output: Output, constants: Constants, library: Library) -> list[str]:
    assert constants.output is not None
    value = "input_1" if output.of == "input" else output.of
    match output.add:
        case "nothing":
            lines = _int64("total", value)
        case "rounded_offset":
            lines = _int64("total", _plus(value, added_offset(output, constants)))
        case "wrap32" | "wrap16" | "saturate16" | "wide":
            kept = _plus(_kept(output.keep, value, library), constants.output.zero_point)
            lines = _int64("total", _kept(output.add, kept, library))
        case never:
            assert_never(never)
    library.helper("clamp")
    low, high = integer(constants.low), integer(constants.high)
    return [*lines, f"return (int32_t)clamp(total, {low} /* activation_min */, {high} /* activation_max */);"]


def _real(output: RealOutput, constants: Constants, library: Library) -> list[str]:
    library.floats = True
    side = constants.inputs[0] if constants.inputs else None
    match output.way:
        case "difference":
            assert side is not None
            value = "input_1" if output.of == "input" else output.of
            return [f"volatile float result = (float){value} * {decimal(side.scale)};", "return result;"]
        case "product_plus_offset":
            assert side is not None
            offset = np.float32(np.float32(-side.zero_point) * side.scale)
            return [
                f"volatile float product = (float)input_1 * {decimal(side.scale)};",
                f"volatile float result = product + {decimal(offset)};",
                "return result;",
            ]
        case "fused_plus_offset" | "widened":
            raise Unsupported(READER, "way", output.way)
        case never:
            assert_never(never)
